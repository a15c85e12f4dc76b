// What trained layers see of integers.
//
// A channel's scale is that of its own weights, and a batch norm that is folded later multiplies whole channels: the
// integers of folded weights are those of the weights as they are here.
#include "passes/fake_quantize_layers.h"

#include <algorithm>
#include <map>
#include <string>

#include "ops/build.h"

namespace hai::passes {
namespace {

using ir::Graph;
using ir::kNone;
using ir::ValueId;

class Layers {
 public:
  Layers(Graph& graph, int64_t limit) : graph_(graph), limit_(limit) {}

  Status add(ir::NodeId id, bool input_is_trained) {
    const ir::Node node = graph_.node(id);
    const ValueId weights = node.inputs[1];
    if (done_.count(weights) == 0) {
      const auto rank = static_cast<int64_t>(graph_.value(weights).type.shape.size());
      const bool rows_first = node.op != "matmul" || node.int_attribute("transpose_b", 0) != 0;
      const int64_t axis = node.op != "matmul" ? 0 : rows_first ? rank - 2 : rank - 1;
      HAI_TRY(done_[weights], quantized(weights, axis));
    }
    graph_.set_input(id, 1, done_[weights]);
    if (!input_is_trained) return {};
    const ValueId x = node.inputs[0];
    if (done_.count(x) == 0) {
      HAI_TRY(done_[x], quantized(x, kNoAxis));
    }
    graph_.set_input(id, 0, done_[x]);
    return {};
  }

 private:
  static constexpr int64_t kNoAxis = -1;

  // With an axis: symmetric, a scale a slice of it.
  Result<ValueId> quantized(ValueId value, int64_t axis) {
    const ir::TensorType type = graph_.value(value).type;
    ops::AppendOptions options;
    options.node_name = graph_.value(value).name + "/fake_quantize";
    std::vector<int64_t> axes;
    for (int64_t i = 0; i < static_cast<int64_t>(type.shape.size()); ++i) {
      if (i != axis) axes.push_back(i);
    }
    const ir::Attributes along = {{"axes", axes}, {"keep_dims", int64_t{0}}};
    HAI_TRY(const ValueId low, ops::append_value(graph_, "reduce_min", {value}, along, options));
    HAI_TRY(const ValueId high, ops::append_value(graph_, "reduce_max", {value}, along, options));
    ir::Attributes attributes;
    if (axis != kNoAxis) attributes = {{"axis", axis}, {"limit", limit_}};
    return ops::append_value(graph_, "fake_quantize", {value, low, high}, std::move(attributes), options);
  }

  Graph& graph_;
  int64_t limit_;
  std::map<ValueId, ValueId> done_;
};

}  // namespace

Status fake_quantize_layers(Graph& graph, std::string_view precision, std::span<const Parameter> parameters) {
  if (precision == "none") return {};
  if (precision != "w8a8" && precision != "w4a8") {
    return make_error(StatusCode::kNotFound, "P556", "there is no qat=\"{}\"; give none, w8a8 or w4a8", precision);
  }
  HAI_TRY(const std::vector<bool> trained, trained_nodes(graph, {parameters.begin(), parameters.end()}));
  Layers layers(graph, precision == "w8a8" ? 127 : 7);
  for (ir::NodeId id = 0; id < trained.size(); ++id) {
    const ir::Node& node = graph.node(id);
    if (!node.alive || (node.op != "conv2d" && node.op != "conv_transpose2d" && node.op != "matmul")) continue;
    const auto is_weights = [&](const Parameter& one) { return one.value == node.inputs[1]; };
    if (std::none_of(parameters.begin(), parameters.end(), is_weights)) continue;
    const ir::NodeId producer = graph.value(node.inputs[0]).producer;
    HAI_TRY_STATUS(layers.add(id, producer != kNone && trained[producer]));
  }
  return {};
}

}  // namespace hai::passes
