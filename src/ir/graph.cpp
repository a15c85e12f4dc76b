// Graph: building, use lists, topological order, clean-up.
//
// Method: two slot vectors (values, nodes) with stable ids; each value keeps the list of its uses so that rewrites are
// local. Topological order is Kahn's algorithm with a min-heap on ids, which makes it a function of the graph alone.
// Invariants: every live node's inputs are live values; value.uses is exactly the multiset of live operands that read
// it. It does not infer or check types: see ops/.
#include "ir/graph.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <queue>

namespace hai::ir {
namespace {

constexpr size_t kConstantAlignment = 64;

template <typename T>
const T& attribute_as(const Attribute& attribute) {
  const T* value = std::get_if<T>(&attribute);
  HAI_CHECK(value != nullptr);
  return *value;
}

}  // namespace

std::shared_ptr<ConstantData> ConstantData::allocate(size_t size_bytes) {
  const size_t rounded =
      (size_bytes + kConstantAlignment - 1) / kConstantAlignment * kConstantAlignment + kConstantAlignment;
  void* memory = std::aligned_alloc(kConstantAlignment, rounded);
  if (memory == nullptr) throw std::bad_alloc();  // turned into an error at the C ABI and the importers' edge
  auto data = std::make_shared<ConstantData>();
  data->owner_ =
      std::shared_ptr<const void>(memory, [](const void* pointer) { std::free(const_cast<void*>(pointer)); });
  data->bytes_ = {static_cast<const std::byte*>(memory), size_bytes};
  return data;
}

std::span<std::byte> ConstantData::mutable_bytes() { return {const_cast<std::byte*>(bytes_.data()), bytes_.size()}; }

std::shared_ptr<const ConstantData> ConstantData::copy_of(std::span<const std::byte> bytes) {
  auto data = allocate(bytes.size());
  if (!bytes.empty()) std::memcpy(data->mutable_bytes().data(), bytes.data(), bytes.size());
  return data;
}

std::shared_ptr<const ConstantData> ConstantData::borrow(std::span<const std::byte> bytes,
                                                         std::shared_ptr<const void> owner) {
  auto data = std::make_shared<ConstantData>();
  data->bytes_ = bytes;
  data->owner_ = std::move(owner);
  return data;
}

int64_t Node::int_attribute(std::string_view key, int64_t fallback) const {
  const auto it = attributes.find(key);
  return it == attributes.end() ? fallback : attribute_as<int64_t>(it->second);
}

double Node::float_attribute(std::string_view key, double fallback) const {
  const auto it = attributes.find(key);
  return it == attributes.end() ? fallback : attribute_as<double>(it->second);
}

std::string Node::string_attribute(std::string_view key, std::string_view fallback) const {
  const auto it = attributes.find(key);
  return it == attributes.end() ? std::string(fallback) : attribute_as<std::string>(it->second);
}

std::vector<int64_t> Node::ints_attribute(std::string_view key, std::vector<int64_t> fallback) const {
  const auto it = attributes.find(key);
  return it == attributes.end() ? std::move(fallback) : attribute_as<std::vector<int64_t>>(it->second);
}

std::vector<double> Node::floats_attribute(std::string_view key, std::vector<double> fallback) const {
  const auto it = attributes.find(key);
  return it == attributes.end() ? std::move(fallback) : attribute_as<std::vector<double>>(it->second);
}

std::string Graph::unique_name(std::string wanted, ValueId id) {
  if (wanted.empty()) wanted = "v" + std::to_string(id);
  if (value_by_name_.find(wanted) == value_by_name_.end()) return wanted;
  for (uint32_t suffix = 1;; ++suffix) {
    std::string candidate = wanted + "." + std::to_string(suffix);
    if (value_by_name_.find(candidate) == value_by_name_.end()) return candidate;
  }
}

ValueId Graph::new_value(std::string value_name, TensorType type) {
  const auto id = static_cast<ValueId>(values_.size());
  Value value;
  value.name = unique_name(std::move(value_name), id);
  value.type = std::move(type);
  value_by_name_.emplace(value.name, id);
  values_.push_back(std::move(value));
  return id;
}

ValueId Graph::add_input(std::string value_name, TensorType type) {
  const ValueId id = new_value(std::move(value_name), std::move(type));
  inputs_.push_back(id);
  return id;
}

ValueId Graph::add_constant(std::string value_name, TensorType type, std::shared_ptr<const ConstantData> data) {
  const auto count = element_count(type.shape);
  HAI_CHECK(data != nullptr && count && !count->is_symbolic());
  HAI_CHECK(static_cast<int64_t>(data->bytes().size()) == bytes_for(type.dtype, count->value));
  const ValueId id = new_value(std::move(value_name), std::move(type));
  values_[id].constant = std::move(data);
  return id;
}

NodeId Graph::add_node(std::string op, std::vector<ValueId> node_inputs, std::vector<TensorType> output_types,
                       Attributes attributes, std::string node_name, std::vector<std::string> output_names) {
  const auto id = static_cast<NodeId>(nodes_.size());
  Node node;
  node.op = std::move(op);
  node.name = std::move(node_name);
  node.inputs = std::move(node_inputs);
  node.attributes = std::move(attributes);
  nodes_.push_back(std::move(node));
  for (size_t i = 0; i < nodes_[id].inputs.size(); ++i) add_use(nodes_[id].inputs[i], id, static_cast<uint32_t>(i));
  for (size_t i = 0; i < output_types.size(); ++i) {
    const ValueId value_id =
        new_value(i < output_names.size() ? std::move(output_names[i]) : std::string(), std::move(output_types[i]));
    values_[value_id].producer = id;
    values_[value_id].producer_output = static_cast<uint32_t>(i);
    nodes_[id].outputs.push_back(value_id);
  }
  return id;
}

void Graph::add_output(ValueId value_id) {
  HAI_CHECK(value_id < values_.size());
  outputs_.push_back(value_id);
}

size_t Graph::live_node_count() const {
  return static_cast<size_t>(std::count_if(nodes_.begin(), nodes_.end(), [](const Node& node) { return node.alive; }));
}

bool Graph::is_input(ValueId id) const { return std::find(inputs_.begin(), inputs_.end(), id) != inputs_.end(); }
bool Graph::is_output(ValueId id) const { return std::find(outputs_.begin(), outputs_.end(), id) != outputs_.end(); }

std::optional<ValueId> Graph::find_value(std::string_view value_name) const {
  const auto it = value_by_name_.find(value_name);
  if (it == value_by_name_.end() || !values_[it->second].alive) return std::nullopt;
  return it->second;
}

Result<std::vector<NodeId>> Graph::ordered() const {
  std::vector<uint32_t> waiting(nodes_.size(), 0);
  std::priority_queue<NodeId, std::vector<NodeId>, std::greater<>> ready;
  size_t live = 0;
  for (NodeId id = 0; id < nodes_.size(); ++id) {
    if (!nodes_[id].alive) continue;
    ++live;
    for (const ValueId input : nodes_[id].inputs) {
      if (input != kNone && values_[input].producer != kNone) ++waiting[id];
    }
    if (waiting[id] == 0) ready.push(id);
  }
  std::vector<NodeId> order;
  order.reserve(live);
  while (!ready.empty()) {
    const NodeId id = ready.top();
    ready.pop();
    order.push_back(id);
    for (const ValueId output : nodes_[id].outputs) {
      for (const Use& use : values_[output].uses) {
        if (--waiting[use.node] == 0) ready.push(use.node);
      }
    }
  }
  if (order.size() != live) {
    NodeId stuck = 0;
    while (!nodes_[stuck].alive || waiting[stuck] == 0) ++stuck;
    return make_error(StatusCode::kCorrupt, "I001",
                      "graph \"{}\" has a cycle through node \"{}\" ({}); a model must be acyclic", name,
                      nodes_[stuck].name, nodes_[stuck].op);
  }
  return order;
}

void Graph::add_use(ValueId value_id, NodeId node_id, uint32_t operand) {
  if (value_id == kNone) return;
  HAI_CHECK(value_id < values_.size());
  values_[value_id].uses.push_back({node_id, operand});
}

void Graph::remove_use(ValueId value_id, NodeId node_id, uint32_t operand) {
  if (value_id == kNone) return;
  auto& uses = values_[value_id].uses;
  const auto it = std::find(uses.begin(), uses.end(), Use{node_id, operand});
  HAI_CHECK(it != uses.end());
  uses.erase(it);
}

void Graph::set_input(NodeId node_id, size_t operand, ValueId value_id) {
  Node& target = nodes_[node_id];
  HAI_CHECK(operand < target.inputs.size());
  remove_use(target.inputs[operand], node_id, static_cast<uint32_t>(operand));
  target.inputs[operand] = value_id;
  add_use(value_id, node_id, static_cast<uint32_t>(operand));
}

void Graph::append_input(NodeId node_id, ValueId value_id) {
  nodes_[node_id].inputs.push_back(value_id);
  add_use(value_id, node_id, static_cast<uint32_t>(nodes_[node_id].inputs.size() - 1));
}

void Graph::replace_uses(ValueId from, ValueId to) {
  HAI_CHECK(from != to);
  const std::vector<Use> uses = values_[from].uses;
  for (const Use& use : uses) set_input(use.node, use.operand, to);
  std::replace(outputs_.begin(), outputs_.end(), from, to);
}

void Graph::set_output(size_t index, ValueId value_id) {
  HAI_CHECK(index < outputs_.size() && value_id < values_.size());
  outputs_[index] = value_id;
}

void Graph::erase_node(NodeId node_id) {
  Node& target = nodes_[node_id];
  for (const ValueId output : target.outputs) {
    HAI_CHECK(values_[output].uses.empty() && !is_output(output));
    values_[output].alive = false;
    value_by_name_.erase(values_[output].name);
  }
  for (size_t i = 0; i < target.inputs.size(); ++i) remove_use(target.inputs[i], node_id, static_cast<uint32_t>(i));
  target.alive = false;
  target.inputs.clear();
}

size_t Graph::erase_dead() {
  std::vector<NodeId> candidates;
  for (NodeId id = 0; id < nodes_.size(); ++id) {
    if (nodes_[id].alive) candidates.push_back(id);
  }
  size_t erased = 0;
  while (!candidates.empty()) {
    const NodeId id = candidates.back();
    candidates.pop_back();
    if (!nodes_[id].alive) continue;
    const bool needed = std::any_of(nodes_[id].outputs.begin(), nodes_[id].outputs.end(),
                                    [&](ValueId output) { return !values_[output].uses.empty() || is_output(output); });
    if (needed) continue;
    std::vector<NodeId> producers;
    for (const ValueId input : nodes_[id].inputs) {
      if (input != kNone && values_[input].producer != kNone) producers.push_back(values_[input].producer);
    }
    erase_node(id);
    ++erased;
    candidates.insert(candidates.end(), producers.begin(), producers.end());
  }
  for (ValueId id = 0; id < values_.size(); ++id) {
    Value& candidate = values_[id];
    if (candidate.alive && candidate.is_constant() && candidate.uses.empty() && !is_output(id)) {
      candidate.alive = false;
      candidate.constant.reset();
      value_by_name_.erase(candidate.name);
    }
  }
  return erased;
}

void Graph::rename_value(ValueId id, std::string value_name) {
  if (values_[id].name == value_name) return;
  value_by_name_.erase(values_[id].name);
  values_[id].name = unique_name(std::move(value_name), id);
  value_by_name_.emplace(values_[id].name, id);
}

Graph Graph::compact() const {
  auto order = ordered();
  HAI_CHECK(order.has_value());
  Graph out;
  out.name = name;
  out.symbols = symbols;
  out.metadata = metadata;
  out.states = states;
  std::vector<ValueId> mapped(values_.size(), kNone);
  for (const ValueId input : inputs_) mapped[input] = out.add_input(values_[input].name, values_[input].type);
  for (ValueId id = 0; id < values_.size(); ++id) {
    if (values_[id].alive && values_[id].is_constant()) {
      mapped[id] = out.add_constant(values_[id].name, values_[id].type, values_[id].constant);
    }
  }
  for (const NodeId id : *order) {
    const Node& source = nodes_[id];
    std::vector<ValueId> node_inputs;
    for (const ValueId input : source.inputs) node_inputs.push_back(input == kNone ? kNone : mapped[input]);
    std::vector<TensorType> types;
    std::vector<std::string> names;
    for (const ValueId output : source.outputs) {
      types.push_back(values_[output].type);
      names.push_back(values_[output].name);
    }
    const NodeId copy = out.add_node(source.op, std::move(node_inputs), std::move(types), source.attributes,
                                     source.name, std::move(names));
    for (size_t i = 0; i < source.outputs.size(); ++i) mapped[source.outputs[i]] = out.node(copy).outputs[i];
  }
  for (const ValueId output : outputs_) out.add_output(mapped[output]);
  return out;
}

}  // namespace hai::ir
