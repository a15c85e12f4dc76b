// conv2d_weight_gradient on the CPU, f32: WeightSums, WinogradWeightSums where it fits, or for depthwise filters a
// kernel of their own.
//
// The depthwise one takes rows of output pixels; these are cut into slices by the shapes alone, whose sums are added in
// order, so that the bits do not depend on the threads.
#include <algorithm>

#include "base/checked.h"
#include "devices/cpu/exec/convolution_geometry.h"
#include "devices/cpu/exec/kernel_checks.h"
#include "devices/cpu/exec/kernel_dispatch.h"
#include "devices/cpu/train/touch.h"
#include "devices/cpu/train/weight_sums.h"
#include "devices/cpu/train/winograd_weight_sums.h"
#include "ops/conv2d_weight_gradient/conv2d_weight_gradient_cpu_train_kernel.h"

namespace hai::cpu {
namespace {

HAI_KERNEL_FAMILY(hai_depthwise_weight_gradient_f32, void, (const hai_depthwise_gradient*));

constexpr int64_t kSlices = 16;  // of the rows of a depthwise one

class WeightGradient final : public CpuKernel {
 public:
  WeightGradient(const ConvolutionGeometry& g, Isa isa) : pixels_(g.out_rows * g.out_cols), sums_(g, isa) {}
  bool needs_constant(size_t) const override { return true; }
  int64_t scratch_bytes(int64_t, int thread_count) const override { return sums_.scratch_bytes(thread_count); }
  void run(const RunContext& context) const override {
    sums_.run(data_of<float>(context.inputs[0]), data_of<float>(context.inputs[1]), context.inputs[1].dims[0] * pixels_,
              data_of<float>(context.outputs[0]), context.scratch, context.threads);
  }

 private:
  int64_t pixels_;  // of an image of dy
  WeightSums sums_;
};

class WinogradWeightGradient final : public CpuKernel {
 public:
  explicit WinogradWeightGradient(WinogradWeightSums sums) : sums_(std::move(sums)) {}
  bool needs_constant(size_t) const override { return true; }
  int64_t scratch_bytes(int64_t, int thread_count) const override { return sums_.scratch_bytes(thread_count); }
  int64_t packed_bytes() const override { return sums_.fixed_bytes(); }
  void run(const RunContext& context) const override {
    sums_.run(data_of<float>(context.inputs[0]), data_of<float>(context.inputs[1]), context.inputs[1].dims[0],
              data_of<float>(context.outputs[0]), context.scratch, context.threads);
  }

 private:
  WinogradWeightSums sums_;
};

class DepthwiseWeightGradient final : public CpuKernel {
 public:
  DepthwiseWeightGradient(const ConvolutionGeometry& g, AlignedBuffer zeros, Isa isa)
      : g_(g),
        kernel_(hai_depthwise_weight_gradient_f32_for(isa)),
        zeros_(std::move(zeros)),
        taps_(g.kernel_rows * g.kernel_cols) {}
  int64_t packed_bytes() const override { return zeros_.size_bytes(); }
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
    const bool far = g_.in_channels >= kTouchChannels && context.inputs[0].count() * 4 >= kTouchBytes;
    context.threads.parallel(kSlices, [&](int64_t slice, int thread) {
      float* to = sums + slice * elements;
      std::fill_n(to, elements, 0.0F);
      auto** pointers = reinterpret_cast<const float**>(context.scratch + sums_bytes() + thread * pointer_bytes());
      for (int64_t row = slice * rows / kSlices; row < (slice + 1) * rows / kSlices; ++row)
        run_row(x, dy, row, pointers, to, far);
    });
    for (int64_t c = 0; c < g_.in_channels; ++c) {
      for (int64_t t = 0; t < taps_; ++t) {
        float sum = sums[t * g_.in_channels + c];
        for (int64_t s = 1; s < kSlices; ++s) sum += sums[s * elements + t * g_.in_channels + c];
        dw[c * taps_ + t] = sum;
      }
    }
  }

 private:
  int64_t sums_bytes() const { return align_up(kSlices * taps_ * g_.in_channels * 4, 64); }
  int64_t pointer_bytes() const { return align_up(g_.kernel_rows * static_cast<int64_t>(sizeof(void*)), 64); }
  void run_row(const float* x, const float* dy, int64_t row, const float** pointers, float* sums, bool far) const {
    const int64_t image = row / g_.out_rows;
    const int64_t top = row % g_.out_rows * g_.stride_rows - g_.pad_top;
    for (int64_t k = 0; k < g_.kernel_rows; ++k) {
      const int64_t at = top + k * g_.dilation_rows;
      const bool inside = at >= 0 && at < g_.in_rows;
      pointers[k] = inside ? x + (image * g_.in_rows + at) * g_.in_cols * g_.in_channels : zeros_.as<float>();
      if (far && inside && k >= g_.kernel_rows - g_.stride_rows) touch(pointers[k], g_.in_cols * g_.in_channels);
    }
    if (far) touch(dy + row * g_.out_cols * g_.out_channels, g_.out_cols * g_.out_channels);
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
  AlignedBuffer zeros_;  // a row above or below the image
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
  if (!elements || *elements > INT64_MAX / (kSlices * 8)) return context.refuse("its weights are too large");
  if (g.groups == g.in_channels && g.groups == g.out_channels) {
    HAI_TRY(AlignedBuffer zeros, AlignedBuffer::zeros(g.in_cols * g.in_channels * 4));
    return std::unique_ptr<CpuKernel>(std::make_unique<DepthwiseWeightGradient>(g, std::move(zeros), context.isa));
  }
  if (WinogradTiles::fits(g)) {
    HAI_TRY(WinogradWeightSums sums, WinogradWeightSums::make(g, context.isa));
    return std::unique_ptr<CpuKernel>(std::make_unique<WinogradWeightGradient>(std::move(sums)));
  }
  return std::unique_ptr<CpuKernel>(std::make_unique<WeightGradient>(g, context.isa));
}

}  // namespace

void register_conv2d_weight_gradient_train_exec(ExecRegistry& registry);
void register_conv2d_weight_gradient_train_exec(ExecRegistry& registry) {
  registry.add("conv2d_weight_gradient", make);
}

}  // namespace hai::cpu
