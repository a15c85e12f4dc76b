// Transformed convolutions (Winograd) of f16: tiles to taps of f16, an f32 matrix product a tap, sums of taps to
// results.
//
// Method: a task is a row of tiles. What it reads is widened into scratch, with padding; runs of its tiles are
// transformed and rounded to f16 (docs/reference/arithmetic.md, "Winograd"), then every panel of weights runs all taps
// on the CPU device's f32 kernels, whose sums start from 0 or from the accumulators and take one product after the
// other, and the last command transforms them back and adds the bias. In the accumulators sums lie as
// [panel][tap][tile][column]. Weights are finite, which is checked (pack_halves).
#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <limits>

#include "base/checked.h"
#include "devices/cpu/exec/product_kernels.h"
#include "devices/sd3403/exec/convolve.h"
#include "devices/sd3403/exec/convolve_half.h"
#include "devices/sd3403/isa/access.h"
#include "types/winograd.h"

namespace hai::sd3403 {
namespace {

constexpr int64_t kMostCopyBytes = int64_t{1} << 28;
constexpr int64_t kRunBytes = 192 * 1024;  // of taps and sums of a run of tiles: they stay in the second cache
constexpr int64_t kMostRunTiles = 64;

class HalfWinograd final : public Step {
 public:
  HalfWinograd(const Convolve& command, SharedWeights weights, std::vector<float> bias, cpu::Isa isa)
      : c_(command),
        input_(input_tile(command)),
        weights_(std::move(weights)),
        bias_(std::move(bias)),
        isa_(isa),
        kernel_(*gemm_f32_for(isa)()),
        zeros_(static_cast<size_t>(kernel_.nr), 0.0F),
        results_(command),
        tile_(transform_tile(command.transform)),
        taps_(taps_of(command)),
        down_(ceil_div(command.output_rows, tile_)),
        across_(ceil_div(command.output_columns, tile_)),
        panels_(ceil_div(command.output_channels, int64_t{kernel_.nr})) {}

  Status place_scratch();
  int64_t scratch_bytes() const override { return scratch_.total; }
  int64_t accumulator_bytes() const override {
    if (!keeps()) return 0;
    return panels_ * taps_ * down_ * across_ * kernel_.nr * 4;
  }
  void run(const StepContext& context) const override {
    context.threads.parallel(down_, [&](int64_t row, int thread) {
      std::byte* scratch = context.scratch + thread * context.scratch_bytes;
      copy_rows(context, row, at<float>(scratch, scratch_.copy));
      for (int64_t first = 0; first < across_; first += run_tiles_)
        run_tiles(context, scratch, {row, first, std::min(run_tiles_, across_ - first)});
    });
  }

 private:
  struct Scratch {
    int64_t copy = 0, tile = 0, taps = 0, sums = 0, results = 0;  // offsets in bytes
    int64_t total = 0;
  };
  struct Run {
    int64_t row, column, count;  // of tiles
  };
  template <typename T>
  static T* at(std::byte* scratch, int64_t offset) {
    return reinterpret_cast<T*>(scratch + offset);
  }
  bool keeps() const { return c_.first_sum == 0 || c_.last_sum == 0; }
  int64_t side() const { return tile_ + 2; }
  int64_t copy_columns() const { return across_ * tile_ + 2; }

  void copy_rows(const StepContext& context, int64_t row, float* to) const;
  void run_tiles(const StepContext& context, std::byte* scratch, const Run& run) const;
  void transform_inputs(std::byte* scratch, const Run& run) const;
  void sum_taps(const float* taps, const Run& run, int64_t panel, float* sums, int64_t tap_stride) const;
  void transform_sums(const StepContext& context, const Run& run, int64_t panel, const float* sums, int64_t tap_stride,
                      float* results) const;

  Convolve c_;
  Tile input_;
  SharedWeights weights_;
  std::vector<float> bias_;  // of all panels; empty: sums go on
  cpu::Isa isa_;
  const hai_gemm_kernel& kernel_;
  std::vector<float> zeros_;
  HalfResults results_;
  int64_t tile_, taps_, down_, across_, panels_;
  int64_t run_tiles_ = 1;
  Scratch scratch_;
};

Status HalfWinograd::place_scratch() {
  const auto pixels = checked_mul(copy_columns(), side());
  const auto elements = pixels ? checked_mul(*pixels, c_.input_channels) : std::nullopt;
  if (!elements || *elements > kMostCopyBytes / 4) {
    return make_error(StatusCode::kUnsupported, "N096",
                      "a row of windows of {} columns and {} channels reads more than "
                      "{} bytes",
                      c_.output_columns, c_.input_channels, kMostCopyBytes);
  }
  const int64_t of_a_tile = taps_ * (c_.input_channels + kernel_.nr) * 4;
  run_tiles_ = std::min(across_, std::clamp<int64_t>(kRunBytes / of_a_tile, 1, kMostRunTiles));
  const auto place = [&](int64_t floats) {
    const int64_t offset = scratch_.total;
    scratch_.total += align_up(floats * 4, int64_t{64});
    return offset;
  };
  scratch_.copy = place(*elements);
  scratch_.tile = place(taps_ * c_.input_channels);
  scratch_.taps = place(taps_ * run_tiles_ * c_.input_channels);
  scratch_.sums = place(taps_ * run_tiles_ * kernel_.nr);
  scratch_.results = place(tile_ * tile_ * kernel_.nr);
  return {};
}

// [row of the window][column][channel], columns from the first window's first on.
void HalfWinograd::copy_rows(const StepContext& context, int64_t row, float* to) const {
  const int64_t depth = c_.input_channels;
  for (int64_t r = 0; r < side(); ++r) {
    const int64_t y = row * tile_ - c_.pad_top + r;
    const bool inside = y >= 0 && y < c_.input_rows;
    const std::byte* from = context.sram + input_.row_address(inside ? y : 0);
    for (int64_t column = 0; column < copy_columns(); ++column, to += depth) {
      const int64_t x = column - c_.pad_left;
      if (inside && x >= 0 && x < c_.input_columns) {
        widen_halves(reinterpret_cast<const uint16_t*>(from + x * input_.pixel_stride), to, depth);
      } else {
        std::fill(to, to + depth, 0.0F);
      }
    }
  }
}

void HalfWinograd::run_tiles(const StepContext& context, std::byte* scratch, const Run& run) const {
  transform_inputs(scratch, run);
  const int64_t nr = kernel_.nr;
  const int64_t tap_stride = (keeps() ? down_ * across_ : run.count) * nr;
  for (int64_t panel = 0; panel < panels_; ++panel) {
    float* sums = at<float>(scratch, scratch_.sums);
    if (keeps()) {
      sums = reinterpret_cast<float*>(context.accumulators) + panel * taps_ * tap_stride +
             (run.row * across_ + run.column) * nr;
    }
    sum_taps(at<float>(scratch, scratch_.taps), run, panel, sums, tap_stride);
    if (c_.last_sum != 0) transform_sums(context, run, panel, sums, tap_stride, at<float>(scratch, scratch_.results));
  }
}

// To [tap][tile][channel].
void HalfWinograd::transform_inputs(std::byte* scratch, const Run& run) const {
  const int64_t depth = c_.input_channels;
  hai_winograd_input w = {};
  w.tile = static_cast<int32_t>(tile_);
  w.channels = depth;
  w.d = scratch + scratch_.tile;
  w.tap_stride_bytes = run.count * depth * 4;
  w.rounds = 1;
  for (int64_t i = 0; i < run.count; ++i) {
    const float* from = at<float>(scratch, scratch_.copy) + (run.column + i) * tile_ * depth;
    for (int64_t r = 0; r < side(); ++r) {
      std::memcpy(static_cast<float*>(w.d) + r * side() * depth, from + r * copy_columns() * depth,
                  static_cast<size_t>(side() * depth) * 4);
    }
    w.out = scratch + scratch_.taps + i * depth * 4;
    winograd_input_f32_for(isa_)(&w);
  }
}

void HalfWinograd::sum_taps(const float* taps, const Run& run, int64_t panel, float* sums, int64_t tap_stride) const {
  const int64_t nr = kernel_.nr;
  const int64_t depth = c_.input_channels;
  const int64_t rows = ceil_div(run.count, ceil_div(run.count, int64_t{kernel_.mr}));  // even
  const void* segment = nullptr;
  hai_gemm_f32_tile tile = {};
  tile.in.segments = &segment;
  tile.in.segment_count = 1;
  tile.in.segment_steps = depth;
  tile.in.row_stride_bytes = depth * 4;
  tile.in.cols = kernel_.nr;
  tile.bias = zeros_.data();
  tile.lo = -std::numeric_limits<float>::infinity();
  tile.hi = std::numeric_limits<float>::infinity();
  tile.accumulate = c_.first_sum == 0 ? 1 : 0;
  tile.out_stride = nr;
  const float* weights = weights_->packed.as<float>() + panel * taps_ * depth * nr;
  for (int64_t t = 0; t < taps_; ++t) {
    tile.in.panel = weights + t * depth * nr;
    for (int64_t first = 0; first < run.count; first += rows) {
      tile.in.rows = static_cast<int32_t>(std::min(rows, run.count - first));
      segment = taps + (t * run.count + first) * depth;
      tile.out = sums + t * tap_stride + first * nr;
      kernel_.run_f32(&tile);
    }
  }
}

void HalfWinograd::transform_sums(const StepContext& context, const Run& run, int64_t panel, const float* sums,
                                  int64_t tap_stride, float* results) const {
  const int64_t nr = kernel_.nr;
  const int64_t channel = panel * nr;
  const int64_t rows = std::min(tile_, c_.output_rows - run.row * tile_);
  hai_winograd_output w = {};
  w.tile = static_cast<int32_t>(tile_);
  w.cols = static_cast<int32_t>(std::min(nr, c_.output_channels - channel));
  w.tap_stride = tap_stride;
  w.bias_f32 = bias_.data() + channel;
  w.lo = -std::numeric_limits<float>::infinity();
  w.hi = std::numeric_limits<float>::infinity();
  w.real = results;
  w.out_stride = nr;
  for (int64_t i = 0; i < run.count; ++i) {
    w.real_sums = sums + i * nr;
    winograd_output_f32_for(isa_)(&w);
    const int64_t first = (run.column + i) * tile_;
    const int64_t columns = std::min(tile_, c_.output_columns - first);
    for (int64_t r = 0; r < rows; ++r) {
      for (int64_t column = 0; column < columns; ++column) {
        results_.store(context, results + (r * tile_ + column) * nr, run.row * tile_ + r, first + column, channel,
                       w.cols);
      }
    }
  }
}

}  // namespace

Result<StepPointer> make_half_winograd(const Convolve& command, SharedWeights weights, const WeightCache& cache,
                                       cpu::Isa isa) {
  HAI_TRY(std::vector<float> bias, half_bias(command, cache, gemm_f32_for(isa)()->nr));
  auto step = std::make_unique<HalfWinograd>(command, std::move(weights), std::move(bias), isa);
  HAI_TRY_STATUS(step->place_scratch());
  return StepPointer(std::move(step));
}

}  // namespace hai::sd3403
