// simota_assignment: which rows of a YOLOX head answer for which true boxes, and with what.
//
// The rules are those of published YOLOX training (types/simota_assignment.h). A row answers for one box at most, so
// outputs have a place for each row. No gradient flows through it; it reads predictions only to compare costs and for
// the overlap that class targets are scaled by. Floats are computed in f64.
#include "types/simota_assignment.h"
#include "ops/data_movement.h"
#include "ops/inference.h"
#include "ops/reference.h"

namespace hai::ops {
namespace {

constexpr int64_t kLabelFields = 5;
constexpr int64_t kMostLevels = 8;
constexpr int64_t kMostCells = 4096;  // along a side
constexpr int64_t kMostBoxes = 65536;

Result<CellGrid> grid_of(const ir::Node& node) {
  CellGrid grid{node.ints_attribute("heights"), node.ints_attribute("widths"), node.floats_attribute("strides")};
  const size_t levels = grid.heights.size();
  bool sound = levels >= 1 && levels <= static_cast<size_t>(kMostLevels) && grid.widths.size() == levels &&
               grid.strides.size() == levels;
  for (size_t i = 0; i < levels && sound; ++i) {
    sound = grid.heights[i] >= 1 && grid.heights[i] <= kMostCells && grid.widths[i] >= 1 &&
            grid.widths[i] <= kMostCells && grid.strides[i] > 1e-3 && grid.strides[i] < 1e6;
  }
  if (sound) return grid;
  return make_error(
      StatusCode::kInvalidArgument, "O565",
      "{} heights, {} widths, {} strides: one of each for every level, at most {}, sides of 1 to {} cells", levels,
      grid.widths.size(), grid.strides.size(), kMostLevels, kMostCells);
}

InferResult infer(const OpSchema& schema, const InferContext& context) {
  HAI_TRY_STATUS(require_dtype(schema, context, 0, kFloatTypes));
  HAI_TRY_STATUS(require_same_dtype(schema, context, 1, 0));
  HAI_TRY(const CellGrid grid, grid_of(context.node));
  const Shape& x = input_type(context, 0).shape;
  const Shape& labels = input_type(context, 1).shape;
  const bool fits = x.size() == 3 && labels.size() == 3 && x[0] == labels[0] && x[1] == Dim(grid.rows()) &&
                    !x[2].is_symbolic() && x[2].value > kLabelFields && !labels[1].is_symbolic() &&
                    labels[1].value >= 1 && labels[1].value <= kMostBoxes && labels[2] == Dim(kLabelFields);
  if (!fits) {
    return make_error(StatusCode::kInvalidArgument, "O566",
                      "predictions {} and labels {}: predictions are [N, {}, 5 + classes] for this grid, labels [N, "
                      "boxes, 5] with up to {} boxes",
                      to_string(x, context.symbols), to_string(labels, context.symbols), grid.rows(), kMostBoxes);
  }
  const DataType dtype = input_type(context, 0).dtype;
  return std::vector<ir::TensorType>{{dtype, {x[0], x[1]}, std::nullopt},
                                     {dtype, {x[0], x[1], 4}, std::nullopt},
                                     {dtype, {x[0], x[1], x[2].value - kLabelFields}, std::nullopt},
                                     {dtype, {}, std::nullopt}};
}

Status reference(const OpSchema&, const ReferenceContext& context) {
  HAI_TRY(const CellGrid grid, grid_of(context.node));
  const TensorView& x = context.inputs[0];
  const int64_t rows = grid.rows();
  const int64_t fields = x.dims[2];
  const int64_t boxes = context.inputs[1].dims[1];
  for (size_t i = 0; i < 3; ++i)
    store_all_f64(context.outputs[i], std::vector<double>(static_cast<size_t>(context.outputs[i].count()), 0.0));
  std::vector<SimotaRow> scratch(static_cast<size_t>(rows));
  int64_t answering = 0;
  for (int64_t sample = 0; sample < x.dims[0]; ++sample) {
    const auto logit = [&](int64_t row, int64_t field) { return load_f64(x, (sample * rows + row) * fields + field); };
    const auto label = [&](int64_t box, int64_t field) {
      return load_f64(context.inputs[1], (sample * boxes + box) * kLabelFields + field);
    };
    SimotaAssigner(grid, boxes, fields - kLabelFields, logit, label, scratch.data())
        .run([&](int64_t row, int64_t box, double overlap) {
          const int64_t at = sample * rows + row;
          store_f64(context.outputs[0], at, 1);
          for (int64_t k = 0; k < 4; ++k) store_f64(context.outputs[1], 4 * at + k, label(box, k + 1));
          const auto category = static_cast<int64_t>(label(box, 0));
          store_f64(context.outputs[2], at * (fields - kLabelFields) + category, overlap);
          ++answering;
        });
  }
  store_f64(context.outputs[3], 0, 1.0 / static_cast<double>(std::max<int64_t>(answering, 1)));
  return {};
}

Cost cost(const OpSchema&, const CostContext& context) { return {0, 10 * context.outputs[0].count()}; }

std::vector<Sample> samples(const OpSchema&) {
  std::vector<Sample> out;
  const auto add = [&](const char* name, DataType dtype, int64_t batch, std::vector<int64_t> heights,
                       std::vector<int64_t> widths, std::vector<double> strides, int64_t classes, int64_t boxes,
                       double reach) {
    int64_t rows = 0;
    for (size_t i = 0; i < heights.size(); ++i) rows += heights[i] * widths[i];
    SampleInput x = sample_input(dtype, {batch, rows, kLabelFields + classes});
    x.low = -1;
    x.high = 1;
    SampleInput labels = sample_input(dtype, {batch, boxes, kLabelFields});
    labels.low = -reach / 8;
    labels.high = reach;
    out.push_back(
        make_sample(name, {x, labels},
                    {{"heights", std::move(heights)}, {"widths", std::move(widths)}, {"strides", std::move(strides)}}));
  };
  // Labels are drawn as one range, classes among them, so there are more classes than the range is wide.
  add("three_levels", DataType::kF32, 2, {8, 4, 2}, {13, 7, 4}, {8, 16, 32}, 70, 19, 64);
  add("one_level", DataType::kF32, 3, {5}, {5}, {4}, 20, 13, 20);
  add("crowded", DataType::kF32, 1, {2}, {3}, {16}, 40, 127, 32);
  add("f64", DataType::kF64, 1, {3, 2}, {3, 2}, {8, 16}, 30, 7, 24);
  return out;
}

OpSchema make_schema() {
  OpSchema schema;
  schema.name = "simota_assignment";
  schema.doc =
      "Which rows of a YOLOX head answer for which true boxes, by SimOTA (Ge et al. 2021): cells within 1.5 strides of "
      "a "
      "box's centre compete, each box takes as many of the cheapest as the sum of its 10 best overlaps says. Cost: "
      "cross-entropy of sqrt(objectness class) - 3 log IoU. No gradient flows through it.";
  schema.inputs = {{"x",
                    "[N, rows, 5 + classes]: x, y, width, height as YOLOX has them (relative to the cell, sizes as "
                    "logarithms, in strides), then logits of objectness and classes; rows level by level, cell by "
                    "cell"},
                   {"labels", "[N, boxes, 5]: class, centre x, y, width, height in pixels; a negative class: none"}};
  schema.outputs = {{"objectness", "[N, rows]: 1 for rows that answer"},
                    {"box", "[N, rows, 4]: the true box in pixels"},
                    {"class", "[N, rows, classes]: the IoU at the class of the box"},
                    {"share", "1 / rows that answer in the whole batch"}};
  schema.attributes = {{"heights", AttributeKind::kInts, "of each level's grid", true},
                       {"widths", AttributeKind::kInts, "of each level's grid", true},
                       {"strides", AttributeKind::kFloats, "pixels a cell of each level", true}};
  schema.infer = infer;
  schema.reference = reference;
  schema.cost = cost;
  schema.samples = samples;
  schema.explained_holes = {{"onnx", "made by losses only"}, {"sd3403", "training runs on the CPU"}};
  return schema;
}

}  // namespace

std::span<const OpSchema> simota_assignment_schemas();
std::span<const OpSchema> simota_assignment_schemas() {
  static const std::vector<OpSchema> schemas = {make_schema()};
  return schemas;
}

}  // namespace hai::ops
