// Turns constant rows that are joined to a tensor, and a constant that is then added to all of them, into a pad and one
// addition: concat([c, x]) + p becomes pad(x) + p', where p' is p with c added in its rows.
//
// A vision transformer's class token and position embedding. The sums are the same f32 sums, bit for bit (zeros of
// either sign aside), so the pass may run on any float graph; integer graphs have rounding points and stay. Constants
// may stand behind an expand over the batch. Only one operand varies, and only the axis that is joined grows.
#include <algorithm>

#include "ops/build.h"
#include "passes/passes.h"
#include "passes/rewrite.h"

namespace hai::passes {
namespace {

using ir::Graph;
using ir::kNone;
using ir::Node;
using ir::NodeId;
using ir::ValueId;

// A constant, itself or behind an expand over the batch, of x's shape but for the batch and the joined axis; kNone.
ValueId constant_rows(const Graph& graph, ValueId value, const Shape& x, size_t axis) {
  if (const Node* expand = producer_if(graph, value, "expand")) value = expand->inputs[0];
  const ir::Value& rows = graph.value(value);
  if (!rows.is_constant() || rows.type.dtype != DataType::kF32 || rows.type.shape.size() != x.size()) return kNone;
  for (size_t i = 0; i < x.size(); ++i) {
    if (i == axis ? rows.type.shape[i].is_symbolic() : rows.type.shape[i] != (i == 0 ? Dim(1) : x[i])) return kNone;
  }
  return value;
}

struct Join {
  ValueId x = kNone;
  size_t axis = 0;
  int64_t before = 0, after = 0;   // rows of constants
  std::vector<ValueId> constants;  // in order, kNone in the place of x
};

std::optional<Join> match(const Graph& graph, const Node& concat) {
  Join out;
  const Shape& y = graph.value(concat.outputs[0]).type.shape;
  const int64_t axis = concat.int_attribute("axis", 0);
  out.axis = static_cast<size_t>(axis < 0 ? axis + static_cast<int64_t>(y.size()) : axis);
  if (out.axis == 0) return std::nullopt;
  if (std::any_of(y.begin() + 1, y.end(), [](Dim dim) { return dim.is_symbolic(); })) return std::nullopt;
  for (const ValueId input : concat.inputs) {
    const ValueId rows = constant_rows(graph, input, y, out.axis);
    out.constants.push_back(rows);
    if (rows != kNone) {
      (out.x == kNone ? out.before : out.after) += graph.value(rows).type.shape[out.axis].value;
    } else if (out.x != kNone) {
      return std::nullopt;
    } else {
      out.x = input;
    }
  }
  const bool joins = out.x != kNone && out.before + out.after > 0;
  return joins ? std::optional(out) : std::nullopt;
}

// The addition of a constant, one for all samples, that alone reads `joined`; and that constant.
struct Addition {
  NodeId node = kNone;
  ValueId addend = kNone;
};

Addition addition_after(const Graph& graph, ValueId joined) {
  const NodeId id = sole_reader(graph, joined);
  if (id == kNone || graph.node(id).op != "add") return {};
  const ValueId addend = graph.node(id).inputs[graph.node(id).inputs[0] == joined ? 1 : 0];
  const ir::Value& value = graph.value(addend);
  const Shape& y = graph.value(joined).type.shape;
  const bool fits =
      value.is_constant() && value.type.dtype == DataType::kF32 &&
      (value.type.shape.size() < y.size() || (value.type.shape.size() == y.size() && value.type.shape[0] == Dim(1))) &&
      graph.value(graph.node(id).outputs[0]).type.shape == y;
  return fits ? Addition{id, addend} : Addition{};
}

// The constants in their rows, zeros in those of x, plus the addend: for fold_constants.
Result<ValueId> add_rows(Graph& graph, const Join& join, ValueId addend) {
  Shape shape = graph.value(join.x).type.shape;
  shape[0] = Dim(1);
  const Dims dims = resolve(shape, {});
  const std::vector<float> zeros(static_cast<size_t>(dims.count()), 0.0F);
  std::vector<ValueId> rows = join.constants;
  std::replace(rows.begin(), rows.end(), kNone, ops::add_constant_f32(graph, "zeros", dims.view(), zeros));
  HAI_TRY(const ValueId joined,
          ops::append_value(graph, "concat", std::move(rows), {{"axis", static_cast<int64_t>(join.axis)}}));
  return ops::append_value(graph, "add", {joined, addend});
}

}  // namespace

Result<PassStats> join_constant_rows(Graph& graph) {
  PassStats stats;
  HAI_TRY(const std::vector<NodeId> order, graph.ordered());
  for (const NodeId id : order) {
    if (!graph.node(id).alive || graph.node(id).op != "concat") continue;
    const ValueId result = graph.node(id).outputs[0];
    if (graph.value(result).type.dtype != DataType::kF32) continue;
    const auto join = match(graph, graph.node(id));
    const Addition addition = join ? addition_after(graph, result) : Addition{};
    if (addition.node == kNone) continue;
    HAI_TRY(const ValueId rows, add_rows(graph, *join, addition.addend));
    const size_t rank = graph.value(result).type.shape.size();
    std::vector<int64_t> pads(2 * rank, 0);
    pads[join->axis] = join->before;
    pads[rank + join->axis] = join->after;
    ops::AppendOptions pad_options;
    pad_options.node_name = graph.node(id).name;
    HAI_TRY(const ValueId padded,
            ops::append_value(graph, "pad", {join->x}, {{"pads", std::move(pads)}}, std::move(pad_options)));
    ops::AppendOptions options;
    options.node_name = graph.node(addition.node).name;
    HAI_TRY(const ValueId sum, ops::append_value(graph, "add", {padded, rows}, {}, std::move(options)));
    if (replace_node(graph, addition.node, sum)) ++stats.changes;
  }
  graph.erase_dead();
  return stats;
}

}  // namespace hai::passes
