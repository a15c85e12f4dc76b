// slice on the CPU: one strided copy whose source begins at the first element taken.
//
// Negative steps are negative strides. make() checks the bounds, so that every address lies in x.
#include "devices/cpu/exec/operand_checks.h"
#include "devices/cpu/exec/strided_copy.h"

namespace hai::cpu {
namespace {

class SliceKernel final : public CpuKernel {
 public:
  SliceKernel(Dims starts, Dims steps, int64_t element_bytes, Isa isa)
      : starts_(starts), steps_(steps), element_bytes_(element_bytes), isa_(isa) {}

  bool needs_constant(size_t) const override { return true; }

  void run(const RunContext& context) const override {
    if (context.outputs[0].dims.count() == 0) return;
    const auto from = row_major_strides(context.inputs[0].dims, element_bytes_);
    const auto to = row_major_strides(context.outputs[0].dims, element_bytes_);
    const std::byte* source = context.inputs[0].data;
    StridedCopy copy;
    copy.element_bytes = element_bytes_;
    for (int i = 0; i < starts_.rank; ++i) {
      const auto axis = static_cast<size_t>(i);
      source += starts_[i] * from[axis];
      copy.add_axis(context.outputs[0].dims[i], to[axis], steps_[i] * from[axis]);
    }
    run_strided_copy(copy, context.outputs[0].data, source, isa_, context.threads);
  }

 private:
  Dims starts_;
  Dims steps_;
  int64_t element_bytes_;
  Isa isa_;
};

Result<std::unique_ptr<CpuKernel>> make_slice(const KernelContext& context) {
  HAI_TRY_STATUS(check_operand_counts(context, 1, 1, 1, 1));
  const Shape& x = context.inputs[0]->shape;
  HAI_TRY(const std::vector<int64_t> axes,
          context.ints_attribute_or("axes", {}, -int64_t{kMaxRank}, int64_t{kMaxRank} - 1));
  HAI_TRY(const std::vector<int64_t> starts, context.ints_attribute("starts", axes.size(), INT64_MIN, INT64_MAX));
  HAI_TRY(const std::vector<int64_t> ends, context.ints_attribute("ends", axes.size(), INT64_MIN, INT64_MAX));
  HAI_TRY(const std::vector<int64_t> steps, context.ints_attribute_or("steps", {}, INT64_MIN, INT64_MAX));
  HAI_TRY_STATUS(check_output_shape(context, 0, shape_rules::slice(x, starts, ends, axes, steps)));
  HAI_TRY_STATUS(check_moved(context, 0, 0));
  HAI_TRY(const int64_t element_bytes, check_element_bytes(context, *context.inputs[0]));
  Dims start_of;
  Dims step_of;
  start_of.rank = step_of.rank = static_cast<int32_t>(x.size());
  for (int i = 0; i < step_of.rank; ++i) step_of[i] = 1;
  for (size_t i = 0; i < axes.size(); ++i) {
    const int axis = *shape_rules::axis(axes[i], x.size());
    start_of[axis] = starts[i];
    step_of[axis] = steps.empty() ? 1 : steps[i];
  }
  return std::unique_ptr<CpuKernel>(new SliceKernel(start_of, step_of, element_bytes, context.isa));
}

}  // namespace

void register_slice_exec(ExecRegistry& registry) { registry.add("slice", make_slice); }

}  // namespace hai::cpu
