// One layer of a quantized graph set free of rounding, to see what more bits would bring there.
#pragma once

#include "base/result.h"
#include "ir/graph.h"
#include "quantizer/graph_pairing.h"

namespace hai::quantizer {

// A copy of `quantized` (the graph that `pairing` was made for) in which `layer` computes in f32 with the float model's
// weights and reads its inputs unrounded; its result is rounded as before. An upper bound of 16 bits there, which come
// within a 256th of it.
Result<ir::Graph> with_wider_layer(const ir::Graph& reference, const ir::Graph& quantized, const Pairing& pairing,
                                   const PairedLayer& layer);

}  // namespace hai::quantizer
