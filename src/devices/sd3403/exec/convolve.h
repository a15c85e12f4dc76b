// Convolve commands made ready: packed weights and epilogues, shared between commands that use the same.
//
// Convolutions that leave sums in the accumulators form a chain with the next ones of their core, up to the one that
// has the epilogue (the program verifier has checked that they continue each other).
#pragma once

#include <array>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "devices/cpu/exec/aligned_buffer.h"
#include "devices/sd3403/exec/convolve_epilogue.h"
#include "devices/sd3403/exec/convolve_weights.h"
#include "devices/sd3403/exec/convolve_winograd.h"
#include "devices/sd3403/exec/processor_step.h"
#include "types/half.h"

namespace hai::sd3403 {

// The weights of one or more Convolves, in the form that they run on.
struct ConvolveWeights {
  int64_t number = 0;           // equal for equal weights in one form; of packed tiles: for equal bounds of their sums
  std::vector<int16_t> values;  // for plain loops: expand_weights()
  cpu::AlignedBuffer packed;    // for kernels: panels, or rows of channels
  int64_t largest = 1;          // magnitude
  std::vector<cpu::ChannelWeights> channels;
  std::optional<PackedTile> tile;  // known only at run time: packed then; `channels` are bounds
  TapSums tap_sums;                // of a transform

  int64_t bytes() const { return static_cast<int64_t>(values.size()) * 2 + packed.size_bytes() + tap_sums.bytes(); }
};
using SharedWeights = std::shared_ptr<const ConvolveWeights>;
using SharedEpilogue = std::shared_ptr<const ConvolveEpilogue>;

class ConvolveMaker {
 public:
  // Precondition: `commands` are verified.
  ConvolveMaker(std::span<const Command> commands, cpu::Isa isa);

  // To be called for the convolutions of a core in the order of its queue; `number` among all commands. Errors N064 to
  // N071, N078, N084, N087, N096, N097, C020.
  Result<StepPointer> make(size_t number, const Command& command, const WeightCache& cache);

  int64_t packed_bytes() const { return packed_bytes_; }

 private:
  enum class Form : int64_t { kPlain, kPanels, kRows, kTaps, kHalves };

  Result<StepPointer> make_dense(const Convolve& command, const WeightCache& cache, size_t core);
  Result<StepPointer> make_depthwise(const Convolve& command, const WeightCache& cache, size_t core);
  Result<StepPointer> make_plain(const Convolve& command, const WeightCache& cache, size_t core);
  Result<StepPointer> make_transformed(const Convolve& command, const WeightCache& cache, size_t core);
  Result<StepPointer> make_half(const Convolve& command, const WeightCache& cache);
  Result<SharedWeights> panels_of(const Convolve& command, const WeightCache& cache);
  Result<SharedWeights> weights_of(const Convolve& command, const WeightCache& cache, Form form);
  Status add_to_chain(const Convolve& command, const ConvolveWeights& weights, int64_t left_offset, size_t core);
  // Null where sums stay in the accumulators.
  Result<SharedEpilogue> epilogue_of(const Convolve& command, const WeightCache& cache, int64_t padded, bool takes_bias,
                                     size_t core);

  cpu::Isa isa_;
  std::vector<bool> plain_;                                 // by command: of a chain that only plain loops can do
  std::array<SumBounds, 2> bounds_;                         // of each core's open chain
  std::array<CacheKey, 2> chain_;                           // what names it
  std::array<std::shared_ptr<const TapSums>, 2> tap_sums_;  // of it, where it is transformed
  std::map<CacheKey, SharedWeights> weights_;
  std::map<CacheKey, SharedEpilogue> epilogues_;
  int64_t packed_bytes_ = 0;
};

// Dense convolutions on matrix-product kernels.
int64_t padded_channels(const Convolve& command, cpu::Isa isa);
int64_t dense_left_offset(const Convolve& command, cpu::Isa isa);
Result<cpu::AlignedBuffer> pack_panels(const Convolve& command, std::span<const int16_t> weights, cpu::Isa isa);
// Error N077: a window that needs too much scratch.
Result<StepPointer> make_dense_convolve(const Convolve& command, SharedWeights weights, SharedEpilogue epilogue,
                                        cpu::Isa isa);

// Transformed convolutions on the same kernels. `tap_sums` are those of the chain. Errors N087, N089: a row of windows
// that is too large.
Result<cpu::AlignedBuffer> pack_taps(const Convolve& command, std::span<const int16_t> weights, cpu::Isa isa);
Result<StepPointer> make_winograd_convolve(const Convolve& command, SharedWeights weights, TapTable table,
                                           std::shared_ptr<const TapSums> tap_sums, SharedEpilogue epilogue,
                                           cpu::Isa isa);

// Depthwise convolutions on kernels over rows. Null: some sum might lose bits in them.
Result<cpu::AlignedBuffer> pack_rows(const Convolve& command, std::span<const int16_t> weights);
Result<StepPointer> make_depthwise_convolve(const Convolve& command, const SharedWeights& weights,
                                            const SharedEpilogue& epilogue, cpu::Isa isa);

// Plain exact loops for every other Convolve.
Result<StepPointer> make_plain_convolve(const Convolve& command, SharedWeights weights, const WeightCache& cache,
                                        const SumBounds& bounds);

// f16. Error N084: weights that are not finite.
Result<cpu::AlignedBuffer> pack_halves(const Convolve& command, std::span<const std::byte> blocks, cpu::Isa isa);
// Errors N097: a window that needs too much scratch, N064: a channel table that nobody wrote.
Result<StepPointer> make_half_convolve(const Convolve& command, SharedWeights weights, const WeightCache& cache,
                                       cpu::Isa isa);
// Of a transform. Errors N096: a row of windows that is too large, N064 as above.
Result<StepPointer> make_half_winograd(const Convolve& command, SharedWeights weights, const WeightCache& cache,
                                       cpu::Isa isa);

}  // namespace hai::sd3403
