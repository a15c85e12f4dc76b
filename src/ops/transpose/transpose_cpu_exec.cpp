// transpose on the CPU: one strided copy in the order of the output (devices/cpu/exec/strided_copy.h).
//
// It merges axes that stay together and picks memcpy of runs or the blocked 2-D transpose; NCHW <-> NHWC becomes the
// latter, whatever the batch.
#include "devices/cpu/exec/operand_checks.h"
#include "devices/cpu/exec/strided_copy.h"

namespace hai::cpu {
namespace {

class TransposeKernel final : public CpuKernel {
 public:
  TransposeKernel(Dims permutation, int64_t element_bytes, Isa isa)
      : permutation_(permutation), element_bytes_(element_bytes), isa_(isa) {}

  bool needs_constant(size_t) const override { return true; }

  void run(const RunContext& context) const override {
    const auto from = row_major_strides(context.inputs[0].dims, element_bytes_);
    const auto to = row_major_strides(context.outputs[0].dims, element_bytes_);
    StridedCopy copy;
    copy.element_bytes = element_bytes_;
    for (int i = 0; i < permutation_.rank; ++i) {
      const auto source_axis = static_cast<size_t>(permutation_[i]);
      copy.add_axis(context.outputs[0].dims[i], to[static_cast<size_t>(i)], from[source_axis]);
    }
    run_strided_copy(copy, context.outputs[0].data, context.inputs[0].data, isa_, context.threads);
  }

 private:
  Dims permutation_;
  int64_t element_bytes_;
  Isa isa_;
};

Result<std::unique_ptr<CpuKernel>> make_transpose(const KernelContext& context) {
  HAI_TRY_STATUS(check_operand_counts(context, 1, 1, 1, 1));
  const Shape& x = context.inputs[0]->shape;
  HAI_TRY(const std::vector<int64_t> permutation, context.ints_attribute("permutation", x.size(), 0, kMaxRank - 1));
  HAI_TRY_STATUS(check_output_shape(context, 0, shape_rules::transpose(x, permutation)));
  if (context.inputs[0]->dtype != context.outputs[0]->dtype) return context.refuse("its element types differ");
  HAI_TRY(const int64_t element_bytes, check_element_bytes(context, *context.inputs[0]));
  return std::unique_ptr<CpuKernel>(new TransposeKernel(Dims(permutation), element_bytes, context.isa));
}

}  // namespace

void register_transpose_exec(ExecRegistry& registry) { registry.add("transpose", make_transpose); }

}  // namespace hai::cpu
