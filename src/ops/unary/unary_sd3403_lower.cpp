// Unary functions on the NPU: a table of all integers of a quantized tensor, a real function of f16.
//
// A tensor of 16 bits that comes from 8 bits by functions alone has a table over those (lower/chain.h); else its table
// leaves out its constant ends, and a function that has none stays on the CPU.
#include <fmt/format.h>

#include "devices/sd3403/lower/chain.h"
#include "devices/sd3403/lower/constants.h"
#include "devices/sd3403/lower/half.h"
#include "types/half.h"
#include "types/unary_functions.h"

namespace hai::sd3403 {
namespace {

// Of a core's weight cache of 128 KiB, so that something else may be there.
constexpr int64_t kMostTableBytes = 81920;

// Of the node; relu and relu6 as clamps.
Activation activation_of(const ir::Node& node) {
  Activation out;
  if (node.op == "relu" || node.op == "relu6") {
    out.lo = 0.0;
    if (node.op == "relu6") out.hi = 6.0;
    return out;
  }
  out.function = *find_unary_function(node.op);
  const UnaryFunction& row = unary_functions()[static_cast<size_t>(out.function)];
  out.alpha = node.float_attribute("alpha", row.alpha);
  out.beta = node.float_attribute("beta", row.beta);
  return out;
}

Status check_half_function(const ir::Graph&, const ir::Node& node) {
  const Activation activation = activation_of(node);
  if (activation.is_clamp() || real_function_of(activation)) return {};
  return refuse(node, "a function that it does not have in f16, or parameters that are no f32");
}

Combine combine_halves(const Activation& activation) {
  Combine c;
  if (activation.is_clamp()) {
    const HalfBounds bounds = half_bounds(activation);
    c.arithmetic = kRescale;
    c.least = half_of(bounds.lo);
    c.greatest = half_of(bounds.hi);
    return c;
  }
  const RealFunction function = *real_function_of(activation);
  c.arithmetic = kRealFunction;
  c.real_function = function.number;
  c.real_alpha = function.alpha;
  c.real_beta = function.beta;
  return c;
}

Status check_table(const ir::Graph& graph, const ir::Node& node) {
  if (origin_of_chain(graph, node.outputs[0]) != ir::kNone) return {};
  const int64_t entry = bit_width(graph.value(node.outputs[0]).type.dtype) / 8;
  int64_t form = 0;
  const int64_t bytes = choose_table_form(wide_table(graph, node).entries, entry, kLookUp, kLookUpCurve, form);
  if (bytes > kMostTableBytes) return refuse(node, fmt::format("a table of {} bytes; {} fit", bytes, kMostTableBytes));
  return {};
}

Legality legality() {
  return {{"of f16",
           of_halves,
           {takes(0, Types::kHalves), takes(kResult, Types::kHalves),
            checked("a function of the machine's, whose parameters are f32", check_half_function)}},
          {"of integers",
           nullptr,
           {takes(0, Types::kIntegers), takes(kResult, Types::kIntegers), checked("a table that fits", check_table)}}};
}

Status lower(SegmentBuilder& builder) {
  const ir::Node& node = builder.node();
  Combine c;
  std::vector<int16_t> table;
  if (is_half(builder.type(node.inputs[0]))) {
    c = combine_halves(activation_of(node));
  } else {
    if (lower_chain(builder)) return {};
    FunctionTable function = wide_table(builder.graph(), node);
    choose_table_form(function.entries, element_bytes(*element_of(builder.type(node.outputs[0]).dtype)), kLookUp,
                      kLookUpCurve, c.arithmetic);
    c.function_first = function.first;
    c.function_entries = static_cast<int64_t>(function.entries.size());
    table = std::move(function.entries);
  }
  const Slice from = builder.operand(node.inputs[0]);
  const Slice to = builder.result(node.outputs[0]);
  add_combine(builder, from, to, c, std::move(table));
  return {};
}

}  // namespace

void register_unary_lower(LowerRegistry& registry);
void register_unary_lower(LowerRegistry& registry) {
  for (const UnaryFunction& function : unary_functions()) registry.add(std::string(function.name), {legality(), lower});
}

}  // namespace hai::sd3403
