// What to do with f32 results beyond the multiplier's range.
//
// Method: an f32 result is its sum times s_x * s_w, with no output scale that could be raised (ranges.cpp does that for
// integer results). Outputs of some 1e5 and more, which channels of very different size give, lie beyond 2^8 of the
// steps of 4 or 8 bits; more bits have smaller steps. So such a layer gets the first width whose multiplier is usable,
// and stays f32 where none is. The limit leaves a factor of two for scales that are learned.
#include "quantizer/large_results.h"

#include <fmt/format.h>

#include <array>

#include "quantizer/weights.h"
#include "types/arithmetic.h"

namespace hai::quantizer {
namespace {

constexpr double kLargestMultiplier = HAI_MULTIPLIER_MAX / 2;
constexpr std::array<Precision, 3> kWider = {{{8, 8, false}, {8, 16, false}, {16, 16, false}}};

double multiplier_of(const ir::Graph& graph, const Plan& plan, const Ranges& ranges, const ir::Node& node,
                     const Precision& precision) {
  const double input = static_cast<double>(ranges.of(plan, node.inputs[0], precision.activation_bits).scales[0]);
  return largest_multiplier(graph, node, precision, input);
}

}  // namespace

Result<std::vector<LargeResult>> large_results(const ir::Graph& graph, const Plan& plan, const Ranges& ranges) {
  HAI_TRY(const std::vector<ir::NodeId> order, graph.ordered());
  std::vector<LargeResult> found;
  for (const ir::NodeId id : order) {
    const ir::Node& node = graph.node(id);
    if (!plan.integer[id] || plan.roles[id] != Role::kMac || !plan.float_result[id]) continue;
    if (graph.value(node.inputs[0]).is_constant()) continue;
    const Precision& now = plan.precision[id];
    LargeResult result{id, multiplier_of(graph, plan, ranges, node, now), now, {8, 8, true}};
    if (result.multiplier <= kLargestMultiplier) continue;
    for (const Precision& wider : kWider) {
      const bool more = wider.weight_bits >= now.weight_bits && wider.activation_bits >= now.activation_bits;
      if (!more || wider == now || multiplier_of(graph, plan, ranges, node, wider) > kLargestMultiplier) continue;
      result.after = wider;
      break;
    }
    found.push_back(result);
  }
  return found;
}

Warning to_warning(const ir::Graph& graph, const LargeResult& found) {
  return {"large_results", graph.node(found.node).name,
          fmt::format("its results are too large for {} (multiplier {:.3g}, at most 2^8), so it has {}",
                      to_string(found.before), found.multiplier, to_string(found.after)),
          "make the model's outputs smaller (scale the weights of this layer down) if it must have fewer bits"};
}

}  // namespace hai::quantizer
