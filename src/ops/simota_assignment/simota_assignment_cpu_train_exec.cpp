// simota_assignment on the CPU, f32: sample by sample, in f64 as the reference.
//
// Samples are independent up to the number of rows that answer, which one thread counts afterwards, so results do not
// depend on threads. Each thread has notes on every row in the scratch memory.
#include <algorithm>
#include <cstring>

#include "devices/cpu/exec/kernel_checks.h"
#include "types/simota_assignment.h"

namespace hai::cpu {
namespace {

constexpr int64_t kLabelFields = 5;
constexpr int64_t kMostCells = 4096;
constexpr int64_t kMostBoxes = 65536;

class SimotaAssignment final : public CpuKernel {
 public:
  SimotaAssignment(CellGrid grid, int64_t fields, int64_t boxes)
      : grid_(std::move(grid)), fields_(fields), boxes_(boxes), rows_(grid_.rows()) {}
  bool needs_constant(size_t) const override { return true; }
  int64_t scratch_bytes(int64_t, int thread_count) const override {
    return int64_t{thread_count} * rows_ * static_cast<int64_t>(sizeof(SimotaRow));
  }

  void run(const RunContext& context) const override {
    const int64_t samples = context.inputs[0].dims[0];
    context.threads.parallel(samples, [&](int64_t sample, int thread) {
      assign_sample(context, sample, reinterpret_cast<SimotaRow*>(context.scratch) + thread * rows_);
    });
    const auto* objectness = data_of<float>(context.outputs[0]);
    const auto answering = std::count(objectness, objectness + samples * rows_, 1.0F);
    *data_of<float>(context.outputs[3]) =
        static_cast<float>(1.0 / static_cast<double>(std::max<int64_t>(answering, 1)));
  }

 private:
  void assign_sample(const RunContext& context, int64_t sample, SimotaRow* scratch) const {
    const int64_t classes = fields_ - kLabelFields;
    const auto* x = data_of<float>(context.inputs[0]) + sample * rows_ * fields_;
    const auto* labels = data_of<float>(context.inputs[1]) + sample * boxes_ * kLabelFields;
    auto* objectness = data_of<float>(context.outputs[0]) + sample * rows_;
    auto* boxes = data_of<float>(context.outputs[1]) + sample * rows_ * 4;
    auto* category = data_of<float>(context.outputs[2]) + sample * rows_ * classes;
    std::fill_n(objectness, rows_, 0.0F);
    std::fill_n(boxes, rows_ * 4, 0.0F);
    std::fill_n(category, rows_ * classes, 0.0F);
    const auto logit = [&](int64_t row, int64_t field) { return static_cast<double>(x[row * fields_ + field]); };
    const auto label = [&](int64_t box, int64_t field) {
      return static_cast<double>(labels[box * kLabelFields + field]);
    };
    SimotaAssigner(grid_, boxes_, classes, logit, label, scratch).run([&](int64_t row, int64_t box, double overlap) {
      objectness[row] = 1;
      std::copy_n(labels + box * kLabelFields + 1, 4, boxes + 4 * row);
      category[row * classes + static_cast<int64_t>(label(box, 0))] = static_cast<float>(overlap);
    });
  }

  CellGrid grid_;
  int64_t fields_;
  int64_t boxes_;
  int64_t rows_;
};

Result<std::unique_ptr<CpuKernel>> make(const KernelContext& context) {
  HAI_TRY_STATUS(require_counts(context, 2, 4));
  for (const format::ProgramTensor* tensor : context.inputs)
    HAI_TRY_STATUS(require_dtype(context, *tensor, {DataType::kF32}));
  for (const format::ProgramTensor* tensor : context.outputs)
    HAI_TRY_STATUS(require_dtype(context, *tensor, {DataType::kF32}));
  CellGrid grid;
  HAI_TRY(grid.heights, context.ints_attribute_or("heights", {}, 1, kMostCells));
  HAI_TRY(grid.widths, context.ints_attribute_or("widths", {}, 1, kMostCells));
  HAI_TRY(grid.strides, context.floats_attribute_or("strides", {}));
  const size_t levels = grid.heights.size();
  bool sound = levels >= 1 && levels <= 8 && grid.widths.size() == levels && grid.strides.size() == levels;
  for (const double stride : grid.strides) sound = sound && stride > 1e-3 && stride < 1e6;
  if (!sound) return context.refuse("its grid needs a height, a width and a stride for each level");
  const Shape& x = context.inputs[0]->shape;
  const Shape& labels = context.inputs[1]->shape;
  if (x.size() != 3 || labels.size() != 3 || x[0] != labels[0] || x[1] != Dim(grid.rows()) || x[2].is_symbolic() ||
      x[2].value <= kLabelFields || labels[1].is_symbolic() || labels[1].value < 1 || labels[1].value > kMostBoxes ||
      labels[2] != Dim(kLabelFields)) {
    return context.refuse("predictions must be [N, rows of the grid, 5 + classes] and labels [N, boxes, 5]");
  }
  const Shape expected[] = {{x[0], x[1]}, {x[0], x[1], 4}, {x[0], x[1], x[2].value - kLabelFields}, {}};
  for (size_t i = 0; i < 4; ++i) {
    if (context.outputs[i]->shape != expected[i]) return context.refuse("one of its results has another shape");
  }
  return std::unique_ptr<CpuKernel>(std::make_unique<SimotaAssignment>(std::move(grid), x[2].value, labels[1].value));
}

}  // namespace

void register_simota_assignment_train_exec(ExecRegistry& registry);
void register_simota_assignment_train_exec(ExecRegistry& registry) { registry.add("simota_assignment", make); }

}  // namespace hai::cpu
