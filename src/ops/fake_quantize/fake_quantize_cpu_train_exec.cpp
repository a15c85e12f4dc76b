// fake_quantize and fake_quantize_gradient on the CPU, f32: slice by slice of the axis, or in chunks where all of x has
// one grid.
//
// Grids are made anew in each run, since ranges follow the weights. In place is fine: every element depends on its own
// operands alone.
#include "devices/cpu/exec/kernel_checks.h"
#include "devices/cpu/exec/kernel_dispatch.h"
#include "devices/cpu/exec/parallel_chunks.h"
#include "devices/cpu/exec/parallel_range.h"
#include "types/fake_quantize.h"

namespace hai::cpu {
namespace {

HAI_KERNEL_FAMILY(hai_fake_quantize_f32, void, (const float*, const float*, float*, int64_t, const hai_fake_grid*));

constexpr int64_t kMostLimit = 32767;
constexpr int64_t kNoAxis = 64;  // where the attribute is absent; no tensor has as many
constexpr int64_t kWork = 5;     // element operations of an element

struct Layout {
  bool sliced = false;
  int64_t slices = 1;
  int64_t inner = 1;  // elements between neighbours along the axis
};

class FakeQuantize final : public CpuKernel {
 public:
  FakeQuantize(size_t x, Layout layout, int64_t limit, Isa isa)
      : x_(x), layout_(layout), limit_(limit), kernel_(hai_fake_quantize_f32_for(isa)) {}
  bool needs_constant(size_t) const override { return true; }
  void run(const RunContext& context) const override {
    const auto* x = data_of<float>(context.inputs[x_]);
    const auto* dy = x_ == 0 ? nullptr : data_of<float>(context.inputs[0]);
    auto* out = data_of<float>(context.outputs[0]);
    const auto* low = data_of<float>(context.inputs[x_ + 1]);
    const auto* high = data_of<float>(context.inputs[x_ + 2]);
    const int64_t count = context.outputs[0].count();
    const auto some = [&](int64_t begin, int64_t length, const hai_fake_grid& grid) {
      kernel_(x + begin, dy == nullptr ? nullptr : dy + begin, out + begin, length, &grid);
    };
    if (!layout_.sliced) {
      if (count == 0) return;
      const hai_fake_grid grid = hai_make_fake_grid(low[0], high[0], limit_);
      for_chunks(context.threads, count, kElementChunk,
                 [&](int64_t begin, int64_t end) { some(begin, end - begin, grid); });
      return;
    }
    const int64_t rows = layout_.inner == 0 ? 0 : count / layout_.inner;
    parallel_range(context.threads, rows, kWork * layout_.inner, [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) {
        const int64_t slice = row % layout_.slices;
        some(row * layout_.inner, layout_.inner, hai_make_fake_grid(low[slice], high[slice], limit_));
      }
    });
  }

 private:
  size_t x_;
  Layout layout_;
  int64_t limit_;
  hai_fake_quantize_f32_function kernel_;
};

Result<Layout> layout_of(const KernelContext& context, const Shape& x) {
  Layout layout;
  HAI_TRY(int64_t axis, context.int_attribute("axis", kNoAxis, -kNoAxis, kNoAxis));
  if (axis == kNoAxis) return layout;
  const auto rank = static_cast<int64_t>(x.size());
  axis += axis < 0 ? rank : 0;
  if (axis < 0 || axis >= rank) return context.refuse("x has no such axis");
  for (auto i = static_cast<size_t>(axis); i < x.size(); ++i) {
    if (x[i].is_symbolic()) return context.refuse("x must have fixed sizes from the axis on");
    if (i > static_cast<size_t>(axis)) layout.inner *= x[i].value;
  }
  layout.sliced = true;
  layout.slices = x[static_cast<size_t>(axis)].value;
  return layout;
}

template <size_t kX>
Result<std::unique_ptr<CpuKernel>> make(const KernelContext& context) {
  HAI_TRY_STATUS(require_counts(context, kX + 3, 1));
  for (size_t i = 0; i < kX + 3; ++i) HAI_TRY_STATUS(require_dtype(context, *context.inputs[i], {DataType::kF32}));
  HAI_TRY_STATUS(require_dtype(context, *context.outputs[0], {DataType::kF32}));
  const format::ProgramTensor& x = *context.inputs[kX];
  HAI_TRY_STATUS(require_same_shape(context, x, *context.outputs[0]));
  HAI_TRY_STATUS(require_same_shape(context, x, *context.inputs[0]));
  HAI_TRY(const Layout layout, layout_of(context, x.shape));
  const Shape ranges = layout.sliced ? Shape{Dim(layout.slices)} : Shape{};
  for (const size_t i : {kX + 1, kX + 2}) {
    if (context.inputs[i]->shape != ranges) return context.refuse("low and high must have one number a slice");
  }
  HAI_TRY(const int64_t limit, context.int_attribute("limit", 0, 0, kMostLimit));
  return std::unique_ptr<CpuKernel>(std::make_unique<FakeQuantize>(kX, layout, limit, context.isa));
}

}  // namespace

void register_fake_quantize_train_exec(ExecRegistry& registry);
void register_fake_quantize_train_exec(ExecRegistry& registry) {
  registry.add("fake_quantize", make<0>);
  registry.add("fake_quantize_gradient", make<1>);
}

}  // namespace hai::cpu
