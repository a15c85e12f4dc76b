// gather on the CPU: for each index one memcpy of the elements behind the axis.
//
// Indices are data and cannot be refused while running: they are clamped into the axis, as the operator defines, so
// that no index reads outside of x.
#include <algorithm>
#include <cstring>

#include "devices/cpu/exec/operand_checks.h"
#include "devices/cpu/exec/parallel_range.h"

namespace hai::cpu {
namespace {

int64_t index_at(const TensorView& indices, int64_t i) {
  return indices.dtype == DataType::kI64 ? data_of<int64_t>(indices)[i] : data_of<int32_t>(indices)[i];
}

class GatherKernel final : public CpuKernel {
 public:
  GatherKernel(int axis, int64_t element_bytes) : axis_(axis), element_bytes_(element_bytes) {}

  bool needs_constant(size_t) const override { return true; }

  void run(const RunContext& context) const override {
    const TensorView& x = context.inputs[0];
    const TensorView& indices = context.inputs[1];
    std::byte* y = context.outputs[0].data;
    const int64_t count = indices.count();
    const int64_t size = x.dims[axis_];
    int64_t outer = 1;
    for (int i = 0; i < axis_; ++i) outer *= x.dims[i];
    int64_t run_bytes = element_bytes_;
    for (int i = axis_ + 1; i < x.dims.rank; ++i) run_bytes *= x.dims[i];
    if (size <= 0) return;
    parallel_range(context.threads, outer * count, run_bytes, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const int64_t given = index_at(indices, i % count);
        const int64_t index = std::clamp<int64_t>(given < 0 ? given + size : given, 0, size - 1);
        std::memcpy(y + i * run_bytes, x.data + (i / count * size + index) * run_bytes, static_cast<size_t>(run_bytes));
      }
    });
  }

 private:
  int axis_;
  int64_t element_bytes_;
};

Result<std::unique_ptr<CpuKernel>> make_gather(const KernelContext& context) {
  HAI_TRY_STATUS(check_operand_counts(context, 2, 2, 1, 1));
  const Shape& x = context.inputs[0]->shape;
  HAI_TRY(const int64_t given_axis, context.int_attribute("axis", 0, -int64_t{kMaxRank}, int64_t{kMaxRank} - 1));
  const Rule<int> axis = shape_rules::axis(given_axis, x.size());
  if (!axis) return context.refuse(axis.reason());
  HAI_TRY_STATUS(check_output_shape(context, 0, shape_rules::gather(x, context.inputs[1]->shape, *axis)));
  HAI_TRY_STATUS(check_moved(context, 0, 0));
  if (context.inputs[1]->dtype != DataType::kI32 && context.inputs[1]->dtype != DataType::kI64) {
    return context.refuse("its indices must be i32 or i64");
  }
  HAI_TRY(const int64_t element_bytes, check_element_bytes(context, *context.inputs[0]));
  return std::unique_ptr<CpuKernel>(new GatherKernel(*axis, element_bytes));
}

}  // namespace

void register_gather_exec(ExecRegistry& registry) { registry.add("gather", make_gather); }

}  // namespace hai::cpu
