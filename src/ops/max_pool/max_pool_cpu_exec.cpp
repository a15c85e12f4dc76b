// max_pool on the CPU, NHWC: for each output pixel the largest of the taps inside the picture, vectorised over
// channels.
//
// Rows of the output are shared between threads. An integer output with another scale is rescaled row by row: rescaling
// is monotone, so the largest of the rescaled is the rescaled largest.
#include <cmath>
#include <limits>

#include "devices/cpu/exec/half_elementwise.h"
#include "devices/cpu/exec/kernel_dispatch.h"
#include "devices/cpu/exec/operand_checks.h"
#include "devices/cpu/exec/parallel_range.h"
#include "devices/cpu/exec/pool_window.h"
#include "devices/cpu/exec/rescale_kernels.h"

namespace hai::cpu {
namespace {

HAI_KERNEL_FAMILY(max_pool_f32, void,
                  (const float* x, int64_t row_stride, int64_t column_stride, int64_t rows, int64_t columns,
                   int64_t channels, float lowest, float* y));
HAI_KERNEL_FAMILY(max_pool_s8, void,
                  (const int8_t* x, int64_t row_stride, int64_t column_stride, int64_t rows, int64_t columns,
                   int64_t channels, int8_t lowest, int8_t* y));
HAI_KERNEL_FAMILY(max_pool_u8, void,
                  (const uint8_t* x, int64_t row_stride, int64_t column_stride, int64_t rows, int64_t columns,
                   int64_t channels, uint8_t lowest, uint8_t* y));

HAI_KERNEL_FAMILY(max_pool_s16, void,
                  (const int16_t* x, int64_t row_stride, int64_t column_stride, int64_t rows, int64_t columns,
                   int64_t channels, int16_t lowest, int16_t* y));

// The two kernels of one element type.
template <typename T>
struct Kernels {
  void (*pool)(const T*, int64_t, int64_t, int64_t, int64_t, int64_t, T, T*) = nullptr;
  void (*rescale)(const T*, T*, int64_t, int32_t, float, hai_output_range) = nullptr;  // null for floats
};

template <typename T>
class MaxPoolKernel final : public CpuKernel {
 public:
  MaxPoolKernel(const PoolWindow& window, Kernels<T> kernels, std::optional<Rescale> rescale)
      : window_(window), kernels_(kernels), rescale_(rescale) {}

  bool needs_constant(size_t) const override { return true; }

  void run(const RunContext& context) const override {
    const TensorView& x = context.inputs[0];
    const MutableTensorView& y = context.outputs[0];
    const int64_t out_height = y.dims[1];
    const int64_t work = y.dims[2] * y.dims[3] * window_.kernel[0] * window_.kernel[1];
    parallel_range(context.threads, y.dims[0] * out_height, work, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const T* picture = data_of<T>(x) + i / out_height * x.dims[1] * x.dims[2] * x.dims[3];
        run_row(x.dims, picture, i % out_height, y.dims[2], data_of<T>(y) + i * y.dims[2] * y.dims[3]);
      }
    });
  }

 private:
  void run_row(const Dims& in, const T* picture, int64_t out_row, int64_t out_width, T* y) const {
    const int64_t channels = in[3];
    const int64_t row_elements = in[2] * channels;
    const TapRange rows = inside_taps(window_, 0, in[1], out_row);
    constexpr T kLowest =
        std::is_floating_point_v<T> ? -std::numeric_limits<T>::infinity() : std::numeric_limits<T>::lowest();
    for (int64_t i = 0; i < out_width; ++i) {
      const TapRange columns = inside_taps(window_, 1, in[2], i);
      const bool empty = rows.count == 0 || columns.count == 0;
      kernels_.pool(empty ? picture : picture + rows.first * row_elements + columns.first * channels,
                    window_.dilations[0] * row_elements, window_.dilations[1] * channels, empty ? 0 : rows.count,
                    empty ? 0 : columns.count, channels, kLowest, y + i * channels);
    }
    if (rescale_ && kernels_.rescale != nullptr) {
      kernels_.rescale(y, y, out_width * channels, rescale_->zero_x, rescale_->multiplier, rescale_->out);
    }
  }

  PoolWindow window_;
  Kernels<T> kernels_;
  std::optional<Rescale> rescale_;
};

// f16 by its bits.
void max_pool_f16(const uint16_t* x, int64_t row_stride, int64_t column_stride, int64_t rows, int64_t columns,
                  int64_t channels, uint16_t, uint16_t* y) {
  max_of_halves(x, row_stride, column_stride, rows, columns, channels, y);
}

Result<std::unique_ptr<CpuKernel>> make_max_pool(const KernelContext& context) {
  HAI_TRY_STATUS(check_operand_counts(context, 1, 1, 1, 1));
  HAI_TRY(const PoolWindow window, pool_window(context, true));
  HAI_TRY_STATUS(check_output_shape(context, 0, shape_rules::pool(context.inputs[0]->shape, window)));
  HAI_TRY(const std::optional<Rescale> rescale, check_rescale(context, *context.inputs[0], *context.outputs[0]));
  const Isa isa = context.isa;
  switch (context.inputs[0]->dtype) {
    case DataType::kF32:
      return std::unique_ptr<CpuKernel>(new MaxPoolKernel<float>(window, {max_pool_f32_for(isa), nullptr}, {}));
    case DataType::kF16:
      return std::unique_ptr<CpuKernel>(new MaxPoolKernel<uint16_t>(window, {max_pool_f16, nullptr}, {}));
    case DataType::kI8:
      return std::unique_ptr<CpuKernel>(
          new MaxPoolKernel<int8_t>(window, {max_pool_s8_for(isa), rescale_s8_for(isa)}, rescale));
    case DataType::kU8:
      return std::unique_ptr<CpuKernel>(
          new MaxPoolKernel<uint8_t>(window, {max_pool_u8_for(isa), rescale_u8_for(isa)}, rescale));
    case DataType::kI16:
      return std::unique_ptr<CpuKernel>(
          new MaxPoolKernel<int16_t>(window, {max_pool_s16_for(isa), rescale_s16_for(isa)}, rescale));
    default:
      return context.refuse("its element type must be f32, f16, i8, u8 or i16");
  }
}

}  // namespace

void register_max_pool_exec(ExecRegistry& registry) { registry.add("max_pool", make_max_pool); }

}  // namespace hai::cpu
