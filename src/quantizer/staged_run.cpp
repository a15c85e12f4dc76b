// A graph run in stages.
//
// Method: to reach a value, only the nodes between the tensors that are kept and that value are compiled and run, over
// every sample; then the value and everything else that later nodes will read is kept in their place. So going through
// all layers costs one run of the graph and not one for each layer, while the weights of later layers may still change.
// When what would be kept is larger than the limit, the old tensors stay, and the next stage is longer: memory is
// bounded, results are the same.
#include "quantizer/staged_run.h"

#include <algorithm>
#include <optional>

#include "compiler/compile.h"
#include "format/model.h"
#include "hai/hai.hpp"

namespace hai::quantizer {
namespace {

Error runtime_error(const api::Error& error) {
  return make_error(static_cast<StatusCode>(error.code), "Q090", "a run for the rounding of weights failed: {}",
                    error.message);
}

hai_tensor view_of(const ops::Tensor& tensor) {
  const auto dims = tensor.dims.view();
  return api::view(static_cast<int32_t>(tensor.dtype), {dims.begin(), dims.end()},
                   const_cast<std::byte*>(tensor.storage.data()), tensor.storage.size());
}

// A compiled stage; outputs in the order of its graph's.
class Stage {
 public:
  Status prepare(ir::Graph graph, int threads) {
    for (const ir::ValueId output : graph.outputs()) quantization_.push_back(graph.value(output).type.quantization);
    HAI_TRY(const compiler::CompiledModel compiled, compiler::compile(std::move(graph)));
    HAI_TRY(bytes_, format::serialize(compiled.file));
    auto model = api::Model::load(bytes_.data(), bytes_.size());
    if (!model) return runtime_error(model.error());
    api::SessionOptions options;
    options.threads = threads;
    auto session = model->session(options);
    if (!session) return runtime_error(session.error());
    session_.emplace(std::move(*session));
    return {};
  }

  Result<std::vector<ops::Tensor>> run(const std::vector<hai_tensor>& inputs) {
    auto outputs = session_->run(inputs);
    if (!outputs) return runtime_error(outputs.error());
    std::vector<ops::Tensor> out;
    for (size_t i = 0; i < outputs->size(); ++i) {
      const api::Tensor& from = (*outputs)[i];
      ops::Tensor& to = out.emplace_back();
      to.dtype = static_cast<DataType>(from.dtype());
      to.dims = Dims(std::span<const int64_t>(from.dims()));
      const auto* bytes = static_cast<const std::byte*>(from.data());
      to.storage.assign(bytes, bytes + from.size_bytes());
      to.quantization = quantization_[i];
    }
    return out;
  }

 private:
  std::vector<std::optional<Quantization>> quantization_;
  std::vector<std::byte> bytes_;
  std::optional<api::Session> session_;
};

// The nodes that `to` needs when `from` is there.
std::set<ir::NodeId> nodes_between(const ir::Graph& graph, const std::set<ir::ValueId>& from,
                                   const std::vector<ir::ValueId>& to) {
  std::set<ir::NodeId> nodes;
  std::vector<ir::ValueId> open = to;
  while (!open.empty()) {
    const ir::ValueId value = open.back();
    open.pop_back();
    const ir::NodeId producer = graph.value(value).producer;
    if (from.contains(value) || producer == ir::kNone || !nodes.insert(producer).second) continue;
    for (const ir::ValueId input : graph.node(producer).inputs) {
      if (input != ir::kNone) open.push_back(input);
    }
  }
  return nodes;
}

// A stage can start from tensors whose only free dimension is the batch, in front.
bool can_be_input(const ir::Graph& graph, ir::ValueId value) {
  const ir::TensorType& type = graph.value(value).type;
  for (size_t i = 0; i < type.shape.size(); ++i) {
    if (type.shape[i].is_symbolic() && (i > 0 || type.shape[i].value != 1)) return false;
  }
  const bool free_batch = !type.shape.empty() && type.shape[0].is_symbolic();
  return (free_batch || graph.symbols.empty()) && (!type.quantization || type.quantization->per_tensor());
}

}  // namespace

ir::Graph cut_graph(const ir::Graph& graph, const std::vector<ir::NodeId>& order, const std::set<ir::ValueId>& from,
                    const std::vector<ir::ValueId>& to) {
  const std::set<ir::NodeId> nodes = nodes_between(graph, from, to);
  ir::Graph out;
  out.name = graph.name;
  out.symbols = graph.symbols;
  std::map<ir::ValueId, ir::ValueId> copy;
  for (const ir::ValueId value : from) copy[value] = out.add_input(graph.value(value).name, graph.value(value).type);
  for (const ir::NodeId id : order) {
    if (!nodes.contains(id)) continue;
    const ir::Node& node = graph.node(id);
    std::vector<ir::ValueId> inputs;
    for (const ir::ValueId input : node.inputs) {
      if (input != ir::kNone && !copy.contains(input)) {
        const ir::Value& value = graph.value(input);
        HAI_CHECK(value.is_constant());
        copy[input] = out.add_constant(value.name, value.type, value.constant);
      }
      inputs.push_back(input == ir::kNone ? ir::kNone : copy[input]);
    }
    std::vector<ir::TensorType> types;
    std::vector<std::string> names;
    for (const ir::ValueId output : node.outputs) {
      types.push_back(graph.value(output).type);
      names.push_back(graph.value(output).name);
    }
    const ir::NodeId added =
        out.add_node(node.op, std::move(inputs), std::move(types), node.attributes, node.name, std::move(names));
    for (size_t i = 0; i < node.outputs.size(); ++i) copy[node.outputs[i]] = out.node(added).outputs[i];
  }
  for (const ir::ValueId value : to) out.add_output(copy.at(value));
  return out;
}

// What nodes behind `value` and behind what is kept already will read.
std::vector<ir::ValueId> StagedRun::live_after(const std::vector<ir::NodeId>& order, ir::ValueId value) const {
  std::set<ir::NodeId> done = done_;
  for (const ir::NodeId node : nodes_between(graph_, known_, {value})) done.insert(node);
  std::set<ir::ValueId> candidates = known_;
  for (const ir::NodeId node : done) {
    for (const ir::ValueId output : graph_.node(node).outputs) candidates.insert(output);
  }
  std::set<ir::ValueId> live;
  for (const ir::NodeId id : order) {
    if (done.contains(id)) continue;
    for (const ir::ValueId input : graph_.node(id).inputs) {
      if (input != ir::kNone && candidates.contains(input)) live.insert(input);
    }
  }
  live.insert(value);
  return {live.begin(), live.end()};
}

Status StagedRun::visit(ir::ValueId value, const Visit& visit) {
  if (!known_.contains(value)) {
    HAI_TRY(const std::vector<ir::NodeId> order, graph_.ordered());
    return run_stage(value, order, visit);
  }
  for (size_t i = 0; i < graph_.inputs().size(); ++i) {
    if (graph_.inputs()[i] != value) continue;
    int64_t index = 0;
    return samples_([&](const std::vector<ops::Tensor>& sample) { return visit(index++, sample[i].view()); });
  }
  int64_t index = 0;
  for (const ops::Tensor& tensor : kept_.at(value)) HAI_TRY_STATUS(visit(index++, tensor.view()));
  return {};
}

Status StagedRun::run_stage(ir::ValueId value, const std::vector<ir::NodeId>& order, const Visit& visit) {
  const std::vector<ir::ValueId> live = live_after(order, value);
  std::vector<ir::ValueId> computed;
  for (const ir::ValueId v : live) {
    if (!known_.contains(v)) computed.push_back(v);
  }
  const bool can_advance =
      std::all_of(computed.begin(), computed.end(), [&](ir::ValueId v) { return can_be_input(graph_, v); });
  if (!can_advance) computed = {value};
  const auto at = static_cast<size_t>(std::find(computed.begin(), computed.end(), value) - computed.begin());

  std::set<ir::ValueId> from;  // of known_, what this stage reads
  const std::set<ir::NodeId> nodes = nodes_between(graph_, known_, computed);
  for (const ir::NodeId node : nodes) {
    for (const ir::ValueId input : graph_.node(node).inputs) {
      if (known_.contains(input)) from.insert(input);
    }
  }
  Stage stage;
  HAI_TRY_STATUS(stage.prepare(cut_graph(graph_, order, from, computed), threads_));

  Kept kept;
  int64_t kept_bytes = 0;
  for (const ir::ValueId v : live) {
    if (const auto old = kept_.find(v); old != kept_.end()) {
      for (const ops::Tensor& tensor : old->second) kept_bytes += static_cast<int64_t>(tensor.storage.size());
    }
  }
  bool keep = can_advance;
  int64_t index = 0;
  const auto run_one = [&](const std::vector<ops::Tensor>& sample) -> Status {
    std::vector<hai_tensor> inputs;
    for (const ir::ValueId v : from) {
      const auto input = std::find(graph_.inputs().begin(), graph_.inputs().end(), v);
      inputs.push_back(view_of(input != graph_.inputs().end()
                                   ? sample[static_cast<size_t>(input - graph_.inputs().begin())]
                                   : kept_.at(v)[static_cast<size_t>(index)]));
    }
    HAI_TRY(std::vector<ops::Tensor> outputs, stage.run(inputs));
    HAI_TRY_STATUS(visit(index, outputs[at].view()));
    for (size_t i = 0; keep && i < outputs.size(); ++i) {
      kept_bytes += static_cast<int64_t>(outputs[i].storage.size());
      kept[computed[i]].push_back(std::move(outputs[i]));
    }
    if (kept_bytes > memory_bytes_) {
      keep = false;
      kept.clear();
    }
    ++index;
    return {};
  };
  HAI_TRY_STATUS(samples_(run_one));
  if (!keep) return {};
  for (const ir::NodeId node : nodes_between(graph_, known_, {value})) done_.insert(node);
  for (const ir::ValueId v : live) {
    if (const auto old = kept_.find(v); old != kept_.end()) kept[v] = std::move(old->second);
  }
  kept_ = std::move(kept);
  known_ = {live.begin(), live.end()};
  return {};
}

}  // namespace hai::quantizer
