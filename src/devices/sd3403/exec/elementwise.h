// ElementMap: integers of one tensor to those of another, one by one: a rescale or a table.
//
// What Combine, Pool and Resize apply to runs of elements, on the CPU device's kernels where it has one for the types.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/result.h"
#include "devices/cpu/exec/isa.h"
#include "devices/sd3403/exec/processor_step.h"
#include "types/arithmetic.h"

namespace hai::sd3403 {

// Combine with f16 or f32 on either side, which the program verifier has checked. Errors N065, N098.
bool is_half(const Combine& command);
Result<StepPointer> make_half_combine(const Combine& command);

class ElementMap {
 public:
  // hai_rescale, of more than 8 bits hai_rescale_wide. Preconditions: i8, u8 or i16; a zero point of `from`'s type and
  // a usable multiplier.
  static ElementMap rescale(int64_t from, int64_t to, int32_t zero_point, float multiplier, hai_output_range out,
                            cpu::Isa isa);
  // Entry q - first, at the ends the outermost one. Precondition: `entries` holds one of `to` or more.
  static ElementMap table(int64_t from, int64_t to, int32_t first, std::span<const std::byte> entries, cpu::Isa isa);

  // x and y may be the same where the types have as many bytes.
  void run(const std::byte* x, std::byte* y, int64_t count) const;

 private:
  enum class Way : uint8_t { kRescale, kBytes, kWords, kWideTable };

  Way way_ = Way::kBytes;
  int64_t from_ = 0, to_ = 0;
  cpu::Isa isa_ = cpu::Isa::kScalar;
  int32_t zero_point_ = 0;
  float multiplier_ = 0.0F;
  hai_output_range out_{};
  std::vector<uint8_t> bytes_;  // kBytes: by the byte of q
  std::vector<int16_t> words_;  // kWords: by the byte of q; kWideTable: by q - first_
  int32_t first_ = 0;
};

}  // namespace hai::sd3403
