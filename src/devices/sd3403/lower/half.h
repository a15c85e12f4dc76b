// f16 on the NPU: which operands it takes, and products of them.
#pragma once

#include "devices/sd3403/lower/segment_builder.h"
#include "types/epilogue.h"

namespace hai::sd3403 {

inline constexpr int64_t kHalfLeast = 0xfc00;     // the bits of minus infinity: no bound
inline constexpr int64_t kHalfGreatest = 0x7c00;  // and of infinity

bool is_half(const ir::TensorType& type);
// f16, and a shape that the NPU can hold.
Status require_halves(const ir::Graph& graph, const ir::Node& node, ir::ValueId value);
// f16, or what require_integers() takes.
Status require_elements(const ir::Graph& graph, const ir::Node& node, ir::ValueId value);
// f16 or f32.
Status require_reals(const ir::Graph& graph, const ir::Node& node, ir::ValueId value);

// Which of Convolve's and Combine's real functions a function is, and its parameters as fields; none where there is
// none, or a parameter is no f32.
struct RealFunction {
  int64_t number = 0, alpha = 0, beta = 0;
};
std::optional<RealFunction> real_function_of(const Activation& activation);

// As product_rules(), centred_weights() and finish_product() (lower/product.h), of f16.
Rules half_product_rules();
std::vector<int16_t> half_weights(const ir::Graph& graph, const ir::Node& node);
Status finish_half_product(SegmentBuilder& builder, Layer& layer);

}  // namespace hai::sd3403
