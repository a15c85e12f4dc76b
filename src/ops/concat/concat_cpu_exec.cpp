// concat on the CPU: each input is copied to its place by runs of neighbouring elements.
//
// An integer input whose scale differs from the output's is rescaled on the way (types/arithmetic.h, hai_rescale), run
// by run, with the multiplier that make() proved usable.
#include "devices/cpu/exec/operand_checks.h"
#include "devices/cpu/exec/parallel_range.h"
#include "devices/cpu/exec/strided_copy.h"

namespace hai::cpu {
namespace {

class ConcatKernel final : public CpuKernel {
 public:
  ConcatKernel(int axis, int64_t element_bytes, std::vector<std::optional<Rescale>> rescales, Isa isa)
      : axis_(axis), element_bytes_(element_bytes), rescales_(std::move(rescales)), isa_(isa) {}

  bool needs_constant(size_t) const override { return true; }

  void run(const RunContext& context) const override {
    const MutableTensorView& y = context.outputs[0];
    int64_t outer = 1;
    for (int i = 0; i < axis_; ++i) outer *= y.dims[i];
    int64_t inner_bytes = element_bytes_;
    for (int i = axis_ + 1; i < y.dims.rank; ++i) inner_bytes *= y.dims[i];
    const int64_t stride_bytes = inner_bytes * y.dims[axis_];
    std::byte* to = y.data;
    for (size_t i = 0; i < context.inputs.size(); ++i) {
      const int64_t run_bytes = inner_bytes * context.inputs[i].dims[axis_];
      if (rescales_[i]) {
        rescale(*rescales_[i], y.dtype, context.inputs[i].data, to, outer, run_bytes, stride_bytes, context.threads);
      } else {
        StridedCopy copy;
        copy.element_bytes = element_bytes_;
        copy.add_axis(outer, stride_bytes, run_bytes);
        copy.add_axis(run_bytes / element_bytes_, element_bytes_, element_bytes_);
        run_strided_copy(copy, to, context.inputs[i].data, isa_, context.threads);
      }
      to += run_bytes;
    }
  }

 private:
  void rescale(const Rescale& rescale, DataType dtype, const std::byte* from, std::byte* to, int64_t outer,
               int64_t run_bytes, int64_t stride_bytes, ThreadPool& threads) const {
    parallel_range(threads, outer, run_bytes * 2, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        rescale_elements(rescale, dtype, isa_, from + i * run_bytes, to + i * stride_bytes, run_bytes / element_bytes_);
      }
    });
  }

  int axis_;
  int64_t element_bytes_;
  std::vector<std::optional<Rescale>> rescales_;
  Isa isa_;
};

Result<std::unique_ptr<CpuKernel>> make_concat(const KernelContext& context) {
  HAI_TRY_STATUS(check_operand_counts(context, 1, SIZE_MAX, 1, 1));
  HAI_TRY(const int64_t given_axis, context.int_attribute("axis", 0, -int64_t{kMaxRank}, int64_t{kMaxRank} - 1));
  const Rule<int> axis = shape_rules::axis(given_axis, context.inputs[0]->shape.size());
  if (!axis) return context.refuse(axis.reason());
  std::vector<const Shape*> shapes;
  std::vector<std::optional<Rescale>> rescales;
  for (const format::ProgramTensor* input : context.inputs) {
    shapes.push_back(&input->shape);
    HAI_TRY(rescales.emplace_back(), check_rescale(context, *input, *context.outputs[0]));
  }
  HAI_TRY_STATUS(check_output_shape(context, 0, shape_rules::concat(shapes, *axis)));
  HAI_TRY(const int64_t element_bytes, check_element_bytes(context, *context.outputs[0]));
  return std::unique_ptr<CpuKernel>(new ConcatKernel(*axis, element_bytes, std::move(rescales), context.isa));
}

}  // namespace

void register_concat_exec(ExecRegistry& registry) { registry.add("concat", make_concat); }

}  // namespace hai::cpu
