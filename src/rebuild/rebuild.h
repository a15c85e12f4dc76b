// The exec functions of a rebuild: parameters and observed ranges become the integers of a program.
#pragma once

#include <cstddef>
#include <span>

#include "base/result.h"
#include "format/program.h"
#include "rebuild/lines.h"

namespace hai::rebuild {

// What was seen of a value; zero is always part of it.
struct Observed {
  float low = 0;
  float high = 0;
};

// Chooses scales, folds, rounds: writes scales and zero points into `integer` and bytes into `weights`, the whole
// weights section, from which the parameters are read. `lines` are those of decode() for this program. Multipliers,
// tables and packing follow when the program is loaded.
// Errors, after which both are half written: E111 a range or a parameter is not finite; E112 a multiplier leaves what
// kernels can do. Precondition: an entry of `seen` a range.
Status run(const Lines& lines, std::span<const Observed> seen, std::span<std::byte> weights, format::Program& integer);

}  // namespace hai::rebuild
