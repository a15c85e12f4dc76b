// Brings the graph into NHWC form: moves transposes towards the outputs until they meet their inverse and vanish.
//
// Method: importers surround spatial operators with transposes (NCHW -> NHWC -> NCHW). For an operator that reads
// P(a), where P is a transpose, and could as well work on a itself (element-wise, concat, pad, reduce, slice, split,
// softmax, reshapes that keep P's groups of axes together), the operator is applied to a with its axes rewritten, and P
// to its result. Other operands must be P(b), broadcast constants, or tensors whose inverse transpose moves only
// dimensions of one element; or they are transposed, when that leads from channels first to channels last. Pairs of
// transposes are merged, identities removed. The walk is repeated until nothing moves; transposes only ever move down,
// so it ends. Three efforts are tried, from merging alone to inserting transposes, and the one that moves the fewest
// elements is taken. Transposes that are left and keep the order of the elements become reshapes. It does not move
// transposes up, towards inputs.
#include <algorithm>
#include <numeric>
#include <set>

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
using Permutation = std::vector<int64_t>;  // output axis i is input axis permutation[i]

Permutation inverse(const Permutation& permutation) {
  Permutation result(permutation.size());
  for (size_t i = 0; i < permutation.size(); ++i) {
    result[static_cast<size_t>(permutation[i])] = static_cast<int64_t>(i);
  }
  return result;
}

bool is_identity(const Permutation& permutation) {
  for (size_t i = 0; i < permutation.size(); ++i) {
    if (permutation[i] != static_cast<int64_t>(i)) return false;
  }
  return true;
}

size_t index_of(int64_t axis, size_t rank) {
  return static_cast<size_t>(axis < 0 ? axis + static_cast<int64_t>(rank) : axis);
}

// Elements that transposes move, at batch 1: what the pass is to lessen.
int64_t moved_elements(const Graph& graph) {
  int64_t total = 0;
  for (NodeId id = 0; id < graph.node_slots(); ++id) {
    const Node& node = graph.node(id);
    if (!node.alive || node.op != "transpose" || graph.value(node.inputs[0]).is_constant()) continue;
    if (const auto count = element_count(graph.value(node.outputs[0]).type.shape)) total += count->value;
  }
  return total;
}

// A transpose that moves only dimensions of one element keeps the order of the elements: it is a reshape.
bool transpose_to_reshape(Graph& graph, NodeId id) {
  Node& node = graph.node(id);
  if (node.op != "transpose") return false;
  const ir::TensorType& type = graph.value(node.inputs[0]).type;
  if (type.quantization && !type.quantization->per_tensor()) return false;
  int64_t last = -1;
  for (const int64_t axis : node.ints_attribute("permutation")) {
    if (type.shape[static_cast<size_t>(axis)] == Dim(1)) continue;
    if (axis < last) return false;
    last = axis;
  }
  auto shape = reshape_attribute(graph.value(node.outputs[0]).type.shape);
  if (!shape) return false;
  node.op = "reshape";
  node.attributes = {{"shape", std::move(*shape)}};
  return true;
}

// How far to go: only merge pairs; also push down where that moves nothing new; also transpose another operand into
// channels-last order so that a channels-first operator can follow.
enum class Effort : uint8_t { kMerge, kPush, kInsert };

// Channels last to channels first, [N, ..., C] -> [N, C, ...], of rank 4 and 5.
bool makes_channels_first(const Permutation& permutation) {
  return permutation == Permutation{0, 3, 1, 2} || permutation == Permutation{0, 4, 1, 2, 3};
}

class Canceller {
 public:
  Canceller(Graph& graph, Effort effort) : graph_(graph), effort_(effort) {}

  Result<int64_t> run() {
    int64_t total = 0;
    for (;;) {
      HAI_TRY(const std::vector<NodeId> order, graph_.ordered());
      int64_t changes = 0;
      for (const NodeId id : order) {
        if (!graph_.node(id).alive) continue;
        HAI_TRY(const bool changed, visit(id));
        if (changed) ++changes;
      }
      graph_.erase_dead();
      total += changes;
      if (changes == 0) return total;
    }
  }

 private:
  // The transpose node that makes `value` from something that is not a constant, or null.
  const Node* transpose_of(ValueId value) const {
    const Node* node = producer_if(graph_, value, "transpose");
    return node != nullptr && !graph_.value(node->inputs[0]).is_constant() ? node : nullptr;
  }

  Result<bool> visit(NodeId id) {
    const Node& node = graph_.node(id);
    if (node.op == "transpose") return merge(id);
    if (effort_ == Effort::kMerge) return false;
    for (const ValueId input : node.inputs) {
      const Node* transpose = input == kNone ? nullptr : transpose_of(input);
      if (transpose == nullptr) continue;
      // A transpose that others read as well stays; moving a copy of it pays only when the readers' copies cancel.
      const Permutation permutation = transpose->ints_attribute("permutation");
      return push(id, permutation);
    }
    return false;
  }

  // transpose(transpose(x)) -> transpose(x), or x.
  Result<bool> merge(NodeId id) {
    const Node& node = graph_.node(id);
    const Permutation outer = node.ints_attribute("permutation");
    if (const Node* inner = producer_if(graph_, node.inputs[0], "transpose")) {
      const Permutation first = inner->ints_attribute("permutation");
      Permutation both(outer.size());
      for (size_t i = 0; i < outer.size(); ++i) both[i] = first[static_cast<size_t>(outer[i])];
      const ValueId source = inner->inputs[0];
      if (is_identity(both) && replace_node(graph_, id, source)) return true;
      graph_.set_input(id, 0, source);
      graph_.node(id).attributes["permutation"] = std::move(both);
      return true;
    }
    return is_identity(outer) && replace_node(graph_, id, node.inputs[0]);
  }

  // Node `id` reads P(a): compute it on a, and P of the result.
  Result<bool> push(NodeId id, const Permutation& permutation) {
    const std::string& op = graph_.node(id).op;
    static const std::set<std::string_view> kBinary = {"add", "sub", "mul", "div", "min", "max", "pow"};
    static const std::set<std::string_view> kUnary = {
        "relu",       "relu6", "leaky_relu", "elu",      "sigmoid",    "silu",   "hard_sigmoid", "hard_swish",
        "tanh",       "exp",   "log",        "sqrt",     "neg",        "abs",    "erf",          "gelu",
        "reciprocal", "floor", "ceil",       "round",    "softplus",   "mish",   "sin",          "cos",
        "square",     "clip",  "cast",       "quantize", "dequantize", "rescale"};
    if (!per_tensor_only(id)) return false;
    if (kUnary.contains(op)) return rebuild(id, permutation, graph_.node(id).attributes, permutation);
    if (kBinary.contains(op) || op == "prelu") return rebuild(id, permutation, graph_.node(id).attributes, permutation);
    if (op == "concat" || op == "softmax") return push_axis(id, permutation);
    if (op == "split") return push_axis(id, permutation);
    if (op == "pad") return push_pad(id, permutation);
    if (op == "slice") return push_slice(id, permutation);
    if (op.starts_with("reduce_")) return push_reduce(id, permutation);
    if (op == "reshape") return push_reshape(id, permutation);
    return false;
  }

  // Per-axis quantization of activations would need its axis rewritten, too; it does not occur outside weights.
  bool per_tensor_only(NodeId id) const {
    const Node& node = graph_.node(id);
    const auto fine = [&](ValueId value) {
      return value == kNone || !graph_.value(value).type.quantization ||
             graph_.value(value).type.quantization->per_tensor();
    };
    return std::all_of(node.inputs.begin(), node.inputs.end(), fine) &&
           std::all_of(node.outputs.begin(), node.outputs.end(), fine);
  }

  // The operand `value`, as it reads before P: a value b with P(b) == value up to broadcasting, made when needed;
  // std::nullopt when that would move elements. `check_only` makes nothing.
  Result<std::optional<ValueId>> before(ValueId value, const Permutation& permutation, bool check_only) {
    if (value == kNone) return std::optional<ValueId>(kNone);
    if (const Node* transpose = transpose_of(value)) {
      if (transpose->ints_attribute("permutation") == permutation) return std::optional<ValueId>(transpose->inputs[0]);
    }
    const ir::TensorType type = graph_.value(value).type;
    const size_t rank = permutation.size();
    const auto count = element_count(type.shape);
    if (type.shape.size() > rank || !count) return std::optional<ValueId>();
    if (*count == Dim(1) && type.shape.size() <= 1) return std::optional<ValueId>(value);
    Shape aligned(rank - type.shape.size(), Dim(1));
    aligned.insert(aligned.end(), type.shape.begin(), type.shape.end());
    const Permutation back = inverse(permutation);
    Shape wanted(rank);
    int64_t last = -1;
    bool moves = false;
    for (size_t i = 0; i < rank; ++i) {
      wanted[i] = aligned[static_cast<size_t>(back[i])];
      if (wanted[i] == Dim(1)) continue;
      moves = moves || back[i] < last;
      last = back[i];
    }
    const auto shape = reshape_attribute(moves ? aligned : wanted);
    if (!shape) return std::optional<ValueId>();
    if (moves && !graph_.value(value).is_constant()) {
      // Only in one direction, so that two operands never push each other's transposes to and fro.
      if (effort_ != Effort::kInsert || !makes_channels_first(permutation)) return std::optional<ValueId>();
      if (const ValueId there = transposed_by(value, back); there != kNone) return std::optional<ValueId>(there);
    }
    if (check_only) return std::optional<ValueId>(value);
    ValueId made = value;
    const Shape& target = moves ? aligned : wanted;
    if (target != type.shape) {
      HAI_TRY(made, ops::append_value(graph_, "reshape", {made}, {{"shape", *shape}},
                                      declare({type.dtype, target, type.quantization})));
    }
    if (moves) {
      HAI_TRY(made, ops::append_value(graph_, "transpose", {made}, {{"permutation", back}},
                                      declare({type.dtype, wanted, type.quantization})));
    }
    return std::optional<ValueId>(made);
  }

  // What an existing transpose of `value` by `permutation` gives, or kNone.
  ValueId transposed_by(ValueId value, const Permutation& permutation) const {
    for (const ir::Use& use : graph_.value(value).uses) {
      const Node& node = graph_.node(use.node);
      if (node.op == "transpose" && node.ints_attribute("permutation") == permutation) return node.outputs[0];
    }
    return kNone;
  }

  static ops::AppendOptions declare(ir::TensorType type) {
    ops::AppendOptions options;
    options.declared.emplace_back(std::move(type));
    return options;
  }

  // Appends the node again with operands before P and `attributes`, and P' = `result_permutation` on every output.
  Result<bool> rebuild(NodeId id, const Permutation& permutation, ir::Attributes attributes,
                       const Permutation& result_permutation) {
    const Node node = graph_.node(id);  // a copy: appending moves nodes
    for (const ValueId input : node.inputs) {
      HAI_TRY(const auto operand, before(input, permutation, true));
      if (!operand) return false;
    }
    std::vector<ValueId> operands;
    for (const ValueId input : node.inputs) {
      HAI_TRY(const auto operand, before(input, permutation, false));
      operands.push_back(*operand);
    }
    ops::AppendOptions options;
    options.node_name = node.name;
    options.output_count = node.outputs.size();
    const Permutation back = inverse(result_permutation);
    for (const ValueId output : node.outputs) {
      ir::TensorType type = graph_.value(output).type;
      const Shape shape = type.shape;
      for (size_t i = 0; i < shape.size(); ++i) type.shape[i] = shape[static_cast<size_t>(back[i])];
      options.declared.emplace_back(std::move(type));
    }
    HAI_TRY(const NodeId moved,
            ops::append(graph_, node.op, std::move(operands), std::move(attributes), std::move(options)));
    const std::vector<ValueId> results = graph_.node(moved).outputs;
    for (size_t i = 0; i < results.size(); ++i) {
      ValueId result = results[i];
      if (!is_identity(result_permutation)) {
        HAI_TRY(result, ops::append_value(graph_, "transpose", {result}, {{"permutation", result_permutation}},
                                          declare(graph_.value(node.outputs[i]).type)));
      }
      replace_value(graph_, node.outputs[i], result);  // fresh values can take any name
    }
    graph_.erase_node(id);
    return true;
  }

  Result<bool> push_axis(NodeId id, const Permutation& permutation) {
    ir::Attributes attributes = graph_.node(id).attributes;
    const int64_t fallback = graph_.node(id).op == "softmax" ? -1 : 0;
    const int64_t axis = graph_.node(id).int_attribute("axis", fallback);
    attributes["axis"] = permutation[index_of(axis, permutation.size())];
    if (graph_.node(id).op == "concat") {
      // Broadcasting does not apply: every operand must be P(b) itself.
      for (const ValueId input : graph_.node(id).inputs) {
        if (graph_.value(input).type.shape.size() != permutation.size()) return false;
      }
    }
    return rebuild(id, permutation, std::move(attributes), permutation);
  }

  Result<bool> push_pad(NodeId id, const Permutation& permutation) {
    const size_t rank = permutation.size();
    const auto pads = graph_.node(id).ints_attribute("pads");
    if (pads.size() != 2 * rank) return false;
    std::vector<int64_t> moved(pads.size());
    for (size_t i = 0; i < rank; ++i) {
      moved[static_cast<size_t>(permutation[i])] = pads[i];
      moved[static_cast<size_t>(permutation[i]) + rank] = pads[i + rank];
    }
    ir::Attributes attributes = graph_.node(id).attributes;
    attributes["pads"] = std::move(moved);
    return rebuild(id, permutation, std::move(attributes), permutation);
  }

  Result<bool> push_slice(NodeId id, const Permutation& permutation) {
    ir::Attributes attributes = graph_.node(id).attributes;
    auto axes = graph_.node(id).ints_attribute("axes");
    if (axes.empty()) {
      axes.resize(graph_.node(id).ints_attribute("starts").size());
      std::iota(axes.begin(), axes.end(), 0);
    }
    for (int64_t& axis : axes) axis = permutation[index_of(axis, permutation.size())];
    attributes["axes"] = std::move(axes);
    return rebuild(id, permutation, std::move(attributes), permutation);
  }

  Result<bool> push_reduce(NodeId id, const Permutation& permutation) {
    ir::Attributes attributes = graph_.node(id).attributes;
    const size_t rank = permutation.size();
    auto axes = graph_.node(id).ints_attribute("axes");
    if (axes.empty()) return false;
    std::vector<bool> reduced(rank, false);  // by axis before P
    for (int64_t& axis : axes) {
      axis = permutation[index_of(axis, rank)];
      reduced[static_cast<size_t>(axis)] = true;
    }
    std::sort(axes.begin(), axes.end());
    attributes["axes"] = std::move(axes);
    if (graph_.node(id).int_attribute("keep_dims", 1) != 0)
      return rebuild(id, permutation, std::move(attributes), permutation);
    Permutation kept;  // P without the reduced axes, renumbered
    for (const int64_t axis : permutation) {
      if (reduced[static_cast<size_t>(axis)]) continue;
      kept.push_back(axis - std::count(reduced.begin(), reduced.begin() + axis, true));
    }
    return rebuild(id, permutation, std::move(attributes), kept);
  }

  // Axes of the operand that become axes of the result, both in order; axes of one element are left out.
  struct AxisGroup {
    std::vector<size_t> in;
    std::vector<size_t> out;
  };

  // The finest such groups; std::nullopt when the shapes do not factor.
  static std::optional<std::vector<AxisGroup>> axis_groups(const Shape& in, const Shape& out) {
    const auto long_axes = [](const Shape& shape) {
      std::vector<size_t> axes;
      for (size_t i = 0; i < shape.size(); ++i) {
        if (shape[i] != Dim(1)) axes.push_back(i);
      }
      return axes;
    };
    const std::vector<size_t> in_axes = long_axes(in);
    const std::vector<size_t> out_axes = long_axes(out);
    std::vector<AxisGroup> groups;
    size_t i = 0;
    size_t o = 0;
    while (i < in_axes.size() && o < out_axes.size()) {
      AxisGroup group;
      std::optional<Dim> left = Dim(1);
      std::optional<Dim> right = Dim(1);
      do {
        const bool grow_left =
            group.in.empty() || (!group.out.empty() &&
                                 (left->value < right->value || (left->value == right->value && right->is_symbolic())));
        if (grow_left ? i == in_axes.size() : o == out_axes.size()) return std::nullopt;
        const size_t axis = grow_left ? in_axes[i++] : out_axes[o++];
        (grow_left ? group.in : group.out).push_back(axis);
        std::optional<Dim>& side = grow_left ? left : right;
        side = element_count(std::vector<Dim>{*side, (grow_left ? in : out)[axis]});
        if (!side || side->value == 0) return std::nullopt;
      } while (group.out.empty() || *left != *right);
      groups.push_back(std::move(group));
    }
    if (i != in_axes.size() || o != out_axes.size()) return std::nullopt;
    return groups;
  }

  // reshape(P(a)) -> P'(reshape'(a)) when the axes that the reshape merges or splits stand together, and in order, in
  // a. Axes of one element may stand anywhere; reshape' gives those of the result first.
  Result<bool> push_reshape(NodeId id, const Permutation& permutation) {
    const Node& node = graph_.node(id);
    const Shape in = graph_.value(node.inputs[0]).type.shape;
    const Shape out = graph_.value(node.outputs[0]).type.shape;
    auto groups = axis_groups(in, out);
    if (!groups) return false;
    std::vector<int64_t> rank_in_source(in.size(), 0);  // position of each axis of P(a) among the long axes of a
    for (size_t i = 0; i < in.size(); ++i) {
      for (size_t j = 0; j < in.size(); ++j) {
        if (in[j] != Dim(1) && permutation[j] < permutation[i]) ++rank_in_source[i];
      }
    }
    for (const AxisGroup& group : *groups) {
      for (size_t i = 1; i < group.in.size(); ++i) {
        if (rank_in_source[group.in[i]] != rank_in_source[group.in[i - 1]] + 1) return false;
      }
    }
    std::sort(groups->begin(), groups->end(), [&](const AxisGroup& a, const AxisGroup& b) {
      return rank_in_source[a.in[0]] < rank_in_source[b.in[0]];
    });
    Shape before_shape;
    Permutation result(out.size());
    const auto append = [&](size_t axis) {
      result[axis] = static_cast<int64_t>(before_shape.size());
      before_shape.push_back(out[axis]);
    };
    for (size_t o = 0; o < out.size(); ++o) {
      if (out[o] == Dim(1)) append(o);
    }
    for (const AxisGroup& group : *groups) {
      for (const size_t o : group.out) append(o);
    }
    auto shape = reshape_attribute(before_shape);
    if (!shape) return false;
    return rebuild(id, permutation, {{"shape", std::move(*shape)}}, result);
  }

  Graph& graph_;
  Effort effort_;
};

}  // namespace

Result<PassStats> cancel_transposes(Graph& graph) {
  int64_t least = moved_elements(graph);
  if (least == 0) return PassStats{};
  PassStats stats;
  std::optional<Graph> best;
  for (const Effort effort : {Effort::kMerge, Effort::kPush, Effort::kInsert}) {
    Graph changed = graph;
    HAI_TRY(const int64_t changes, Canceller(changed, effort).run());
    const int64_t moved = moved_elements(changed);
    if (changes == 0 || moved > least) continue;
    least = moved;
    stats.changes = changes;
    best = std::move(changed);
  }
  if (best) graph = std::move(*best);
  for (NodeId id = 0; id < graph.node_slots(); ++id) {
    if (graph.node(id).alive && transpose_to_reshape(graph, id)) ++stats.changes;
  }
  return stats;
}

}  // namespace hai::passes
