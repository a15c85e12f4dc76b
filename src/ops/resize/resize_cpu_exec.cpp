// resize on the CPU, NHWC: rows and columns that each output row and column reads are computed once, when the model is
// loaded (types/resize_map.h); running is copies of pixels (nearest) or blends of four (linear).
//
// Output rows are shared between threads. A row of a nearest resize that reads the same row as the one above it is
// copied from there.
#include <cstring>

#include "devices/cpu/exec/kernel_dispatch.h"
#include "devices/cpu/exec/operand_checks.h"
#include "devices/cpu/exec/parallel_range.h"
#include "types/resize_map.h"

namespace hai::cpu {
namespace {

HAI_KERNEL_FAMILY(resize_linear_row_f32, void,
                  (const float* top, const float* bottom, float fraction_y, const int64_t* first, const int64_t* second,
                   const float* fraction_x, int64_t out_width, int64_t channels, float* y));
HAI_KERNEL_FAMILY(resize_linear_row_s8, void,
                  (const int8_t* top, const int8_t* bottom, int32_t weight_y, const int64_t* first,
                   const int64_t* second, const int32_t* weight_x, int64_t out_width, int64_t channels, int32_t zero_x,
                   float multiplier, hai_output_range out, int8_t* y));
HAI_KERNEL_FAMILY(resize_linear_row_u8, void,
                  (const uint8_t* top, const uint8_t* bottom, int32_t weight_y, const int64_t* first,
                   const int64_t* second, const int32_t* weight_x, int64_t out_width, int64_t channels, int32_t zero_x,
                   float multiplier, hai_output_range out, uint8_t* y));

HAI_KERNEL_FAMILY(resize_linear_row_s16, void,
                  (const int16_t* top, const int16_t* bottom, int32_t weight_y, const int64_t* first,
                   const int64_t* second, const int32_t* weight_x, int64_t out_width, int64_t channels, int32_t zero_x,
                   float multiplier, hai_output_range out, int16_t* y));

// Longest side for which tables are made.
constexpr int64_t kMaxSide = int64_t{1} << 20;

template <typename T>
void copy_pixels(const std::byte* row, const std::vector<int64_t>& columns, std::byte* y) {
  for (const int64_t column : columns) {
    std::memcpy(y, row + column * static_cast<int64_t>(sizeof(T)), sizeof(T));
    y += sizeof(T);
  }
}

class ResizeNearestKernel final : public CpuKernel {
 public:
  ResizeNearestKernel(std::vector<int64_t> rows, std::vector<int64_t> columns, int64_t pixel_bytes)
      : rows_(std::move(rows)), columns_(std::move(columns)), pixel_bytes_(pixel_bytes) {}

  bool needs_constant(size_t) const override { return true; }
  int64_t packed_bytes() const override {
    return static_cast<int64_t>((rows_.size() + columns_.size()) * sizeof(int64_t));
  }

  void run(const RunContext& context) const override {
    const Dims& in = context.inputs[0].dims;
    const auto out_height = static_cast<int64_t>(rows_.size());
    const int64_t in_row_bytes = in[2] * pixel_bytes_;
    const int64_t out_row_bytes = static_cast<int64_t>(columns_.size()) * pixel_bytes_;
    const std::byte* x = context.inputs[0].data;
    std::byte* y = context.outputs[0].data;
    parallel_range(context.threads, in[0] * out_height, out_row_bytes, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const auto row = static_cast<size_t>(i % out_height);
        std::byte* to = y + i * out_row_bytes;
        if (i > begin && row > 0 && rows_[row] == rows_[row - 1]) {
          std::memcpy(to, to - out_row_bytes, static_cast<size_t>(out_row_bytes));
          continue;
        }
        copy_row(x + (i / out_height * in[1] + rows_[row]) * in_row_bytes, to);
      }
    });
  }

 private:
  void copy_row(const std::byte* row, std::byte* y) const {
    switch (pixel_bytes_) {
      case 1:
        return copy_pixels<uint8_t>(row, columns_, y);
      case 4:
        return copy_pixels<uint32_t>(row, columns_, y);
      default:
        break;
    }
    for (const int64_t column : columns_) {
      std::memcpy(y, row + column * pixel_bytes_, static_cast<size_t>(pixel_bytes_));
      y += pixel_bytes_;
    }
  }

  std::vector<int64_t> rows_;
  std::vector<int64_t> columns_;
  int64_t pixel_bytes_;
};

// Tables of a linear resize: rows as they are, columns as offsets in elements.
struct LinearTables {
  std::vector<ResizeTap> rows;
  std::vector<int64_t> first;
  std::vector<int64_t> second;
  std::vector<float> fraction;  // f32
  std::vector<int32_t> weight;  // integers
  int64_t channels = 1;
  int32_t zero_x = 0;
  float multiplier = 1.0F;
  hai_output_range out{};
};

template <typename T>
class ResizeLinearKernel final : public CpuKernel {
 public:
  using Kernel = std::conditional_t<std::is_same_v<T, float>,
                                    void (*)(const T*, const T*, float, const int64_t*, const int64_t*, const float*,
                                             int64_t, int64_t, T*),
                                    void (*)(const T*, const T*, int32_t, const int64_t*, const int64_t*,
                                             const int32_t*, int64_t, int64_t, int32_t, float, hai_output_range, T*)>;
  ResizeLinearKernel(LinearTables tables, Kernel kernel) : tables_(std::move(tables)), kernel_(kernel) {}

  bool needs_constant(size_t) const override { return true; }
  int64_t packed_bytes() const override {
    return static_cast<int64_t>(tables_.rows.size() * sizeof(ResizeTap) +
                                tables_.first.size() * (2 * sizeof(int64_t) + sizeof(float)));
  }

  void run(const RunContext& context) const override {
    const Dims& in = context.inputs[0].dims;
    const auto out_height = static_cast<int64_t>(tables_.rows.size());
    const auto out_width = static_cast<int64_t>(tables_.first.size());
    const int64_t channels = tables_.channels;
    const int64_t in_row = in[2] * channels;
    const T* x = data_of<T>(context.inputs[0]);
    T* y = data_of<T>(context.outputs[0]);
    parallel_range(context.threads, in[0] * out_height, out_width * channels * 4, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const ResizeTap& tap = tables_.rows[static_cast<size_t>(i % out_height)];
        const T* picture = x + i / out_height * in[1] * in_row;
        const T* top = picture + tap.first * in_row;
        const T* bottom = picture + tap.second * in_row;
        T* to = y + i * out_width * channels;
        if constexpr (std::is_same_v<T, float>) {
          kernel_(top, bottom, static_cast<float>(tap.fraction), tables_.first.data(), tables_.second.data(),
                  tables_.fraction.data(), out_width, channels, to);
        } else {
          kernel_(top, bottom, tap.weight, tables_.first.data(), tables_.second.data(), tables_.weight.data(),
                  out_width, channels, tables_.zero_x, tables_.multiplier, tables_.out, to);
        }
      }
    });
  }

 private:
  LinearTables tables_;
  Kernel kernel_;
};

struct Geometry {
  std::array<ResizeAxis, 2> axis;
  ResizeNearest rounding = ResizeNearest::kRoundPreferFloor;
  bool linear = false;
  int64_t channels = 1;
};

Result<Geometry> check_geometry(const KernelContext& context) {
  const Shape& x = context.inputs[0]->shape;
  HAI_TRY(const std::vector<int64_t> sizes, context.ints_attribute_or("sizes", {}, 1, kMaxSide));
  HAI_TRY(const std::vector<double> scales, context.floats_attribute_or("scales", {}));
  HAI_TRY(const std::string mode, context.string_attribute("mode", "nearest"));
  HAI_TRY(const std::string coordinates, context.string_attribute("coordinates", "half_pixel"));
  HAI_TRY(const std::string nearest, context.string_attribute("nearest", "round_prefer_floor"));
  HAI_TRY_STATUS(check_output_shape(context, 0, shape_rules::resize(x, sizes, scales)));
  const auto parsed_coordinates = resize_coordinates_from(coordinates);
  const auto parsed_nearest = resize_nearest_from(nearest);
  if ((mode != "nearest" && mode != "linear") || !parsed_coordinates || !parsed_nearest) {
    return context.refuse("its mode, coordinates or nearest is a word it does not know");
  }
  if (x[3].is_symbolic()) return context.refuse("its channels must be a number");
  Geometry geometry;
  geometry.rounding = *parsed_nearest;
  geometry.linear = mode == "linear";
  geometry.channels = x[3].value;
  for (size_t d = 0; d < 2; ++d) {
    ResizeAxis& axis = geometry.axis[d];
    axis.in = x[d + 1].value;
    axis.out = context.outputs[0]->shape[d + 1].value;
    if (axis.in > kMaxSide || axis.out > kMaxSide) return context.refuse("a side is longer than 2^20");
    axis.scale = scales.empty() ? static_cast<double>(axis.out) / static_cast<double>(axis.in) : scales[d];
    axis.coordinates = *parsed_coordinates;
  }
  return geometry;
}

std::vector<int64_t> nearest_table(const ResizeAxis& axis, ResizeNearest rounding) {
  std::vector<int64_t> out;
  out.reserve(static_cast<size_t>(axis.out));
  for (int64_t i = 0; i < axis.out; ++i) out.push_back(resize_nearest_index(axis, rounding, i));
  return out;
}

LinearTables linear_tables(const Geometry& geometry) {
  LinearTables tables;
  tables.channels = geometry.channels;
  for (int64_t i = 0; i < geometry.axis[0].out; ++i) tables.rows.push_back(resize_linear_tap(geometry.axis[0], i));
  for (int64_t i = 0; i < geometry.axis[1].out; ++i) {
    const ResizeTap tap = resize_linear_tap(geometry.axis[1], i);
    tables.first.push_back(tap.first * geometry.channels);
    tables.second.push_back(tap.second * geometry.channels);
    tables.fraction.push_back(static_cast<float>(tap.fraction));
    tables.weight.push_back(tap.weight);
  }
  return tables;
}

Result<std::unique_ptr<CpuKernel>> make_linear(const KernelContext& context, const Geometry& geometry) {
  const format::ProgramTensor& x = *context.inputs[0];
  const format::ProgramTensor& y = *context.outputs[0];
  if (x.dtype != y.dtype) return context.refuse("its element types differ");
  LinearTables tables = linear_tables(geometry);
  if (x.dtype == DataType::kF32) {
    return std::unique_ptr<CpuKernel>(
        new ResizeLinearKernel<float>(std::move(tables), resize_linear_row_f32_for(context.isa)));
  }
  HAI_TRY_STATUS(check_quantized(context, x));
  HAI_TRY_STATUS(check_quantized(context, y));
  tables.zero_x = zero_point_of(x);
  tables.out = full_range(y);
  HAI_TRY(tables.multiplier,
          check_multiplier(context,
                           hai_multiplier_average(scale_of(x), scale_of(y), int64_t{HAI_RESIZE_ONE} * HAI_RESIZE_ONE)));
  if (x.dtype == DataType::kI8) {
    return std::unique_ptr<CpuKernel>(
        new ResizeLinearKernel<int8_t>(std::move(tables), resize_linear_row_s8_for(context.isa)));
  }
  if (x.dtype == DataType::kI16) {
    return std::unique_ptr<CpuKernel>(
        new ResizeLinearKernel<int16_t>(std::move(tables), resize_linear_row_s16_for(context.isa)));
  }
  return std::unique_ptr<CpuKernel>(
      new ResizeLinearKernel<uint8_t>(std::move(tables), resize_linear_row_u8_for(context.isa)));
}

Result<std::unique_ptr<CpuKernel>> make_resize(const KernelContext& context) {
  HAI_TRY_STATUS(check_operand_counts(context, 1, 1, 1, 1));
  HAI_TRY(const Geometry geometry, check_geometry(context));
  if (geometry.linear) return make_linear(context, geometry);
  HAI_TRY_STATUS(check_moved(context, 0, 0));
  HAI_TRY(const int64_t element_bytes, check_element_bytes(context, *context.inputs[0]));
  return std::unique_ptr<CpuKernel>(new ResizeNearestKernel(nearest_table(geometry.axis[0], geometry.rounding),
                                                            nearest_table(geometry.axis[1], geometry.rounding),
                                                            element_bytes * geometry.channels));
}

}  // namespace

void register_resize_exec(ExecRegistry& registry) { registry.add("resize", make_resize); }

}  // namespace hai::cpu
