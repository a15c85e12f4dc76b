// Transformed convolutions (Winograd): tiles to taps, a matrix product a tap, sums of taps to results.
//
// A task is a run of tiles with all panels of weights, or with a share of them where tiles are few. Stretches of it in
// one row of tiles are copied with padding, as q - zero_point in 16 bits, and transformed; then each panel runs all
// taps over all tiles of the task, and its sums are transformed back while they are in the second cache. Sums that stay
// or continue lie in the accumulators as [panel][tap][tile][column]. Where the kernel reads V + 128 as bytes, what that
// adds to a tap's sums is taken off as they are transformed back.
#include "devices/sd3403/exec/convolve_winograd.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/checked.h"
#include "devices/cpu/exec/product_kernels.h"
#include "devices/sd3403/exec/convolve.h"
#include "devices/sd3403/isa/access.h"
#include "types/winograd.h"

namespace hai::sd3403 {
namespace {

constexpr int64_t kTaskBytes = 192 * 1024;  // of taps and sums of a task: they stay in the second cache
constexpr int64_t kMostTaskTiles = 256;
constexpr int64_t kTasksPerThread = 2;
constexpr int64_t kMostCopyBytes = int64_t{1} << 28;
constexpr int64_t kTaskProducts = 1 << 17;  // less costs more to hand over than to do
constexpr int64_t kLargestTap = 128;
constexpr int64_t kFlip = 128;  // what is added to V for kernels of unsigned bytes
constexpr size_t kMostTile = 4;

const hai_gemm_kernel& kernel_for(cpu::Isa isa) { return *gemm_s8_s8_s32_for(isa)(); }

// Of one tap.
int64_t panel_bytes(int64_t padded, const hai_gemm_kernel& kernel) { return align_up(padded * kernel.nr, int64_t{64}); }

class WinogradConvolve final : public Step {
 public:
  WinogradConvolve(const Convolve& command, SharedWeights weights, TapTable table,
                   std::shared_ptr<const TapSums> tap_sums, SharedEpilogue epilogue, cpu::Isa isa);

  Status place_scratch();
  int64_t scratch_bytes() const override { return scratch_.total; }
  int64_t accumulator_bytes() const override {
    return continues_ || leaves_ ? panels_ * taps_ * tiles_ * kernel_.nr * 4 : 0;
  }
  void run(const StepContext& context) const override;

 private:
  struct Scratch {
    int64_t copy = 0, tile = 0, taps = 0, sums = 0, results = 0, words = 0;  // offsets in bytes
    int64_t total = 0;
  };
  struct Task {
    const StepContext& context;
    std::byte* scratch;
    int64_t begin, end;  // tiles
    int64_t panel_begin, panel_end;
  };
  // Tiles of a task in one row of tiles.
  struct Stretch {
    int64_t row, column, count;  // of tiles
  };
  template <typename Use>
  void for_stretches(const Task& task, Use use) const {
    for (int64_t at = task.begin; at < task.end;) {
      const int64_t column = at % across_;
      const int64_t count = std::min(task.end - at, across_ - column);
      use(Stretch{at / across_, column, count}, at - task.begin);
      at += count;
    }
  }

  void make_bias();
  void run_task(const Task& task) const;
  void transform_inputs(const Task& task, const Stretch& stretch, int64_t at) const;
  void sum_taps(const Task& task, int64_t panel, int32_t* sums, int64_t tap_stride) const;
  void transform_sums(const Task& task, const Stretch& stretch, int64_t panel, const int32_t* sums,
                      int64_t tap_stride) const;
  ResultPixels results_at(const StepContext& context, int64_t row, int64_t column, int64_t channel) const;

  Convolve c_;
  Tile input_, output_, residual_;
  SharedWeights weights_;
  TapTable table_;
  std::shared_ptr<const TapSums> tap_sums_;  // of the chain, where it ends here
  SharedEpilogue epilogue_;
  cpu::Isa isa_;
  const hai_gemm_kernel& kernel_;
  bool continues_, leaves_;  // takes sums from the accumulators, leaves them there
  int64_t tile_, taps_, down_, across_, tiles_, panels_;
  int64_t padded_;       // input channels in whole steps
  int64_t tile_bytes_;   // of one tap of a tile
  int64_t panel_bytes_;  // of one tap of a panel
  int64_t task_tiles_ = 1;
  // Of each pixel of a tile, [pixel][column of all panels]: the bias less what V + 128 adds; the first where all sums
  // fit 32 bits.
  std::vector<int32_t> narrow_bias_;
  std::vector<double> bias_;
  Scratch scratch_;
};

WinogradConvolve::WinogradConvolve(const Convolve& command, SharedWeights weights, TapTable table,
                                   std::shared_ptr<const TapSums> tap_sums, SharedEpilogue epilogue, cpu::Isa isa)
    : c_(command),
      input_(input_tile(command)),
      output_(output_tile(command)),
      residual_(residual_tile(command)),
      weights_(std::move(weights)),
      table_(std::move(table)),
      tap_sums_(std::move(tap_sums)),
      epilogue_(std::move(epilogue)),
      isa_(isa),
      kernel_(kernel_for(isa)),
      continues_(command.first_sum == 0),
      leaves_(command.last_sum == 0),
      tile_(transform_tile(command.transform)),
      taps_(taps_of(command)),
      down_(ceil_div(command.output_rows, tile_)),
      across_(ceil_div(command.output_columns, tile_)),
      tiles_(down_ * across_),
      panels_(ceil_div(command.output_channels, int64_t{kernel_.nr})),
      padded_(align_up(command.input_channels, int64_t{kernel_.k_group})),
      tile_bytes_(padded_ * (kernel_.left == HAI_GEMM_LEFT_S16 ? 2 : 1)),
      panel_bytes_(panel_bytes(padded_, kernel_)) {
  if (!leaves_) make_bias();
}

void WinogradConvolve::make_bias() {
  const int64_t columns = panels_ * kernel_.nr;
  const int64_t pixels = tile_ * tile_;
  bias_.assign(static_cast<size_t>(pixels * columns), 0.0);
  double largest = 0.0;
  for (int64_t o = 0; o < c_.output_channels; ++o) {
    double taps[HAI_WINOGRAD_MAX_TAPS] = {};
    double added[kMostTile * kMostTile] = {};
    if (kernel_.left == HAI_GEMM_LEFT_U8) {
      for (int64_t t = 0; t < taps_; ++t) {
        const int64_t sum = tap_sums_->weights[static_cast<size_t>(t * tap_sums_->stride + o)];
        taps[t] = static_cast<double>(kFlip * sum) * hai_winograd_power(table_.sum_shifts[static_cast<size_t>(t)]);
      }
      hai_winograd_output_f64(static_cast<int>(tile_), taps, added);
    }
    const auto bias = static_cast<double>(epilogue_->folded_bias(static_cast<size_t>(o)));
    for (int64_t i = 0; i < pixels; ++i) bias_[static_cast<size_t>(i * columns + o)] = bias - added[i];
    largest = std::max(largest, tap_sums_->largest_sum(c_, table_, o) + std::abs(bias));
  }
  // Shifts of 32 bits and more have no meaning there, even where all weights are zero.
  const bool shifts_fit = *std::max_element(table_.sum_shifts.begin(), table_.sum_shifts.end()) < 32;
  if (largest > std::numeric_limits<int32_t>::max() || !shifts_fit) return;
  for (const double bias : bias_)  // modulo 2^32, like the kernel
    narrow_bias_.push_back(static_cast<int32_t>(static_cast<uint64_t>(static_cast<int64_t>(bias))));
}

Status WinogradConvolve::place_scratch() {
  const int64_t of_a_tile = taps_ * (tile_bytes_ + kernel_.nr * 4);
  // Whole tiles of the kernel where the cache has room for one.
  const int64_t fit = std::clamp<int64_t>(kTaskBytes / of_a_tile, 1, kMostTaskTiles);
  task_tiles_ = std::min(tiles_, fit >= kernel_.mr ? fit / kernel_.mr * kernel_.mr : fit);
  const int64_t copy_columns = std::min(across_, task_tiles_) * tile_ + 2;
  const int64_t copy_bytes = (tile_ + 2) * copy_columns * c_.input_channels * 2;
  if (copy_bytes > kMostCopyBytes) {
    return make_error(StatusCode::kUnsupported, "N089", "a row of windows reads {} bytes, more than {}", copy_bytes,
                      kMostCopyBytes);
  }
  const auto place = [&](int64_t bytes) {
    const int64_t at = scratch_.total;
    scratch_.total += align_up(bytes, int64_t{64});
    return at;
  };
  scratch_.copy = place(copy_bytes);
  scratch_.tile = place(taps_ * c_.input_channels * 2);
  scratch_.taps = place(taps_ * task_tiles_ * tile_bytes_ + 64);  // a step may read past the last tile
  scratch_.sums = place(taps_ * task_tiles_ * kernel_.nr * 4);
  scratch_.results = place(tile_ * tile_ * kernel_.nr * 4);
  scratch_.words = place(tile_ * kernel_.nr * 2);
  return {};
}

void WinogradConvolve::run(const StepContext& context) const {
  const int threads = context.threads.thread_count();
  const double products = static_cast<double>(tiles_ * taps_) * static_cast<double>(c_.output_channels) *
                          static_cast<double>(c_.input_channels);
  int64_t wanted = 1;
  if (threads > 1 && products > kTaskProducts)
    wanted = products > 8.0 * kTaskProducts ? kTasksPerThread * threads : threads;
  const int64_t runs = std::max(ceil_div(tiles_, task_tiles_), std::min(wanted, ceil_div(tiles_, int64_t{kernel_.mr})));
  const int64_t splits = runs < threads && wanted > 1 ? std::min(panels_, ceil_div(int64_t{threads}, runs)) : 1;
  context.threads.parallel(runs * splits, [&](int64_t index, int thread) {
    const int64_t split = index % splits;
    const int64_t at = index / splits;
    run_task({context, context.scratch + thread * context.scratch_bytes, at * tiles_ / runs, (at + 1) * tiles_ / runs,
              split * panels_ / splits, (split + 1) * panels_ / splits});
  });
}

void WinogradConvolve::run_task(const Task& task) const {
  for_stretches(task, [&](const Stretch& stretch, int64_t at) { transform_inputs(task, stretch, at); });
  const bool kept = continues_ || leaves_;
  const int64_t tap_stride = (kept ? tiles_ : task.end - task.begin) * kernel_.nr;
  for (int64_t panel = task.panel_begin; panel < task.panel_end; ++panel) {
    int32_t* sums = reinterpret_cast<int32_t*>(task.scratch + scratch_.sums);
    if (kept)
      sums =
          reinterpret_cast<int32_t*>(task.context.accumulators) + panel * taps_ * tap_stride + task.begin * kernel_.nr;
    sum_taps(task, panel, sums, tap_stride);
    if (leaves_) continue;
    for_stretches(task, [&](const Stretch& stretch, int64_t at) {
      transform_sums(task, stretch, panel, sums + at * kernel_.nr, tap_stride);
    });
  }
}

void WinogradConvolve::transform_inputs(const Task& task, const Stretch& stretch, int64_t at) const {
  hai_stripe stripe = {};
  stripe.image_rows = 1;
  stripe.image_cols = c_.input_columns;
  stripe.channels = c_.input_channels;
  stripe.pixel_elements = input_.pixel_stride;
  stripe.row_count = stripe.row_step = stripe.col_step = 1;
  stripe.first_col = stretch.column * tile_ - c_.pad_left;
  stripe.col_count = stretch.count * tile_ + 2;
  stripe.kind = c_.input_type == kI8 ? HAI_STRIPE_S8_TO_S16 : HAI_STRIPE_U8_TO_S16;
  stripe.zero_point = static_cast<int32_t>(c_.input_zero_point);
  const int64_t pitch = stripe.col_count * c_.input_channels;
  auto* copy = reinterpret_cast<int16_t*>(task.scratch + scratch_.copy);
  for (int64_t i = 0; i < tile_ + 2; ++i) {
    const int64_t row = stretch.row * tile_ - c_.pad_top + i;
    const bool inside = row >= 0 && row < c_.input_rows;
    stripe.first_row = inside ? 0 : -1;  // -1: padding alone
    stripe.image = task.context.sram + input_.row_address(inside ? row : 0);
    stripe.out = copy + i * pitch;
    stripe_copy_for(isa_)(&stripe);
  }
  hai_winograd_input w = {};
  w.tile = static_cast<int32_t>(tile_);
  w.channels = c_.input_channels;
  w.d = task.scratch + scratch_.tile;
  w.tap_stride_bytes = (task.end - task.begin) * tile_bytes_;
  w.shifts = table_.input_shifts.data();
  w.left = kernel_.left;
  const int64_t row = (tile_ + 2) * c_.input_channels;  // of a tile, elements
  for (int64_t i = 0; i < stretch.count; ++i) {
    const int16_t* from = copy + i * tile_ * c_.input_channels;
    for (int64_t r = 0; r < tile_ + 2; ++r)
      std::memcpy(static_cast<int16_t*>(w.d) + r * row, from + r * pitch, static_cast<size_t>(row) * 2);
    w.out = task.scratch + scratch_.taps + (at + i) * tile_bytes_;
    winograd_input_s16_for(isa_)(&w);
  }
}

void WinogradConvolve::sum_taps(const Task& task, int64_t panel, int32_t* sums, int64_t tap_stride) const {
  const int64_t tiles = task.end - task.begin;
  const int64_t rows = ceil_div(tiles, ceil_div(tiles, int64_t{kernel_.mr}));  // even: short ones hide less latency
  const void* segment = nullptr;
  hai_gemm_i8_tile tile = {};
  tile.in.segments = &segment;
  tile.in.segment_count = 1;
  tile.in.segment_steps = padded_ / kernel_.k_group;
  tile.in.row_stride_bytes = tile_bytes_;
  tile.in.cols = static_cast<int32_t>(std::min<int64_t>(kernel_.nr, c_.output_channels - panel * kernel_.nr));
  tile.accumulate = continues_ ? 1 : 0;
  const std::byte* taps = task.scratch + scratch_.taps;
  const std::byte* weights = weights_->packed.data() + panel * taps_ * panel_bytes_;
  for (int64_t t = 0; t < taps_; ++t) {
    tile.in.panel = weights + t * panel_bytes_;
    for (int64_t first = 0; first < tiles; first += rows) {
      tile.in.rows = static_cast<int32_t>(std::min(rows, tiles - first));
      segment = taps + (t * tiles + first) * tile_bytes_;
      tile.sums = sums + t * tap_stride + first * kernel_.nr;
      kernel_.run_i8(&tile);
    }
  }
}

ResultPixels WinogradConvolve::results_at(const StepContext& context, int64_t row, int64_t column,
                                          int64_t channel) const {
  const int64_t bytes = epilogue_->output_bytes();
  ResultPixels out{};
  out.out = context.sram + output_.row_address(row) + column * output_.pixel_stride + channel * bytes;
  out.out_stride = output_.pixel_stride / bytes;
  if (c_.adds_residual == 0) return out;
  const int64_t residual_bytes = epilogue_->residual_bytes();
  out.residual = context.sram + residual_.row_address(row) + column * residual_.pixel_stride + channel * residual_bytes;
  out.residual_stride = residual_.pixel_stride / residual_bytes;
  return out;
}

void WinogradConvolve::transform_sums(const Task& task, const Stretch& stretch, int64_t panel, const int32_t* sums,
                                      int64_t tap_stride) const {
  const int64_t nr = kernel_.nr;
  const int64_t channel = panel * nr;
  const int64_t rows = std::min(tile_, c_.output_rows - stretch.row * tile_);
  const bool real = epilogue_->finishes_real();
  hai_winograd_output w = {};
  w.tile = static_cast<int32_t>(tile_);
  w.cols = static_cast<int32_t>(std::min(nr, c_.output_channels - channel));
  w.tap_stride = tap_stride;
  w.exponents = table_.sum_shifts.data();
  w.bias_s32 = narrow_bias_.empty() ? nullptr : narrow_bias_.data() + channel;
  w.bias_f64 = bias_.data() + channel;
  w.bias_stride = panels_ * nr;
  w.multiplier = epilogue_->multiplier() + channel;
  w.lo = epilogue_->lo();
  w.hi = epilogue_->hi();
  auto* steps = reinterpret_cast<int32_t*>(task.scratch + scratch_.results);
  auto* reals = reinterpret_cast<float*>(task.scratch + scratch_.results);
  auto* words = reinterpret_cast<int16_t*>(task.scratch + scratch_.words);
  w.steps = real ? nullptr : steps;
  w.real = reals;
  w.out_stride = nr;
  for (int64_t i = 0; i < stretch.count; ++i) {
    w.sums = sums + i * nr;
    winograd_output_s32_for(isa_)(&w);
    const int64_t column = (stretch.column + i) * tile_;
    const auto columns = static_cast<int32_t>(std::min(tile_, c_.output_columns - column));
    for (int64_t r = 0; r < rows; ++r) {
      const ResultPixels results = results_at(task.context, stretch.row * tile_ + r, column, channel);
      if (real) {
        epilogue_->finish_real(reals + r * tile_ * nr, nr, columns, w.cols, results);
      } else {
        epilogue_->finish(steps + r * tile_ * nr, nr, columns, w.cols, channel, results, words);
      }
    }
  }
}

}  // namespace

Result<TapTable> TapTable::make(const Convolve& c, const WeightCache& cache) {
  HAI_TRY(const auto bytes, cache.read(c.tap_table, tap_table_bytes(c)));
  TapTable out;
  for (int64_t t = 0; t < taps_of(c); ++t) {
    const int64_t input = std::to_integer<int64_t>(bytes[static_cast<size_t>(2 * t)]);
    const int64_t sum = std::to_integer<int64_t>(bytes[static_cast<size_t>(2 * t + 1)]);
    if (input > kMostInputShift || sum > kMostSumShift) {
      return make_error(StatusCode::kInvalidArgument, "N076",
                        "tap {} shifts inputs by {} and sums by {}; {} and {} are the most", t, input, sum,
                        kMostInputShift, kMostSumShift);
    }
    out.input_shifts.push_back(static_cast<int32_t>(input));
    out.sum_shifts.push_back(static_cast<int32_t>(sum));
  }
  return out;
}

TapSums TapSums::of(const Convolve& c, std::span<const int16_t> weights) {
  const int64_t taps = taps_of(c);
  TapSums out;
  out.stride = align_up(c.output_channels, kBlockChannels);
  out.reach.assign(static_cast<size_t>(taps * out.stride), 0);
  out.weights.assign(static_cast<size_t>(taps * out.stride), 0);
  const int16_t* at = weights.data();
  for (int64_t o = 0; o < c.output_channels; ++o) {
    for (int64_t t = 0; t < taps; ++t) {
      const auto to = static_cast<size_t>(t * out.stride + o);
      for (int64_t i = 0; i < c.input_channels; ++i, ++at) {  // at most 65535 bytes: 32 bits hold these
        out.weights[to] += *at;
        out.reach[to] += std::abs(int64_t{*at}) * kLargestTap;
      }
    }
  }
  return out;
}

Status TapSums::add(const TapSums& more) {
  if (reach.empty()) {
    stride = more.stride;
    reach.assign(more.reach.size(), 0);
    weights.assign(more.weights.size(), 0);
  }
  for (size_t i = 0; i < reach.size(); ++i) {
    reach[i] += more.reach[i];
    weights[i] = static_cast<int32_t>(static_cast<uint32_t>(weights[i]) + static_cast<uint32_t>(more.weights[i]));
    if (reach[i] <= std::numeric_limits<int32_t>::max()) continue;
    return make_error(StatusCode::kUnsupported, "N087",
                      "the sums of channel {} at tap {}, of at most {}, may pass 31 bits",
                      static_cast<int64_t>(i) % stride, static_cast<int64_t>(i) / stride, reach[i]);
  }
  return {};
}

double TapSums::largest_sum(const Convolve& c, const TapTable& table, int64_t channel) const {
  double largest[HAI_WINOGRAD_MAX_TAPS];
  for (size_t t = 0; t < table.sum_shifts.size(); ++t)
    largest[t] = static_cast<double>(reach[t * static_cast<size_t>(stride) + static_cast<size_t>(channel)]);
  return hai_winograd_sum_bound(static_cast<int>(transform_tile(c.transform)), largest, table.sum_shifts.data());
}

Status TapSums::check(const Convolve& c, const TapTable& table, std::span<const int64_t> bias) const {
  for (size_t o = 0; o < bias.size(); ++o) {
    const double sum = largest_sum(c, table, static_cast<int64_t>(o));
    if (sum + std::abs(static_cast<double>(bias[o])) < HAI_WINOGRAD_SUM_LIMIT) continue;
    return make_error(StatusCode::kUnsupported, "N087",
                      "the sums of channel {}, of at most {:.0f} beside a bias of {}, may pass {} bits", o, sum,
                      bias[o], 53);
  }
  return {};
}

Result<cpu::AlignedBuffer> pack_taps(const Convolve& c, std::span<const int16_t> weights, cpu::Isa isa) {
  const hai_gemm_kernel& kernel = kernel_for(isa);
  const int64_t taps = taps_of(c);
  const int64_t padded = align_up(c.input_channels, int64_t{kernel.k_group});
  const int64_t panels = ceil_div(c.output_channels, int64_t{kernel.nr});
  const int64_t bytes = panel_bytes(padded, kernel);
  HAI_TRY(cpu::AlignedBuffer packed, cpu::AlignedBuffer::zeros(panels * taps * bytes));
  auto* to = packed.as<int8_t>().data();
  for (int64_t o = 0; o < c.output_channels; ++o) {
    int8_t* panel = to + o / kernel.nr * taps * bytes + o % kernel.nr * kernel.k_group;
    const int16_t* from = weights.data() + o * taps * c.input_channels;
    for (int64_t t = 0; t < taps; ++t) {
      for (int64_t i = 0; i < c.input_channels; ++i) {
        const int64_t step = i / kernel.k_group;
        panel[t * bytes + step * kernel.nr * kernel.k_group + i % kernel.k_group] =
            static_cast<int8_t>(from[t * c.input_channels + i]);
      }
    }
  }
  return packed;
}

Result<StepPointer> make_winograd_convolve(const Convolve& command, SharedWeights weights, TapTable table,
                                           std::shared_ptr<const TapSums> tap_sums, SharedEpilogue epilogue,
                                           cpu::Isa isa) {
  auto step = std::make_unique<WinogradConvolve>(command, std::move(weights), std::move(table), std::move(tap_sums),
                                                 std::move(epilogue), isa);
  HAI_TRY_STATUS(step->place_scratch());
  return StepPointer(std::move(step));
}

}  // namespace hai::sd3403
