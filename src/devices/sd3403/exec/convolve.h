// Convolve commands made ready: packed weights and epilogues, shared between commands that use the same.
//
// Convolutions that leave sums in the accumulators form a chain with the next ones of their core, up to the one that
// has the epilogue (the program verifier has checked that they continue each other).
#pragma once

#include <array>
#include <map>
#include <memory>
#include <set>
#include <span>
#include <vector>

#include "devices/sd3403/exec/convolve_weights.h"
#include "devices/sd3403/exec/processor_step.h"

namespace hai::sd3403 {

struct PlainWeights {
  std::vector<int16_t> values;  // expand_weights()
  std::vector<cpu::ChannelWeights> channels;
};

class ConvolveMaker {
 public:
  // To be called for the convolutions of a core in the order of its queue. Errors N064 to N071.
  Result<StepPointer> make(const Command& command, const StepSources& sources);

  int64_t packed_bytes() const { return packed_bytes_; }

 private:
  std::array<SumBounds, 2> open_;  // of each core's chain
  std::map<CacheKey, std::shared_ptr<const PlainWeights>> plain_;
  int64_t packed_bytes_ = 0;
};

// Plain exact loops for every Convolve that the kernels do not take.
Result<StepPointer> make_plain_convolve(const Convolve& command, std::shared_ptr<const PlainWeights> weights,
                                        const WeightCache& cache, const SumBounds& bounds);

}  // namespace hai::sd3403
