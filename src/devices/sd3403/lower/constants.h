// The constants of a layer as the weight cache holds them: those of a piece, and the table of its function, which all
// pieces share.
#pragma once

#include <vector>

#include "devices/sd3403/lower/layer.h"
#include "devices/sd3403/lower/pieces.h"

namespace hai::sd3403 {

struct PackedConstants {
  std::vector<std::byte> bytes;
  int64_t weights = 0, channels = 0, taps = 0, averages = 0, rows = 0, columns = 0,
          parameters = 0;  // where each begins
};

// `rows` of Resize's result, with positions counted from input row `first_input_row`.
PackedConstants pack_piece(const Layer& layer, const Chunk& chunk, const Range& rows, int64_t first_input_row);

std::vector<std::byte> pack_table(const Layer& layer);

// A function's entries as a curve where that is smaller: sets `function` of Convolve, `arithmetic` of Combine. Bytes in
// the weight cache are the result.
int64_t choose_table_form(const std::vector<int16_t>& entries, int64_t entry_bytes, int64_t table_form,
                          int64_t curve_form, int64_t& field);

}  // namespace hai::sd3403
