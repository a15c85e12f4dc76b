// split on the CPU: each output is a strided copy of its part of the input.
//
// Runs of neighbouring elements go by memcpy (strided_copy.h).
#include "devices/cpu/exec/operand_checks.h"
#include "devices/cpu/exec/strided_copy.h"

namespace hai::cpu {
namespace {

class SplitKernel final : public CpuKernel {
 public:
  SplitKernel(int axis, int64_t element_bytes, Isa isa) : axis_(axis), element_bytes_(element_bytes), isa_(isa) {}

  bool needs_constant(size_t) const override { return true; }

  void run(const RunContext& context) const override {
    const Dims& dims = context.inputs[0].dims;
    const auto from = row_major_strides(dims, element_bytes_);
    const std::byte* source = context.inputs[0].data;
    for (const MutableTensorView& part : context.outputs) {
      const auto to = row_major_strides(part.dims, element_bytes_);
      StridedCopy copy;
      copy.element_bytes = element_bytes_;
      for (int i = 0; i < dims.rank; ++i) {
        copy.add_axis(part.dims[i], to[static_cast<size_t>(i)], from[static_cast<size_t>(i)]);
      }
      run_strided_copy(copy, part.data, source, isa_, context.threads);
      source += part.dims[axis_] * from[static_cast<size_t>(axis_)];
    }
  }

 private:
  int axis_;
  int64_t element_bytes_;
  Isa isa_;
};

Result<std::unique_ptr<CpuKernel>> make_split(const KernelContext& context) {
  HAI_TRY_STATUS(check_operand_counts(context, 1, 1, 1, SIZE_MAX));
  const Shape& x = context.inputs[0]->shape;
  HAI_TRY(const int64_t given_axis, context.int_attribute("axis", 0, -int64_t{kMaxRank}, int64_t{kMaxRank} - 1));
  const Rule<int> axis = shape_rules::axis(given_axis, x.size());
  if (!axis) return context.refuse(axis.reason());
  HAI_TRY(const std::vector<int64_t> sizes, context.ints_attribute("sizes", context.outputs.size(), 0, kMaxElements));
  const Rule<std::vector<Shape>> parts = shape_rules::split(x, *axis, sizes);
  if (!parts) return context.refuse(parts.reason());
  for (size_t i = 0; i < context.outputs.size(); ++i) {
    HAI_TRY_STATUS(check_output_shape(context, i, (*parts)[i]));
    HAI_TRY_STATUS(check_moved(context, i, 0));
  }
  HAI_TRY(const int64_t element_bytes, check_element_bytes(context, *context.inputs[0]));
  return std::unique_ptr<CpuKernel>(new SplitKernel(*axis, element_bytes, context.isa));
}

}  // namespace

void register_split_exec(ExecRegistry& registry) { registry.add("split", make_split); }

}  // namespace hai::cpu
