// batch_norm_train on the CPU, f32: one sweep for the moments, one for y.
//
// Moments are those of x minus its first row, so that squares do not lose what a large mean leaves; sums of blocks are
// added in f64 (devices/cpu/train/channel_sums.h). The sweep for y is a difference and a multiply-add an element.
#include <algorithm>
#include <cmath>

#include "devices/cpu/exec/kernel_checks.h"
#include "devices/cpu/exec/kernel_dispatch.h"
#include "devices/cpu/train/channel_sums.h"
#include "devices/cpu/train/clamp_activation.h"
#include "devices/cpu/train/kernels/batch_norm_columns.h"

namespace hai::cpu {
namespace {

HAI_KERNEL_FAMILY(hai_batch_norm_moments_f32, void, (const float*, const float*, int64_t, int64_t, float*, float*));
HAI_KERNEL_FAMILY(hai_batch_norm_apply_f32, void,
                  (const float*, const hai_batch_norm_columns*, int64_t, float*, int32_t));

class BatchNormTrain final : public CpuKernel {
 public:
  BatchNormTrain(int64_t channels, double epsilon, double momentum, ClampBounds bounds, Isa isa)
      : channels_(channels),
        epsilon_(epsilon),
        momentum_(momentum),
        bounds_(bounds),
        sums_(channels),
        moments_(hai_batch_norm_moments_f32_for(isa)),
        apply_(hai_batch_norm_apply_f32_for(isa)) {}
  bool needs_constant(size_t) const override { return true; }
  int64_t scratch_bytes(int64_t, int) const override {
    return sums_.total_bytes() + kArrays * sums_.array_bytes() + sums_.scratch_bytes();
  }
  void run(const RunContext& context) const override {
    const auto* x = data_of<float>(context.inputs[0]);
    auto* y = data_of<float>(context.outputs[0]);
    const int64_t rows = context.inputs[0].count() / channels_;
    auto* totals = reinterpret_cast<double*>(context.scratch);
    std::byte* arrays = context.scratch + sums_.total_bytes();
    const auto array = [&](int64_t i) { return reinterpret_cast<float*>(arrays + i * sums_.array_bytes()); };
    float* shift = array(0);
    float* mean = array(1);
    float* factor = array(2);
    float* bias = array(3);
    if (rows > 0) {
      sums_.repeat(x, shift);
    } else {
      std::fill_n(shift, channels_, 0.0F);
    }
    sums_.run(context.threads, rows, arrays + kArrays * sums_.array_bytes(), totals,
              [&](int64_t first, int64_t count, int64_t width, float* sum, float* square) {
                moments_(x + first, shift, count, width, sum, square);
              });
    finish(context, rows, totals, shift, factor);
    const int32_t stream = sums_.streams(y, rows) ? 1 : 0;
    sums_.repeat(data_of<float>(context.outputs[1]), mean);
    sums_.repeat(factor, factor);
    sums_.repeat(data_of<float>(context.inputs[2]), bias);
    sums_.for_rows(context.threads, rows, [&](int64_t first, int64_t count, int64_t width) {
      const hai_batch_norm_columns columns{width, mean, factor, bias, bounds_.low, bounds_.high, nullptr, nullptr};
      apply_(x + first, &columns, count, y + first, stream);
    });
  }

 private:
  static constexpr int64_t kArrays = 4;
  // Statistics, running statistics, and the first `channels_` factors.
  void finish(const RunContext& context, int64_t rows, const double* totals, const float* shift, float* factor) const {
    const auto count = static_cast<double>(std::max<int64_t>(rows, 1));
    const auto* scale = data_of<float>(context.inputs[1]);
    for (int64_t c = 0; c < channels_; ++c) {
      const double moved = totals[c] / count;
      const double mean = static_cast<double>(shift[c]) + moved;
      const double variance = std::max(0.0, totals[channels_ + c] / count - moved * moved);
      data_of<float>(context.outputs[1])[c] = static_cast<float>(mean);
      data_of<float>(context.outputs[2])[c] = static_cast<float>(variance);
      // As the gradient has it: of the rounded variance.
      const double rounded = data_of<float>(context.outputs[2])[c];
      factor[c] = static_cast<float>(static_cast<double>(scale[c]) / std::sqrt(rounded + epsilon_));
      const double unbiased = variance * count / std::max(count - 1.0, 1.0);
      const auto moves = [&](size_t i, double to) {
        const double running = data_of<float>(context.inputs[i])[c];
        data_of<float>(context.outputs[i])[c] = static_cast<float>((1.0 - momentum_) * running + momentum_ * to);
      };
      moves(3, mean);
      moves(4, unbiased);
    }
  }

  int64_t channels_;
  double epsilon_, momentum_;
  ClampBounds bounds_;
  ChannelSums sums_;
  hai_batch_norm_moments_f32_function moments_;
  hai_batch_norm_apply_f32_function apply_;
};

Result<std::unique_ptr<CpuKernel>> make(const KernelContext& context) {
  HAI_TRY_STATUS(require_counts(context, 5, 5));
  const format::ProgramTensor& x = *context.inputs[0];
  HAI_TRY_STATUS(require_same_shape(context, x, *context.outputs[0]));
  if (x.shape.size() < 2 || x.shape.back().is_symbolic() || x.shape.back().value < 1)
    return context.refuse("x needs two dimensions and a fixed number of channels");
  const Shape channels = {x.shape.back()};
  for (size_t i = 0; i < 5; ++i) {
    HAI_TRY_STATUS(require_dtype(context, *context.inputs[i], {DataType::kF32}));
    HAI_TRY_STATUS(require_dtype(context, *context.outputs[i], {DataType::kF32}));
    if (i > 0 && (context.inputs[i]->shape != channels || context.outputs[i]->shape != channels))
      return context.refuse("parameters and statistics must have one number a channel");
  }
  HAI_TRY(const double epsilon, context.float_attribute("epsilon", 1e-5));
  HAI_TRY(const double momentum, context.float_attribute("momentum", 0.1));
  HAI_TRY(const ClampBounds bounds, clamp_activation(context));
  return std::unique_ptr<CpuKernel>(
      std::make_unique<BatchNormTrain>(channels[0].value, epsilon, momentum, bounds, context.isa));
}

}  // namespace

void register_batch_norm_train_train_exec(ExecRegistry& registry);
void register_batch_norm_train_train_exec(ExecRegistry& registry) { registry.add("batch_norm_train", make); }

}  // namespace hai::cpu
