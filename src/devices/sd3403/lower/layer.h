// Layer: one operator of an NPU segment on its way from the graph to commands: a command without addresses, the buffers
// that it reads and writes, and the constants that it takes from the weight cache.
//
// Everything is of one sample. A buffer is rows x columns x channels, channels of a pixel adjacent; a layer reads and
// writes slices of buffers, so that concatenation, splitting and slicing along channels move nothing.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "devices/sd3403/isa/command.h"
#include "ir/graph.h"

namespace hai::sd3403 {

using BufferId = uint32_t;
using LayerId = uint32_t;

struct Buffer {
  std::string name;
  int64_t rows = 1, columns = 1, channels = 1;
  int64_t type = kI8;
  ir::ValueId input = ir::kNone;  // the segment's input or output that it is, in external memory
  ir::ValueId output = ir::kNone;
  bool spilled = false;  // too large for the scratchpad beside what is alive with it: it waits in external memory
  std::shared_ptr<const ir::ConstantData> constant = nullptr;  // its values, where it is an operand that never changes

  // It is there from the beginning, in external memory.
  bool is_given() const { return input != ir::kNone || constant != nullptr; }
  int64_t pixel_bytes() const { return channels * element_bytes(type); }
  int64_t row_bytes() const { return columns * pixel_bytes(); }
  int64_t bytes() const { return rows * row_bytes(); }
};

// Part of a buffer as a layer sees it. Row r of the slice is row `first_row` + r * `row_step` of the buffer, unless
// `whole`: then the slice is cut across rows (a transposition) and all of the buffer must be there.
struct Slice {
  BufferId buffer = 0;
  int64_t rows = 1, columns = 1, channels = 1;
  int64_t first_row = 0;
  int64_t offset_bytes = 0;  // of its first element in that row; of a whole one in the buffer
  int64_t row_stride = 0;    // bytes; of a whole one, else the buffer's
  int64_t pixel_stride = 0;
  int64_t channel_stride = 1;
  int64_t type = kI8;
  bool whole = false;
  int64_t row_step = 1;  // of what is written: rows of the buffer from row to row of the slice

  // Row of the buffer that a row of the slice is.
  int64_t buffer_row(int64_t row) const { return first_row + row * row_step; }
  // Rows of the slice that lie in the first `rows_of_buffer` rows of the buffer.
  int64_t rows_within(int64_t rows_of_buffer) const {
    if (rows_of_buffer <= first_row) return 0;
    const int64_t count = (rows_of_buffer - first_row + row_step - 1) / row_step;
    return count < rows ? count : rows;
  }
};

// Which rows of an operand a row of the result reads: row * stride - pad + k * dilation, k < kernel, and none outside;
// or, where `first` is not empty, from first[row] to last[row].
struct RowWindow {
  int64_t kernel = 1, stride = 1, dilation = 1, pad = 0;
  std::vector<int32_t> first, last;

  int64_t begin(int64_t row) const { return first.empty() ? row * stride - pad : first[static_cast<size_t>(row)]; }
  // One past the last.
  int64_t end(int64_t row) const {
    return first.empty() ? row * stride - pad + (kernel - 1) * dilation + 1 : last[static_cast<size_t>(row)] + 1;
  }
};

struct Operand {
  Slice slice;
  RowWindow window;
};

// Position of an output row or column of Resize: two input positions and their weights in 1/2048.
struct Position {
  int32_t first = 0, second = 0;
  int32_t first_weight = 0, second_weight = 0;
};

// What a layer keeps in the weight cache. `weights` is [output channel][window][input channel].
struct Constants {
  std::vector<int16_t> weights;
  int64_t window = 1, depth = 1;  // taps, input channels of a sum (1: depthwise)
  std::vector<int64_t> bias;      // per output channel
  std::vector<float> multipliers;
  double weight_factor = 1.0;           // of the weights' scales: a transform's shifts have a base
  std::vector<uint8_t> taps;            // of a transform, whose taps are the window: its tap table
  std::vector<int16_t> table;           // a function's
  std::vector<float> averages;          // multipliers of Pool
  std::vector<Position> rows, columns;  // of Resize, for all of the result
  std::vector<std::byte> parameters;    // of Softmax and LayerNorm, as the command reads them
};

struct Layer {
  ir::NodeId node = ir::kNone;  // that it is of
  std::string name;
  std::string op;
  int64_t macs = 0;
  CommandBody body;
  std::vector<Operand> reads;  // of Convolve: input, residual; of Combine: left, right; last what is packed
  Slice writes;
  Constants constants;
  std::optional<WeightPack> pack;  // the weights are made of an operand: rows of it by channels, without addresses
  std::optional<int64_t> core;     // that runs all of it, beside another layer on the other (lower/branches.h)
  bool by_rows = true;             // false: all rows in one piece
  bool by_channels = true;         // false: all channels in one piece
  int64_t row_unit = 1;            // pieces begin at multiples of it, since tiles of a transform do
};

struct Segment {
  std::vector<Buffer> buffers;
  std::vector<Layer> layers;  // each after those that it reads
  std::vector<ir::ValueId> inputs, outputs;
};

}  // namespace hai::sd3403
