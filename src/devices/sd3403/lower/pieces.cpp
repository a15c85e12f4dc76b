// Cutting layers.
//
// Half of the channels on each core loads each weight once and wants an even number of blocks of 16; half of the rows
// loads all weights twice and suits layers of few channels. A chunk is a quarter of the weight cache where it can be,
// so that the next ones load while one is used; where 16 channels of a deep window are more, it is cut along the input
// channels, and sums wait in the accumulators.
#include "devices/sd3403/lower/pieces.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/checked.h"
#include "devices/sd3403/cost/command_cycles.h"
#include "devices/sd3403/isa/curve.h"

namespace hai::sd3403 {
namespace {

constexpr int64_t kAlignment = 16;

int64_t blocks_of(int64_t channels) { return ceil_div(channels, kBlockChannels); }

const Convolve* as_convolve(const Layer& layer) { return std::get_if<Convolve>(&layer.body); }

Range half(int64_t channels, int64_t core) {
  const int64_t blocks = blocks_of(channels);
  const int64_t first = ceil_div(blocks, 2) * kBlockChannels;
  return core == 0 ? Range{0, std::min(first, channels)} : Range{first, channels - first};
}

int64_t input_type(const Layer& layer) { return layer.reads.empty() ? layer.writes.type : layer.reads[0].slice.type; }

// In the accumulators, where a row of them fits; those of a transform, where one tile's do.
bool sums_can_wait(const Layer& layer, const Machine& machine) {
  const int64_t pixels = pixels_in_accumulators(layer, machine);
  return layer.row_unit > 1 ? pixels > 0 : layer.writes.columns <= pixels;
}

}  // namespace

WeightPack pack_of(const Layer& layer, const Range& channels, const Range& depth) {
  WeightPack pack = *layer.pack;
  pack.rows = pack.transposes != 0 ? channels.count : depth.count;
  pack.channels = pack.transposes != 0 ? depth.count : channels.count;
  return pack;
}

bool has_constants(const Layer& layer) {
  const Constants& c = layer.constants;
  return !c.multipliers.empty() || !c.averages.empty() || !c.rows.empty() || !c.parameters.empty();
}

int64_t table_bytes(const Layer& layer) {
  const auto entries = static_cast<int64_t>(layer.constants.table.size());
  const auto* convolve = as_convolve(layer);
  const auto* combine = std::get_if<Combine>(&layer.body);
  const bool curve =
      convolve != nullptr ? convolve->function == kCurve : combine != nullptr && combine->arithmetic == kLookUpCurve;
  if (curve) return align_up(curve_bytes(entries), kAlignment);
  return align_up(entries * (convolve != nullptr ? 2 : element_bytes(layer.writes.type)), kAlignment);
}

int64_t table_room(const Machine& machine) {
  return align_up(static_cast<int64_t>(machine.weight_cache_bytes) / 8, kAlignment);
}

bool is_small_table(const Layer& layer, const Machine& machine) {
  return table_bytes(layer) <= table_room(machine) / 2;
}

int64_t constant_bytes(const Layer& layer, const Range& channels, const Range& depth, int64_t rows) {
  const Constants& c = layer.constants;
  int64_t bytes = 0;
  if (const Convolve* convolve = as_convolve(layer)) {
    const int64_t taps = convolve->connection == kDepthwise ? c.window : c.window * depth.count;
    bytes +=
        align_up(blocks_of(channels.count) * kBlockChannels * taps * weight_bits(convolve->weights) / 8, kAlignment);
    bytes += align_up(channels.count * channel_entry_bytes(has_wide_sums(input_type(layer), convolve->transform)),
                      kAlignment);
    bytes += align_up(static_cast<int64_t>(c.taps.size()), kAlignment);
  } else {
    bytes += align_up(static_cast<int64_t>(c.averages.size()) * 4, kAlignment);
    bytes += align_up(static_cast<int64_t>(c.parameters.size()), kAlignment);
    if (!c.rows.empty()) {
      bytes += align_up(rows * kPositionBytes, kAlignment);
      bytes += align_up(static_cast<int64_t>(c.columns.size()) * kPositionBytes, kAlignment);
    }
  }
  return bytes;
}

int64_t packed_weight_bytes(const Layer& layer, const Range& channels, const Range& depth) {
  return layer.pack ? blocks_of(channels.count) * kBlockChannels * depth.count : 0;
}

int64_t loaded_constant_bytes(const Layer& layer, const Range& channels) {
  const Range depth{0, layer.constants.depth};
  return constant_bytes(layer, channels, depth, layer.writes.rows) - packed_weight_bytes(layer, channels, depth) +
         table_bytes(layer);
}

int64_t layer_cycles(const Layer& layer, const Machine& machine, int64_t rows, int64_t channels) {
  Command command{0, 0, 0, layer.body};
  const Slice& out = layer.writes;
  const auto set = [&](auto& c) {
    if constexpr (requires { c.output_rows; }) c.output_rows = rows;
    if constexpr (requires { c.rows; }) c.rows = rows;
    if constexpr (requires { c.output_channels; }) {
      c.output_channels = channels;
      if (c.connection == kDepthwise) c.input_channels = channels;
      if (c.adds_residual != 0) c.residual_type = layer.reads[1].slice.type;
    } else if constexpr (requires { c.channels; }) {
      c.channels = channels;
    }
    if constexpr (requires { c.input_rows; }) {
      const RowWindow& window = layer.reads[0].window;
      c.input_rows = std::min(layer.reads[0].slice.rows, window.end(rows - 1) - window.begin(0));
    }
    if constexpr (requires { c.input_type; }) {
      if (!layer.reads.empty()) c.input_type = layer.reads[0].slice.type;
    }
    if constexpr (requires { c.left_type; }) {
      c.left_type = layer.reads[0].slice.type;
      if (layer.reads.size() > 1) c.right_type = layer.reads[1].slice.type;
    }
    if constexpr (requires { c.output_type; }) c.output_type = out.type;
  };
  std::visit(set, command.body);
  int64_t cycles = cycles_of(machine, command).cycles;
  if (layer.pack) {
    command.body = pack_of(layer, {0, channels}, {0, layer.constants.depth});
    cycles += cycles_of(machine, command).cycles;
  }
  return cycles;
}

int64_t first_half(const Layer& layer, int64_t rows) {
  return std::min(rows, align_up(ceil_div(rows, 2), layer.row_unit));
}

int64_t pixels_in_accumulators(const Layer& layer, const Machine& machine) {
  const Convolve* convolve = as_convolve(layer);
  if (convolve != nullptr && convolve->transform != kDirect) {
    const int64_t tile = transform_tile(convolve->transform);
    const int64_t sums = taps_of(*convolve) * kBlockChannels * 4;
    return static_cast<int64_t>(machine.accumulator_bytes) / sums * tile * tile;
  }
  return pass_pixels(machine, input_type(layer) == kI16 && (convolve == nullptr || convolve->narrow_sums == 0));
}

std::vector<Share> shares_of(const Layer& layer, const Machine& machine, Split forced) {
  const int64_t channels = layer.writes.channels;
  const int64_t rows = layer.writes.rows;
  const std::vector<Share> one = {{0, {0, channels}, false}};
  const std::vector<Share> by_rows = {{0, {0, channels}, true}, {1, {0, channels}, true}};
  const std::vector<Share> by_channels = {{0, half(channels, 0), false}, {1, half(channels, 1), false}};
  const bool channels_can = blocks_of(channels) >= 2 && layer.by_channels;
  const bool rows_can = rows > layer.row_unit && layer.by_rows;
  if (machine.cores < 2 || forced == Split::kOneCore) return one;
  const bool is_free = forced == Split::kAuto || forced == Split::kBranches;
  if (layer.core && is_free) return {{*layer.core, {0, channels}, false}};
  if (!channels_can && !rows_can) return one;
  if (forced == Split::kRows && rows_can) return by_rows;
  if (forced == Split::kChannels && channels_can) return by_channels;
  if (!channels_can) return by_rows;
  if (!rows_can) return by_channels;
  const Range depth{0, layer.constants.depth};
  const int64_t bytes =
      constant_bytes(layer, {0, channels}, depth, rows) - packed_weight_bytes(layer, {0, channels}, depth);
  const auto rate = std::max<int64_t>(1, static_cast<int64_t>(ddr_bytes_a_cycle(machine)));
  const int64_t rows_cycles =
      std::max(layer_cycles(layer, machine, first_half(layer, rows), channels), 2 * bytes / rate);
  const int64_t channels_cycles = std::max(layer_cycles(layer, machine, rows, half(channels, 0).count), bytes / rate);
  // Weights that come twice cost energy where they do not cost time.
  return rows_cycles + rows_cycles / 16 < channels_cycles ? by_rows : by_channels;
}

std::vector<Chunk> chunks_of(const Layer& layer, const Machine& machine, const Range& channels) {
  const Range depth{0, std::max<int64_t>(layer.constants.depth, 1)};
  const auto bytes = [&](const Range& c, const Range& d) { return constant_bytes(layer, c, d, layer.writes.rows); };
  int64_t cache = static_cast<int64_t>(machine.weight_cache_bytes) - table_room(machine);
  if (!is_small_table(layer, machine)) cache -= table_bytes(layer);
  const int64_t wanted = cache / 4;
  const Convolve* convolve = as_convolve(layer);
  if (convolve == nullptr) return {{channels, depth, bytes(channels, depth)}};
  int64_t width = align_up(channels.count, kBlockChannels);
  while (width > kBlockChannels && bytes({0, width}, depth) > wanted) width -= kBlockChannels;
  // Equal parts.
  const int64_t parts = ceil_div(align_up(channels.count, kBlockChannels), width);
  width = align_up(ceil_div(channels.count, parts), kBlockChannels);
  const bool waits = sums_can_wait(layer, machine);
  const int64_t most = waits ? cache / 2 : cache;
  // Sums of f16 keep their order, which is by tap, then by channel; those of a transform are of one tap each.
  const bool ordered = convolve->weights == kWeightF16 && layer.constants.window > 1 && convolve->transform == kDirect;
  const bool dense = convolve->connection == kDense && !ordered;
  int64_t deep = depth.count;
  const auto is_beyond = [&](int64_t limit) { return dense && bytes({0, width}, {0, deep}) > limit; };
  while (deep > kBlockChannels && is_beyond(most)) deep = align_up(deep, kBlockChannels) - kBlockChannels;
  if (deep < depth.count) deep = align_up(ceil_div(depth.count, ceil_div(depth.count, deep)), kBlockChannels);
  while (deep > 1 && is_beyond(cache)) --deep;  // of so large a window that lanes must stay idle
  std::vector<Chunk> out;
  for (int64_t c = 0; c < channels.count; c += width) {
    const Range part{channels.first + c, std::min(width, channels.count - c)};
    for (int64_t d = 0; d < depth.count; d += deep) {
      const Range piece{d, std::min(deep, depth.count - d)};
      out.push_back({part, piece, bytes(part, piece)});
    }
  }
  return out;
}

Status constants_fit(const Layer& layer, const Machine& machine) {
  const bool large_table = !is_small_table(layer, machine);
  const int64_t room = static_cast<int64_t>(machine.weight_cache_bytes) - table_room(machine);
  for (const Share& share : shares_of(layer, machine, Split::kAuto)) {
    if (share.channels.count == 0) continue;
    const std::vector<Chunk> chunks = chunks_of(layer, machine, share.channels);
    for (size_t i = 0; i < chunks.size(); ++i) {
      const int64_t bytes = chunks[i].bytes + (large_table ? table_bytes(layer) : 0);
      if (bytes > room) {
        return make_error(StatusCode::kResourceExhausted, "N120",
                          "layer \"{}\": its smallest piece of constants has {} bytes, the weight cache room for {}",
                          layer.name, bytes, room);
      }
      const bool waits = i > 0 && chunks[i].channels.first == chunks[i - 1].channels.first;
      if (waits && !sums_can_wait(layer, machine)) {
        return make_error(StatusCode::kResourceExhausted, "N121",
                          "layer \"{}\": the weights of 16 output channels do not fit the weight cache of {} bytes, "
                          "and the sums of a row of {} pixels do not fit the accumulators of {}",
                          layer.name, static_cast<int64_t>(machine.weight_cache_bytes), layer.writes.columns,
                          static_cast<int64_t>(machine.accumulator_bytes));
      }
    }
  }
  return {};
}

}  // namespace hai::sd3403
