// anchor_assignment on the CPU, f32: sample by sample, in f64 as the reference.
//
// Samples are independent up to the counts of filled slots, which are taken afterwards by one thread, so results do not
// depend on threads. A label that is no box (a class out of range, numbers that are not finite) fills no slot.
#include <algorithm>
#include <cstring>

#include "devices/cpu/exec/kernel_checks.h"
#include "types/anchor_assignment.h"

namespace hai::cpu {
namespace {

constexpr int64_t kMostCells = 4096;
constexpr int64_t kMostBoxes = 65536;

template <typename T>
void clear(T* to, int64_t count) {
  if (count > 0) std::memset(to, 0, static_cast<size_t>(count) * sizeof(T));
}

class AnchorAssignment final : public CpuKernel {
 public:
  AnchorAssignment(AnchorGrid grid, int64_t fields, int64_t boxes)
      : grid_(std::move(grid)), fields_(fields), boxes_(boxes), rows_(grid_.rows()), slots_(grid_.slots(boxes)) {}
  bool needs_constant(size_t) const override { return true; }

  void run(const RunContext& context) const override {
    const int64_t samples = context.inputs[0].dims[0];
    context.threads.parallel(samples, [&](int64_t sample, int) { assign_sample(context, sample); });
    auto* weight = data_of<float>(context.outputs[1]);
    const int64_t of_level = grid_.slots_of_level(boxes_);
    for (int64_t level = 0; level < grid_.levels(); ++level) {
      int64_t filled = 0;
      const auto each = [&](const auto& use) {
        for (int64_t sample = 0; sample < samples; ++sample) {
          float* from = weight + sample * slots_ + level * of_level;
          for (int64_t i = 0; i < of_level; ++i) use(from[i]);
        }
      };
      each([&](float one) { filled += one > 0 ? 1 : 0; });
      const double share = filled > 0 ? 1.0 / static_cast<double>(filled) : 0.0;
      each([&](float& one) { one = one > 0 ? static_cast<float>(share) : 0.0F; });
    }
  }

 private:
  void assign_sample(const RunContext& context, int64_t sample) const {
    const auto* x = data_of<float>(context.inputs[0]);
    const auto* labels = data_of<float>(context.inputs[1]) + sample * boxes_ * kLabelFields;
    auto* index = data_of<int64_t>(context.outputs[0]) + sample * slots_;
    auto* weight = data_of<float>(context.outputs[1]) + sample * slots_;
    auto* box = data_of<float>(context.outputs[2]) + sample * slots_ * 4;
    auto* category = data_of<float>(context.outputs[3]) + sample * slots_ * (fields_ - 5);
    auto* objectness = data_of<float>(context.outputs[4]) + sample * rows_;
    auto* alpha = data_of<float>(context.outputs[5]) + sample * slots_;
    std::fill_n(index, slots_, sample * rows_);
    clear(weight, slots_);
    clear(box, slots_ * 4);
    clear(category, slots_ * (fields_ - 5));
    clear(objectness, rows_);
    clear(alpha, slots_);
    const auto label = [&](int64_t i, int64_t field) { return static_cast<double>(labels[i * kLabelFields + field]); };
    for_each_assignment(grid_, boxes_, fields_ - 5, label, [&](const Assignment& one) {
      const int64_t row = sample * rows_ + one.row;
      const float* logits = x + row * fields_;
      const CenterBox said = anchor_box(logits[0], logits[1], logits[2], logits[3], one);
      const bool real = is_real_box(said);
      const BoxOverlap overlap = overlap_of(said, one.target);
      const double trade = real ? overlap.alpha() : 0;
      const double score = real ? overlap.ciou(trade) : 0;
      float* to = box + 4 * one.slot;
      index[one.slot] = row;
      weight[one.slot] = 1;
      to[0] = static_cast<float>(one.target.x);
      to[1] = static_cast<float>(one.target.y);
      to[2] = static_cast<float>(one.target.width);
      to[3] = static_cast<float>(one.target.height);
      category[one.slot * (fields_ - 5) + one.category] = 1;
      objectness[one.row] = static_cast<float>(score > 0 ? score : 0);
      alpha[one.slot] = static_cast<float>(trade);
    });
  }

  AnchorGrid grid_;
  int64_t fields_;
  int64_t boxes_;
  int64_t rows_;
  int64_t slots_;
};

Result<AnchorGrid> grid_of(const KernelContext& context) {
  AnchorGrid grid;
  HAI_TRY(grid.heights, context.ints_attribute_or("heights", {}, 1, kMostCells));
  HAI_TRY(grid.widths, context.ints_attribute_or("widths", {}, 1, kMostCells));
  HAI_TRY(grid.strides, context.floats_attribute_or("strides", {}));
  HAI_TRY(grid.anchors, context.floats_attribute_or("anchors", {}));
  HAI_TRY(grid.threshold, context.float_attribute("threshold", 4));
  const size_t levels = grid.heights.size();
  bool sound = levels >= 1 && levels <= 8 && grid.widths.size() == levels && grid.strides.size() == levels &&
               !grid.anchors.empty() && grid.anchors.size() % (2 * levels) == 0 &&
               grid.anchors.size() <= 128 * levels && grid.threshold > 1 && grid.threshold < 1e6;
  for (const std::vector<double>* list : {&grid.strides, &grid.anchors}) {
    for (const double side : *list) sound = sound && side > 1e-3 && side < 1e6;
  }
  if (!sound) return context.refuse("its grid needs a height, a width, a stride and anchors for each level");
  return grid;
}

Result<std::unique_ptr<CpuKernel>> make(const KernelContext& context) {
  HAI_TRY_STATUS(require_counts(context, 2, 6));
  for (const format::ProgramTensor* tensor : context.inputs)
    HAI_TRY_STATUS(require_dtype(context, *tensor, {DataType::kF32}));
  HAI_TRY_STATUS(require_dtype(context, *context.outputs[0], {DataType::kI64}));
  for (size_t i = 1; i < 6; ++i) HAI_TRY_STATUS(require_dtype(context, *context.outputs[i], {DataType::kF32}));
  HAI_TRY(AnchorGrid grid, grid_of(context));
  const Shape& x = context.inputs[0]->shape;
  const Shape& labels = context.inputs[1]->shape;
  if (x.size() != 3 || labels.size() != 3 || x[0] != labels[0] || x[1] != Dim(grid.rows()) || x[2].is_symbolic() ||
      x[2].value <= kLabelFields || labels[1].is_symbolic() || labels[1].value < 1 || labels[1].value > kMostBoxes ||
      labels[2] != Dim(kLabelFields)) {
    return context.refuse("predictions must be [N, rows of the grid, 5 + classes] and labels [N, boxes, 5]");
  }
  const int64_t fields = x[2].value;
  const int64_t boxes = labels[1].value;
  const int64_t slots = grid.slots(boxes);
  if (!element_count(Shape{x[0], slots, fields})) return context.refuse("its results are more than a tensor");
  const Shape expected[] = {{Dim(x[0].value * slots, x[0].symbol)},
                            {x[0], slots},
                            {x[0], slots, 4},
                            {x[0], slots, fields - 5},
                            {x[0], Dim(grid.rows())},
                            {x[0], slots}};
  for (size_t i = 0; i < 6; ++i) {
    if (context.outputs[i]->shape != expected[i]) return context.refuse("one of its results has another shape");
  }
  return std::unique_ptr<CpuKernel>(std::make_unique<AnchorAssignment>(std::move(grid), fields, boxes));
}

}  // namespace

void register_anchor_assignment_train_exec(ExecRegistry& registry);
void register_anchor_assignment_train_exec(ExecRegistry& registry) { registry.add("anchor_assignment", make); }

}  // namespace hai::cpu
