// batch_norm_train_gradient on the CPU, f32: one sweep over x and dy for the sums, one for dx.
//
// dx = g a + (x - mean) b + c with four numbers a channel, made in f64 between the sweeps. In place of dy is fine: an
// element of dx needs its own operands alone, once the sums are made.
#include <algorithm>
#include <cmath>

#include "devices/cpu/exec/kernel_checks.h"
#include "devices/cpu/exec/kernel_dispatch.h"
#include "devices/cpu/train/channel_sums.h"
#include "devices/cpu/train/clamp_activation.h"
#include "devices/cpu/train/kernels/batch_norm_columns.h"

namespace hai::cpu {
namespace {

HAI_KERNEL_FAMILY(hai_batch_norm_gradient_sums_f32, void,
                  (const float*, const float*, const hai_batch_norm_columns*, int64_t, float*, float*));
HAI_KERNEL_FAMILY(hai_batch_norm_gradient_apply_f32, void,
                  (const float*, const float*, const hai_batch_norm_columns*, int64_t, float*, int32_t));

class BatchNormTrainGradient final : public CpuKernel {
 public:
  BatchNormTrainGradient(int64_t channels, double epsilon, ClampBounds bounds, Isa isa)
      : channels_(channels),
        epsilon_(epsilon),
        bounds_(bounds),
        sums_(channels),
        sum_(hai_batch_norm_gradient_sums_f32_for(isa)),
        apply_(hai_batch_norm_gradient_apply_f32_for(isa)) {}
  bool needs_constant(size_t) const override { return true; }
  int64_t scratch_bytes(int64_t, int) const override {
    return sums_.total_bytes() + kArrays * sums_.array_bytes() + sums_.scratch_bytes();
  }
  void run(const RunContext& context) const override {
    const auto* x = data_of<float>(context.inputs[0]);
    const auto* dy = data_of<float>(context.inputs[1]);
    auto* dx = data_of<float>(context.outputs[0]);
    const int64_t rows = context.inputs[0].count() / channels_;
    auto* totals = reinterpret_cast<double*>(context.scratch);
    std::byte* arrays = context.scratch + sums_.total_bytes();
    const auto array = [&](int64_t i) { return reinterpret_cast<float*>(arrays + i * sums_.array_bytes()); };
    float* factor = array(0);
    float* bias = array(1);
    float* mean = array(2);
    float* slope = array(3);
    float* shift = array(4);
    for (int64_t c = 0; c < channels_; ++c) factor[c] = static_cast<float>(gain(context, c));
    sums_.repeat(factor, factor);
    sums_.repeat(data_of<float>(context.inputs[3]), bias);
    sums_.repeat(data_of<float>(context.inputs[4]), mean);
    hai_batch_norm_columns all = {};
    all.mean = mean;
    all.factor = factor;
    all.bias = bias;
    all.low = bounds_.low;
    all.high = bounds_.high;
    all.slope = slope;
    all.shift = shift;
    const auto columns = [&](int64_t width) {
      hai_batch_norm_columns out = all;
      out.width = width;
      return out;
    };
    sums_.run(context.threads, rows, arrays + kArrays * sums_.array_bytes(), totals,
              [&](int64_t first, int64_t count, int64_t width, float* sum, float* product) {
                const hai_batch_norm_columns of = columns(width);
                sum_(x + first, dy + first, &of, count, sum, product);
              });
    const auto count = static_cast<double>(std::max<int64_t>(rows, 1));
    for (int64_t c = 0; c < channels_; ++c) {
      const double inverse = inverse_deviation(context, c);
      const double along = totals[channels_ + c] * inverse;  // sum of g n
      slope[c] = static_cast<float>(-gain(context, c) * along * inverse / count);
      shift[c] = static_cast<float>(-gain(context, c) * totals[c] / count);
      data_of<float>(context.outputs[1])[c] = static_cast<float>(along);
      data_of<float>(context.outputs[2])[c] = static_cast<float>(totals[c]);
    }
    const int32_t stream = sums_.streams(dx, rows) ? 1 : 0;
    for (float* parameters : {slope, shift}) sums_.repeat(parameters, parameters);
    sums_.for_rows(context.threads, rows, [&](int64_t first, int64_t row_count, int64_t width) {
      const hai_batch_norm_columns of = columns(width);
      apply_(x + first, dy + first, &of, row_count, dx + first, stream);
    });
  }

 private:
  static constexpr int64_t kArrays = 5;
  double inverse_deviation(const RunContext& context, int64_t c) const {
    return 1.0 / std::sqrt(static_cast<double>(data_of<float>(context.inputs[5])[c]) + epsilon_);
  }
  double gain(const RunContext& context, int64_t c) const {
    return static_cast<double>(data_of<float>(context.inputs[2])[c]) * inverse_deviation(context, c);
  }

  int64_t channels_;
  double epsilon_;
  ClampBounds bounds_;
  ChannelSums sums_;
  hai_batch_norm_gradient_sums_f32_function sum_;
  hai_batch_norm_gradient_apply_f32_function apply_;
};

Result<std::unique_ptr<CpuKernel>> make(const KernelContext& context) {
  HAI_TRY_STATUS(require_counts(context, 6, 3));
  const format::ProgramTensor& x = *context.inputs[0];
  HAI_TRY_STATUS(require_same_shape(context, x, *context.inputs[1]));
  HAI_TRY_STATUS(require_same_shape(context, x, *context.outputs[0]));
  if (x.shape.size() < 2 || x.shape.back().is_symbolic() || x.shape.back().value < 1)
    return context.refuse("x needs two dimensions and a fixed number of channels");
  const Shape channels = {x.shape.back()};
  for (size_t i = 0; i < 6; ++i) {
    HAI_TRY_STATUS(require_dtype(context, *context.inputs[i], {DataType::kF32}));
    if (i > 1 && context.inputs[i]->shape != channels)
      return context.refuse("parameters must have one number a channel");
  }
  for (size_t i = 0; i < 3; ++i) {
    HAI_TRY_STATUS(require_dtype(context, *context.outputs[i], {DataType::kF32}));
    if (i > 0 && context.outputs[i]->shape != channels)
      return context.refuse("gradients must have one number a channel");
  }
  HAI_TRY(const double epsilon, context.float_attribute("epsilon", 1e-5));
  HAI_TRY(const ClampBounds bounds, clamp_activation(context));
  return std::unique_ptr<CpuKernel>(
      std::make_unique<BatchNormTrainGradient>(channels[0].value, epsilon, bounds, context.isa));
}

}  // namespace

void register_batch_norm_train_gradient_train_exec(ExecRegistry& registry);
void register_batch_norm_train_gradient_train_exec(ExecRegistry& registry) {
  registry.add("batch_norm_train_gradient", make);
}

}  // namespace hai::cpu
