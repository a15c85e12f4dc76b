// FunctionTable: an activation between two rounding points of an integer epilogue, as a table of what it makes of each
// stored integer.
//
// A table of 16-bit integers leaves out its constant ends: what lies below `first` gives the first entry, what lies
// above the last gives the last. A SiLU whose operand is held 16 times finer than its 8-bit result needs some 4,000
// entries instead of 65,536.
#pragma once

#include <cstdint>
#include <vector>

#include "types/arithmetic.h"
#include "types/epilogue.h"

namespace hai {

struct FunctionTable {
  int32_t first = 0;  // the stored integer of entry 0
  std::vector<int16_t> entries;

  int32_t last() const { return first + static_cast<int32_t>(entries.size()) - 1; }
};

// From the integers of `from` (zero point, bounds) at scale `from_scale` to those of `to`. Precondition: the activation
// is a function, no clamp; bounds lie within i16 (`from`) and i16 or u8 (`to`).
FunctionTable make_function_table(const Activation& activation, float from_scale, const hai_output_range& from,
                                  float to_scale, const hai_output_range& to);

}  // namespace hai
