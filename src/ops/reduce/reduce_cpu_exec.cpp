// reduce_mean, reduce_sum, reduce_max and reduce_min on the CPU, f32 and quantized integers.
//
// Method: neighbouring axes of one kind (kept or reduced) are merged, which leaves groups that alternate. The innermost
// reduced group goes to a kernel: as rows when it is last, as columns when a kept group follows (NHWC pooling). Further
// reduced groups are walked around it and their partial results combined in order. Threads share the outputs only, so
// that the order of float operations never depends on them. Integer sums are exact: make() refuses a count that could
// overflow.
#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "base/checked.h"
#include "devices/cpu/exec/kernel_dispatch.h"
#include "devices/cpu/exec/operand_checks.h"
#include "devices/cpu/exec/parallel_range.h"
#include "types/epilogue.h"
#include "types/fixed_point.h"
#include "types/float_format.h"

namespace hai::cpu {
namespace {

#define HAI_REDUCE_FAMILIES(suffix, type, sum_type)                                                              \
  HAI_KERNEL_FAMILY(reduce_row_sum_##suffix, sum_type, (const type* x, int64_t count));                          \
  HAI_KERNEL_FAMILY(reduce_columns_sum_##suffix, void,                                                           \
                    (const type* x, int64_t row_stride, int64_t rows, int64_t columns, sum_type* sum));          \
  HAI_KERNEL_FAMILY(reduce_row_max_##suffix, type, (const type* x, int64_t count, type start));                  \
  HAI_KERNEL_FAMILY(reduce_columns_max_##suffix, void,                                                           \
                    (const type* x, int64_t row_stride, int64_t rows, int64_t columns, type start, type* best)); \
  HAI_KERNEL_FAMILY(reduce_row_min_##suffix, type, (const type* x, int64_t count, type start));                  \
  HAI_KERNEL_FAMILY(reduce_columns_min_##suffix, void,                                                           \
                    (const type* x, int64_t row_stride, int64_t rows, int64_t columns, type start, type* best))
HAI_REDUCE_FAMILIES(f32, float, float);
HAI_REDUCE_FAMILIES(s8, int8_t, int32_t);
HAI_REDUCE_FAMILIES(u8, uint8_t, int32_t);
HAI_REDUCE_FAMILIES(s16, int16_t, int64_t);

enum class Reduction : uint8_t { kMean, kSum, kMax, kMin };

// Columns handled at once; the kernels keep as many sums on their stack.
constexpr int64_t kColumns = 256;

template <typename T>
struct Kernels {
  using Sum = std::conditional_t<std::is_same_v<T, float>, float,
                                 std::conditional_t<std::is_same_v<T, int16_t>, int64_t, int32_t>>;
  Sum (*row_sum)(const T*, int64_t);
  void (*columns_sum)(const T*, int64_t, int64_t, int64_t, Sum*);
  T (*row_best)(const T*, int64_t, T);
  void (*columns_best)(const T*, int64_t, int64_t, int64_t, T, T*);
};

// The groups of merged axes, seen from the innermost reduced one.
struct Groups {
  struct Axis {
    int64_t size = 1;
    int64_t stride = 0;
  };
  std::array<Axis, kMaxRank> kept{};  // around the kernel, outermost first
  int kept_count = 0;
  std::array<Axis, kMaxRank> reduced{};
  int reduced_count = 0;
  Axis inner;           // what the kernel reduces
  int64_t columns = 1;  // kept elements behind it
  int64_t count = 1;    // elements that become one
};

Groups group_axes(const Dims& dims, uint32_t reduced_axes) {
  struct Group {
    Groups::Axis axis;
    bool reduced = false;
  };
  std::array<Group, kMaxRank> groups{};
  int used = 0;
  int64_t stride = 1;
  for (int i = dims.rank - 1; i >= 0; --i) {  // innermost first
    const bool reduced = ((reduced_axes >> i) & 1U) != 0;
    if (dims[i] != 1) {
      if (used > 0 && groups[static_cast<size_t>(used - 1)].reduced == reduced) {
        groups[static_cast<size_t>(used - 1)].axis.size *= dims[i];
      } else {
        groups[static_cast<size_t>(used++)] = {{dims[i], stride}, reduced};
      }
    }
    stride *= dims[i];
  }
  Groups out;
  int next = 0;
  if (next < used && !groups[0].reduced) out.columns = groups[static_cast<size_t>(next++)].axis.size;
  if (next < used) out.inner = groups[static_cast<size_t>(next++)].axis;
  for (int i = used - 1; i >= next; --i) {
    const Group& group = groups[static_cast<size_t>(i)];
    if (group.reduced) {
      out.reduced[static_cast<size_t>(out.reduced_count++)] = group.axis;
    } else {
      out.kept[static_cast<size_t>(out.kept_count++)] = group.axis;
    }
  }
  out.count = out.inner.size;
  for (int i = 0; i < out.reduced_count; ++i) out.count *= out.reduced[static_cast<size_t>(i)].size;
  if (out.count == 0) out.inner.size = 0;  // a sum of nothing reads nothing
  return out;
}

int64_t offset_of(const std::array<Groups::Axis, kMaxRank>& axes, int count, int64_t index) {
  int64_t offset = 0;
  for (int i = count - 1; i >= 0; --i) {
    const Groups::Axis& axis = axes[static_cast<size_t>(i)];
    offset += index % axis.size * axis.stride;
    index /= axis.size;
  }
  return offset;
}

int32_t requantize(int32_t acc, float multiplier, hai_output_range out) {
  return hai_requantize_i32(acc, multiplier, out);
}
int32_t requantize(int64_t acc, float multiplier, hai_output_range out) {
  return hai_requantize_i64(acc, multiplier, out);
}

// Scales of an integer reduction. The multiplier of a mean depends on the count, which may hang on the batch.
struct Parameters {
  float scale_x = 1.0F;
  float scale_y = 1.0F;
  int32_t zero_x = 0;
  hai_output_range out{};
  std::optional<Rescale> rescale;  // of an extreme
  bool fixed_point = false;        // a mean that rounds as TensorFlow Lite does
};

float multiplier_of(Reduction reduction, const Parameters& parameters, int64_t count) {
  return hai_multiplier_average(parameters.scale_x, parameters.scale_y, reduction == Reduction::kMean ? count : 1);
}

template <typename T>
class ReduceKernel final : public CpuKernel {
 public:
  using Sum = typename Kernels<T>::Sum;
  ReduceKernel(Reduction reduction, uint32_t axes, const Kernels<T>& kernels, const Parameters& parameters)
      : reduction_(reduction), axes_(axes), kernels_(kernels), parameters_(parameters) {}

  bool needs_constant(size_t) const override { return true; }

  void run(const RunContext& context) const override {
    const T* x = data_of<T>(context.inputs[0]);
    T* y = data_of<T>(context.outputs[0]);
    if (context.outputs[0].count() == 0) return;
    const Groups groups = group_axes(context.inputs[0].dims, axes_);
    const int64_t chunks = ceil_div(groups.columns, kColumns);
    int64_t outer = 1;
    for (int i = 0; i < groups.kept_count; ++i) outer *= groups.kept[static_cast<size_t>(i)].size;
    const int64_t work = groups.count * std::min(groups.columns, kColumns);
    parallel_range(context.threads, outer * chunks, work, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const int64_t first = i % chunks * kColumns;
        const int64_t columns = std::min(kColumns, groups.columns - first);
        const T* from = x + offset_of(groups.kept, groups.kept_count, i / chunks) + first;
        run_chunk(groups, from, columns, y + i / chunks * groups.columns + first);
      }
    });
  }

 private:
  bool is_sum() const { return reduction_ == Reduction::kMean || reduction_ == Reduction::kSum; }

  T start() const {
    using Limits = std::numeric_limits<T>;
    if (reduction_ == Reduction::kMax) return Limits::has_infinity ? -Limits::infinity() : Limits::lowest();
    return Limits::has_infinity ? Limits::infinity() : Limits::max();
  }

  void partial(const Groups& groups, const T* x, int64_t columns, Sum* out) const {
    const bool as_row = groups.columns == 1;
    if (is_sum()) {
      if (as_row) {
        *out = kernels_.row_sum(x, groups.inner.size);
      } else {
        kernels_.columns_sum(x, groups.inner.stride, groups.inner.size, columns, out);
      }
      return;
    }
    std::array<T, kColumns> best;
    if (as_row) {
      best[0] = kernels_.row_best(x, groups.inner.size, start());
    } else {
      kernels_.columns_best(x, groups.inner.stride, groups.inner.size, columns, start(), best.data());
    }
    for (int64_t c = 0; c < columns; ++c) out[c] = Sum{best[static_cast<size_t>(c)]};
  }

  void run_chunk(const Groups& groups, const T* x, int64_t columns, T* y) const {
    std::array<Sum, kColumns> total;
    std::array<Sum, kColumns> part;
    const int64_t parts = groups.count / std::max<int64_t>(1, groups.inner.size);
    for (int64_t p = 0; p < parts || p == 0; ++p) {
      partial(groups, x + offset_of(groups.reduced, groups.reduced_count, p), columns,
              p == 0 ? total.data() : part.data());
      if (p == 0) continue;
      for (size_t c = 0; c < static_cast<size_t>(columns); ++c) {
        if (is_sum()) {
          total[c] += part[c];
        } else if (reduction_ == Reduction::kMax) {
          total[c] = part[c] > total[c] ? part[c] : total[c];
        } else {
          total[c] = part[c] < total[c] ? part[c] : total[c];
        }
      }
    }
    finish(total.data(), groups.count, columns, y);
  }

  void finish(const Sum* total, int64_t count, int64_t columns, T* y) const {
    if constexpr (std::is_same_v<T, float>) {
      const float divisor = reduction_ == Reduction::kMean ? static_cast<float>(count) : 1.0F;
      for (int64_t c = 0; c < columns; ++c) y[c] = total[c] / divisor;
    } else if (is_sum()) {
      const auto zero_sum = static_cast<Sum>(count * parameters_.zero_x);
      if (parameters_.fixed_point) {
        const hai_fixed_point m = hai_fixed_point_of_mean(parameters_.scale_x, parameters_.scale_y, count);
        for (int64_t c = 0; c < columns; ++c) {
          const auto sum = static_cast<int32_t>(total[c] - zero_sum);
          y[c] = static_cast<T>(hai_requantize_fixed_point(sum, m, parameters_.out));
        }
        return;
      }
      const float multiplier = multiplier_of(reduction_, parameters_, count);
      for (int64_t c = 0; c < columns; ++c) {
        y[c] = static_cast<T>(requantize(total[c] - zero_sum, multiplier, parameters_.out));
      }
    } else if (parameters_.rescale) {
      const Rescale& rescale = *parameters_.rescale;
      for (int64_t c = 0; c < columns; ++c) {
        const auto best = static_cast<int32_t>(total[c]);
        y[c] = static_cast<T>(sizeof(T) > 1 ? hai_rescale_wide(best, rescale.zero_x, rescale.multiplier, rescale.out)
                                            : hai_rescale(best, rescale.zero_x, rescale.multiplier, rescale.out));
      }
    } else {
      for (int64_t c = 0; c < columns; ++c) y[c] = static_cast<T>(total[c]);
    }
  }

  Reduction reduction_;
  uint32_t axes_;  // bit i: axis i is reduced
  Kernels<T> kernels_;
  Parameters parameters_;
};

// Means of f16: sums in f64 in the order of the elements.
class MeanF16 final : public CpuKernel {
 public:
  explicit MeanF16(uint32_t axes) : axes_(axes) {}
  bool needs_constant(size_t) const override { return true; }
  void run(const RunContext& context) const override {
    const auto* x = data_of<uint16_t>(context.inputs[0]);
    auto* y = data_of<uint16_t>(context.outputs[0]);
    const Dims& dims = context.inputs[0].dims;
    std::array<Groups::Axis, kMaxRank> kept{};
    std::array<Groups::Axis, kMaxRank> reduced{};
    int kept_count = 0;
    int reduced_count = 0;
    int64_t count = 1;
    for (int i = 0; i < dims.rank; ++i) {
      int64_t stride = 1;
      for (int after = i + 1; after < dims.rank; ++after) stride *= dims[after];
      if (((axes_ >> i) & 1U) != 0) {
        reduced[static_cast<size_t>(reduced_count++)] = {dims[i], stride};
        count *= dims[i];
      } else {
        kept[static_cast<size_t>(kept_count++)] = {dims[i], stride};
      }
    }
    parallel_range(context.threads, context.outputs[0].count(), count, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const uint16_t* from = x + offset_of(kept, kept_count, i);
        double sum = 0.0;
        for (int64_t k = 0; k < count; ++k)
          sum += static_cast<double>(hai_f16_to_f32(from[offset_of(reduced, reduced_count, k)]));
        y[i] = hai_f64_to_f16(sum / static_cast<double>(count));
      }
    });
  }

 private:
  uint32_t axes_;
};

// How many elements become one, over all values of the batch.
Result<DimBounds> count_bounds(const KernelContext& context, std::span<const int> axes) {
  DimBounds out{1, 1};
  for (const int axis : axes) {
    HAI_TRY(const DimBounds bounds, check_bounds(context, context.inputs[0]->shape[static_cast<size_t>(axis)]));
    const auto min = checked_mul(out.min, bounds.min);
    const auto max = checked_mul(out.max, bounds.max);
    if (!min || !max) return context.refuse("it reduces more than 2^63 elements");
    out = {*min, *max};
  }
  return out;
}

Result<Parameters> check_parameters(const KernelContext& context, Reduction reduction, const DimBounds& count) {
  const format::ProgramTensor& x = *context.inputs[0];
  const format::ProgramTensor& y = *context.outputs[0];
  Parameters parameters;
  if (reduction == Reduction::kMax || reduction == Reduction::kMin) {
    HAI_TRY(parameters.rescale, check_rescale(context, x, y));
    return parameters;
  }
  HAI_TRY_STATUS(check_quantized(context, x));
  HAI_TRY_STATUS(check_quantized(context, y));
  if (count.max > most_summands(x.dtype)) {
    return context.refuse(
        fmt::format("a sum of {} elements can overflow; at most {}", count.max, most_summands(x.dtype)));
  }
  parameters = {scale_of(x), scale_of(y), zero_point_of(x), full_range(y), std::nullopt};
  auto fixed_point = parse_fixed_point(context.instruction.attributes);
  if (!fixed_point) return context.refuse(fixed_point.error().message);
  parameters.fixed_point = *fixed_point && reduction == Reduction::kMean;
  if (*fixed_point && (reduction != Reduction::kMean || x.dtype == DataType::kI16)) {
    return context.refuse("rounding fixed_point is for means of 8-bit integers");
  }
  for (const int64_t one : {std::max<int64_t>(1, count.min), std::max<int64_t>(1, count.max)}) {
    HAI_TRY_STATUS(check_multiplier(context, multiplier_of(reduction, parameters, one)));
  }
  return parameters;
}

#define HAI_REDUCE_KERNELS(suffix, type)                                                           \
  Kernels<type> {                                                                                  \
    reduce_row_sum_##suffix##_for(isa), reduce_columns_sum_##suffix##_for(isa),                    \
        smallest ? reduce_row_min_##suffix##_for(isa) : reduce_row_max_##suffix##_for(isa),        \
        smallest ? reduce_columns_min_##suffix##_for(isa) : reduce_columns_max_##suffix##_for(isa) \
  }

Result<std::unique_ptr<CpuKernel>> make_reduce(const KernelContext& context, Reduction reduction) {
  HAI_TRY_STATUS(check_operand_counts(context, 1, 1, 1, 1));
  const format::ProgramTensor& x = *context.inputs[0];
  HAI_TRY(const std::vector<int64_t> given,
          context.ints_attribute_or("axes", {}, -int64_t{kMaxRank}, int64_t{kMaxRank} - 1));
  HAI_TRY(const int64_t keep_dims, context.int_attribute("keep_dims", 1, 0, 1));
  Rule<std::vector<int>> axes = shape_rules::axes(given, x.shape.size());
  if (!axes) return context.refuse(axes.reason());
  if (axes->empty()) {
    for (int i = 0; i < static_cast<int>(x.shape.size()); ++i) axes->push_back(i);
  }
  HAI_TRY_STATUS(check_output_shape(context, 0, shape_rules::reduce(x.shape, *axes, keep_dims != 0)));
  if (x.dtype != context.outputs[0]->dtype) return context.refuse("its element types differ");
  HAI_TRY(const DimBounds count, count_bounds(context, *axes));
  if (count.min == 0 && reduction != Reduction::kSum) return context.refuse("there is nothing to reduce");
  uint32_t mask = 0;
  for (const int axis : *axes) mask |= 1U << axis;
  const Isa isa = context.isa;
  const bool smallest = reduction == Reduction::kMin;
  if (x.dtype == DataType::kF32) {
    return std::unique_ptr<CpuKernel>(
        new ReduceKernel<float>(reduction, mask, HAI_REDUCE_KERNELS(f32, float), Parameters()));
  }
  if (x.dtype == DataType::kF16 && reduction == Reduction::kMean) {
    return std::unique_ptr<CpuKernel>(std::make_unique<MeanF16>(mask));
  }
  HAI_TRY(const Parameters parameters, check_parameters(context, reduction, count));
  if (x.dtype == DataType::kI8) {
    return std::unique_ptr<CpuKernel>(
        new ReduceKernel<int8_t>(reduction, mask, HAI_REDUCE_KERNELS(s8, int8_t), parameters));
  }
  if (x.dtype == DataType::kI16) {
    return std::unique_ptr<CpuKernel>(
        new ReduceKernel<int16_t>(reduction, mask, HAI_REDUCE_KERNELS(s16, int16_t), parameters));
  }
  if (x.dtype != DataType::kU8) return context.refuse("its element type must be f32, i8, u8 or i16");
  return std::unique_ptr<CpuKernel>(
      new ReduceKernel<uint8_t>(reduction, mask, HAI_REDUCE_KERNELS(u8, uint8_t), parameters));
}

}  // namespace

void register_reduce_exec(ExecRegistry& registry) {
  registry.add("reduce_mean", [](const KernelContext& context) { return make_reduce(context, Reduction::kMean); });
  registry.add("reduce_sum", [](const KernelContext& context) { return make_reduce(context, Reduction::kSum); });
  registry.add("reduce_max", [](const KernelContext& context) { return make_reduce(context, Reduction::kMax); });
  registry.add("reduce_min", [](const KernelContext& context) { return make_reduce(context, Reduction::kMin); });
}

}  // namespace hai::cpu
