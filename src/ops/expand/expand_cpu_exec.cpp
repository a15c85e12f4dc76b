// expand on the CPU: one strided copy in which the broadcast axes of the source have stride 0.
//
// Runs behind the last repeated axis go by memcpy; a repeated last axis becomes a fill (strided_copy.h).
#include "devices/cpu/exec/operand_checks.h"
#include "devices/cpu/exec/strided_copy.h"

namespace hai::cpu {
namespace {

class ExpandKernel final : public CpuKernel {
 public:
  ExpandKernel(int64_t element_bytes, Isa isa) : element_bytes_(element_bytes), isa_(isa) {}

  bool needs_constant(size_t input) const override { return input == 0; }

  void run(const RunContext& context) const override {
    const Dims& in = context.inputs[0].dims;
    const Dims& out = context.outputs[0].dims;
    const auto from = row_major_strides(in, element_bytes_);
    const auto to = row_major_strides(out, element_bytes_);
    const int added = out.rank - in.rank;
    StridedCopy copy;
    copy.element_bytes = element_bytes_;
    for (int i = 0; i < out.rank; ++i) {
      const bool repeated = i < added || in[i - added] != out[i];
      copy.add_axis(out[i], to[static_cast<size_t>(i)], repeated ? 0 : from[static_cast<size_t>(i - added)]);
    }
    run_strided_copy(copy, context.outputs[0].data, context.inputs[0].data, isa_, context.threads);
  }

 private:
  int64_t element_bytes_;
  Isa isa_;
};

Result<std::unique_ptr<CpuKernel>> make_expand(const KernelContext& context) {
  HAI_TRY_STATUS(check_operand_counts(context, 1, 2, 1, 1));
  HAI_TRY(const std::vector<int64_t> target,
          context.ints_attribute("shape", context.outputs[0]->shape.size(), -1, kMaxElements));
  const Shape& x = context.inputs[0]->shape;
  const bool over = context.inputs.size() > 1 && context.inputs[1] != nullptr;
  HAI_TRY_STATUS(check_output_shape(
      context, 0,
      over ? shape_rules::expand_over(x, target, context.inputs[1]->shape) : shape_rules::expand(x, target)));
  HAI_TRY_STATUS(check_moved(context, 0, 0));
  HAI_TRY(const int64_t element_bytes, check_element_bytes(context, *context.inputs[0]));
  return std::unique_ptr<CpuKernel>(new ExpandKernel(element_bytes, context.isa));
}

}  // namespace

void register_expand_exec(ExecRegistry& registry) { registry.add("expand", make_expand); }

}  // namespace hai::cpu
