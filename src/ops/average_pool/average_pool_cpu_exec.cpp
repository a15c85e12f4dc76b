// average_pool on the CPU, NHWC: sums of the taps inside the picture, vectorised over channels, in f32 or exact
// integers.
//
// The divisor changes only at the borders, so that the multiplier of integer outputs is made again only where the
// divisor differs from the pixel before. make() proves that no sum overflows and that every divisor gives a usable
// multiplier: it falls with the divisor, so the least and the largest divisor are checked.
#include <fmt/format.h>

#include <algorithm>

#include "devices/cpu/exec/half_elementwise.h"
#include "devices/cpu/exec/kernel_dispatch.h"
#include "devices/cpu/exec/operand_checks.h"
#include "devices/cpu/exec/parallel_range.h"
#include "devices/cpu/exec/pool_window.h"
#include "types/epilogue.h"
#include "types/fixed_point.h"

namespace hai::cpu {
namespace {

HAI_KERNEL_FAMILY(average_pool_f32, void,
                  (const float* x, int64_t row_stride, int64_t column_stride, int64_t rows, int64_t columns,
                   int64_t channels, float divisor, float* y));
HAI_KERNEL_FAMILY(average_pool_s8, void,
                  (const int8_t* x, int64_t row_stride, int64_t column_stride, int64_t rows, int64_t columns,
                   int64_t channels, int32_t zero_x, float multiplier, hai_output_range out, int8_t* y));
HAI_KERNEL_FAMILY(average_pool_u8, void,
                  (const uint8_t* x, int64_t row_stride, int64_t column_stride, int64_t rows, int64_t columns,
                   int64_t channels, int32_t zero_x, float multiplier, hai_output_range out, uint8_t* y));

HAI_KERNEL_FAMILY(average_pool_s16, void,
                  (const int16_t* x, int64_t row_stride, int64_t column_stride, int64_t rows, int64_t columns,
                   int64_t channels, int32_t zero_x, float multiplier, hai_output_range out, int16_t* y));

struct Parameters {
  float scale_x = 1.0F;
  float scale_y = 1.0F;
  int32_t zero_x = 0;
  hai_output_range out{};
};

// Calls body(tap, rows, columns, divisor, y) for each output pixel of each row.
template <typename T, typename Body>
void for_each_pixel(const RunContext& context, const PoolWindow& window, Body&& body) {
  const TensorView& x = context.inputs[0];
  const MutableTensorView& y = context.outputs[0];
  const int64_t channels = x.dims[3];
  const int64_t row_elements = x.dims[2] * channels;
  const int64_t out_height = y.dims[1];
  const int64_t work = y.dims[2] * channels * window.kernel[0] * window.kernel[1];
  parallel_range(context.threads, y.dims[0] * out_height, work, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const T* picture = data_of<T>(x) + i / out_height * x.dims[1] * row_elements;
      T* to = data_of<T>(y) + i * y.dims[2] * channels;
      const TapRange rows = inside_taps(window, 0, x.dims[1], i % out_height);
      const int64_t divisor_y = pool_divisor(window, 0, x.dims[1], i % out_height);
      for (int64_t k = 0; k < y.dims[2]; ++k, to += channels) {
        const TapRange columns = inside_taps(window, 1, x.dims[2], k);
        const int64_t divisor = divisor_y * pool_divisor(window, 1, x.dims[2], k);
        body(picture + rows.first * row_elements + columns.first * channels, rows.count, columns.count, divisor, to);
      }
    }
  });
}

class AveragePoolF32 final : public CpuKernel {
 public:
  AveragePoolF32(const PoolWindow& window, average_pool_f32_function kernel) : window_(window), kernel_(kernel) {}
  bool needs_constant(size_t) const override { return true; }
  void run(const RunContext& context) const override {
    const int64_t channels = context.inputs[0].dims[3];
    const int64_t row_elements = context.inputs[0].dims[2] * channels;
    for_each_pixel<float>(
        context, window_, [&](const float* tap, int64_t rows, int64_t columns, int64_t divisor, float* to) {
          kernel_(tap, row_elements, channels, rows, columns, channels, static_cast<float>(divisor), to);
        });
  }

 private:
  PoolWindow window_;
  average_pool_f32_function kernel_;
};

class AveragePoolF16 final : public CpuKernel {
 public:
  explicit AveragePoolF16(const PoolWindow& window) : window_(window) {}
  bool needs_constant(size_t) const override { return true; }
  void run(const RunContext& context) const override {
    const int64_t channels = context.inputs[0].dims[3];
    const int64_t row_elements = context.inputs[0].dims[2] * channels;
    for_each_pixel<uint16_t>(context, window_,
                             [&](const uint16_t* tap, int64_t rows, int64_t columns, int64_t divisor, uint16_t* to) {
                               mean_of_halves(tap, row_elements, channels, rows, columns, channels, divisor, to);
                             });
  }

 private:
  PoolWindow window_;
};

template <typename T>
class AveragePoolInteger final : public CpuKernel {
 public:
  using Kernel = void (*)(const T*, int64_t, int64_t, int64_t, int64_t, int64_t, int32_t, float, hai_output_range, T*);
  AveragePoolInteger(const PoolWindow& window, const Parameters& parameters, Kernel kernel)
      : window_(window), parameters_(parameters), kernel_(kernel) {}
  bool needs_constant(size_t) const override { return true; }
  void run(const RunContext& context) const override {
    const int64_t channels = context.inputs[0].dims[3];
    const int64_t row_elements = context.inputs[0].dims[2] * channels;
    const int64_t inner = window_.kernel[0] * window_.kernel[1];
    const float inner_multiplier = hai_multiplier_average(parameters_.scale_x, parameters_.scale_y, inner);
    for_each_pixel<T>(context, window_, [&](const T* tap, int64_t rows, int64_t columns, int64_t divisor, T* to) {
      const float multiplier = divisor == inner
                                   ? inner_multiplier
                                   : hai_multiplier_average(parameters_.scale_x, parameters_.scale_y, divisor);
      kernel_(tap, row_elements, channels, rows, columns, channels, parameters_.zero_x, multiplier, parameters_.out,
              to);
    });
  }

 private:
  PoolWindow window_;
  Parameters parameters_;
  Kernel kernel_;
};

Result<Parameters> check_parameters(const KernelContext& context, const PoolWindow& window) {
  const format::ProgramTensor& x = *context.inputs[0];
  const format::ProgramTensor& y = *context.outputs[0];
  HAI_TRY_STATUS(check_quantized(context, x));
  HAI_TRY_STATUS(check_quantized(context, y));
  int64_t least = 1;
  int64_t largest = 1;
  for (size_t axis = 0; axis < 2; ++axis) {
    const DivisorBounds bounds = pool_divisor_bounds(window, axis, x.shape[axis + 1].value, y.shape[axis + 1].value);
    least *= bounds.least;
    largest *= bounds.largest;
  }
  if (largest > most_summands(x.dtype)) {
    return context.refuse(
        fmt::format("a window of {} elements can overflow; at most {}", largest, most_summands(x.dtype)));
  }
  Parameters parameters{scale_of(x), scale_of(y), zero_point_of(x), full_range(y)};
  auto fixed_point = parse_fixed_point(context.instruction.attributes);
  if (!fixed_point) return context.refuse(fixed_point.error().message);
  if (*fixed_point) {  // stored integers, whatever they stand for
    if (scale_of(x) != scale_of(y) || zero_point_of(x) != zero_point_of(y) || largest > 2048) {
      return context.refuse("rounding fixed_point needs one scale, and at most 2048 elements in a window");
    }
    parameters = {HAI_FIXED_POINT_AVERAGE_SCALE, 1.0F, 0, parameters.out};
    parameters.out.zero_point = 0;
  }
  for (const int64_t divisor : {least, largest}) {
    HAI_TRY_STATUS(check_multiplier(context, hai_multiplier_average(parameters.scale_x, parameters.scale_y, divisor)));
  }
  return parameters;
}

Result<std::unique_ptr<CpuKernel>> make_average_pool(const KernelContext& context) {
  HAI_TRY_STATUS(check_operand_counts(context, 1, 1, 1, 1));
  HAI_TRY(const PoolWindow window, pool_window(context, false));
  HAI_TRY_STATUS(check_output_shape(context, 0, shape_rules::pool(context.inputs[0]->shape, window)));
  const DataType dtype = context.inputs[0]->dtype;
  if (dtype != context.outputs[0]->dtype) return context.refuse("its element types differ");
  if (dtype == DataType::kF32) {
    return std::unique_ptr<CpuKernel>(new AveragePoolF32(window, average_pool_f32_for(context.isa)));
  }
  if (dtype == DataType::kF16) return std::unique_ptr<CpuKernel>(new AveragePoolF16(window));
  HAI_TRY(const Parameters parameters, check_parameters(context, window));
  if (dtype == DataType::kI8) {
    return std::unique_ptr<CpuKernel>(
        new AveragePoolInteger<int8_t>(window, parameters, average_pool_s8_for(context.isa)));
  }
  if (dtype == DataType::kI16) {
    return std::unique_ptr<CpuKernel>(
        new AveragePoolInteger<int16_t>(window, parameters, average_pool_s16_for(context.isa)));
  }
  return std::unique_ptr<CpuKernel>(
      new AveragePoolInteger<uint8_t>(window, parameters, average_pool_u8_for(context.isa)));
}

}  // namespace

void register_average_pool_exec(ExecRegistry& registry) { registry.add("average_pool", make_average_pool); }

}  // namespace hai::cpu
