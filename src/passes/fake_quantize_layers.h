// Quantization-aware training: trained layers see their weights and inputs as they will be in integers.
#pragma once

#include <span>
#include <string_view>

#include "base/result.h"
#include "ir/graph.h"
#include "passes/trainable_parameters.h"

namespace hai::passes {

// Puts fake_quantize (straight-through gradients) in front of every convolution and product whose weights are among
// `parameters`: on the weights, a scale an output channel from their largest magnitude, and on what comes from another
// trained layer, one scale and zero point from the least and largest of the batch. What comes from the frozen part, or
// is an input of the model, stays as it is: a frozen part in INT8 gives numbers of a grid already. `precision`: none
// (changes nothing), w8a8 or w4a8, with the quantizer's meaning.
//
// Errors: P556 no such precision.
Status fake_quantize_layers(ir::Graph& graph, std::string_view precision, std::span<const Parameter> parameters);

}  // namespace hai::passes
