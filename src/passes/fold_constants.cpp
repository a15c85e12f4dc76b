// Computes nodes whose inputs are all constants.
//
// Method: nodes in topological order; a node with constant inputs is run through its schema's reference and its outputs
// become constants. Results above kMaxResultBytes that are larger than what they are made from stay operators, so that
// a file does not grow by broadcasts and fills. Graph outputs stay nodes: a device writes outputs, it does not bind
// them. dequantize of a constant stays, too: fuse_quantization wants to see it.
#include <algorithm>

#include "ops/op_schema.h"
#include "passes/passes.h"
#include "passes/rewrite.h"

namespace hai::passes {
namespace {

constexpr int64_t kMaxResultBytes = int64_t{1} << 20;

// Bytes of a static type, or -1.
int64_t static_bytes(const ir::TensorType& type) {
  const auto count = element_count(type.shape);
  return count && !count->is_symbolic() ? bytes_for(type.dtype, count->value) : -1;
}

bool foldable(const ir::Graph& graph, const ir::Node& node) {
  if (node.op == "dequantize") return false;
  int64_t input_bytes = 0;
  bool any = false;
  for (const ir::ValueId input : node.inputs) {
    if (input == ir::kNone) continue;
    if (!graph.value(input).is_constant()) return false;
    any = true;
    input_bytes += static_cast<int64_t>(graph.value(input).constant->bytes().size());
  }
  if (!any) return false;
  for (const ir::ValueId output : node.outputs) {
    const int64_t bytes = static_bytes(graph.value(output).type);
    if (bytes < 0 || graph.is_output(output) || (bytes > kMaxResultBytes && bytes > input_bytes)) return false;
    if (graph.value(output).type.shape.size() > kMaxRank) return false;
  }
  return true;
}

// What a result is called: a constant that a pass moved, without a name for it, keeps the name that users know.
std::string name_of_result(const ir::Graph& graph, const ir::Node& node, ir::ValueId output) {
  const std::string& name = graph.value(output).name;
  const bool numbered =
      name.size() > 1 && name[0] == 'v' && name.find_first_not_of("0123456789", 1) == std::string::npos;
  const bool moves = node.op == "reshape" || node.op == "transpose";
  return numbered && moves ? graph.value(node.inputs[0]).name : name;
}

}  // namespace

Status fold_node(ir::Graph& graph, ir::NodeId id) {
  const ir::Node& node = graph.node(id);
  const OpSchema* schema = find_op_schema(node.op);
  if (schema == nullptr || schema->reference == nullptr) return {};
  std::vector<TensorView> inputs;
  for (const ir::ValueId input : node.inputs) {
    TensorView view;
    if (input != ir::kNone) {
      const ir::Value& value = graph.value(input);
      view = {value.type.dtype, resolve(value.type.shape, {}), value.constant->bytes().data(),
              value.type.quantization ? &*value.type.quantization : nullptr};
    }
    inputs.push_back(view);
  }
  const bool variadic = !schema->inputs.empty() && schema->inputs.back().variadic;
  if (!variadic) inputs.resize(std::max(inputs.size(), schema->inputs.size()));  // absent optional operands
  std::vector<std::shared_ptr<ir::ConstantData>> results;
  std::vector<MutableTensorView> outputs;
  for (const ir::ValueId output : node.outputs) {
    const ir::TensorType& type = graph.value(output).type;
    results.push_back(ir::ConstantData::allocate(static_cast<size_t>(static_bytes(type))));
    outputs.push_back({type.dtype, resolve(type.shape, {}), results.back()->mutable_bytes().data(),
                       type.quantization ? &*type.quantization : nullptr});
  }
  if (auto status = schema->reference(*schema, {inputs, outputs, node}); !status) {
    return with_where(status.error(), fmt::format("folding node \"{}\" ({})", node.name, node.op));
  }
  const std::vector<ir::ValueId> made = node.outputs;
  for (size_t i = 0; i < made.size(); ++i) {
    const ir::ValueId constant =
        graph.add_constant(name_of_result(graph, graph.node(id), made[i]), graph.value(made[i]).type, results[i]);
    graph.replace_uses(made[i], constant);
  }
  graph.erase_node(id);
  return {};
}

Result<PassStats> fold_constants(ir::Graph& graph) {
  PassStats stats;
  HAI_TRY(const std::vector<ir::NodeId> order, graph.ordered());
  for (const ir::NodeId id : order) {
    if (!foldable(graph, graph.node(id))) continue;
    HAI_TRY_STATUS(fold_node(graph, id));
    if (!graph.node(id).alive) ++stats.changes;
  }
  if (stats.changes > 0) graph.erase_dead();
  return stats;
}

}  // namespace hai::passes
