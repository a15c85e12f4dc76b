// conv2d_weight_gradient on the CPU, f32: sums of outer products of dy and the pixels under the windows.
//
// The result is cut into parts (outputs x taps and channels); where that makes few tasks, the output pixels are cut
// into slices too, whose results are added in order. The cuts depend on the shapes alone, so the bits do not depend on
// the threads. A task goes through its pixels block by block: 1x1 windows of stride 1 are read where they lie, others
// are first copied into rows (a block of im2col). Depthwise filters have a kernel of their own.
#include <algorithm>

#include "base/checked.h"
#include "devices/cpu/exec/convolution_geometry.h"
#include "devices/cpu/exec/kernel_checks.h"
#include "devices/cpu/exec/kernel_dispatch.h"
#include "devices/cpu/exec/parallel_chunks.h"
#include "devices/cpu/train/kernels/outer.h"
#include "ops/conv2d_weight_gradient/conv2d_weight_gradient_cpu_train_kernel.h"

namespace hai::cpu {
namespace {

HAI_KERNEL_FAMILY(hai_outer_f32, void, (const hai_outer_f32*));
HAI_KERNEL_FAMILY(hai_depthwise_weight_gradient_f32, void, (const hai_depthwise_gradient*));

constexpr int64_t kBlockPixels = 128;  // whose operands for a tile stay in the first cache
constexpr int64_t kMostColumns = 128;  // of a part
constexpr int64_t kMostRows = 112;
constexpr int64_t kWantedTasks = 8;  // that keep a few threads busy
constexpr int64_t kDepthwiseSlices = 16;

// Adds slices [slice][count] into `to`, in order.
void add_slices(const float* slices, int64_t slice_count, int64_t count, float* to, ThreadPool& threads) {
  for_chunks(threads, count, kElementChunk, [&](int64_t begin, int64_t end) {
    std::copy(slices + begin, slices + end, to + begin);
    for (int64_t s = 1; s < slice_count; ++s) {
      const float* slice = slices + s * count;
      for (int64_t i = begin; i < end; ++i) to[i] += slice[i];
    }
  });
}

class WeightGradient final : public CpuKernel {
 public:
  WeightGradient(const ConvolutionGeometry& g, Isa isa)
      : g_(g), kernel_(hai_outer_f32_for(isa)), tile_(*gemm_f32_for(isa)()) {
    depth_ = g.in_channels / g.groups;
    outputs_ = g.out_channels / g.groups;
    columns_ = g.kernel_rows * g.kernel_cols * depth_;
    direct_ = g.kernel_rows == 1 && g.kernel_cols == 1 && g.stride_rows == 1 && g.stride_cols == 1 && g.pad_top == 0 &&
              g.pad_left == 0 && g.out_rows == g.in_rows && g.out_cols == g.in_cols;
    column_parts_ = ceil_div(columns_, kMostColumns);
    part_columns_ = align_up(ceil_div(columns_, column_parts_), tile_.nr);
    column_parts_ = ceil_div(columns_, part_columns_);
    row_parts_ = direct_ ? ceil_div(outputs_, kMostRows) : 1;
    part_rows_ = ceil_div(outputs_, row_parts_);
    row_parts_ = ceil_div(outputs_, part_rows_);
    slices_ = std::clamp<int64_t>(kWantedTasks / (g.groups * column_parts_ * row_parts_), 1, kWantedTasks);
  }
  bool needs_constant(size_t) const override { return true; }
  int64_t scratch_bytes(int64_t, int thread_count) const override {
    return slice_bytes() + (direct_ ? 0 : thread_count * block_bytes());
  }
  void run(const RunContext& context) const override {
    const int64_t pixels = context.inputs[1].dims[0] * g_.out_rows * g_.out_cols;
    auto* dw = data_of<float>(context.outputs[0]);
    const int64_t elements = g_.out_channels * columns_;
    float* sums = slices_ == 1 ? dw : reinterpret_cast<float*>(context.scratch);
    const int64_t slice_pixels = align_up(ceil_div(pixels, slices_), kBlockPixels);
    const int64_t parts = column_parts_ * row_parts_;
    context.threads.parallel(g_.groups * parts * slices_, [&](int64_t task, int thread) {
      const int64_t slice = task / (g_.groups * parts);
      const int64_t group = task / parts % g_.groups;
      const int64_t part = task % parts;
      const Part what{group,
                      part / column_parts_ * part_rows_,
                      part % column_parts_ * part_columns_,
                      std::min(pixels, slice * slice_pixels),
                      std::min(pixels, (slice + 1) * slice_pixels),
                      sums + slice * elements,
                      reinterpret_cast<float*>(context.scratch + slice_bytes() + thread * block_bytes())};
      run_part(what, data_of<float>(context.inputs[0]), data_of<float>(context.inputs[1]));
    });
    if (slices_ > 1) add_slices(sums, slices_, elements, dw, context.threads);
  }

 private:
  struct Part {
    int64_t group;
    int64_t first_row, first_column;  // of the group's [outputs_][columns_]
    int64_t begin, end;               // output pixels
    float* to;                        // the whole result
    float* block;                     // for rows of im2col
  };
  int64_t slice_bytes() const { return slices_ == 1 ? 0 : align_up(slices_ * g_.out_channels * columns_ * 4, 64); }
  int64_t block_bytes() const { return direct_ ? 0 : kBlockPixels * part_columns_ * 4; }

  void run_part(const Part& part, const float* x, const float* dy) const {
    const int64_t row_end = std::min(outputs_, part.first_row + part_rows_);
    const int64_t column_end = std::min(columns_, part.first_column + part_columns_);
    const int64_t rows = row_end - part.first_row;
    const int64_t tile_rows = ceil_div(rows, ceil_div(rows, tile_.mr));  // even: short tiles hide less latency
    float* corner = part.to + (part.group * outputs_ + part.first_row) * columns_ + part.first_column;
    if (part.begin >= part.end) {
      for (int64_t i = 0; i < rows; ++i) std::fill_n(corner + i * columns_, column_end - part.first_column, 0.0F);
      return;
    }
    hai_outer_f32 tile = {};
    tile.a_stride = g_.out_channels;
    tile.b_stride = direct_ ? g_.in_channels : part_columns_;
    tile.padded = direct_ ? 0 : 1;
    tile.out_stride = columns_;
    for (int64_t pixel = part.begin; pixel < part.end; pixel += kBlockPixels) {
      tile.count = std::min(kBlockPixels, part.end - pixel);
      tile.accumulate = pixel == part.begin ? 0 : 1;
      const float* b = part.block;
      if (direct_) {
        b = x + pixel * g_.in_channels + part.group * depth_ + part.first_column;
      } else {
        copy_windows(part, x, pixel, tile.count, column_end);
      }
      const float* a = dy + pixel * g_.out_channels + part.group * outputs_ + part.first_row;
      for (int64_t j = part.first_column; j < column_end; j += tile_.nr) {
        tile.cols = static_cast<int32_t>(std::min<int64_t>(tile_.nr, column_end - j));
        tile.b = b + (j - part.first_column);
        for (int64_t i = 0; i < rows; i += tile_rows) {
          tile.rows = static_cast<int32_t>(std::min(tile_rows, rows - i));
          tile.a = a + i;
          tile.out = corner + i * columns_ + (j - part.first_column);
          kernel_(&tile);
        }
      }
    }
  }

  // Columns [part.first_column, end) of the windows of `count` output pixels, zeros outside the image and past `end`.
  void copy_windows(const Part& part, const float* x, int64_t first, int64_t count, int64_t end) const {
    const int64_t per_image = g_.out_rows * g_.out_cols;
    for (int64_t p = 0; p < count; ++p) {
      const int64_t image = (first + p) / per_image;
      const int64_t row = (first + p) % per_image / g_.out_cols * g_.stride_rows - g_.pad_top;
      const int64_t col = (first + p) % g_.out_cols * g_.stride_cols - g_.pad_left;
      float* to = part.block + p * part_columns_;
      for (int64_t k = part.first_column; k < end;) {
        const int64_t tap = k / depth_;
        const int64_t length = std::min(end, (tap + 1) * depth_) - k;
        const int64_t at_row = row + tap / g_.kernel_cols * g_.dilation_rows;
        const int64_t at_col = col + tap % g_.kernel_cols * g_.dilation_cols;
        if (at_row >= 0 && at_row < g_.in_rows && at_col >= 0 && at_col < g_.in_cols) {
          const int64_t pixel = (image * g_.in_rows + at_row) * g_.in_cols + at_col;
          std::copy_n(x + pixel * g_.in_channels + part.group * depth_ + k % depth_, length, to);
        } else {
          std::fill_n(to, length, 0.0F);
        }
        to += length;
        k += length;
      }
      std::fill(to, part.block + (p + 1) * part_columns_, 0.0F);
    }
  }

  ConvolutionGeometry g_;
  hai_outer_f32_function kernel_;
  const hai_gemm_kernel& tile_;
  int64_t depth_ = 1, outputs_ = 1, columns_ = 1;
  bool direct_ = false;
  int64_t column_parts_ = 1, part_columns_ = 1, row_parts_ = 1, part_rows_ = 1, slices_ = 1;
};

class DepthwiseWeightGradient final : public CpuKernel {
 public:
  DepthwiseWeightGradient(const ConvolutionGeometry& g, Isa isa)
      : g_(g), kernel_(hai_depthwise_weight_gradient_f32_for(isa)), taps_(g.kernel_rows * g.kernel_cols) {}
  bool needs_constant(size_t) const override { return true; }
  int64_t scratch_bytes(int64_t, int thread_count) const override {
    return sums_bytes() + thread_count * pointer_bytes();
  }
  void run(const RunContext& context) const override {
    const auto* x = data_of<float>(context.inputs[0]);
    const auto* dy = data_of<float>(context.inputs[1]);
    auto* dw = data_of<float>(context.outputs[0]);
    auto* sums = reinterpret_cast<float*>(context.scratch);
    const int64_t rows = context.inputs[1].dims[0] * g_.out_rows;
    const int64_t elements = taps_ * g_.in_channels;
    context.threads.parallel(kDepthwiseSlices, [&](int64_t slice, int thread) {
      float* to = sums + slice * elements;
      std::fill_n(to, elements, 0.0F);
      auto** pointers = reinterpret_cast<const float**>(context.scratch + sums_bytes() + thread * pointer_bytes());
      for (int64_t row = slice * rows / kDepthwiseSlices; row < (slice + 1) * rows / kDepthwiseSlices; ++row)
        run_row(x, dy, row, pointers, to);
    });
    for (int64_t c = 0; c < g_.in_channels; ++c) {
      for (int64_t t = 0; t < taps_; ++t) {
        float sum = sums[t * g_.in_channels + c];
        for (int64_t s = 1; s < kDepthwiseSlices; ++s) sum += sums[s * elements + t * g_.in_channels + c];
        dw[c * taps_ + t] = sum;
      }
    }
  }

 private:
  int64_t sums_bytes() const { return align_up(kDepthwiseSlices * taps_ * g_.in_channels * 4, 64); }
  int64_t pointer_bytes() const { return align_up(g_.kernel_rows * static_cast<int64_t>(sizeof(void*)), 64); }
  void run_row(const float* x, const float* dy, int64_t row, const float** pointers, float* sums) const {
    const int64_t image = row / g_.out_rows;
    const int64_t top = row % g_.out_rows * g_.stride_rows - g_.pad_top;
    for (int64_t k = 0; k < g_.kernel_rows; ++k) {
      const int64_t at = top + k * g_.dilation_rows;
      pointers[k] = at >= 0 && at < g_.in_rows ? x + (image * g_.in_rows + at) * g_.in_cols * g_.in_channels : nullptr;
    }
    hai_depthwise_gradient d = {};
    d.rows = pointers;
    d.dy = dy + row * g_.out_cols * g_.out_channels;
    d.image_cols = g_.in_cols;
    d.out_cols = g_.out_cols;
    d.channels = g_.in_channels;
    d.kernel_rows = g_.kernel_rows;
    d.kernel_cols = g_.kernel_cols;
    d.stride_cols = g_.stride_cols;
    d.dilation_cols = g_.dilation_cols;
    d.pad_left = g_.pad_left;
    d.sums = sums;
    kernel_(&d);
  }

  ConvolutionGeometry g_;
  hai_depthwise_weight_gradient_f32_function kernel_;
  int64_t taps_;
};

Result<std::unique_ptr<CpuKernel>> make(const KernelContext& context) {
  HAI_TRY_STATUS(require_counts(context, 2, 1));
  for (const format::ProgramTensor* tensor : {context.inputs[0], context.inputs[1], context.outputs[0]})
    HAI_TRY_STATUS(require_dtype(context, *tensor, {DataType::kF32}));
  HAI_TRY(const ConvolutionGeometry g, read_convolution_geometry(context, context.inputs[0]->shape,
                                                                 context.outputs[0]->shape, context.inputs[1]->shape));
  const auto filter = checked_mul(g.kernel_rows * g.kernel_cols, g.in_channels);
  const auto elements = filter ? checked_mul(*filter, g.out_channels) : std::nullopt;
  if (!elements || *elements > INT64_MAX / (kDepthwiseSlices * 8)) return context.refuse("its weights are too large");
  if (g.groups == g.in_channels && g.groups == g.out_channels)
    return std::unique_ptr<CpuKernel>(std::make_unique<DepthwiseWeightGradient>(g, context.isa));
  return std::unique_ptr<CpuKernel>(std::make_unique<WeightGradient>(g, context.isa));
}

}  // namespace

void register_conv2d_weight_gradient_train_exec(ExecRegistry& registry);
void register_conv2d_weight_gradient_train_exec(ExecRegistry& registry) {
  registry.add("conv2d_weight_gradient", make);
}

}  // namespace hai::cpu
