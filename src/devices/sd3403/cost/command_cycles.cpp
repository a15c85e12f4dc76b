// Cycles and bytes of each command, in closed form.
//
// Dense convolution: for each block of output channels and each pass (the pixels whose sums half of the accumulators
// holds), weight blocks stay while the pixels pass by, array_pixels a cycle; a block loads behind the one before it.
// Post-processing of a pass runs behind the sums of the next, so a command takes the longer of the two and the last
// pass once more ("drain"). Sums of 64 bits (i16 input, unless they are proved to fit 32) are wide_accumulator_rate
// times slower than those of i8, and multipliers of 16 bits are 2 or 4 times slower; the slower of the two counts, not
// their product. Depthwise: blocks of 16 channels, depthwise_outputs at a time, straight into post-processing.
// Transformed (Winograd): a tile is its taps instead of a pixel, so half of the accumulators holds 14 tiles of 6x6 or
// 32 of 4x4; for each tap a block of weights takes array_pixels tiles a cycle, of f16 as many times longer as its
// products are slower, and a block loads behind the one before it as above, which 14 tiles just hide. Both transforms
// run beside the array on tiles of 16 channels, winograd_tile_cycles each for 36 taps. Inputs are transformed once
// where half of the line buffer holds the taps of a pass for all channels, else again for each block of output
// channels; each time the window of a tile is read. Before the first products the tiles of a pass are transformed
// ("fill"), behind the last ones those of the last pass
// ("drain"). Line buffer: where it holds what a pass reads of 16 channels, a window reads the scratchpad once instead
// of once a tap. Scratchpad: words of sram_word_bytes; a run that is no multiple of it moves whole words (alignment is
// not looked at). Not here: bank conflicts, refresh and page misses of external memory other than by its efficiency.
#include "devices/sd3403/cost/command_cycles.h"

#include <algorithm>
#include <bit>

#include "base/checked.h"
#include "devices/sd3403/isa/access.h"

namespace hai::sd3403 {
namespace {

// Products and sums of counts, which stop at kMostCount.
int64_t times(int64_t a, int64_t b) {
  const auto product = checked_mul(a, b);
  return product ? std::min(*product, kMostCount) : kMostCount;
}
template <typename... Counts>
int64_t times(int64_t a, int64_t b, Counts... more) {
  return times(times(a, b), more...);
}

constexpr int64_t kPasses = 3;  // of Softmax and LayerNorm

int64_t whole(double value) { return static_cast<int64_t>(value); }

struct Count {
  const Machine& machine;

  int64_t words(int64_t run_bytes, int64_t runs) const {
    return times(align_up(run_bytes, whole(machine.sram_word_bytes)), runs);
  }
  // Of `count` pieces `stride` apart: the words of each, or all from the first to the last, whichever are fewer.
  int64_t pieces(int64_t count, int64_t stride, int64_t bytes) const {
    return std::min(words(bytes, count), words(times(count - 1, stride) + bytes, 1));
  }

  // Bytes of a tile in whole words.
  int64_t tile(const Tile& tile, int64_t rows, int64_t columns, int64_t channels) const {
    const int64_t pixel = channels * element_bytes(tile.type);
    const int64_t row = times(columns, pixel);
    const bool follow = tile.pixel_stride == pixel && tile.row_stride == row && tile.ring_rows == 0;
    return follow ? words(times(row, rows), 1) : times(pieces(columns, tile.pixel_stride, pixel), rows);
  }

  // The same with a stride between channels: along the channels of a pixel or the pixels of a row.
  int64_t strided(const Tile& tile, int64_t channel_stride, const Copy& c) const {
    const int64_t element = element_bytes(tile.type);
    if (channel_stride == element || channel_stride == 0 || c.channels == 1)
      return this->tile(tile, c.rows, c.columns, c.channels);
    return std::min(times(pieces(c.channels, channel_stride, element), c.rows, c.columns),
                    times(pieces(c.columns, tile.pixel_stride, element), c.rows, c.channels));
  }

  // Cycles of a command of the post-processing unit alone, which takes `rate` values a cycle.
  CommandCycles of_values(double rate, int64_t processed, int64_t read, int64_t written) const {
    CommandCycles out;
    out.values = processed;
    out.sram_read_bytes = read;
    out.sram_written_bytes = written;
    out.post_cycles = ceil_div(processed, whole(rate));
    out.read_cycles = ceil_div(read, whole(machine.sram_read_bytes));
    out.write_cycles = ceil_div(written, whole(machine.sram_write_bytes));
    out.cycles = std::max({out.post_cycles, out.read_cycles, out.write_cycles});
    return out;
  }

  // The same of those that fill a pipeline first.
  CommandCycles started(CommandCycles out) const {
    out.cycles += whole(machine.start_cycles);
    return out;
  }

  CommandCycles operator()(const std::monostate&) const { return {}; }
  CommandCycles operator()(const Wait&) const { return {}; }
  CommandCycles operator()(const Signal&) const { return {}; }
  CommandCycles operator()(const End&) const { return {}; }
  CommandCycles operator()(const DmaLoad& c) const;
  CommandCycles operator()(const DmaStore& c) const;
  CommandCycles operator()(const WeightLoad& c) const;
  CommandCycles operator()(const Convolve& c) const;
  CommandCycles operator()(const Combine& c) const;
  CommandCycles operator()(const Pool& c) const;
  CommandCycles operator()(const Resize& c) const;
  CommandCycles operator()(const Copy& c) const;
  CommandCycles operator()(const WeightPack& c) const;
  CommandCycles operator()(const Softmax& c) const { return over_channels(c); }
  CommandCycles operator()(const LayerNorm& c) const { return over_channels(c); }

  // Three passes over the values of each pixel.
  template <typename Body>
  CommandCycles over_channels(const Body& c) const {
    return of_values(machine.post_values, times(kPasses, c.rows, c.columns, c.channels),
                     times(kPasses, tile(input_tile(c), c.rows, c.columns, c.channels)),
                     tile(output_tile(c), c.rows, c.columns, c.channels));
  }

  void add_transfer(CommandCycles& out, int64_t run_bytes, int64_t runs) const;
  void sum_dense(const Convolve& c, CommandCycles& out) const;
  void sum_depthwise(const Convolve& c, CommandCycles& out) const;
  void sum_transformed(const Convolve& c, CommandCycles& out) const;
  int64_t last_pass_cycles(const Convolve& c) const;
  int64_t patch_bytes(const Convolve& c, int64_t pixels, int64_t channels) const;

  int64_t stream_bytes;
};

CommandCycles Count::operator()(const WeightPack& c) const {
  CommandCycles out = of_values(machine.post_values, 0, tile(input_tile(c), c.rows, c.columns, c.channels), 0);
  out.cache_written_bytes = pack_bytes(c);
  out.write_cycles = ceil_div(out.cache_written_bytes, whole(machine.sram_write_bytes));
  out.cycles = std::max(out.read_cycles, out.write_cycles);
  return out;
}

// How many times slower than i8 the products of a Convolve are.
int64_t slowdown(const Machine& machine, const Convolve& c) {
  const bool halves = c.weights == kWeightI16 || c.weights == kWeightF16;
  const int64_t multipliers = halves ? 4 : c.input_type == kI16 ? 2 : 1;
  return accumulates_wide(c) ? std::max(multipliers, whole(machine.wide_accumulator_rate)) : multipliers;
}

ProductKind kind_of(const Convolve& c) {
  if (c.input_type == kF16) return ProductKind::kF16;
  if (c.input_type != kI16) return ProductKind::kI8;
  return c.weights == kWeightI16 ? ProductKind::kI16 : ProductKind::kI16ByI8;
}

int64_t reach(int64_t window, int64_t dilation) { return (window - 1) * dilation + 1; }

// The bytes of a box that follow each other in external memory.
template <typename Dma>
int64_t contiguous_bytes(const Dma& c, int64_t row_stride, int64_t plane_stride) {
  if (c.rows > 1 && row_stride != c.row_bytes) return c.row_bytes;
  const int64_t plane = c.row_bytes * c.rows;
  return c.planes > 1 && plane_stride != plane ? plane : plane * c.planes;
}

void Count::add_transfer(CommandCycles& out, int64_t run_bytes, int64_t runs) const {
  const int64_t burst = whole(machine.ddr_short_burst_bytes);
  const int64_t bus = times(std::max(run_bytes, burst), runs);  // a short run takes a whole burst
  const double cycles =
      static_cast<double>(bus) / (ddr_bytes_a_cycle(machine) * ddr_efficiency(machine, std::max(run_bytes, burst)));
  const double ticks = cycles * static_cast<double>(kTicksPerCycle);
  const bool fits = ticks < static_cast<double>(kMostCount * kTicksPerCycle);
  const int64_t below = fits ? whole(ticks) : kMostCount * kTicksPerCycle;
  out.ddr_ticks += below + (fits && static_cast<double>(below) < ticks ? 1 : 0);
  out.ddr_bus_bytes += times(align_up(run_bytes, burst), runs);
  out.cycles = ceil_div(out.ddr_ticks, kTicksPerCycle);
}

CommandCycles Count::operator()(const DmaLoad& c) const {
  CommandCycles out;
  const int64_t bytes = times(c.planes, c.rows, c.row_bytes);
  const int64_t run = contiguous_bytes(c, c.source_row_stride, c.source_plane_stride);
  add_transfer(out, run, bytes / run);
  out.ddr_read_bytes = bytes;
  out.sram_written_bytes = bytes;
  out.latency_cycles = whole(machine.dma_latency_cycles);
  return out;
}

CommandCycles Count::operator()(const DmaStore& c) const {
  CommandCycles out;
  const int64_t bytes = times(c.planes, c.rows, c.row_bytes);
  const int64_t run = contiguous_bytes(c, c.destination_row_stride, c.destination_plane_stride);
  add_transfer(out, run, bytes / run);
  out.ddr_written_bytes = bytes;
  out.sram_read_bytes = bytes;
  out.latency_cycles = whole(machine.dma_latency_cycles);
  return out;
}

// The entry is read first, then the stream that it names: two latencies.
CommandCycles Count::operator()(const WeightLoad& c) const {
  CommandCycles out;
  const int64_t stream = std::max<int64_t>(stream_bytes < 0 ? c.expanded_bytes : stream_bytes, 1);
  add_transfer(out, kStreamEntryBytes, 1);
  add_transfer(out, stream, 1);
  out.ddr_read_bytes = kStreamEntryBytes + stream;
  out.cache_written_bytes = c.expanded_bytes;
  out.decode_cycles = ceil_div(c.expanded_bytes, whole(machine.decoder_bytes));
  out.cycles = std::max(out.cycles, out.decode_cycles);
  out.latency_cycles = 2 * whole(machine.dma_latency_cycles);
  return out;
}

// Bytes of the input that `pixels` outputs of a pass read, of `channels` channels, each once.
int64_t Count::patch_bytes(const Convolve& c, int64_t pixels, int64_t channels) const {
  // Pixels that begin in the midst of a row touch one row more than they fill.
  const int64_t output_rows = std::min(c.output_rows, ceil_div(pixels, c.output_columns) + 1);
  const int64_t rows = (output_rows - 1) * c.stride_rows + reach(c.window_rows, c.dilation_rows);
  return tile(input_tile(c), std::min(rows, c.input_rows), c.input_columns, channels);
}

void Count::sum_dense(const Convolve& c, CommandCycles& out) const {
  const int64_t pixels = c.output_rows * c.output_columns;
  const int64_t pass = std::min(pass_pixels(machine, accumulates_wide(c)), pixels);
  const int64_t lanes = std::max<int64_t>(1, whole(machine.array_input_channels) / slowdown(machine, c));
  const int64_t taps = c.window_rows * c.window_columns;
  const int64_t blocks = ceil_div(c.output_channels, whole(machine.array_output_channels));
  const int64_t loads =
      whole(machine.block_load_cycles) * ceil_div(c.input_channels, whole(machine.array_input_channels));
  // What does not fill a group of taps or of steps takes the time of one that does.
  const int64_t rounds = taps == 1 ? 1 : align_up(taps, whole(machine.array_taps));
  const int64_t least_steps = ceil_div(c.input_channels, lanes);
  const bool grouped = taps == 1 && least_steps > whole(machine.array_steps);
  const int64_t steps = grouped ? align_up(least_steps, whole(machine.array_steps)) : least_steps;
  const auto sums = [&](int64_t count) {
    return times(rounds, std::max(loads, ceil_div(count, whole(machine.array_pixels)) * steps));
  };
  const int64_t passes = pixels / pass;
  const int64_t rest = pixels % pass;
  out.array_cycles = times(blocks, times(passes, sums(pass)) + (rest == 0 ? 0 : sums(rest)));

  // Streamed: a word a pixel and step. Through the line buffer: what a pass needs, once for each block of outputs.
  const int64_t line_channels = std::min(c.input_channels, whole(machine.array_input_channels));
  const int64_t held = patch_bytes(c, pass, line_channels);
  const int64_t streamed = times(words(line_channels * element_bytes(c.input_type), pixels), taps,
                                 ceil_div(c.input_channels, line_channels), blocks);
  const int64_t once = std::min(times(blocks, times(passes, patch_bytes(c, pass, c.input_channels)) +
                                                  (rest == 0 ? 0 : patch_bytes(c, rest, c.input_channels))),
                                kMostCount);
  const bool buffered = taps > 1 && held <= whole(machine.line_buffer_bytes) && once < streamed;
  out.sram_read_bytes = buffered ? once : streamed;
  out.line_bytes = buffered ? once + streamed : 0;
  const int64_t block_bytes =
      whole(machine.array_input_channels * machine.array_output_channels) * weight_bits(c.weights) / 8;
  out.cache_read_bytes = times(block_bytes, ceil_div(c.input_channels, whole(machine.array_input_channels)), taps,
                               blocks, passes + (rest == 0 ? 0 : 1));
  // A step reads and writes the sum of each output of its block.
  out.sum_bytes =
      times(accumulates_wide(c) ? 16 : 8, pixels, blocks * whole(machine.array_output_channels), taps, steps);
}

void Count::sum_depthwise(const Convolve& c, CommandCycles& out) const {
  const int64_t pixels = c.output_rows * c.output_columns;
  const int64_t taps = c.window_rows * c.window_columns;
  const int64_t blocks = ceil_div(c.output_channels, kBlockChannels);
  const int64_t outputs = ceil_div(pixels * kBlockChannels, whole(machine.depthwise_outputs));
  const int64_t filled = taps == 1 ? 1 : align_up(taps, whole(machine.array_taps));
  const int64_t sums = times(outputs, ceil_div(times(filled, slowdown(machine, c)), whole(machine.depthwise_taps)));
  out.array_cycles = times(blocks, std::max(sums, whole(machine.block_load_cycles) * ceil_div(taps, int64_t{16})));

  const int64_t once = tile(input_tile(c), c.input_rows, c.input_columns, c.input_channels);
  const int64_t line =
      reach(c.window_rows, c.dilation_rows) * c.input_columns * kBlockChannels * element_bytes(c.input_type);
  const bool buffered = line <= whole(machine.line_buffer_bytes);
  out.sram_read_bytes = buffered ? once : times(once, c.window_rows);
  out.line_bytes = buffered ? times(once, 1 + c.window_rows) : 0;
  out.cache_read_bytes = weight_bytes(c);
}

// Additions of one tile and channel, shifts and products with powers of 2 being wires: each row of B^T has 3 (of F(2x2)
// 1), and each tap one to round; A^T has 14 (of F(2x2) 4).
constexpr int64_t input_adds(int64_t transform) { return transform == kWinograd4 ? 12 * 18 + 36 : 8 * 4 + 16; }
constexpr int64_t output_adds(int64_t transform) { return transform == kWinograd4 ? (6 + 4) * 14 : (4 + 2) * 4; }
constexpr int64_t kTransformedTaps = 36;  // of the tile that winograd_tile_cycles is about

void Count::sum_transformed(const Convolve& c, CommandCycles& out) const {
  const int64_t side = transform_tile(c.transform) + 2;
  const int64_t taps = taps_of(c);
  const int64_t tiles = sums_of(c) / taps;
  const int64_t pass = std::min(pass_tiles(machine, c.transform, c.input_type), tiles);
  const int64_t lanes = whole(machine.array_input_channels);
  const int64_t element = element_bytes(c.input_type);
  const int64_t blocks = ceil_div(c.output_channels, whole(machine.array_output_channels));
  const int64_t steps = ceil_div(c.input_channels, lanes);
  // Products of f16 use a few of the lanes, so that a block takes more steps.
  const int64_t used = std::max<int64_t>(1, lanes / slowdown(machine, c));
  const int64_t products = ceil_div(c.input_channels, used);
  const int64_t loads = times(whole(machine.block_load_cycles), steps);
  const auto sums = [&](int64_t count) {
    return times(taps, std::max(loads, times(ceil_div(count, whole(machine.array_pixels)), products)));
  };
  const int64_t passes = tiles / pass;
  const int64_t rest = tiles % pass;
  out.array_cycles = times(blocks, times(passes, sums(pass)) + (rest == 0 ? 0 : sums(rest)));

  const int64_t half = whole(machine.line_buffer_bytes) / 2;
  const bool once = times(pass, taps, align_up(c.input_channels, lanes), element) <= half;
  const int64_t transformed = times(tiles, steps, once ? 1 : blocks);  // tiles of 16 channels
  const auto transform = [&](int64_t count) {
    return ceil_div(times(count, taps, whole(machine.winograd_tile_cycles)), kTransformedTaps);
  };
  out.transform_cycles = transform(transformed);
  out.fill_cycles = transform(pass);
  out.adds = times(tiles, c.input_channels, once ? 1 : blocks, input_adds(c.transform));
  out.sram_read_bytes = times(transformed, words(std::min(lanes, c.input_channels) * element, side * side));
  out.line_bytes = times(taps, lanes * element, transformed + times(tiles, steps, blocks));
  out.cache_read_bytes =
      tap_table_bytes(c) + times(whole(machine.array_input_channels * machine.array_output_channels) * element, steps,
                                 taps, blocks, passes + (rest == 0 ? 0 : 1));
  out.sum_bytes = times(8, tiles, taps, blocks * whole(machine.array_output_channels), products);
  if (c.last_sum == 0) return;
  out.transform_cycles = std::max(out.transform_cycles, transform(times(tiles, blocks)));
  out.adds += times(tiles, c.output_channels, output_adds(c.transform));
}

// What follows the sums of the last pass: the last block of output channels.
int64_t Count::last_pass_cycles(const Convolve& c) const {
  const int64_t block = whole(machine.array_output_channels);
  const int64_t channels = (c.output_channels - 1) % block + 1;
  const auto last_of = [](int64_t count, int64_t pass) { return (count - 1) % pass + 1; };
  int64_t pixels = c.output_rows * c.output_columns;
  int64_t transform = 0;
  if (c.transform == kDirect) {
    pixels = last_of(pixels, std::min(pass_pixels(machine, accumulates_wide(c)), pixels));
  } else {
    const int64_t tiles = sums_of(c) / taps_of(c);
    const int64_t last = last_of(tiles, std::min(pass_tiles(machine, c.transform, c.input_type), tiles));
    const int64_t tile = transform_tile(c.transform);
    pixels = std::min(pixels, last * tile * tile);
    transform = ceil_div(times(last, taps_of(c), whole(machine.winograd_tile_cycles)), kTransformedTaps);
  }
  const int64_t bytes = times(pixels, channels, element_bytes(c.output_type));
  return std::max({transform, ceil_div(pixels * channels, whole(machine.post_values)),
                   ceil_div(bytes, whole(machine.sram_write_bytes))});
}

CommandCycles Count::operator()(const Convolve& c) const {
  CommandCycles out;
  const int64_t pixels = c.output_rows * c.output_columns;
  const bool dense = c.connection == kDense;
  out.products = times(c.transform == kDirect ? times(pixels, taps_of(c)) : sums_of(c), c.output_channels,
                       dense ? c.input_channels : 1);
  out.product_kind = kind_of(c);
  if (c.transform != kDirect) {
    sum_transformed(c, out);
  } else if (dense) {
    sum_dense(c, out);
  } else {
    sum_depthwise(c, out);
  }
  if (c.last_sum != 0) {
    const Tile output = output_tile(c);
    out.values = times(pixels, c.output_channels);
    out.sram_written_bytes = tile(output, c.output_rows, c.output_columns, c.output_channels);
    if (c.adds_residual != 0)
      out.sram_read_bytes += tile(residual_tile(c), c.output_rows, c.output_columns, c.output_channels);
    out.cache_read_bytes += c.output_channels * channel_entry_bytes(has_wide_sums(c));
    out.post_cycles = ceil_div(out.values, whole(machine.post_values));
    out.write_cycles = ceil_div(out.sram_written_bytes, whole(machine.sram_write_bytes));
    if (dense) out.drain_cycles = last_pass_cycles(c);
  }
  out.read_cycles = ceil_div(out.sram_read_bytes, whole(machine.sram_read_bytes));
  out.cycles = std::max({out.array_cycles, out.transform_cycles, out.post_cycles, out.read_cycles, out.write_cycles}) +
               out.fill_cycles + out.drain_cycles;
  return started(out);
}

CommandCycles Count::operator()(const Combine& c) const {
  int64_t read = tile(left_tile(c), c.rows, c.columns, c.channels);
  if (c.arithmetic <= kMultiply) read += tile(right_tile(c), c.rows, c.columns, c.right_repeats != 0 ? 1 : c.channels);
  const int64_t values = times(c.rows, c.columns, c.channels);
  const int64_t written = tile(output_tile(c), c.rows, c.columns, c.channels);
  if (c.arithmetic <= kMultiply) return of_values(machine.post_values, values, read, written);
  return started(of_values(machine.table_values, values, read, written));
}

CommandCycles Count::operator()(const Pool& c) const {
  const int64_t rows = std::min(c.window_rows, c.input_rows);
  const int64_t columns = std::min(c.window_columns, c.input_columns);
  const int64_t outputs = times(c.output_rows, c.output_columns, c.channels);
  const int64_t element = element_bytes(c.input_type);
  const int64_t once = tile(input_tile(c), c.input_rows, c.input_columns, c.channels);
  const int64_t streamed = times(outputs, rows, columns, element);
  const int64_t line = times(rows, c.input_columns, kBlockChannels * element);
  const bool buffered = line <= whole(machine.line_buffer_bytes) && once < streamed;
  const int64_t pixels = align_up(c.output_rows * c.output_columns, whole(machine.pool_pixels));
  CommandCycles out =
      of_values(machine.pool_values, times(pixels, c.channels, rows, columns), buffered ? once : streamed,
                tile(output_tile(c), c.output_rows, c.output_columns, c.channels));
  out.values = times(outputs, rows, columns);
  if (buffered) out.line_bytes = once + streamed;
  return started(out);
}

CommandCycles Count::operator()(const Resize& c) const {
  const int64_t taps = c.interpolation == kLinear ? 4 : 1;
  const int64_t values = times(c.output_rows, c.output_columns, c.channels, taps);
  const int64_t once = tile(input_tile(c), c.input_rows, c.input_columns, c.channels);
  const int64_t streamed =
      times(words(c.channels * element_bytes(c.input_type), taps), c.output_rows, c.output_columns);
  // Two input rows at a time are all that it reads again.
  const int64_t line = times(2 * c.input_columns, kBlockChannels * element_bytes(c.input_type));
  const bool buffered = line <= whole(machine.line_buffer_bytes) && once < streamed;
  CommandCycles out = of_values(machine.post_values, values, buffered ? once : streamed,
                                tile(output_tile(c), c.output_rows, c.output_columns, c.channels));
  if (buffered) out.line_bytes = once + streamed;
  out.cache_read_bytes = (c.output_rows + c.output_columns) * kPositionBytes;
  return started(out);
}

CommandCycles Count::operator()(const Copy& c) const {
  const int64_t read = c.fills != 0 ? 0 : strided(input_tile(c), c.input_channel_stride, c);
  return started(of_values(machine.copy_values, times(c.rows, c.columns, c.channels), read,
                           strided(output_tile(c), c.output_channel_stride, c)));
}

// log2 of a ratio of at least 1, straight between the powers of 2: rounded the same on every host, which log2() is not.
double octaves(double ratio) {
  double count = 0;
  for (; ratio >= 2; ratio /= 2) ++count;
  return count + (ratio - 1);
}

}  // namespace

CommandCycles cycles_of(const Machine& machine, const Command& command, int64_t stream_bytes) {
  return std::visit(Count{machine, stream_bytes}, command.body);
}

int64_t pass_pixels(const Machine& machine, bool wide_sums) {
  const int64_t sum_bytes = wide_sums ? 8 : 4;
  const int64_t block = whole(machine.array_output_channels) * sum_bytes;
  const int64_t pixels = whole(machine.array_pixels);
  return std::max(pixels, whole(machine.accumulator_bytes) / 2 / block / pixels * pixels);
}

int64_t pass_tiles(const Machine& machine, int64_t transform, int64_t input_type) {
  const int64_t taps = transform_taps(transform);
  const int64_t sums = taps * whole(machine.array_output_channels) * 4;
  const int64_t inputs = taps * whole(machine.array_input_channels) * element_bytes(input_type);
  return std::max<int64_t>(
      1, std::min(whole(machine.accumulator_bytes) / 2 / sums, whole(machine.line_buffer_bytes) / 2 / inputs));
}

double ddr_efficiency(const Machine& machine, int64_t contiguous_bytes) {
  const double short_burst = machine.ddr_short_burst_bytes;
  const auto bytes = static_cast<double>(contiguous_bytes);
  if (bytes <= short_burst) return machine.ddr_short_efficiency;
  if (bytes >= machine.ddr_long_burst_bytes) return machine.ddr_long_efficiency;
  const double share = octaves(bytes / short_burst) / octaves(machine.ddr_long_burst_bytes / short_burst);
  return machine.ddr_short_efficiency + (machine.ddr_long_efficiency - machine.ddr_short_efficiency) * share;
}

double ddr_bytes_a_cycle(const Machine& machine) { return machine.ddr_gigabytes * 1000 / machine.clock_mhz; }

int64_t peak_products(const Machine& machine) {
  return whole(machine.cores * machine.array_input_channels * machine.array_output_channels * machine.array_pixels);
}

}  // namespace hai::sd3403
