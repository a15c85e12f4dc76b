// softmax on the CPU: slices along the axis are independent and go to the threads in groups.
//
// The last axis is contiguous; for another one, up to 64 neighbouring slices run side by side. The table of
// exponentials of an 8-bit tensor is made once.
#include "devices/cpu/exec/kernel_checks.h"
#include "devices/cpu/exec/kernel_dispatch.h"
#include "devices/cpu/exec/parallel_chunks.h"
#include "types/exact_math.h"

namespace hai::cpu {
namespace {

HAI_KERNEL_FAMILY(hai_softmax_f32, void, (const float*, float*, int64_t));
HAI_KERNEL_FAMILY(hai_softmax_columns_f32, void, (const float*, float*, int64_t, int64_t, int64_t));
HAI_KERNEL_FAMILY(hai_softmax_q8, void,
                  (const int32_t*, const uint8_t*, uint8_t*, int64_t, int64_t, int32_t, float, int32_t, int32_t,
                   int32_t));

constexpr int64_t kColumns = 64;  // of hai_softmax_columns_f32

struct Geometry {
  int64_t outer = 1;
  int64_t size = 1;
  int64_t inner = 1;
};

Geometry geometry_of(const Dims& dims, int axis) {
  Geometry g;
  for (int i = 0; i < axis; ++i) g.outer *= dims[i];
  g.size = dims[axis];
  for (int i = axis + 1; i < dims.rank; ++i) g.inner *= dims[i];
  return g;
}

class SoftmaxF32 final : public CpuKernel {
 public:
  SoftmaxF32(int axis, Isa isa)
      : axis_(axis), rows_(hai_softmax_f32_for(isa)), columns_(hai_softmax_columns_f32_for(isa)) {}
  void run(const RunContext& context) const override {
    const auto* x = data_of<float>(context.inputs[0]);
    auto* y = data_of<float>(context.outputs[0]);
    const Geometry g = geometry_of(context.outputs[0].dims, axis_);
    if (g.size == 0) return;
    if (g.inner == 1) {
      for_chunks(context.threads, g.outer, std::max<int64_t>(1, kElementChunk / 4 / g.size),
                 [&](int64_t begin, int64_t end) {
                   for (int64_t i = begin; i < end; ++i) rows_(x + i * g.size, y + i * g.size, g.size);
                 });
      return;
    }
    const int64_t groups = (g.inner + kColumns - 1) / kColumns;
    for_chunks(context.threads, g.outer * groups, 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const int64_t first = i % groups * kColumns;
        const int64_t at = i / groups * g.size * g.inner + first;
        columns_(x + at, y + at, g.size, g.inner, std::min(kColumns, g.inner - first));
      }
    });
  }

 private:
  int axis_;
  hai_softmax_f32_function rows_;
  hai_softmax_columns_f32_function columns_;
};

class SoftmaxQ8 final : public CpuKernel {
 public:
  SoftmaxQ8(int axis, bool x_signed, float s_x, float s_y, hai_output_range range, Isa isa)
      : axis_(axis), flip_(x_signed ? 128 : 0), s_y_(s_y), range_(range), kernel_(hai_softmax_q8_for(isa)) {
    for (int32_t distance = 0; distance < 256; ++distance) {
      table_[distance] = hai_softmax_table_entry(distance, s_x);
    }
  }
  void run(const RunContext& context) const override {
    const auto* x = data_of<uint8_t>(context.inputs[0]);
    auto* y = data_of<uint8_t>(context.outputs[0]);
    const Geometry g = geometry_of(context.outputs[0].dims, axis_);
    if (g.size == 0) return;
    for_chunks(context.threads, g.outer * g.inner, std::max<int64_t>(1, kElementChunk / 4 / g.size),
               [&](int64_t begin, int64_t end) {
                 for (int64_t i = begin; i < end; ++i) {
                   const int64_t at = i / g.inner * g.size * g.inner + i % g.inner;
                   kernel_(table_, x + at, y + at, g.size, g.inner, flip_, s_y_, range_.zero_point, range_.lo,
                           range_.hi);
                 }
               });
  }
  int64_t packed_bytes() const override { return sizeof table_; }

 private:
  int axis_;
  int32_t flip_;
  float s_y_;
  hai_output_range range_;
  hai_softmax_q8_function kernel_;
  int32_t table_[256] = {};
};

Result<std::unique_ptr<CpuKernel>> make(const KernelContext& context) {
  HAI_TRY_STATUS(require_counts(context, 1, 1));
  const format::ProgramTensor& x = *context.inputs[0];
  const format::ProgramTensor& y = *context.outputs[0];
  HAI_TRY_STATUS(require_same_shape(context, x, y));
  const auto rank = static_cast<int64_t>(x.shape.size());
  if (rank == 0) return context.refuse("needs at least one axis");
  HAI_TRY(const int64_t given, context.int_attribute("axis", -1, -rank, rank - 1));
  const auto axis = static_cast<int>(given < 0 ? given + rank : given);
  if (x.dtype == DataType::kF32) {
    HAI_TRY_STATUS(require_dtype(context, y, {DataType::kF32}));
    return std::unique_ptr<CpuKernel>(std::make_unique<SoftmaxF32>(axis, context.isa));
  }
  HAI_TRY_STATUS(require_dtype(context, x, {DataType::kI8, DataType::kU8}));
  HAI_TRY_STATUS(require_dtype(context, y, {DataType::kI8, DataType::kU8}));
  HAI_TRY(const Affine from, affine_of(context, x));
  HAI_TRY(const Affine to, affine_of(context, y));
  HAI_TRY(const hai_output_range range, output_range_of(context, y));
  return std::unique_ptr<CpuKernel>(
      std::make_unique<SoftmaxQ8>(axis, x.dtype == DataType::kI8, from.scale, to.scale, range, context.isa));
}

}  // namespace

void register_softmax_exec(ExecRegistry& registry);
void register_softmax_exec(ExecRegistry& registry) { registry.add("softmax", make); }

}  // namespace hai::cpu
