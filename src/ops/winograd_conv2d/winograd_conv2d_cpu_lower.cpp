// winograd_conv2d on the CPU: f32, f16, and i8 or u8 with i8 taps; one instruction as it is.
//
// supports() proves the sums as exec does (devices/cpu/exec/winograd_convolution.cpp), from the taps themselves. The
// other float types have the reference only.
#include <array>
#include <cmath>

#include <fmt/format.h>

#include "devices/cpu/lower/lower_registry.h"
#include "devices/cpu/lower/product_supports.h"
#include "ops/winograd_conv2d/winograd_conv2d.h"
#include "types/winograd.h"

namespace hai::cpu {
namespace {

Status refuse(std::string_view what) {
  return make_error(StatusCode::kUnsupported, "C052", "winograd_conv2d on cpu: {}", what);
}

Status sums_fit(const ir::Graph& graph, const ir::Node& node, const ops::WinogradAttributes& attributes,
                const std::array<int32_t, HAI_WINOGRAD_MAX_TAPS>& e) {
  const ir::Value& weights = graph.value(node.inputs[1]);
  const auto* values = reinterpret_cast<const int8_t*>(weights.constant->bytes().data());
  const bool biased = node.inputs.size() > 2 && node.inputs[2] != ir::kNone;
  const auto* bias =
      biased ? reinterpret_cast<const int32_t*>(graph.value(node.inputs[2]).constant->bytes().data()) : nullptr;
  const Dims dims = resolve(weights.type.shape, {});
  const auto taps = static_cast<size_t>(dims[1] * dims[2]);
  for (int64_t o = 0; o < dims[0]; ++o) {
    std::array<double, HAI_WINOGRAD_MAX_TAPS> largest{};
    for (size_t t = 0; t < taps; ++t) {
      for (int64_t c = 0; c < dims[3]; ++c) largest[t] += 128.0 * std::abs(static_cast<int>(*values++));
      if (largest[t] * 2.0 >= 2147483648.0) return refuse(fmt::format("a tap of channel {} may reach 2^31", o));
    }
    const double own = bias == nullptr ? 0.0 : std::abs(static_cast<double>(bias[o]));
    if (3.0 * (hai_winograd_sum_bound(static_cast<int>(attributes.tile), largest.data(), e.data()) + own) >=
        HAI_WINOGRAD_SUM_LIMIT) {
      return refuse(fmt::format("the sums of channel {} may reach 2^53 / 3", o));
    }
  }
  return {};
}

Status supports(const ir::Graph& graph, const ir::Node& node) {
  const ir::TensorType& x = graph.value(node.inputs[0]).type;
  const bool integer = is_integer(x.dtype);
  HAI_TRY(const ops::WinogradAttributes attributes, ops::winograd_attributes(node, integer));
  if (!integer) {
    if (x.dtype != DataType::kF32 && x.dtype != DataType::kF16)
      return refuse(fmt::format("{} has the reference only", data_type_name(x.dtype)));
    return supports_product(graph, node, 0);
  }
  std::array<int32_t, HAI_WINOGRAD_MAX_TAPS> e{};
  const auto taps = static_cast<int32_t>(attributes.input_shifts.size());
  const int32_t base =
      hai_winograd_exponents(taps, attributes.input_shifts.data(), attributes.weight_shifts.data(), e.data());
  HAI_TRY_STATUS(supports_8bit_product(graph, node, hai_winograd_power(base)));
  return sums_fit(graph, node, attributes, e);
}

}  // namespace

void register_winograd_conv2d_lower(LowerRegistry& registry);
void register_winograd_conv2d_lower(LowerRegistry& registry) {
  registry.add("winograd_conv2d", {supports, lower_as_is});
}

}  // namespace hai::cpu
