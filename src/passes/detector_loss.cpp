// The loss of YOLOv5, from core operators around two of its own: anchor_assignment, which says which rows answer for
// which boxes, and ciou.
//
// Method: the heads are found by walking back from the output to the sigmoids that it is decoded from; what they read
// are the logits, put level by level into one tensor of the output's rows. Anchors and strides are not asked for:
// logits of zero make a box of the anchor's size in the middle of its cell, so a run of the decoding through the
// references gives them, and shows that the output is what this loss is for. Rows that answer for a box are gathered
// into slots of fixed number.
#include "passes/detector_loss.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>
#include <set>

#include "ops/build.h"
#include "ops/gradient.h"
#include "ops/interpreter.h"
#include "ops/reference.h"

namespace hai::passes {
namespace {

using ir::Graph;
using ir::kNone;
using ir::ValueId;

constexpr int64_t kFields = 5;
using Axes = std::array<int64_t, 5>;  // where sample, anchor, row, column and field lie

struct Head {
  ValueId logits = kNone;  // rank 5
  Axes axes{};
  int64_t rows = 0;
  // Of its rows, read off the decoding: sides of 1 let passes write the same order of rows with other axes.
  int64_t anchors = 0;
  int64_t height = 0;
  int64_t width = 0;
};

// What a YOLOv5 output is made of.
struct Decoder {
  std::vector<Head> heads;  // in the order of rows
  std::vector<double> strides;
  std::vector<double> anchors;  // pixels
};

class DecoderFinder {
 public:
  DecoderFinder(const Graph& graph, ValueId output) : graph_(graph), output_(output) {}

  Result<Decoder> run() {
    const Shape& shape = graph_.value(output_).type.shape;
    if (shape.size() != 3 || shape[1].is_symbolic() || shape[2].is_symbolic() || shape[2].value <= kFields)
      return refuse("it must be [N, rows, 5 + classes]");
    HAI_TRY_STATUS(walk(output_, std::nullopt));
    if (decoder_.heads.empty()) return refuse("no sigmoid is found that it is decoded from");
    int64_t rows = 0;
    for (const Head& head : decoder_.heads) rows += head.rows;
    if (rows != shape[1].value) return refuse(fmt::format("its heads have {} rows", rows));
    HAI_TRY_STATUS(measure());
    for (const Head& head : decoder_.heads) {
      if (head.anchors != decoder_.heads[0].anchors) return refuse("its levels have not equally many anchors");
    }
    return std::move(decoder_);
  }

 private:
  Error refuse(std::string_view why) const {
    const ir::Value& value = graph_.value(output_);
    return make_error(StatusCode::kUnsupported, "P523", "\"{}\" {} is no output of YOLOv5: {}", value.name,
                      to_string(value.type.shape, graph_.symbols), why);
  }

  // Back from `value` to sigmoids, operands in order, which is that of rows. `axes` once the value has rank 5.
  Status walk(ValueId value, std::optional<Axes> axes) {
    const ir::NodeId producer = graph_.value(value).producer;
    if (producer == kNone || !visited_.insert(value).second) return {};
    const ir::Node& node = graph_.node(producer);
    if (node.op == "sigmoid" && axes) return add_head(node.inputs[0], *axes);
    if (node.op == "conv2d" || node.op == "matmul") return refuse("a product is reached before a sigmoid of rank 5");
    if (node.op == "transpose" && axes) {
      const std::vector<int64_t> permutation = node.ints_attribute("permutation");
      for (int64_t& axis : *axes) axis = permutation[static_cast<size_t>(axis)];
    }
    for (const ValueId input : node.inputs) {
      if (input == kNone) continue;
      std::optional<Axes> before;
      if (graph_.value(input).type.shape.size() == 5) before = axes ? *axes : Axes{0, 1, 2, 3, 4};
      HAI_TRY_STATUS(walk(input, before));
    }
    return {};
  }

  Status add_head(ValueId logits, const Axes& axes) {
    const Shape& shape = graph_.value(logits).type.shape;
    const auto size = [&](size_t which) { return shape[static_cast<size_t>(axes[which])]; };
    for (size_t i = 1; i < 5; ++i) {
      if (size(i).is_symbolic()) return refuse("the size of its grids is free; bind it with --dim");
    }
    if (size(4) != graph_.value(output_).type.shape[2])
      return refuse("a sigmoid that it is made from has other fields");
    decoder_.heads.push_back({logits, axes, size(1).value * size(2).value * size(3).value});
    return {};
  }

  // Runs the decoding on logits of zero.
  Status measure() {
    Graph part = graph_;
    for (const Head& head : decoder_.heads) {
      const ValueId input = part.add_input("logits", graph_.value(head.logits).type);
      part.replace_uses(head.logits, input);
    }
    for (size_t i = 0; i < part.outputs().size(); ++i) part.set_output(i, output_);
    part.erase_dead();
    const std::vector<int64_t> ones(graph_.symbols.size(), 1);
    std::vector<ops::Tensor> inputs;
    for (const ValueId input : part.inputs()) {
      const ir::TensorType& type = part.value(input).type;
      inputs.push_back(ops::Tensor::zeros(type.dtype, resolve(type.shape, ones)));
    }
    ops::InterpretOptions options;
    options.symbol_values = ones;
    HAI_TRY(const ops::InterpretResult result, ops::interpret(part, inputs, options));
    return read(ops::load_all_f64(result.outputs[0].view()));
  }

  Status read(const std::vector<double>& boxes) {
    const auto fields = static_cast<size_t>(graph_.value(output_).type.shape[2].value);
    size_t row = 0;
    const auto at = [&](size_t of_row, size_t field) { return boxes[of_row * fields + field]; };
    for (Head& head : decoder_.heads) {
      const double stride = 2 * at(row, 0);
      const auto differ = [&](int64_t of, size_t field) {
        return of < head.rows &&
               at(row + static_cast<size_t>(of), field) > at(row + static_cast<size_t>(of) - 1, field);
      };
      head.width = head.height = 1;
      while (differ(head.width, 0)) ++head.width;
      while (differ(head.height * head.width, 1)) ++head.height;
      head.anchors = head.rows / (head.height * head.width);
      if (head.anchors * head.height * head.width != head.rows)
        return refuse(fmt::format("{} rows of a head are no grid of {}x{}", head.rows, head.width, head.height));
      decoder_.strides.push_back(stride);
      for (int64_t anchor = 0; anchor < head.anchors; ++anchor) {
        decoder_.anchors.push_back(at(row, 2));
        decoder_.anchors.push_back(at(row, 3));
        for (int64_t cell = 0; cell < head.height * head.width; ++cell, ++row) {
          const double x = (static_cast<double>(cell % head.width) + 0.5) * stride;
          const double y = (static_cast<double>(cell / head.width) + 0.5) * stride;
          const double expected[] = {x, y, decoder_.anchors.end()[-2], decoder_.anchors.end()[-1], 0.5};
          for (size_t field = 0; field < 5; ++field) {
            if (std::fabs(at(row, field) - expected[field]) <= 1e-3 * std::fabs(expected[field])) continue;
            return refuse(fmt::format("logits of zero make field {} of row {} {}, expected is {}", field, row,
                                      at(row, field), expected[field]));
          }
        }
      }
    }
    return {};
  }

  const Graph& graph_;
  ValueId output_;
  Decoder decoder_;
  std::set<ValueId> visited_;
};

class Yolov5Loss {
 public:
  Yolov5Loss(Graph& graph, const DetectorLossOptions& options, Decoder decoder, ValueId labels)
      : graph_(graph),
        options_(options),
        decoder_(std::move(decoder)),
        labels_(labels),
        classes_(
            graph.value(decoder_.heads[0].logits).type.shape[static_cast<size_t>(decoder_.heads[0].axes[4])].value -
            kFields) {}

  Result<ValueId> run() {
    HAI_TRY_STATUS(join_heads());
    HAI_TRY_STATUS(assign());
    HAI_TRY(ValueId loss, objectness_loss());
    HAI_TRY_STATUS(gather());
    HAI_TRY(const ValueId boxes, box_loss());
    HAI_TRY(loss, append("add", {loss, boxes}));
    if (classes_ == 1) return loss;
    HAI_TRY(const ValueId classes, class_loss());
    return append("add", {loss, classes});
  }

 private:
  struct Targets {
    ValueId index, weight, box, category, objectness, alpha;
  };

  Result<ir::NodeId> append_node(std::string_view op, std::vector<ValueId> inputs, ir::Attributes attributes,
                                 size_t outputs) {
    ops::AppendOptions options;
    options.node_name = "loss";
    options.output_count = outputs;
    return ops::append(graph_, op, std::move(inputs), std::move(attributes), std::move(options));
  }
  Result<ValueId> append(std::string_view op, std::vector<ValueId> inputs, ir::Attributes attributes = {}) {
    HAI_TRY(const ir::NodeId node, append_node(op, std::move(inputs), std::move(attributes), 1));
    return graph_.node(node).outputs[0];
  }
  ValueId number(double value) {
    return ops::add_number(graph_, {graph_.value(logits_).type.dtype, {}, std::nullopt}, value);
  }
  ValueId constant(const Shape& shape, const std::vector<double>& values) {
    ops::Tensor tensor = ops::Tensor::zeros(graph_.value(logits_).type.dtype, resolve(shape, {}));
    ops::store_all_f64(tensor.mutable_view(), values);
    const TensorView view = tensor.view();
    const std::span<const std::byte> bytes(view.data, static_cast<size_t>(view.size_bytes()));
    return graph_.add_constant("loss/constant", {tensor.dtype, shape, std::nullopt}, ir::ConstantData::copy_of(bytes));
  }
  Result<ValueId> sum_along(ValueId a, std::vector<int64_t> axes) {
    return append("reduce_sum", {a}, {{"axes", std::move(axes)}, {"keep_dims", int64_t{0}}});
  }
  Result<ValueId> reshape(ValueId a, std::vector<int64_t> shape) {
    return append("reshape", {a}, {{"shape", std::move(shape)}});
  }
  double levels() const { return static_cast<double>(decoder_.heads.size()); }

  // Logits as [N, rows, fields] in the order of the output's rows.
  Status join_heads() {
    std::vector<ValueId> parts;
    for (const Head& head : decoder_.heads) {
      ValueId part = head.logits;
      const std::vector<int64_t> axes(head.axes.begin(), head.axes.end());
      if (!std::is_sorted(axes.begin(), axes.end())) {
        HAI_TRY(part, append("transpose", {part}, {{"permutation", axes}}));
      }
      HAI_TRY(part, reshape(part, {0, head.rows, classes_ + kFields}));
      parts.push_back(part);
    }
    logits_ = parts[0];
    if (parts.size() > 1) {
      HAI_TRY(logits_, append("concat", parts, {{"axis", int64_t{1}}}));
    }
    return {};
  }

  Status assign() {
    std::vector<int64_t> heights;
    std::vector<int64_t> widths;
    for (const Head& head : decoder_.heads) {
      heights.push_back(head.height);
      widths.push_back(head.width);
    }
    HAI_TRY(const ir::NodeId node, append_node("anchor_assignment", {logits_, labels_},
                                               {{"heights", heights},
                                                {"widths", widths},
                                                {"strides", decoder_.strides},
                                                {"anchors", decoder_.anchors},
                                                {"threshold", options_.anchor_threshold}},
                                               6));
    const std::vector<ValueId>& out = graph_.node(node).outputs;
    targets_ = {out[0], out[1], out[2], out[3], out[4], out[5]};
    return {};
  }

  // softplus(x) - x t.
  Result<ValueId> cross_entropy(ValueId x, ValueId t) {
    HAI_TRY(const ValueId softplus, append("softplus", {x}));
    HAI_TRY(const ValueId product, append("mul", {x, t}));
    return append("sub", {softplus, product});
  }

  // A mean over the rows of each level, weighted; a mean over samples.
  Result<ValueId> objectness_loss() {
    double largest = 0;
    std::vector<double> shares;
    for (size_t level = 0; level < decoder_.heads.size(); ++level) {
      const Head& head = decoder_.heads[level];
      largest = std::max(largest, decoder_.strides[level] * static_cast<double>(std::max(head.height, head.width)));
      // Published weights of 3 levels, and of 5 for others.
      constexpr std::array<double, 3> kThree = {4.0, 1.0, 0.4};
      constexpr std::array<double, 5> kMore = {4.0, 1.0, 0.25, 0.06, 0.02};
      const double weight = decoder_.heads.size() == 3 ? kThree[level] : kMore[std::min<size_t>(level, 4)];
      shares.insert(shares.end(), static_cast<size_t>(head.rows), weight / static_cast<double>(head.rows));
    }
    const double gain = options_.objectness_gain * 3 / levels() * (largest / 640) * (largest / 640);
    for (double& share : shares) share *= gain;
    HAI_TRY(const ValueId field, append("slice", {logits_},
                                        {{"starts", std::vector<int64_t>{4}},
                                         {"ends", std::vector<int64_t>{5}},
                                         {"axes", std::vector<int64_t>{2}},
                                         {"steps", std::vector<int64_t>{1}}}));
    const auto rows = static_cast<int64_t>(shares.size());
    HAI_TRY(const ValueId x, reshape(field, {0, rows}));
    HAI_TRY(const ValueId entropy, cross_entropy(x, targets_.objectness));
    HAI_TRY(const ValueId weighted, append("mul", {entropy, constant({1, rows}, shares)}));
    HAI_TRY(const ValueId sums, sum_along(weighted, {1}));
    return append("reduce_mean", {sums}, {{"axes", std::vector<int64_t>{0}}, {"keep_dims", int64_t{0}}});
  }

  // The logits of each slot's row.
  Status gather() {
    const int64_t fields = classes_ + kFields;
    HAI_TRY(const ValueId flat, reshape(logits_, {-1, fields}));
    HAI_TRY(const ValueId taken, append("gather", {flat, targets_.index}, {{"axis", int64_t{0}}}));
    const int64_t slots = graph_.value(targets_.weight).type.shape[1].value;
    HAI_TRY(const ValueId by_sample, reshape(taken, {-1, slots, fields}));
    HAI_TRY(const ir::NodeId split,
            append_node("split", {by_sample},
                        {{"axis", int64_t{2}}, {"sizes", std::vector<int64_t>{2, 2, 1, classes_}}}, 4));
    center_ = graph_.node(split).outputs[0];
    size_ = graph_.node(split).outputs[1];
    class_logits_ = graph_.node(split).outputs[3];
    return {};
  }

  // Sizes of the anchors of all slots, in cells.
  ValueId slot_anchors() {
    const int64_t slots = graph_.value(targets_.weight).type.shape[1].value;
    const int64_t anchors = decoder_.heads[0].anchors;
    const int64_t boxes = graph_.value(labels_).type.shape[1].value;
    const int64_t of_level = slots / static_cast<int64_t>(decoder_.heads.size());
    std::vector<double> values;
    for (int64_t slot = 0; slot < slots; ++slot) {
      const int64_t level = slot / of_level;
      const auto at = static_cast<size_t>(2 * (level * anchors + slot / boxes % anchors));
      const double stride = decoder_.strides[static_cast<size_t>(level)];
      values.push_back(decoder_.anchors[at] / stride);
      values.push_back(decoder_.anchors[at + 1] / stride);
    }
    return constant({1, slots, 2}, values);
  }

  Result<ValueId> box_loss() {
    HAI_TRY(const ValueId shares, append("sigmoid", {center_}));
    HAI_TRY(const ValueId twice, append("mul", {shares, number(2)}));
    HAI_TRY(const ValueId center, append("sub", {twice, number(0.5)}));
    HAI_TRY(const ValueId sides, append("sigmoid", {size_}));
    HAI_TRY(const ValueId doubled, append("mul", {sides, number(2)}));
    HAI_TRY(const ValueId square, append("square", {doubled}));
    HAI_TRY(const ValueId size, append("mul", {square, slot_anchors()}));
    HAI_TRY(const ValueId said, append("concat", {center, size}, {{"axis", int64_t{2}}}));
    HAI_TRY(const ValueId overlap, append("ciou", {said, targets_.box, targets_.alpha}));
    HAI_TRY(const ValueId miss, append("sub", {number(1), overlap}));
    HAI_TRY(const ValueId weighted, append("mul", {miss, targets_.weight}));
    HAI_TRY(const ValueId sum, sum_along(weighted, {0, 1}));
    return append("mul", {sum, number(options_.box_gain * 3 / levels())});
  }

  Result<ValueId> class_loss() {
    HAI_TRY(const ValueId entropy, cross_entropy(class_logits_, targets_.category));
    HAI_TRY(const ValueId of_slot, sum_along(entropy, {2}));
    HAI_TRY(const ValueId weighted, append("mul", {of_slot, targets_.weight}));
    HAI_TRY(const ValueId sum, sum_along(weighted, {0, 1}));
    const auto classes = static_cast<double>(classes_);
    return append("mul", {sum, number(options_.class_gain * 3 / levels() * classes / 80 / classes)});
  }

  Graph& graph_;
  const DetectorLossOptions& options_;
  Decoder decoder_;
  ValueId labels_;
  int64_t classes_;
  ValueId logits_ = kNone;
  Targets targets_{};
  ValueId center_ = kNone;
  ValueId size_ = kNone;
  ValueId class_logits_ = kNone;
};

}  // namespace

Status check_detector_options(const DetectorLossOptions& options) {
  const auto gain = [](double value) { return value >= 0 && value <= 1e6; };
  if (gain(options.box_gain) && gain(options.objectness_gain) && gain(options.class_gain) &&
      options.anchor_threshold > 1 && options.anchor_threshold <= 1e5 && options.max_boxes >= 1 &&
      options.max_boxes <= 4096 && options.max_boxes == std::floor(options.max_boxes))
    return {};
  return make_error(StatusCode::kOutOfRange, "P524",
                    "box_gain {}, objectness_gain {}, class_gain {}, anchor_threshold {}, max_boxes {}: gains are 0 to "
                    "1e6, the threshold above 1, boxes a whole number of 1 to 4096",
                    options.box_gain, options.objectness_gain, options.class_gain, options.anchor_threshold,
                    options.max_boxes);
}

ir::TensorType detector_labels_type(const Graph& graph, const DetectorLossOptions& options, ValueId prediction) {
  const ir::TensorType& type = graph.value(prediction).type;
  const Dim samples = type.shape.empty() ? Dim(1) : type.shape[0];
  return {type.dtype, {samples, Dim(static_cast<int64_t>(options.max_boxes)), Dim(kFields)}, std::nullopt};
}

Status check_labels(const Graph& graph, const DetectorLossOptions& options, ValueId prediction, ValueId labels) {
  const ir::TensorType wanted = detector_labels_type(graph, options, prediction);
  if (!is_float(wanted.dtype) || graph.value(labels).type != wanted) {
    return make_error(StatusCode::kInvalidArgument, "P525", "labels {} {} for a detector: they must be {} {}",
                      data_type_name(graph.value(labels).type.dtype),
                      to_string(graph.value(labels).type.shape, graph.symbols), data_type_name(wanted.dtype),
                      to_string(wanted.shape, graph.symbols));
  }
  return {};
}

Result<ValueId> append_yolov5_loss(Graph& graph, const DetectorLossOptions& options, ValueId prediction,
                                   ValueId labels) {
  HAI_TRY_STATUS(check_detector_options(options));
  HAI_TRY_STATUS(check_labels(graph, options, prediction, labels));
  HAI_TRY(Decoder decoder, DecoderFinder(graph, prediction).run());
  return Yolov5Loss(graph, options, std::move(decoder), labels).run();
}

}  // namespace hai::passes
