// reshape on the CPU, where it cannot be a view: one copy of bytes.
//
// As a rule the lowering makes it an alias and nothing runs; input and output are two tensors when a model returns an
// input or a constant reshaped.
#include "devices/cpu/exec/operand_checks.h"
#include "devices/cpu/exec/strided_copy.h"

namespace hai::cpu {
namespace {

class ReshapeKernel final : public CpuKernel {
 public:
  explicit ReshapeKernel(Isa isa) : isa_(isa) {}

  bool needs_constant(size_t) const override { return true; }

  void run(const RunContext& context) const override {
    StridedCopy copy;
    copy.add_axis(context.outputs[0].size_bytes(), 1, 1);
    run_strided_copy(copy, context.outputs[0].data, context.inputs[0].data, isa_, context.threads);
  }

 private:
  Isa isa_;
};

Result<std::unique_ptr<CpuKernel>> make_reshape(const KernelContext& context) {
  HAI_TRY_STATUS(check_operand_counts(context, 1, 1, 1, 1));
  HAI_TRY(const std::vector<int64_t> target,
          context.ints_attribute("shape", context.outputs[0]->shape.size(), -1, kMaxElements));
  HAI_TRY_STATUS(check_output_shape(context, 0, shape_rules::reshape(context.inputs[0]->shape, target)));
  if (context.inputs[0]->dtype != context.outputs[0]->dtype) return context.refuse("its element types differ");
  return std::unique_ptr<CpuKernel>(new ReshapeKernel(context.isa));
}

}  // namespace

void register_reshape_exec(ExecRegistry& registry) { registry.add("reshape", make_reshape); }

}  // namespace hai::cpu
