// Parameters are told by where they are read: operand 1 of a product is its weight, operand 2 its bias, and so on. The
// graph is canonical (compiler/pipeline.h): weights have the layout of the schemas, and what importers wrote as a
// chain of constants is one constant.
#include "passes/trainable_parameters.h"

#include <algorithm>
#include <charconv>
#include <set>

#include "passes/rewrite.h"

namespace hai::passes {
namespace {

using ir::Graph;
using ir::kNone;
using ir::Node;
using ir::NodeId;
using ir::ValueId;

bool is_product(const Node& node) {
  return node.op == "conv2d" || node.op == "conv_transpose2d" || node.op == "matmul";
}
bool is_normalization(const Node& node) { return node.op == "batch_norm" || node.op == "layer_norm"; }

bool is_product_result(const Graph& graph, ValueId value) {
  const NodeId producer = graph.value(value).producer;
  return producer != kNone && is_product(graph.node(producer));
}

// PyTorch's exporter numbers what it makes itself, "val_12"; parameters have the names that the module gave them.
bool is_named_by_exporter(std::string_view name) {
  constexpr std::string_view kPrefix = "val_";
  return name.starts_with(kPrefix) && name.size() > kPrefix.size() &&
         name.find_first_not_of("0123456789", kPrefix.size()) == std::string_view::npos;
}

// Exporters give convolutions that have no bias zeros for one: before a batch norm (the norm has one), and PyTorch's
// everywhere, under a name of its own.
bool stands_for_none(const Graph& graph, const Node& product, ValueId bias) {
  if (bias == kNone) return false;
  const NodeId reader = sole_reader(graph, product.outputs[0]);
  const bool before_norm = reader != kNone && graph.node(reader).op == "batch_norm";
  if (!before_norm && !is_named_by_exporter(graph.value(bias).name)) return false;
  const auto values = constant_values(graph, bias);
  return values && std::all_of(values->begin(), values->end(), [](double value) { return value == 0; });
}

// One constant of a layer, and how it is used there.
struct Slot {
  size_t layer = 0;  // by the products before it, from 1
  Parameter parameter;
  bool is_bias = false;
};

std::vector<Slot> slots_of(const Graph& graph, const std::vector<NodeId>& order) {
  std::vector<Slot> slots;
  std::set<ValueId> seen;
  size_t layer = 0;
  const auto add = [&](ValueId value, bool spared, bool is_bias) {
    if (value == kNone || !graph.value(value).is_constant() || !is_float_type(graph.value(value).type)) return;
    if (seen.insert(value).second) slots.push_back({layer, {value, spared}, is_bias});
  };
  for (const NodeId id : order) {
    const Node& node = graph.node(id);
    const auto input = [&](size_t i) { return i < node.inputs.size() ? node.inputs[i] : kNone; };
    if (is_product(node)) {
      ++layer;
      add(input(1), false, false);
      if (!stands_for_none(graph, node, input(2))) add(input(2), true, true);
    } else if (is_normalization(node)) {
      add(input(1), true, false);
      add(input(2), true, true);
    } else if (node.op == "prelu") {
      add(input(1), true, false);
    } else if (node.op == "add") {
      if (is_product_result(graph, input(0))) add(input(1), true, true);
      if (is_product_result(graph, input(1))) add(input(0), true, true);
    }
  }
  return slots;
}

enum class ChoiceKind : uint8_t { kAll, kBias, kLast, kName };
struct Choice {
  ChoiceKind kind = ChoiceKind::kAll;
  size_t layers = 0;      // kLast
  std::string_view name;  // kName: a part of it
};

Result<Choice> parse_choice(std::string_view text) {
  if (text == "all") return Choice{};
  if (text == "bias") return Choice{ChoiceKind::kBias, 0, {}};
  if (text == "head") return Choice{ChoiceKind::kLast, 1, {}};
  if (text.starts_with("name:") && text.size() > 5) return Choice{ChoiceKind::kName, 0, text.substr(5)};
  if (text.starts_with("last:")) {
    const std::string_view digits = text.substr(5);
    size_t number = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), number);
    if (error == std::errc() && end == digits.data() + digits.size() && number >= 1)
      return Choice{ChoiceKind::kLast, number, {}};
  }
  return make_error(StatusCode::kInvalidArgument, "P530",
                    "\"{}\" chooses no parameters; choices are all, bias, head, last:K with a number of layers, and "
                    "name:TEXT",
                    text);
}

bool is_chosen(const Graph& graph, const Slot& slot, const Choice& choice, size_t layers) {
  switch (choice.kind) {
    case ChoiceKind::kAll:
      return true;
    case ChoiceKind::kBias:
      return slot.is_bias;
    case ChoiceKind::kLast:
      return slot.layer >= layers || layers - slot.layer < choice.layers;
    case ChoiceKind::kName:
      return graph.value(slot.parameter.value).name.find(choice.name) != std::string::npos;
  }
  return false;
}

}  // namespace

Result<std::vector<Parameter>> trainable_parameters(const Graph& graph, std::string_view choice) {
  HAI_TRY(const Choice parsed, parse_choice(choice));
  HAI_TRY(const std::vector<NodeId> order, graph.ordered());
  const std::vector<Slot> slots = slots_of(graph, order);
  const size_t layers = slots.empty() ? 0 : slots.back().layer;
  std::vector<Parameter> chosen;
  for (const Slot& slot : slots) {
    if (is_chosen(graph, slot, parsed, layers)) chosen.push_back(slot.parameter);
  }
  if (!chosen.empty()) return chosen;
  if (slots.empty()) {
    return make_error(
        StatusCode::kNotFound, "P532",
        "the model has no float weights of convolutions, products or normalizations, so nothing in it can "
        "be trained; compile it without --train, or train the model that it was quantized from");
  }
  std::string some;
  for (size_t i = 0; i < slots.size() && i < 8; ++i)
    some += fmt::format("{}\"{}\"", i == 0 ? "" : ", ", graph.value(slots[i].parameter.value).name);
  return make_error(StatusCode::kNotFound, "P531",
                    "\"{}\" chooses no parameter of the model, which has {} float one(s){}{}", choice, slots.size(),
                    some.empty() ? "" : ": " + some, slots.size() > 8 ? ", ..." : "");
}

Result<std::vector<bool>> trained_nodes(const Graph& graph, const std::vector<Parameter>& parameters) {
  HAI_TRY(const std::vector<NodeId> order, graph.ordered());
  std::vector<bool> changes(graph.value_slots(), false);
  for (const Parameter& parameter : parameters) changes[parameter.value] = true;
  std::vector<bool> trained(graph.node_slots(), false);
  for (const NodeId id : order) {
    const Node& node = graph.node(id);
    trained[id] = std::any_of(node.inputs.begin(), node.inputs.end(),
                              [&](ValueId input) { return input != kNone && changes[input]; });
    for (const ValueId output : node.outputs) changes[output] = trained[id];
  }
  return trained;
}

}  // namespace hai::passes
