// PrecisionMix: one model quantized at several precisions, from which any mixture of layers is spliced in no time.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "base/result.h"
#include "ir/graph.h"
#include "quantizer/quantizer.h"

namespace hai::quantizer {

// What is chosen for together: the products of one node name, which options can only speak of together. Mostly one.
struct MixableLayer {
  std::string name;                  // of the node
  std::vector<std::string> outputs;  // names of the results in both variants: the keys of with_four_bits
  int64_t macs = 0;                  // at batch 1
  int64_t weights = 0;
};

class PrecisionMix {
 public:
  // Two graphs that quantize() made of one model with the same samples: at 8 and at 4 bits.
  PrecisionMix(ir::Graph eight, ir::Graph four) : eight_(std::move(eight)), four_(std::move(four)) {}

  // Layers with 8-bit weights in one variant and 4-bit ones in the other, reading the same tensor, in order. A name of
  // which one product does not qualify is left out.
  Result<std::vector<MixableLayer>> layers() const;
  // `base`, with weights and biases of these layers (by output name) taken from the 4-bit variant. A layer that reads
  // or makes tensors of other types than there stays as `base` has it.
  Result<ir::Graph> with_four_bits(const ir::Graph& base, const std::set<std::string>& outputs) const;

  const ir::Graph& eight() const { return eight_; }

 private:
  ir::Graph eight_;
  ir::Graph four_;
};

}  // namespace hai::quantizer
