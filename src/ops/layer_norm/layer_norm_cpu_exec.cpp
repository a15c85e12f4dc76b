// layer_norm on the CPU: rows are independent and go to the threads in groups.
//
// A row is read twice: for its moments, then for its results. The root between the two is made here, in f64, from
// exact_math.h for integers. Scale and bias are put into units of the output once.
#include <cmath>

#include "devices/cpu/exec/kernel_checks.h"
#include "devices/cpu/exec/kernel_dispatch.h"
#include "devices/cpu/exec/parallel_chunks.h"
#include "types/exact_math.h"

namespace hai::cpu {
namespace {

HAI_KERNEL_FAMILY(layer_norm_moments_f32, void, (const float*, int64_t, float*, float*));
HAI_KERNEL_FAMILY(layer_norm_store_f32, void,
                  (const float*, int64_t, float, float, const float*, const float*, float*));
HAI_KERNEL_FAMILY(layer_norm_sums, void, (const void*, int32_t, int64_t, int64_t*, int64_t*));
HAI_KERNEL_FAMILY(layer_norm_store, void,
                  (const void*, int32_t, int64_t, int64_t, float, const float*, const float*, int32_t, int32_t, int32_t,
                   void*, int32_t));

// The names of types in layer_norm_cpu_kernel.c.
int32_t type_code(DataType dtype) { return dtype == DataType::kI8 ? 0 : dtype == DataType::kU8 ? 1 : 2; }

// A scale and an offset for each channel, and the loop over rows.
class LayerNorm : public CpuKernel {
 public:
  LayerNorm(std::vector<float> gain, std::vector<float> offset, double epsilon)
      : gain_(std::move(gain)), offset_(std::move(offset)), epsilon_(epsilon) {}
  int64_t packed_bytes() const override { return static_cast<int64_t>((gain_.size() + offset_.size()) * 4); }

 protected:
  int64_t channels() const { return static_cast<int64_t>(gain_.size()); }
  template <typename Body>
  void for_rows(const RunContext& context, Body&& body) const {
    for_chunks(context.threads, context.outputs[0].dims.count() / channels(),
               std::max<int64_t>(1, kElementChunk / 4 / channels()), [&](int64_t begin, int64_t end) {
                 for (int64_t row = begin; row < end; ++row) body(row);
               });
  }

  std::vector<float> gain_, offset_;
  double epsilon_;  // integers: in squared steps
};

class LayerNormF32 final : public LayerNorm {
 public:
  LayerNormF32(std::vector<float> gain, std::vector<float> offset, double epsilon, Isa isa)
      : LayerNorm(std::move(gain), std::move(offset), epsilon),
        moments_(layer_norm_moments_f32_for(isa)),
        store_(layer_norm_store_f32_for(isa)) {}
  void run(const RunContext& context) const override {
    const auto* x = data_of<float>(context.inputs[0]);
    auto* y = data_of<float>(context.outputs[0]);
    for_rows(context, [&](int64_t row) {
      const int64_t at = row * channels();
      float mean = 0.0F;
      float variance = 0.0F;
      moments_(x + at, channels(), &mean, &variance);
      const auto inverse = static_cast<float>(1.0 / std::sqrt(static_cast<double>(variance) + epsilon_));
      store_(x + at, channels(), mean, inverse, gain_.data(), offset_.data(), y + at);
    });
  }

 private:
  layer_norm_moments_f32_function moments_;
  layer_norm_store_f32_function store_;
};

class LayerNormInteger final : public LayerNorm {
 public:
  LayerNormInteger(std::vector<float> gain, std::vector<float> offset, double epsilon, DataType x, DataType y,
                   hai_output_range range, Isa isa)
      : LayerNorm(std::move(gain), std::move(offset), epsilon),
        x_(x),
        y_(y),
        range_(range),
        sums_(layer_norm_sums_for(isa)),
        store_(layer_norm_store_for(isa)) {}
  void run(const RunContext& context) const override {
    const std::byte* x = context.inputs[0].data;
    std::byte* y = context.outputs[0].data;
    for_rows(context, [&](int64_t row) {
      const int64_t at = row * channels();
      const std::byte* from = x + at * (bit_width(x_) / 8);
      int64_t sum = 0;
      int64_t squares = 0;
      sums_(from, type_code(x_), channels(), &sum, &squares);
      const float inverse = hai_layer_norm_inverse(hai_layer_norm_variance(channels(), sum, squares), epsilon_);
      store_(from, type_code(x_), channels(), sum, inverse, gain_.data(), offset_.data(), range_.zero_point, range_.lo,
             range_.hi, y + at * (bit_width(y_) / 8), type_code(y_));
    });
  }

 private:
  DataType x_, y_;
  hai_output_range range_;
  layer_norm_sums_function sums_;
  layer_norm_store_function store_;
};

// Operand `i` in units of the output; zeros where it is absent.
Result<std::vector<float>> parameters(const KernelContext& context, size_t i, int64_t channels, float s_y) {
  std::vector<float> out(static_cast<size_t>(channels), 0.0F);
  if (i >= context.inputs.size() || context.inputs[i] == nullptr) return out;
  const TensorView& constant = context.constants[i];
  if (constant.data == nullptr || constant.dtype != DataType::kF32 || constant.count() != channels) {
    return context.refuse("scale and bias must be f32 constants, one number a channel");
  }
  for (size_t c = 0; c < out.size(); ++c) out[c] = hai_layer_norm_parameter(data_of<float>(constant)[c], s_y);
  return out;
}

Result<std::unique_ptr<CpuKernel>> make(const KernelContext& context) {
  HAI_TRY_STATUS(require_counts_between(context, 2, 3, 1));
  const format::ProgramTensor& x = *context.inputs[0];
  const format::ProgramTensor& y = *context.outputs[0];
  HAI_TRY_STATUS(require_same_shape(context, x, y));
  if (x.shape.empty() || x.shape.back().is_symbolic() || x.shape.back().value < 1) {
    return context.refuse("needs a fixed number of channels");
  }
  const int64_t channels = x.shape.back().value;
  HAI_TRY(const double epsilon, context.float_attribute("epsilon", 1e-5));
  if (!(epsilon >= 0.0) || !std::isfinite(epsilon)) return context.refuse("epsilon must be a number, at least 0");
  if (x.dtype == DataType::kF32) {
    HAI_TRY_STATUS(require_dtype(context, y, {DataType::kF32}));
    HAI_TRY(std::vector<float> gain, parameters(context, 1, channels, 1.0F));
    HAI_TRY(std::vector<float> offset, parameters(context, 2, channels, 1.0F));
    return std::unique_ptr<CpuKernel>(
        std::make_unique<LayerNormF32>(std::move(gain), std::move(offset), epsilon, context.isa));
  }
  if (channels > HAI_LAYER_NORM_MAX) return context.refuse("sums over more than 65536 integers");
  HAI_TRY_STATUS(require_dtype(context, x, {DataType::kI8, DataType::kU8, DataType::kI16}));
  HAI_TRY_STATUS(require_dtype(context, y, {DataType::kI8, DataType::kU8, DataType::kI16}));
  HAI_TRY(const Affine from, affine_of(context, x));
  HAI_TRY(const Affine to, affine_of(context, y));
  HAI_TRY(const hai_output_range range, output_range_of(context, y));
  HAI_TRY(std::vector<float> gain, parameters(context, 1, channels, to.scale));
  HAI_TRY(std::vector<float> offset, parameters(context, 2, channels, to.scale));
  return std::unique_ptr<CpuKernel>(std::make_unique<LayerNormInteger>(
      std::move(gain), std::move(offset), hai_layer_norm_epsilon(epsilon, channels, from.scale), x.dtype, y.dtype,
      range, context.isa));
}

}  // namespace

void register_layer_norm_exec(ExecRegistry& registry);
void register_layer_norm_exec(ExecRegistry& registry) { registry.add("layer_norm", make); }

}  // namespace hai::cpu
