// Accesses of each command, from its tiles.
//
// Method: one function a command names its tiles and tables; a tile becomes a box of bytes. Two boxes are apart when
// their stretches are, or when both keep to lanes of one period that do not overlap (channels of one tensor).
#include "devices/sd3403/isa/access.h"

#include "base/checked.h"
#include "devices/sd3403/isa/curve.h"

namespace hai::sd3403 {
namespace {

int64_t blocks_of(int64_t channels) { return ceil_div(channels, kBlockChannels); }

class Collector {
 public:
  Collector(const Command& command, std::vector<Access>& out) : core_(command.core), out_(out) {}

  void operator()(const std::monostate&) {}
  void operator()(const Wait&) {}
  void operator()(const Signal&) {}
  void operator()(const End&) {}

  void operator()(const DmaLoad& c) {
    box("source", Memory::kImage, c.image, false, c.source, c, c.source_row_stride, c.source_plane_stride);
    box("destination", Memory::kSram, 0, true, c.destination, c, c.destination_row_stride, c.destination_plane_stride);
  }
  void operator()(const DmaStore& c) {
    box("source", Memory::kSram, 0, false, c.source, c, c.source_row_stride, c.source_plane_stride);
    box("destination", Memory::kImage, c.image, true, c.destination, c, c.destination_row_stride,
        c.destination_plane_stride);
  }
  void operator()(const WeightLoad& c) {
    bytes("entry", Memory::kImage, 0, false, c.entry, kStreamEntryBytes, kStreamEntryBytes);
    bytes("destination", Memory::kCache, core_, true, c.destination, c.expanded_bytes, 16);
  }

  void operator()(const Convolve& c) {
    tile("input", false, input_tile(c), c.input_rows, c.input_columns, c.input_channels);
    bytes("weights", Memory::kCache, core_, false, c.weight_address, weight_bytes(c), 16);
    if (c.first_sum == 0 || c.last_sum == 0) {
      const int64_t channels = blocks_of(c.output_channels) * kBlockChannels;
      bytes("sums", Memory::kAccumulators, core_, true, 0, sums_of(c) * channels * (accumulates_wide(c) ? 8 : 4), 1);
    }
    if (has_tap_table(c)) bytes("tap_table", Memory::kCache, core_, false, c.tap_table, tap_table_bytes(c), 16);
    if (reads_channel_table(c)) {
      bytes("channel_table", Memory::kCache, core_, false, c.channel_table,
            c.output_channels * channel_entry_bytes(has_wide_sums(c)), 8);
    }
    if (c.last_sum == 0) return;
    tile("output", true, output_tile(c), c.output_rows, c.output_columns, c.output_channels);
    if (has_table(c)) {
      bytes("function_table", Memory::kCache, core_, false, c.function_table,
            c.function == kCurve ? curve_bytes(c.function_entries) : 2 * c.function_entries, 2);
    }
    if (c.adds_residual != 0)
      tile("residual", false, residual_tile(c), c.output_rows, c.output_columns, c.output_channels);
  }

  void operator()(const Combine& c) {
    tile("left", false, left_tile(c), c.rows, c.columns, c.channels);
    if (c.arithmetic <= kMultiply)
      tile("right", false, right_tile(c), c.rows, c.columns, c.right_repeats ? 1 : c.channels);
    if (has_table(c)) {
      const bool curve = c.arithmetic == kLookUpCurve;
      const int64_t entry = curve ? 2 : element_bytes(c.output_type);
      bytes("function_table", Memory::kCache, core_, false, c.function_table,
            curve ? curve_bytes(c.function_entries) : c.function_entries * entry, entry);
    }
    tile("output", true, output_tile(c), c.rows, c.columns, c.channels);
  }

  void operator()(const Pool& c) {
    tile("input", false, input_tile(c), c.input_rows, c.input_columns, c.channels);
    if (c.pooling == kAverage)
      bytes("multiplier_table", Memory::kCache, core_, false, c.multiplier_table, 4 * c.multiplier_entries, 4);
    tile("output", true, output_tile(c), c.output_rows, c.output_columns, c.channels);
  }

  void operator()(const Resize& c) {
    tile("input", false, input_tile(c), c.input_rows, c.input_columns, c.channels);
    bytes("row_table", Memory::kCache, core_, false, c.row_table, kPositionBytes * c.output_rows, 8);
    bytes("column_table", Memory::kCache, core_, false, c.column_table, kPositionBytes * c.output_columns, 8);
    tile("output", true, output_tile(c), c.output_rows, c.output_columns, c.channels);
  }

  void operator()(const Copy& c) {
    if (c.fills == 0) tile("input", false, input_tile(c), c.rows, c.columns, c.channels, c.input_channel_stride);
    tile("output", true, output_tile(c), c.rows, c.columns, c.channels, c.output_channel_stride);
  }

  void operator()(const WeightPack& c) {
    tile("input", false, input_tile(c), c.rows, c.columns, c.channels);
    bytes("destination", Memory::kCache, core_, true, c.destination, pack_bytes(c), 16);
  }

  void operator()(const Softmax& c) {
    tile("input", false, input_tile(c), c.rows, c.columns, c.channels);
    bytes("exponentials", Memory::kCache, core_, false, c.exponentials, kExponentialsBytes, 4);
    tile("output", true, output_tile(c), c.rows, c.columns, c.channels);
  }

  void operator()(const LayerNorm& c) {
    tile("input", false, input_tile(c), c.rows, c.columns, c.channels);
    bytes("parameters", Memory::kCache, core_, false, c.parameters, layer_norm_bytes(c.channels), 8);
    tile("output", true, output_tile(c), c.rows, c.columns, c.channels);
  }

 private:
  template <typename Dma>
  void box(std::string_view field, Memory memory, int64_t image, bool writes, int64_t address, const Dma& c,
           int64_t row_stride, int64_t plane_stride) {
    out_.push_back({field, memory, image, writes, address, c.planes, plane_stride, c.rows, row_stride, 1, 0,
                    c.row_bytes, 1, c.planes * c.rows * c.row_bytes});
  }

  void bytes(std::string_view field, Memory memory, int64_t image, bool writes, int64_t address, int64_t count,
             int64_t alignment) {
    out_.push_back({field, memory, image, writes, address, 1, 0, 1, 0, 1, 0, count, alignment, count});
  }

  void tile(std::string_view field, bool writes, const Tile& tile, int64_t rows, int64_t columns, int64_t channels,
            int64_t channel_stride = 0) {
    const bool wraps = tile.ring_rows != 0 && tile.ring_first + rows > tile.ring_rows;
    const int64_t before = wraps ? tile.ring_rows - tile.ring_first : rows;
    part(field, writes, tile, tile.row_address(0), before, columns, channels, channel_stride);
    if (wraps) part(field, writes, tile, tile.address, rows - before, columns, channels, channel_stride);
  }

  // Rows of a tile that follow each other.
  void part(std::string_view field, bool writes, const Tile& tile, int64_t address, int64_t rows, int64_t columns,
            int64_t channels, int64_t channel_stride) {
    const int64_t element = element_bytes(tile.type);
    Access access{field, Memory::kSram, 0, writes};
    access.address = address;
    access.rows = rows;
    access.row_stride = tile.row_stride;
    access.pixels = columns;
    access.pixel_stride = tile.pixel_stride;
    access.pixel_bytes = channel_stride == 0 ? channels * element : (channels - 1) * channel_stride + element;
    access.element_bytes = element;
    access.moved_bytes = rows * columns * channels * element;
    out_.push_back(access);
  }

  int64_t core_;
  std::vector<Access>& out_;
};

// Whether all runs of bytes of an access begin at the same place of a period, and none reaches into the next.
bool keeps_to(const Access& access, int64_t period) {
  const auto steps = [period](int64_t count, int64_t stride) { return count == 1 || stride % period == 0; };
  return access.pixel_bytes <= period && steps(access.pixels, access.pixel_stride) &&
         steps(access.rows, access.row_stride) && steps(access.planes, access.plane_stride);
}

// Of the innermost axis that has steps; 0: there is none.
int64_t period_of(const Access& access) {
  return access.pixels > 1 ? access.pixel_stride : access.rows > 1 ? access.row_stride : 0;
}

bool lanes_are_apart(const Access& a, const Access& b, int64_t period) {
  if (period <= 0 || !keeps_to(a, period) || !keeps_to(b, period)) return false;
  const int64_t from_a = ((b.address - a.address) % period + period) % period;
  return from_a >= a.pixel_bytes && from_a + b.pixel_bytes <= period;
}

}  // namespace

int64_t weight_bytes(const Convolve& c) {
  const int64_t depth = c.connection == kDepthwise ? 1 : c.input_channels;
  const int64_t weights = blocks_of(c.output_channels) * kBlockChannels * taps_of(c) * depth;
  return weights * weight_bits(c.weights) / 8;
}

int64_t sums_of(const Convolve& c) {
  if (c.transform == kDirect) return c.output_rows * c.output_columns;
  const int64_t tile = transform_tile(c.transform);
  return ceil_div(c.output_rows, tile) * ceil_div(c.output_columns, tile) * taps_of(c);
}

int64_t pack_bytes(const WeightPack& c) { return blocks_of(packed_outputs(c)) * kBlockChannels * packed_inputs(c); }

void accesses_of(const Command& command, std::vector<Access>& out) {
  std::visit(Collector(command, out), command.body);
}

bool may_touch(const Access& a, const Access& b) {
  if (a.memory != b.memory || a.image != b.image) return false;
  if (a.end() <= b.address || b.end() <= a.address) return false;
  return !lanes_are_apart(a, b, period_of(a)) && !lanes_are_apart(a, b, period_of(b));
}

}  // namespace hai::sd3403
