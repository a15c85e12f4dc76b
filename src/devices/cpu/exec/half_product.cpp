// f16 products on the kernels of f32.
//
// Method: x is widened into scratch, the f32 kernels sum from the bias in their order, which is the stated one
// (docs/reference/arithmetic.md, "f16"), and what follows the sum (types/half.h) narrows it. Products of two f16 are
// exact in f32, so that kernels with a fused multiply-add and kernels without give the same bits. Twice the memory
// traffic of a kernel that would widen in registers: f16 on the CPU is there to say what the NPU computes.
#include "devices/cpu/exec/half_product.h"

#include <cmath>
#include <limits>
#include <variant>

#include "base/checked.h"
#include "devices/cpu/exec/depthwise_convolution.h"
#include "devices/cpu/exec/parallel_chunks.h"
#include "types/half.h"

namespace hai::cpu {
namespace {

using Product = std::variant<Convolution, DepthwiseConvolution>;

int64_t elements_of(const Shape& shape, int64_t batch) {
  int64_t count = 1;
  for (const Dim& dim : shape) count *= dim.is_symbolic() ? dim.value * batch : dim.value;
  return count;
}

class HalfProduct final : public CpuKernel {
 public:
  HalfProduct(const KernelContext& context, const ConvolutionGeometry& geometry, Product product, ProductEpilogue sums,
              HalfEpilogue epilogue)
      : x_shape_(context.inputs[0]->shape),
        y_shape_(context.outputs[0]->shape),
        image_elements_(geometry.in_rows * geometry.in_cols * geometry.in_channels),
        product_(std::move(product)),
        sums_(std::move(sums)),
        epilogue_(std::move(epilogue)) {}

  int64_t scratch_bytes(int64_t batch, int thread_count) const override {
    const auto own = std::visit([](const auto& p) { return p.scratch_bytes_per_thread(); }, product_);
    return x_bytes(batch) + align_up(elements_of(y_shape_, batch) * 4, 64) + own * thread_count;
  }
  int64_t packed_bytes() const override {
    return std::visit([](const auto& p) { return p.packed_bytes(); }, product_) + sums_.bytes();
  }

  void run(const RunContext& context) const override {
    const int64_t x_count = context.inputs[0].count();
    const int64_t y_count = context.outputs[0].count();
    auto* x = reinterpret_cast<float*>(context.scratch);
    auto* y = reinterpret_cast<float*>(context.scratch + x_bytes(context.batch));
    const auto* from = data_of<uint16_t>(context.inputs[0]);
    for_chunks(context.threads, x_count, kElementChunk,
               [&](int64_t begin, int64_t end) { widen_halves(from + begin, x + begin, end - begin); });
    Convolution::Buffers buffers{};
    buffers.x = reinterpret_cast<const std::byte*>(x);
    buffers.y = reinterpret_cast<std::byte*>(y);
    buffers.scratch = reinterpret_cast<std::byte*>(y) + align_up(elements_of(y_shape_, context.batch) * 4, 64);
    buffers.images = x_count / image_elements_;
    std::visit([&](const auto& product) { product.run(sums_, buffers, context.threads); }, product_);
    const bool adds = context.inputs.size() > 3 && context.inputs[3].data != nullptr;
    const auto* residual = adds ? data_of<uint16_t>(context.inputs[3]) : nullptr;
    auto* out = data_of<uint16_t>(context.outputs[0]);
    for_chunks(context.threads, y_count, kElementChunk, [&](int64_t begin, int64_t end) {
      epilogue_.run(y + begin, adds ? residual + begin : nullptr, out + begin, end - begin);
    });
  }

 private:
  int64_t x_bytes(int64_t batch) const { return align_up(elements_of(x_shape_, batch) * 4, 64); }

  Shape x_shape_, y_shape_;
  int64_t image_elements_;
  Product product_;
  ProductEpilogue sums_;
  HalfEpilogue epilogue_;
};

// Of each channel; a bias of -0 counts as 0, so that products of 0 never decide the sign of a sum.
Result<std::vector<float>> read_bias(const KernelContext& context, int64_t channels) {
  std::vector<float> out(static_cast<size_t>(channels), 0.0F);
  if (context.inputs.size() < 3 || context.inputs[2] == nullptr) return out;
  const TensorView& bias = context.constants[2];
  const bool known = bias.dtype == DataType::kF32 || bias.dtype == DataType::kF16;
  if (bias.data == nullptr || !known || bias.dtype != context.inputs[2]->dtype || bias.count() != channels) {
    return context.refuse(fmt::format("the bias of f16 must be {} constant numbers of f16 or f32", channels));
  }
  for (size_t c = 0; c < out.size(); ++c) {
    out[c] =
        0.0F + (bias.dtype == DataType::kF32 ? data_of<float>(bias)[c] : hai_f16_to_f32(data_of<uint16_t>(bias)[c]));
  }
  return out;
}

Result<HalfEpilogue> read_epilogue(const KernelContext& context) {
  auto parsed = parse_epilogue(context.instruction.attributes);
  if (!parsed) return context.refuse(parsed.error().message);
  if (parsed->fixed_point) return context.refuse("f16 is not rounded as TensorFlow Lite does");
  const bool adds = context.inputs.size() > 3 && context.inputs[3] != nullptr;
  if (!adds && !parsed->residual_activation.is_none()) {
    return context.refuse("residual_activation is given but no residual");
  }
  if (!parsed->residual_activation.is_clamp()) return context.refuse("residual_activation must be a clamp");
  const format::ProgramTensor& y = *context.outputs[0];
  if (adds && (context.inputs[3]->dtype != DataType::kF16 || context.inputs[3]->shape != y.shape)) {
    return context.refuse("the residual must be f16 in the output's shape");
  }
  return HalfEpilogue(parsed->activation, parsed->residual_activation);
}

// Sums from `bias`, stored as they are.
template <typename P>
ProductEpilogue sums_from(const P& product, const std::vector<float>& bias) {
  ProductEpilogue out;
  out.lo = -std::numeric_limits<float>::infinity();
  out.hi = std::numeric_limits<float>::infinity();
  out.bias_f32.assign(static_cast<size_t>(product.padded_channels()), 0.0F);
  const std::vector<int64_t> positions = product.channel_positions();
  for (size_t c = 0; c < bias.size(); ++c) out.bias_f32[static_cast<size_t>(positions[c])] = bias[c];
  return out;
}

}  // namespace

bool is_half_product(const KernelContext& context) {
  return !context.inputs.empty() && context.inputs[0] != nullptr && context.inputs[0]->dtype == DataType::kF16;
}

Result<std::vector<float>> half_weights(const KernelContext& context) {
  const bool counts = context.inputs.size() >= 2 && context.inputs.size() <= 4 && context.inputs[1] != nullptr &&
                      context.outputs.size() == 1 && context.outputs[0] != nullptr;
  if (!counts) return context.refuse("takes 2 to 4 operands and gives one result");
  const TensorView& weights = context.constants[1];
  const bool halves = weights.data != nullptr && weights.dtype == DataType::kF16 &&
                      context.inputs[1]->dtype == DataType::kF16 && context.outputs[0]->dtype == DataType::kF16;
  if (!halves) return context.refuse("f16 goes with constant weights of f16, and gives f16");
  std::vector<float> out(static_cast<size_t>(weights.count()));
  widen_halves(data_of<uint16_t>(weights), out.data(), weights.count());
  for (const float weight : out) {
    if (!std::isfinite(weight)) return context.refuse("f16 weights must be finite");
  }
  return out;
}

Result<std::unique_ptr<CpuKernel>> make_half_product(const KernelContext& context, const ConvolutionGeometry& geometry,
                                                     const std::vector<float>& weights) {
  HAI_TRY(const std::vector<float> bias, read_bias(context, geometry.out_channels));
  HAI_TRY(HalfEpilogue epilogue, read_epilogue(context));
  const ConvolutionWeights real{.f32 = weights.data()};
  const bool depthwise =
      geometry.groups > 1 && geometry.groups == geometry.in_channels && geometry.groups == geometry.out_channels;
  if (depthwise) {
    HAI_TRY(DepthwiseConvolution filter, DepthwiseConvolution::make(geometry, real, DataType::kF32, 0, context.isa));
    ProductEpilogue sums = sums_from(filter, bias);
    HAI_TRY_STATUS(filter.take_bias(sums));
    return std::unique_ptr<CpuKernel>(
        std::make_unique<HalfProduct>(context, geometry, std::move(filter), std::move(sums), std::move(epilogue)));
  }
  HAI_TRY(Convolution product, Convolution::make(geometry, real, DataType::kF32, 0, context.isa));
  ProductEpilogue sums = sums_from(product, bias);
  return std::unique_ptr<CpuKernel>(
      std::make_unique<HalfProduct>(context, geometry, std::move(product), std::move(sums), std::move(epilogue)));
}

}  // namespace hai::cpu
