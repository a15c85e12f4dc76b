// f16 products on the kernels of f32.
//
// Method: x is widened into scratch, the f32 kernels sum from the bias in their order, which is the stated one
// (docs/reference/arithmetic.md, "f16"), and what follows the sum (types/half.h) narrows it. Products of two f16 are
// exact in f32, so that kernels with a fused multiply-add and kernels without give the same bits. Twice the memory
// traffic of a kernel that would widen in registers: f16 on the CPU is there to say what the NPU computes.
#include "devices/cpu/exec/half_product.h"

#include <cmath>
#include <limits>
#include <type_traits>

#include "base/checked.h"
#include "devices/cpu/exec/depthwise_convolution.h"
#include "devices/cpu/exec/parallel_chunks.h"
#include "types/half.h"

namespace hai::cpu {
namespace {

// Sums of f32, whichever way they are made.
struct Product {
  virtual ~Product() = default;
  virtual int64_t scratch_bytes_per_thread() const = 0;
  virtual int64_t packed_bytes() const = 0;
  virtual int64_t padded_channels() const = 0;
  virtual std::vector<int64_t> channel_positions() const = 0;
  virtual Status take_bias(ProductEpilogue& sums) = 0;
  virtual void run(const ProductEpilogue& sums, const Convolution::Buffers& buffers, ThreadPool& threads) const = 0;
};
template <typename P>
struct ProductOf final : Product {
  explicit ProductOf(P given) : product(std::move(given)) {}
  int64_t scratch_bytes_per_thread() const override { return product.scratch_bytes_per_thread(); }
  int64_t packed_bytes() const override { return product.packed_bytes(); }
  int64_t padded_channels() const override { return product.padded_channels(); }
  std::vector<int64_t> channel_positions() const override { return product.channel_positions(); }
  Status take_bias(ProductEpilogue& sums) override {
    if constexpr (std::is_same_v<P, DepthwiseConvolution>) return product.take_bias(sums);
    return {};
  }
  void run(const ProductEpilogue& sums, const Convolution::Buffers& buffers, ThreadPool& threads) const override {
    product.run(sums, buffers, threads);
  }
  P product;
};

int64_t elements_of(const Shape& shape, int64_t batch) {
  int64_t count = 1;
  for (const Dim& dim : shape) count *= dim.is_symbolic() ? dim.value * batch : dim.value;
  return count;
}

class HalfProduct final : public CpuKernel {
 public:
  HalfProduct(const KernelContext& context, int64_t image_elements, std::unique_ptr<Product> product,
              ProductEpilogue sums, HalfEpilogue epilogue)
      : x_shape_(context.inputs[0]->shape),
        y_shape_(context.outputs[0]->shape),
        image_elements_(image_elements),
        product_(std::move(product)),
        sums_(std::move(sums)),
        epilogue_(std::move(epilogue)) {}

  int64_t scratch_bytes(int64_t batch, int thread_count) const override {
    return x_bytes(batch) + align_up(elements_of(y_shape_, batch) * 4, 64) +
           product_->scratch_bytes_per_thread() * thread_count;
  }
  int64_t packed_bytes() const override { return product_->packed_bytes() + sums_.bytes(); }

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
    product_->run(sums_, buffers, context.threads);
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
  std::unique_ptr<Product> product_;
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

Result<std::unique_ptr<CpuKernel>> make_kernel(const KernelContext& context, int64_t image_elements,
                                               std::unique_ptr<Product> product) {
  const std::vector<int64_t> positions = product->channel_positions();
  HAI_TRY(const std::vector<float> bias, read_bias(context, static_cast<int64_t>(positions.size())));
  HAI_TRY(HalfEpilogue epilogue, read_epilogue(context));
  ProductEpilogue sums;  // from the bias, stored as they are
  sums.lo = -std::numeric_limits<float>::infinity();
  sums.hi = std::numeric_limits<float>::infinity();
  sums.bias_f32.assign(static_cast<size_t>(product->padded_channels()), 0.0F);
  for (size_t c = 0; c < bias.size(); ++c) sums.bias_f32[static_cast<size_t>(positions[c])] = bias[c];
  HAI_TRY_STATUS(product->take_bias(sums));
  return std::unique_ptr<CpuKernel>(
      std::make_unique<HalfProduct>(context, image_elements, std::move(product), std::move(sums), std::move(epilogue)));
}

template <typename P>
std::unique_ptr<Product> held(P&& product) {
  return std::make_unique<ProductOf<std::remove_cvref_t<P>>>(std::forward<P>(product));
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
  const ConvolutionWeights real{.f32 = weights.data()};
  const int64_t elements = geometry.in_rows * geometry.in_cols * geometry.in_channels;
  const bool depthwise =
      geometry.groups > 1 && geometry.groups == geometry.in_channels && geometry.groups == geometry.out_channels;
  if (depthwise) {
    HAI_TRY(DepthwiseConvolution filter, DepthwiseConvolution::make(geometry, real, DataType::kF32, 0, context.isa));
    return make_kernel(context, elements, held(std::move(filter)));
  }
  HAI_TRY(Convolution product, Convolution::make(geometry, real, DataType::kF32, 0, context.isa));
  return make_kernel(context, elements, held(std::move(product)));
}

Result<std::unique_ptr<CpuKernel>> make_half_winograd(const KernelContext& context, const WinogradGeometry& geometry,
                                                      const std::vector<float>& weights) {
  const ConvolutionWeights real{.f32 = weights.data()};
  HAI_TRY(WinogradConvolution product, WinogradConvolution::make(geometry, {}, real, DataType::kF32, 0, context.isa));
  product.round_inputs();
  return make_kernel(context, geometry.in_rows * geometry.in_cols * geometry.in_channels, held(std::move(product)));
}

}  // namespace hai::cpu
