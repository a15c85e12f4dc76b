// A timeline and its energy as a table for people and as JSON. Every figure is modelled, and both say so with the
// profile's name.
#pragma once

#include <span>
#include <string>

#include "devices/sd3403/exec/energy.h"

namespace hai::sd3403 {

// `layer_names` by number; what it lacks is "layer 7". Preconditions: `energy` is that of `timeline`.
//
// Of several passes the sums, which the text says. Per layer: its cycles of the program (they add up), of these
// arithmetic and stall with the largest reason, cycles of the DMA channels (summed, they overlap with all else),
// utilisation of the arrays in i8 products, bytes, energy.
std::string to_table(const Timeline& timeline, const Energy& energy, std::span<const std::string> layer_names);

// The same numbers and all of the parts, one object.
std::string to_json(const Timeline& timeline, const Energy& energy, std::span<const std::string> layer_names);

// "issue", "activations", "weights", "stores", "arithmetic".
std::string_view stall_name(StallOn on);
std::string layer_name(int64_t layer, std::span<const std::string> layer_names);

}  // namespace hai::sd3403
