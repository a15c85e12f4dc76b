// The plan of a quantization, from the shape of the graph alone.
//
// Method: an operator becomes integer when it has an integer form, when some matrix product or convolution comes before
// it (what precedes the first one is input scaling) and when one comes after it (what follows the last one is box
// decoding, soft-max, ...: cheap, and 8 bits there cost accuracy). A last convolution or matrix product is integer
// inside, and hands out its 32-bit sums as f32. Movers join the integers when both sides gain. Attention, a product of
// two tensors and the softmax whose shares it mixes, is integer between layers of 8 bits; any other softmax is f32 (one
// that decodes boxes would read rounded logits). Groups: a clamp's input that nothing else reads takes the clamp's
// quantization (then the clamp needs no rounding of its own); movers keep their input's; a concatenation's input that
// nothing else reads takes the result's.
//
// Layers of f16 are borders to all of that: what lies between them is f16 (choose_half_nodes).
//
// Widths: a layer of 16-bit activations widens what it reads and writes; functions of one tensor and movers hand the
// wish on to what they read, the others do not (one wide layer would widen a whole residual stream); what lies between
// layers of 16 bits only (additions, pools, the inside of a normalization) has 16 bits. The result of an 8-bit layer
// that only functions read, or that one addition reads, never has to be stored in 8 bits: it is rounded to 16 on its
// way there.
#include "quantizer/plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <set>
#include <string_view>

#include "passes/trainable_parameters.h"
#include "types/arithmetic.h"

namespace hai::quantizer {
namespace {

template <size_t N>
bool one_of(const std::array<std::string_view, N>& names, std::string_view name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

constexpr std::array<std::string_view, 3> kMacs = {"conv2d", "conv_transpose2d", "matmul"};
constexpr std::array<std::string_view, 3> kClamps = {"relu", "relu6", "clip"};
constexpr std::array<std::string_view, 7> kMovers = {"reshape",  "transpose", "slice",     "split",
                                                     "max_pool", "gather",    "reduce_max"};
constexpr std::array<std::string_view, 4> kSums = {"add", "sub", "mul", "average_pool"};
constexpr std::array<std::string_view, 22> kTables = {
    "leaky_relu", "elu",  "sigmoid",    "silu",   "hard_sigmoid", "hard_swish", "tanh", "exp",
    "log",        "sqrt", "reciprocal", "neg",    "abs",          "erf",        "gelu", "softplus",
    "mish",       "sin",  "cos",        "square", "floor",        "ceil"};

// Sums of more products of 8 bits may leave 32 (docs/reference/arithmetic.md).
constexpr int64_t kLongestProduct = 33025;

bool constant_weights(const ir::Graph& graph, const ir::Node& node) {
  return node.inputs.size() >= 2 && node.inputs[1] != ir::kNone && graph.value(node.inputs[1]).is_constant() &&
         (node.inputs.size() < 3 || node.inputs[2] == ir::kNone || graph.value(node.inputs[2]).is_constant()) &&
         node.inputs.size() < 4;
}

bool all_f32(const ir::Graph& graph, const ir::Node& node) {
  const auto is_f32 = [&](ir::ValueId id) { return id == ir::kNone || graph.value(id).type.dtype == DataType::kF32; };
  return std::all_of(node.outputs.begin(), node.outputs.end(), is_f32) && !node.inputs.empty() &&
         is_f32(node.inputs[0]);
}

// matmul of two tensors that both vary, with nothing else.
bool is_product_of_tensors(const ir::Graph& graph, const ir::Node& node) {
  if (node.op != "matmul" || node.inputs.size() != 2 || node.string_attribute("activation", "none") != "none") {
    return false;
  }
  const auto varies = [&](ir::ValueId id) {
    return !graph.value(id).is_constant() && graph.value(id).type.dtype == DataType::kF32;
  };
  const Shape& a = graph.value(node.inputs[0]).type.shape;
  return varies(node.inputs[0]) && varies(node.inputs[1]) && a.back().value <= kLongestProduct;
}

// All that reads the value, through movers that keep its elements, are products of tensors.
bool only_products_read(const ir::Graph& graph, ir::ValueId value) {
  const auto& uses = graph.value(value).uses;
  return !uses.empty() && !graph.is_output(value) && std::all_of(uses.begin(), uses.end(), [&](const ir::Use& use) {
    const ir::Node& reader = graph.node(use.node);
    if (is_product_of_tensors(graph, reader)) return true;
    return (reader.op == "reshape" || reader.op == "transpose") && only_products_read(graph, reader.outputs[0]);
  });
}

bool is_integer_layer_norm(const ir::Graph& graph, const ir::Node& node) {
  const auto is_constant = [&](ir::ValueId id) { return id == ir::kNone || graph.value(id).is_constant(); };
  return node.op == "layer_norm" && std::all_of(node.inputs.begin() + 1, node.inputs.end(), is_constant) &&
         graph.value(node.inputs[0]).type.shape.back().value <= HAI_LAYER_NORM_MAX;
}

// A float constant operand of an addition or product would be quantized with one scale for all its elements.
bool has_usable_operands(const ir::Graph& graph, const ir::Node& node) {
  return std::all_of(node.inputs.begin(), node.inputs.end(),
                     [&](ir::ValueId id) { return id != ir::kNone && graph.value(id).type.dtype == DataType::kF32; });
}

// Operators between layers of f16 that have a form in f16 on every device.
bool has_half_form(const ir::Graph& graph, const ir::Node& node) {
  constexpr std::array<std::string_view, 7> kMoves = {"reshape",  "transpose", "slice", "split",
                                                      "max_pool", "concat",    "pad"};
  if (!all_f32(graph, node)) return false;
  if (node.op == "add" || node.op == "sub" || node.op == "mul") return has_usable_operands(graph, node);
  if (node.op == "pad") return node.string_attribute("mode", "constant") == "constant";
  if (node.op == "resize") return node.string_attribute("mode", "nearest") == "nearest";
  if (node.op == "average_pool" || node.op == "reduce_mean") return true;
  return one_of(kMoves, node.op) || one_of(kClamps, node.op) || one_of(kTables, node.op);
}

std::string first_of(const std::vector<std::string_view>& names) {
  constexpr size_t kShown = 12;
  std::string text;
  for (size_t i = 0; i < std::min(names.size(), kShown); ++i) text += (i == 0 ? "" : ", ") + std::string(names[i]);
  return names.size() > kShown ? text + fmt::format(", and {} more", names.size() - kShown) : text;
}

class Planner {
 public:
  Planner(const ir::Graph& graph, std::vector<ir::NodeId> order) : graph_(graph), order_(std::move(order)) {
    const size_t nodes = graph.node_slots();
    plan_.roles.assign(nodes, Role::kFloat);
    plan_.integer.assign(nodes, false);
    plan_.float_result.assign(nodes, false);
    plan_.weight_only.assign(nodes, false);
    plan_.half.assign(nodes, false);
    kept_.assign(nodes, false);
    before_mac_.assign(graph.value_slots(), false);
    before_half_.assign(graph.value_slots(), false);
    plan_.precision.resize(nodes);
    plan_.bits.assign(graph.value_slots(), 8);
    plan_.group.resize(graph.value_slots());
    for (size_t i = 0; i < plan_.group.size(); ++i) plan_.group[i] = static_cast<uint32_t>(i);
    plan_.observed.assign(graph.value_slots(), false);
    plan_.point.assign(graph.value_slots(), false);
    plan_.trained.assign(nodes, false);
    plan_.trained_range.assign(graph.value_slots(), false);
  }

  void mark_trained(const std::set<std::string>& values) {
    for (const ir::NodeId id : order_) {
      const auto& outputs = graph_.node(id).outputs;
      plan_.trained[id] = std::any_of(outputs.begin(), outputs.end(),
                                      [&](ir::ValueId value) { return values.contains(graph_.value(value).name); });
    }
  }

  // After check_names. Importers give all nodes that an operator becomes its name.
  void assign_roles(const QuantizeOptions& options, const std::map<ir::NodeId, Precision>& chosen) {
    for (const ir::NodeId id : order_) {
      plan_.roles[id] = role_of(graph_, graph_.node(id));
      // Their operands have 8 bits, which layers of 16 are not to be cut down to.
      if (options.precision.activation_bits == 16 && takes_bytes(graph_.node(id).op) &&
          plan_.roles[id] == Role::kArithmetic) {
        plan_.roles[id] = Role::kFloat;
      }
      if (plan_.roles[id] != Role::kMac) continue;
      const auto own = options.layers.find(graph_.node(id).name);
      assign_precision(id, own != options.layers.end() ? own->second : options.precision);
    }
    for (const auto& [id, precision] : chosen) assign_precision(id, precision);
    for (const std::string& name : options.keep_float) {
      for (const ir::NodeId id : order_) {
        if (graph_.node(id).name == name) keep_float(id);
      }
    }
  }

  void choose_integer_nodes() {
    const std::vector<bool> after_mac = find_after_mac();
    find_before();
    for (const ir::NodeId id : order_) {
      const ir::Node& node = graph_.node(id);
      const Role role = plan_.roles[id];
      if (role == Role::kFloat) continue;
      if (role == Role::kMac) {
        plan_.integer[id] = true;
        continue;
      }
      // Movers at the start pay too: they then move bytes, not floats.
      const bool after = role == Role::kMover || role == Role::kConcat || after_mac[node.outputs[0]];
      plan_.integer[id] = (any_of_outputs(node, before_mac_) && after) ||
                          (any_of_outputs(node, before_half_) && after_mac[node.outputs[0]]);
    }
    drop_lonely_movers();
    choose_half_nodes();
    for (const ir::NodeId id : order_) {
      plan_.float_result[id] =
          plan_.roles[id] == Role::kMac && plan_.integer[id] && !read_by_integer(graph_.node(id).outputs[0]);
    }
  }

  void choose_groups() {
    // Against the order, so that a chain ends at its last tensor: conv -> relu -> (concat) follows to the concat's
    // result.
    for (auto it = order_.rbegin(); it != order_.rend(); ++it) {
      const ir::Node& node = graph_.node(*it);
      if (!plan_.integer[*it]) continue;
      switch (plan_.roles[*it]) {
        case Role::kClamp:
          follow_when_alone(node.inputs[0], node.outputs[0]);
          break;
        case Role::kConcat:
          for (const ir::ValueId input : node.inputs) follow_when_alone(input, node.outputs[0]);
          break;
        default:
          break;
      }
    }
    // In order: what a mover hands out has the quantization of what it reads.
    for (const ir::NodeId id : order_) {
      const ir::Node& node = graph_.node(id);
      if (!plan_.integer[id] || plan_.roles[id] != Role::kMover) continue;
      for (const ir::ValueId output : node.outputs) {
        if (plan_.group[output] == output) {
          plan_.group[output] = plan_.group[node.inputs[0]];
        } else {
          redirect(plan_.group[node.inputs[0]],
                   plan_.group[output]);  // the result already follows a later tensor: so does the source
        }
      }
    }
  }

  void choose_watched() {
    for (const ir::NodeId id : order_) {
      const ir::Node& node = graph_.node(id);
      if (!plan_.integer[id]) continue;
      const size_t data_inputs =
          plan_.roles[id] == Role::kMac || plan_.roles[id] == Role::kMover ? 1 : data_operands(node);
      for (size_t i = 0; i < data_inputs; ++i) watch(node.inputs[i]);
      if (plan_.float_result[id]) continue;
      for (const ir::ValueId output : node.outputs) watch(output);
    }
    for (ir::ValueId id = 0; id < plan_.observed.size(); ++id) {
      if (plan_.observed[id]) plan_.watched.push_back(id);
    }
    for (const ir::NodeId id : order_) {
      if (!plan_.trained[id] || !plan_.integer[id]) continue;
      for (const ir::ValueId output : graph_.node(id).outputs) plan_.trained_range[plan_.group[output]] = true;
    }
  }

  // After choose_groups. Against the order, since wishes go from a tensor to what it is made of.
  void choose_bits() {
    for (const ir::NodeId id : order_) {
      if (!plan_.integer[id] || plan_.roles[id] != Role::kMac || plan_.precision[id].activation_bits != 16) continue;
      widen(graph_.node(id).inputs[0]);
      if (!plan_.float_result[id]) widen(graph_.node(id).outputs[0]);
    }
    widen_between_wide_layers();
    for (auto it = order_.rbegin(); it != order_.rend(); ++it) {
      const ir::Node& node = graph_.node(*it);
      if (!plan_.integer[*it] || plan_.roles[*it] == Role::kMac) continue;
      const bool wide = std::any_of(node.outputs.begin(), node.outputs.end(),
                                    [&](ir::ValueId value) { return plan_.bits_of(value) == 16; });
      if (!wide) continue;
      const bool joins = plan_.roles[*it] == Role::kConcat || (one_of(kSums, node.op) && node.op != "average_pool") ||
                         node.op == "layer_norm" || takes_bytes(node.op);
      if (!joins) widen(node.inputs[0]);
    }
  }

  // After choose_bits.
  void choose_points() {
    std::vector<uint32_t> members(plan_.group.size(), 0);
    for (const uint32_t group : plan_.group) ++members[group];
    std::vector<size_t> layer(graph_.value_slots(),
                              kNoLayer);  // by value: position of the layer whose epilogue makes it
    for (size_t i = 0; i < order_.size(); ++i) {
      const ir::NodeId id = order_[i];
      const ir::Node& node = graph_.node(id);
      if (!plan_.integer[id] || node.outputs.size() != 1) continue;
      const ir::ValueId result = node.outputs[0];
      const bool free = members[plan_.group[result]] == 1 && plan_.bits_of(result) == 8 && !graph_.is_output(result);
      if (plan_.roles[id] == Role::kMac) {
        const bool narrow = plan_.precision[id].activation_bits == 8 && !plan_.float_result[id];
        if (!narrow || !free) continue;
        layer[result] = i;
        if (read_by_functions(result)) make_point(result);
      } else if (is_table(node.op)) {
        const ir::ValueId x = node.inputs[0];
        if (free && plan_.point[plan_.group[x]] && graph_.value(x).uses.size() == 1) layer[result] = layer[x];
      } else if (node.op == "add") {
        choose_point_of_sum(node, layer);
      }
    }
  }

  // After all choices, which are those of the whole model: what a training reaches computes in f32, and reads the
  // frozen part's integers through a dequantize.
  void leave_float(const std::vector<bool>& trained) {
    for (const ir::NodeId id : order_) {
      if (!trained[id]) continue;
      plan_.integer[id] = plan_.half[id] = plan_.weight_only[id] = plan_.float_result[id] = false;
      plan_.roles[id] = Role::kFloat;
    }
    plan_.observed.assign(graph_.value_slots(), false);
    plan_.watched.clear();
    choose_watched();
  }

  Plan take() { return std::move(plan_); }

 private:
  static constexpr size_t kNoLayer = SIZE_MAX;

  void keep_float(ir::NodeId id) {
    plan_.roles[id] = Role::kFloat;
    plan_.weight_only[id] = false;
    plan_.half[id] = false;
    kept_[id] = true;
  }

  bool any_of_outputs(const ir::Node& node, const std::vector<bool>& values) const {
    return std::any_of(node.outputs.begin(), node.outputs.end(), [&](ir::ValueId v) { return values[v]; });
  }

  // Values behind some integer layer, with no layer of f16 between.
  std::vector<bool> find_after_mac() const {
    std::vector<bool> after_mac(graph_.value_slots(), false);
    for (const ir::NodeId id : order_) {
      const ir::Node& node = graph_.node(id);
      bool after = plan_.roles[id] == Role::kMac;
      for (const ir::ValueId input : node.inputs)
        after = after || (!plan_.half[id] && input != ir::kNone && after_mac[input]);
      for (const ir::ValueId output : node.outputs) after_mac[output] = after;
    }
    return after_mac;
  }

  // Values that some integer layer, or some layer of f16, reads, directly or through what is neither.
  void find_before() {
    for (auto it = order_.rbegin(); it != order_.rend(); ++it) {
      const ir::Node& node = graph_.node(*it);
      const bool layer = plan_.half[*it] || plan_.roles[*it] == Role::kMac;
      const bool before = plan_.roles[*it] == Role::kMac || (!layer && any_of_outputs(node, before_mac_));
      const bool before_half = plan_.half[*it] || (!layer && any_of_outputs(node, before_half_));
      for (const ir::ValueId input : node.inputs) {
        if (input == ir::kNone) continue;
        before_mac_[input] = before_mac_[input] || before;
        before_half_[input] = before_half_[input] || before_half;
      }
    }
  }

  // What lies between layers of f16, or between them and integer ones, and reads nothing but f16, is f16 itself; behind
  // the last layer (decoding of boxes, ...) numbers are f32.
  void choose_half_nodes() {
    std::vector<bool> is_half(graph_.value_slots(), false);
    for (const ir::NodeId id : order_) {
      const ir::Node& node = graph_.node(id);
      const bool between = any_of_outputs(node, before_mac_) || any_of_outputs(node, before_half_);
      if (!plan_.half[id] && !plan_.integer[id] && !kept_[id] && between) {
        const bool reads_half = std::all_of(node.inputs.begin(), node.inputs.end(), [&](ir::ValueId v) {
          return v == ir::kNone || is_half[v] || graph_.value(v).is_constant();
        });
        plan_.half[id] = reads_half && has_half_form(graph_, node);
      }
      for (const ir::ValueId output : node.outputs) is_half[output] = plan_.half[id];
    }
  }

  void assign_precision(ir::NodeId id, const Precision& precision) {
    plan_.precision[id] = precision;
    plan_.half[id] = precision.is_half && graph_.node(id).op != "conv_transpose2d";
    if (!precision.is_float && !precision.is_half && !precision.weight_only()) return;
    plan_.roles[id] = Role::kFloat;
    // conv_transpose2d has no weight-only form: it stays f32.
    plan_.weight_only[id] = precision.weight_only() && graph_.node(id).op != "conv_transpose2d";
  }

  // An epilogue adds one tensor to its layer's result: of two layers the later one (passes/fuse_conv_residual.cpp).
  void choose_point_of_sum(const ir::Node& node, const std::vector<size_t>& layer) {
    const ir::ValueId a = node.inputs[0];
    const ir::ValueId b = node.inputs[1];
    const bool plain = a != b && plan_.bits_of(node.outputs[0]) == 8 && !graph_.value(a).is_constant() &&
                       !graph_.value(b).is_constant() && graph_.value(a).type.shape == graph_.value(b).type.shape;
    if (!plain) return;
    const auto candidate = [&](ir::ValueId value) {
      return layer[value] != kNoLayer && !plan_.point[plan_.group[value]] && graph_.value(value).uses.size() == 1;
    };
    if (candidate(a) && (!candidate(b) || layer[a] > layer[b])) {
      make_point(a);
    } else if (candidate(b)) {
      make_point(b);
    }
  }

  void make_point(ir::ValueId value) {
    widen(value);
    plan_.point[plan_.group[value]] = true;
  }

  // By integer functions of it alone, whose results have 8 bits.
  bool read_by_functions(ir::ValueId value) const {
    const auto& uses = graph_.value(value).uses;
    return !uses.empty() && std::all_of(uses.begin(), uses.end(), [&](const ir::Use& use) {
      const ir::Node& reader = graph_.node(use.node);
      return plan_.integer[use.node] && is_table(reader.op) && plan_.bits_of(reader.outputs[0]) == 8;
    });
  }

  // Whether a layer asks for 8 bits where it reads and writes; layers in f32 ask for nothing.
  bool is_narrow_layer(ir::NodeId id) const {
    return plan_.integer[id] && plan_.roles[id] == Role::kMac && plan_.precision[id].activation_bits == 8;
  }

  // What no layer of 8 bits makes or reads, directly or through other operators.
  void widen_between_wide_layers() {
    std::vector<bool> narrow_before(graph_.value_slots(), false);
    std::vector<bool> narrow_behind(graph_.value_slots(), false);
    const auto is_layer = [&](ir::NodeId id) { return role_of(graph_, graph_.node(id)) == Role::kMac; };
    for (const ir::NodeId id : order_) {
      const ir::Node& node = graph_.node(id);
      bool narrow = is_narrow_layer(id);
      for (const ir::ValueId input : node.inputs)
        narrow = narrow || (!is_layer(id) && input != ir::kNone && narrow_before[input]);
      for (const ir::ValueId output : node.outputs) narrow_before[output] = narrow;
    }
    for (auto it = order_.rbegin(); it != order_.rend(); ++it) {
      const ir::Node& node = graph_.node(*it);
      bool narrow = is_narrow_layer(*it);
      for (const ir::ValueId output : node.outputs) narrow = narrow || (!is_layer(*it) && narrow_behind[output]);
      for (const ir::ValueId input : node.inputs) {
        if (input != ir::kNone && narrow) narrow_behind[input] = true;
      }
    }
    for (const ir::NodeId id : order_) {
      if (!plan_.integer[id] || plan_.roles[id] == Role::kMac) continue;
      for (const ir::ValueId value : graph_.node(id).outputs) {
        if (!narrow_before[value] && !narrow_behind[value]) widen(value);
      }
    }
  }

  void widen(ir::ValueId value) {
    if (value != ir::kNone) plan_.bits[plan_.group[value]] = 16;
  }

  bool read_by_integer(ir::ValueId value) const {
    const auto& uses = graph_.value(value).uses;
    return std::any_of(uses.begin(), uses.end(), [&](const ir::Use& use) { return plan_.integer[use.node]; });
  }

  // Or by a layer of f16, which would rather move bytes than be handed f32.
  bool read_by_layer(ir::ValueId value) const {
    const auto& uses = graph_.value(value).uses;
    return read_by_integer(value) ||
           std::any_of(uses.begin(), uses.end(), [&](const ir::Use& use) { return plan_.half[use.node]; });
  }

  // A mover or a clamp that only f32 operators read gains nothing as an integer, and a layer that is f32 to lose
  // nothing would read rounded numbers. Goes on until nothing changes, since chains fall one by one.
  void drop_lonely_movers() {
    for (bool changed = true; changed;) {
      changed = false;
      for (const ir::NodeId id : order_) {
        const Role role = plan_.roles[id];
        if (!plan_.integer[id] || (role != Role::kMover && role != Role::kConcat && role != Role::kClamp)) continue;
        const auto& outputs = graph_.node(id).outputs;
        if (std::any_of(outputs.begin(), outputs.end(), [&](ir::ValueId v) { return read_by_layer(v); })) continue;
        plan_.integer[id] = false;
        changed = true;
      }
    }
  }

  void redirect(uint32_t from, uint32_t to) {
    if (from == to) return;
    for (uint32_t& group : plan_.group) {
      if (group == from) group = to;
    }
  }

  void follow_when_alone(ir::ValueId value, ir::ValueId leader) {
    const ir::Value& follower = graph_.value(value);
    if (follower.is_constant() || follower.uses.size() != 1 || graph_.is_output(value) || graph_.is_input(value))
      return;
    if (follower.producer == ir::kNone || !plan_.integer[follower.producer]) return;
    // A range that a training moves must not take along a layer that stays.
    const ir::NodeId leading = graph_.value(leader).producer;
    if (leading != ir::kNone && plan_.trained[leading] && !plan_.trained[follower.producer]) return;
    // A mover takes its source along: only when nothing else lives on the source's finer scale.
    if (plan_.roles[follower.producer] == Role::kMover) {
      const ir::Node& mover = graph_.node(follower.producer);
      const ir::Value& source = graph_.value(mover.inputs[0]);
      if (mover.outputs.size() != 1 || source.uses.size() != 1 || source.producer == ir::kNone ||
          graph_.is_output(mover.inputs[0]))
        return;
    }
    redirect(plan_.group[value], plan_.group[leader]);
  }

  void watch(ir::ValueId value) {
    if (value == ir::kNone || graph_.value(value).is_constant()) return;
    plan_.observed[plan_.group[value]] = true;
  }

  const ir::Graph& graph_;
  std::vector<ir::NodeId> order_;
  Plan plan_;
  std::vector<bool> kept_;                      // by node slot: the caller keeps it in f32
  std::vector<bool> before_mac_, before_half_;  // by value slot: find_before()
};

}  // namespace

bool is_table(std::string_view op) { return one_of(kTables, op); }

bool takes_mixed_widths(std::string_view op) {
  return is_table(op) || (one_of(kSums, op) && op != "average_pool") || op == "layer_norm";
}

bool takes_bytes(std::string_view op) { return op == "softmax" || op == "matmul"; }

size_t data_operands(const ir::Node& node) { return node.op == "layer_norm" ? 1 : node.inputs.size(); }

Role role_of(const ir::Graph& graph, const ir::Node& node) {
  if (!all_f32(graph, node)) return Role::kFloat;
  if (one_of(kMacs, node.op)) {
    const bool plain = node.string_attribute("activation", "none") == "none";  // the canonical form has nothing fused
    if (plain && constant_weights(graph, node)) return Role::kMac;
    return is_product_of_tensors(graph, node) ? Role::kArithmetic : Role::kFloat;
  }
  if (one_of(kClamps, node.op)) return Role::kClamp;
  if (one_of(kMovers, node.op)) return Role::kMover;
  if (node.op == "concat") return has_usable_operands(graph, node) ? Role::kConcat : Role::kFloat;
  if (one_of(kSums, node.op)) return has_usable_operands(graph, node) ? Role::kArithmetic : Role::kFloat;
  if (node.op == "softmax") return only_products_read(graph, node.outputs[0]) ? Role::kArithmetic : Role::kFloat;
  if (node.op == "layer_norm") return is_integer_layer_norm(graph, node) ? Role::kArithmetic : Role::kFloat;
  if (one_of(kTables, node.op) || node.op == "reduce_mean") return Role::kArithmetic;
  if (node.op == "resize")
    return node.string_attribute("mode", "nearest") == "nearest" ? Role::kMover : Role::kArithmetic;
  if (node.op == "pad") {
    return node.string_attribute("mode", "constant") != "constant" || node.float_attribute("value", 0.0) == 0.0
               ? Role::kMover
               : Role::kFloat;
  }
  return Role::kFloat;
}

Status check_names(const ir::Graph& graph, const QuantizeOptions& options) {
  HAI_TRY(const std::vector<ir::NodeId> order, graph.ordered());
  std::set<std::string_view> names;
  std::vector<std::string_view> layers;
  for (const ir::NodeId id : order) {
    const ir::Node& node = graph.node(id);
    names.insert(node.name);
    if (role_of(graph, node) == Role::kMac) layers.push_back(node.name);
  }
  for (const auto& [name, precision] : options.layers) {
    if (std::find(layers.begin(), layers.end(), name) != layers.end()) continue;
    return make_error(StatusCode::kNotFound, "Q011",
                      "no layer is called \"{}\", so it cannot be given {}; layers are convolutions and products "
                      "with constant weights: {}",
                      name, to_string(precision), first_of(layers));
  }
  for (const std::string& name : options.keep_float) {
    if (names.contains(name)) continue;
    return make_error(StatusCode::kNotFound, "Q010",
                      "no node is called \"{}\", so it cannot be kept in f32; the report lists the names", name);
  }
  return {};
}

Result<Plan> make_plan(const ir::Graph& graph, const QuantizeOptions& options,
                       const std::map<ir::NodeId, Precision>& chosen) {
  HAI_TRY_STATUS(check_names(graph, options));
  HAI_TRY(std::vector<ir::NodeId> order, graph.ordered());
  Planner planner(graph, std::move(order));
  planner.mark_trained(options.trained_values);
  planner.assign_roles(options, chosen);
  planner.choose_integer_nodes();
  planner.choose_groups();
  planner.choose_bits();
  if (options.wide_points) planner.choose_points();
  planner.choose_watched();
  if (options.trainable.empty()) return planner.take();
  HAI_TRY(const std::vector<passes::Parameter> parameters, passes::trainable_parameters(graph, options.trainable));
  HAI_TRY(const std::vector<bool> trained, passes::trained_nodes(graph, parameters));
  planner.leave_float(trained);
  return planner.take();
}

}  // namespace hai::quantizer
