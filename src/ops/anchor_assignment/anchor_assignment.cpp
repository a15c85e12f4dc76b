// anchor_assignment: which rows of a YOLOv5 head answer for which true boxes, and with what.
//
// The rules are those of published YOLOv5 training (types/anchor_assignment.h). Outputs have sizes that do not depend
// on the data: a slot for each level, place, anchor and true box, most of which are empty. No gradient flows through
// it; it reads predictions only to score them (objectness) and for CIoU's alpha. Floats are computed in f64.
#include <cmath>

#include "ops/data_movement.h"
#include "ops/inference.h"
#include "ops/reference.h"
#include "types/anchor_assignment.h"

namespace hai::ops {
namespace {

constexpr int64_t kMostLevels = 8;
constexpr int64_t kMostCells = 4096;  // along a side
constexpr int64_t kMostBoxes = 65536;

Result<AnchorGrid> grid_of(const ir::Node& node) {
  AnchorGrid grid;
  grid.heights = node.ints_attribute("heights");
  grid.widths = node.ints_attribute("widths");
  grid.strides = node.floats_attribute("strides");
  grid.anchors = node.floats_attribute("anchors");
  grid.threshold = node.float_attribute("threshold", 4);
  const size_t levels = grid.heights.size();
  bool sound = levels >= 1 && levels <= static_cast<size_t>(kMostLevels) && grid.widths.size() == levels &&
               grid.strides.size() == levels && !grid.anchors.empty() && grid.anchors.size() % (2 * levels) == 0 &&
               grid.anchors.size() <= 128 * levels && grid.threshold > 1 && grid.threshold < 1e6;
  const auto cells = [](int64_t count) { return count >= 1 && count <= kMostCells; };
  const auto pixels = [](double side) { return side > 1e-3 && side < 1e6; };
  for (size_t i = 0; i < levels && sound; ++i)
    sound = cells(grid.heights[i]) && cells(grid.widths[i]) && pixels(grid.strides[i]);
  for (const double side : grid.anchors) sound = sound && pixels(side);
  if (sound) return grid;
  return make_error(StatusCode::kInvalidArgument, "O562",
                    "{} heights, {} widths, {} strides, {} numbers of anchors, threshold {}: one height, width (1..{}) "
                    "and stride a level of at most {}, as many anchors of two sides for each, a threshold above 1",
                    levels, grid.widths.size(), grid.strides.size(), grid.anchors.size(), grid.threshold, kMostCells,
                    kMostLevels);
}

InferResult infer(const OpSchema& schema, const InferContext& context) {
  HAI_TRY_STATUS(require_dtype(schema, context, 0, kFloatTypes));
  HAI_TRY_STATUS(require_same_dtype(schema, context, 1, 0));
  HAI_TRY(const AnchorGrid grid, grid_of(context.node));
  const Shape& x = input_type(context, 0).shape;
  const Shape& labels = input_type(context, 1).shape;
  const bool fits = x.size() == 3 && labels.size() == 3 && x[0] == labels[0] && x[1] == Dim(grid.rows()) &&
                    !x[2].is_symbolic() && x[2].value > kLabelFields && !labels[1].is_symbolic() &&
                    labels[1].value >= 1 && labels[1].value <= kMostBoxes && labels[2] == Dim(kLabelFields);
  if (!fits) {
    return make_error(StatusCode::kInvalidArgument, "O563",
                      "predictions {} and labels {}: predictions are [N, {}, 5 + classes] for this grid, labels [N, "
                      "boxes, 5] with up to {} boxes",
                      to_string(x, context.symbols), to_string(labels, context.symbols), grid.rows(), kMostBoxes);
  }
  const DataType dtype = input_type(context, 0).dtype;
  const int64_t slots = grid.slots(labels[1].value);
  const auto count = element_count(std::vector<Dim>{x[0], slots, std::max<int64_t>(x[2].value - 5, 4)});
  if (!count) {
    return make_error(StatusCode::kOutOfRange, "O564", "{} slots for {} classes and {} samples are more than a tensor",
                      slots, x[2].value - 5, to_string(std::vector<Dim>{x[0]}, context.symbols));
  }
  const Dim all(x[0].value * slots, x[0].symbol);
  return std::vector<ir::TensorType>{
      {DataType::kI64, {all}, std::nullopt},   {dtype, {x[0], slots}, std::nullopt},
      {dtype, {x[0], slots, 4}, std::nullopt}, {dtype, {x[0], slots, x[2].value - 5}, std::nullopt},
      {dtype, {x[0], x[1]}, std::nullopt},     {dtype, {x[0], slots}, std::nullopt}};
}

// One sample's part of the outputs, and how many slots of each level are filled.
void assign_sample(const ReferenceContext& context, const AnchorGrid& grid, int64_t sample,
                   std::vector<double>& filled) {
  const TensorView& x = context.inputs[0];
  const int64_t rows = grid.rows();
  const int64_t fields = x.dims[2];
  const int64_t boxes = context.inputs[1].dims[1];
  const int64_t slots = grid.slots(boxes);
  const auto label = [&](int64_t box, int64_t field) {
    return load_f64(context.inputs[1], (sample * boxes + box) * kLabelFields + field);
  };
  for_each_assignment(grid, boxes, fields - 5, label, [&](const Assignment& one) {
    const int64_t slot = sample * slots + one.slot;
    const int64_t row = sample * rows + one.row;
    const auto logit = [&](int64_t field) { return load_f64(x, row * fields + field); };
    const CenterBox said = anchor_box(logit(0), logit(1), logit(2), logit(3), one);
    const BoxOverlap overlap = overlap_of(said, one.target);
    const double alpha = is_real_box(said) ? overlap.alpha() : 0;
    const double score = is_real_box(said) ? overlap.ciou(alpha) : 0;
    store_integer(context.outputs[0], slot, row);
    store_f64(context.outputs[1], slot, 1);
    store_f64(context.outputs[2], 4 * slot, one.target.x);
    store_f64(context.outputs[2], 4 * slot + 1, one.target.y);
    store_f64(context.outputs[2], 4 * slot + 2, one.target.width);
    store_f64(context.outputs[2], 4 * slot + 3, one.target.height);
    store_f64(context.outputs[3], slot * (fields - 5) + one.category, 1);
    store_f64(context.outputs[4], row, score > 0 ? score : 0);
    store_f64(context.outputs[5], slot, alpha);
    filled[static_cast<size_t>(one.slot / grid.slots_of_level(boxes))] += 1;
  });
}

Status reference(const OpSchema&, const ReferenceContext& context) {
  HAI_TRY(const AnchorGrid grid, grid_of(context.node));
  const int64_t samples = context.inputs[0].dims[0];
  const int64_t boxes = context.inputs[1].dims[1];
  const int64_t slots = grid.slots(boxes);
  for (int64_t i = 0; i < samples * slots; ++i) store_integer(context.outputs[0], i, i / slots * grid.rows());
  for (size_t i = 1; i < 6; ++i)
    store_all_f64(context.outputs[i], std::vector<double>(static_cast<size_t>(context.outputs[i].count()), 0.0));
  std::vector<double> filled(static_cast<size_t>(grid.levels()), 0.0);
  for (int64_t sample = 0; sample < samples; ++sample) assign_sample(context, grid, sample, filled);
  for (int64_t i = 0; i < samples * slots; ++i) {
    const double count = filled[static_cast<size_t>(i % slots / grid.slots_of_level(boxes))];
    if (load_f64(as_const(context.outputs[1]), i) > 0) store_f64(context.outputs[1], i, 1 / count);
  }
  return {};
}

Cost cost(const OpSchema&, const CostContext& context) { return {0, 10 * context.outputs[1].count()}; }

std::vector<Sample> samples(const OpSchema&) {
  std::vector<Sample> out;
  const auto add = [&](const char* name, DataType dtype, int64_t batch, std::vector<int64_t> heights,
                       std::vector<int64_t> widths, std::vector<double> strides, std::vector<double> anchors,
                       int64_t classes, int64_t boxes, double reach) {
    const int64_t per_level = static_cast<int64_t>(anchors.size() / (2 * heights.size()));
    int64_t rows = 0;
    for (size_t i = 0; i < heights.size(); ++i) rows += per_level * heights[i] * widths[i];
    SampleInput x = sample_input(dtype, {batch, rows, 5 + classes});
    x.low = -4;
    x.high = 4;
    SampleInput labels = sample_input(dtype, {batch, boxes, 5});
    labels.low = -reach / 8;
    labels.high = reach;
    out.push_back(make_sample(name, {x, labels},
                              {{"heights", std::move(heights)},
                               {"widths", std::move(widths)},
                               {"strides", std::move(strides)},
                               {"anchors", std::move(anchors)}}));
  };
  // Labels are drawn as one range, classes among them, so there are more classes than the range is wide.
  add("three_levels", DataType::kF32, 2, {8, 4, 2}, {13, 7, 4}, {8, 16, 32},
      {10, 13, 16, 30, 33, 23, 30, 61, 62, 45, 59, 119, 116, 90, 156, 198, 373, 326}, 70, 19, 64);
  add("one_level", DataType::kF32, 3, {5}, {5}, {4}, {5, 6, 11, 7}, 20, 13, 20);
  add("crowded", DataType::kF32, 1, {2}, {3}, {16}, {16, 16}, 40, 127, 32);
  add("f64", DataType::kF64, 1, {3, 2}, {3, 2}, {8, 16}, {9, 12, 20, 18}, 30, 7, 24);
  return out;
}

OpSchema make_schema() {
  OpSchema schema;
  schema.name = "anchor_assignment";
  schema.doc =
      "Which rows of a YOLOv5 head answer for which true boxes. A box belongs to the anchors whose sides differ from "
      "its own by less than `threshold` times, in the cell of its centre and in the neighbours across the nearer edges "
      "(within half a cell). Slots: level by level, place by place (centre, left, above, right, below), anchor by "
      "anchor, box by box; empty ones have weight 0. No gradient flows through it.";
  schema.inputs = {{"x",
                    "[N, rows, 5 + classes]: logits of x, y, width, height, objectness and classes; rows level by "
                    "level, anchor by anchor, cell by cell"},
                   {"labels", "[N, boxes, 5]: class, centre x, y, width, height in pixels; a negative class: none"}};
  schema.outputs = {{"index", "i64 [N slots]: the row of each slot, counted over all samples"},
                    {"weight", "[N, slots]: 1 / filled slots of the level in the whole batch, or 0"},
                    {"box", "[N, slots, 4]: the true box in cells, from the corner of the cell that answers"},
                    {"class", "[N, slots, classes]: 1 for the class of the box"},
                    {"objectness", "[N, rows]: max(CIoU, 0) of prediction and true box; of several boxes, the last's"},
                    {"alpha", "[N, slots]: v / (1 - IoU + v) of the same, for ciou"}};
  schema.attributes = {{"heights", AttributeKind::kInts, "of each level's grid", true},
                       {"widths", AttributeKind::kInts, "of each level's grid", true},
                       {"strides", AttributeKind::kFloats, "pixels a cell of each level", true},
                       {"anchors", AttributeKind::kFloats, "width and height in pixels, level by level", true},
                       {"threshold", AttributeKind::kFloat, "default 4"}};
  schema.infer = infer;
  schema.reference = reference;
  schema.cost = cost;
  schema.samples = samples;
  schema.explained_holes = {{"onnx", "made by losses only"}, {"sd3403", "training runs on the CPU"}};
  return schema;
}

}  // namespace

std::span<const OpSchema> anchor_assignment_schemas();
std::span<const OpSchema> anchor_assignment_schemas() {
  static const std::vector<OpSchema> schemas = {make_schema()};
  return schemas;
}

}  // namespace hai::ops
