// WeightPack, Softmax and LayerNorm: what works on the channels of a pixel as a whole.
//
// Softmax and LayerNorm are the CPU device's kernels, a pixel at a time (docs/reference/arithmetic.md); tables may hold
// anything, so what the formulas need of them is checked here. WeightPack keeps its tile densely (processor_cache.h):
// the convolution that reads it puts it into the form of its kernel.
#include <cmath>

#include "devices/cpu/exec/kernel_dispatch.h"
#include "devices/cpu/exec/parallel_range.h"
#include "devices/sd3403/exec/processor_step.h"
#include "devices/sd3403/isa/access.h"
#include "types/arithmetic.h"
#include "types/exact_math.h"

namespace hai::sd3403 {
namespace {

HAI_KERNEL_FAMILY(hai_softmax_q8, void,
                  (const int32_t*, const uint8_t*, uint8_t*, int64_t, int64_t, int32_t, float, int32_t, int32_t,
                   int32_t));
HAI_KERNEL_FAMILY(layer_norm_sums, void, (const void*, int32_t, int64_t, int64_t*, int64_t*));
HAI_KERNEL_FAMILY(layer_norm_store, void,
                  (const void*, int32_t, int64_t, int64_t, float, const float*, const float*, int32_t, int32_t, int32_t,
                   void*, int32_t));

// Calls use(input pixel, output pixel) for each pixel.
template <typename Body, typename Use>
void for_pixels(const Body& c, const StepContext& context, Use&& use) {
  const Tile input = input_tile(c);
  const Tile output = output_tile(c);
  cpu::parallel_range(context.threads, c.rows * c.columns, 4 * c.channels, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t row = i / c.columns;
      const int64_t column = i % c.columns;
      use(context.sram + input.row_address(row) + column * input.pixel_stride,
          context.sram + output.row_address(row) + column * output.pixel_stride);
    }
  });
}

class WeightPackStep final : public Step {
 public:
  explicit WeightPackStep(const WeightPack& c) : c_(c), input_(input_tile(c)) {}
  void run(const StepContext& context) const override {
    std::byte* to = context.packed + c_.destination;
    for (int64_t row = 0; row < c_.rows; ++row) {
      const std::byte* from = context.sram + input_.row_address(row);
      for (int64_t column = 0; column < c_.columns; ++column, to += c_.channels) {
        std::memcpy(to, from + column * input_.pixel_stride, static_cast<size_t>(c_.channels));
      }
    }
  }

 private:
  WeightPack c_;
  Tile input_;
};

class SoftmaxStep final : public Step {
 public:
  SoftmaxStep(const Softmax& c, std::vector<int32_t> table, cpu::Isa isa)
      : c_(c), table_(std::move(table)), kernel_(hai_softmax_q8_for(isa)) {}
  void run(const StepContext& context) const override {
    const int32_t flip = is_signed_element(c_.input_type) ? 128 : 0;
    for_pixels(c_, context, [&](const std::byte* x, std::byte* y) {
      kernel_(table_.data(), reinterpret_cast<const uint8_t*>(x), reinterpret_cast<uint8_t*>(y), c_.channels, 1, flip,
              real_of(c_.scale), static_cast<int32_t>(c_.zero_point), static_cast<int32_t>(c_.least),
              static_cast<int32_t>(c_.greatest));
    });
  }

 private:
  Softmax c_;
  std::vector<int32_t> table_;
  hai_softmax_q8_function kernel_;
};

// The names of types in layer_norm_cpu_kernel.c.
int32_t type_code(int64_t element) { return element == kI8 ? 0 : element == kU8 ? 1 : 2; }

class LayerNormStep final : public Step {
 public:
  LayerNormStep(const LayerNorm& c, double epsilon, std::vector<float> gain, std::vector<float> offset, cpu::Isa isa)
      : c_(c),
        epsilon_(epsilon),
        gain_(std::move(gain)),
        offset_(std::move(offset)),
        sums_(layer_norm_sums_for(isa)),
        store_(layer_norm_store_for(isa)) {}
  void run(const StepContext& context) const override {
    for_pixels(c_, context, [&](const std::byte* x, std::byte* y) {
      int64_t sum = 0;
      int64_t squares = 0;
      sums_(x, type_code(c_.input_type), c_.channels, &sum, &squares);
      const float inverse = hai_layer_norm_inverse(hai_layer_norm_variance(c_.channels, sum, squares), epsilon_);
      store_(x, type_code(c_.input_type), c_.channels, sum, inverse, gain_.data(), offset_.data(),
             static_cast<int32_t>(c_.zero_point), static_cast<int32_t>(c_.least), static_cast<int32_t>(c_.greatest), y,
             type_code(c_.output_type));
    });
  }

 private:
  LayerNorm c_;
  double epsilon_;  // in squared steps of the sums
  std::vector<float> gain_, offset_;
  layer_norm_sums_function sums_;
  layer_norm_store_function store_;
};

Error refuse(std::string_view what) { return make_error(StatusCode::kInvalidArgument, "N079", "{}", what); }

}  // namespace

Result<StepPointer> make_step(const WeightPack& command, const StepSources&) {
  return StepPointer(std::make_unique<WeightPackStep>(command));
}

Result<StepPointer> make_step(const Softmax& command, const StepSources& sources) {
  HAI_TRY(const auto bytes, sources.cache.read(command.exponentials, kExponentialsBytes));
  std::vector<int32_t> table(256);
  std::memcpy(table.data(), bytes.data(), bytes.size());
  for (const int32_t entry : table) {
    if (entry < 0 || entry > HAI_SOFTMAX_ONE) return refuse("an exponential is outside of 0 to 2^23");
  }
  if (table[0] != HAI_SOFTMAX_ONE) return refuse("the exponential of distance 0 is not 2^23");
  HAI_TRY_STATUS(check_multiplier("scale", real_of(command.scale)));
  return StepPointer(std::make_unique<SoftmaxStep>(command, std::move(table), sources.isa));
}

Result<StepPointer> make_step(const LayerNorm& command, const StepSources& sources) {
  HAI_TRY(const auto bytes, sources.cache.read(command.parameters, layer_norm_bytes(command.channels)));
  double epsilon = 0.0;
  std::memcpy(&epsilon, bytes.data(), sizeof epsilon);
  if (!(epsilon >= 0.0) || !std::isfinite(epsilon)) return refuse("the e of a layer_norm must be a number, at least 0");
  const auto channels = static_cast<size_t>(command.channels);
  std::vector<float> gain(channels);
  std::vector<float> offset(channels);
  for (size_t c = 0; c < channels; ++c) {
    std::memcpy(&gain[c], bytes.data() + 8 + 8 * c, sizeof(float));
    std::memcpy(&offset[c], bytes.data() + 12 + 8 * c, sizeof(float));
    if (!std::isfinite(gain[c]) || !std::isfinite(offset[c])) return refuse("a gain or offset is no number");
  }
  return StepPointer(
      std::make_unique<LayerNormStep>(command, epsilon, std::move(gain), std::move(offset), sources.isa));
}

}  // namespace hai::sd3403
