// The loss of YOLOX, from core operators around one of its own: simota_assignment, which says which rows answer for
// which boxes.
//
// Method: the output's last steps (joining and moving axes) are made again without the sigmoids in front of them, which
// gives the logits in the order of the output's rows. A run of these steps through the references on zeros shows that
// boxes have no sigmoid and all else has. The grid follows from the size of the picture.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <map>

#include "ops/build.h"
#include "ops/gradient.h"
#include "ops/interpreter.h"
#include "ops/reference.h"
#include "passes/detector_loss.h"

namespace hai::passes {
namespace {

using ir::Graph;
using ir::kNone;
using ir::ValueId;

constexpr int64_t kFields = 5;
constexpr std::array<int64_t, 3> kStrides = {8, 16, 32};
constexpr double kBoxGain = 5;
constexpr double kLeastArea = 1e-16;

class YoloxLoss {
 public:
  YoloxLoss(Graph& graph, ValueId prediction, ValueId labels)
      : graph_(graph), prediction_(prediction), labels_(labels) {}

  Result<ValueId> run() {
    const Shape& shape = graph_.value(prediction_).type.shape;
    if (shape.size() != 3 || shape[1].is_symbolic() || shape[2].is_symbolic() || shape[2].value <= kFields)
      return refuse("it must be [N, rows, 5 + classes]");
    rows_ = shape[1].value;
    classes_ = shape[2].value - kFields;
    HAI_TRY_STATUS(find_grid());
    HAI_TRY(logits_, without_sigmoids(prediction_));
    HAI_TRY_STATUS(check_sigmoids());
    HAI_TRY_STATUS(assign());
    HAI_TRY_STATUS(split());
    HAI_TRY(const ValueId boxes, box_loss());
    HAI_TRY(const ValueId objectness, objectness_loss());
    HAI_TRY(const ValueId categories, class_loss());
    HAI_TRY(const ValueId some, append("add", {boxes, objectness}));
    HAI_TRY(const ValueId all, append("add", {some, categories}));
    return append("mul", {all, share_});
  }

 private:
  Error refuse(std::string_view why) const {
    const ir::Value& value = graph_.value(prediction_);
    return make_error(StatusCode::kUnsupported, "P529", "\"{}\" {} is no output of YOLOX: {}", value.name,
                      to_string(value.type.shape, graph_.symbols), why);
  }
  Result<ValueId> append(std::string_view op, std::vector<ValueId> inputs, ir::Attributes attributes = {}) {
    ops::AppendOptions options;
    options.node_name = "loss";
    return ops::append_value(graph_, op, std::move(inputs), std::move(attributes), std::move(options));
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
  Result<ValueId> sum(ValueId a) {
    std::vector<int64_t> axes;
    for (size_t i = 0; i < graph_.value(a).type.shape.size(); ++i) axes.push_back(static_cast<int64_t>(i));
    return append("reduce_sum", {a}, {{"axes", std::move(axes)}, {"keep_dims", int64_t{0}}});
  }

  // The picture is the input of rank 4 whose sides make as many rows.
  Status find_grid() {
    for (const ValueId input : graph_.inputs()) {
      const Shape& shape = graph_.value(input).type.shape;
      for (const size_t first : {2U, 1U}) {
        if (shape.size() != 4 || shape[first].is_symbolic() || shape[first + 1].is_symbolic()) continue;
        int64_t rows = 0;
        for (const int64_t stride : kStrides) rows += shape[first].value / stride * (shape[first + 1].value / stride);
        if (rows != rows_) continue;
        height_ = shape[first].value;
        width_ = shape[first + 1].value;
        return {};
      }
    }
    return refuse(fmt::format("no input is a picture that makes {} cells of strides 8, 16 and 32", rows_));
  }

  // `value` again, with what sigmoids read in place of what they answer.
  Result<ValueId> without_sigmoids(ValueId value) {
    if (const auto known = again_.find(value); known != again_.end()) return known->second;
    const ir::NodeId producer = graph_.value(value).producer;
    ValueId out = value;
    if (producer == kNone) {
      leaves_.push_back(value);
    } else {
      const ir::Node node = graph_.node(producer);
      if (node.op == "sigmoid") {
        out = node.inputs[0];
        leaves_.push_back(out);
      } else if (node.op == "concat" || node.op == "reshape" || node.op == "transpose") {
        std::vector<ValueId> inputs;
        for (const ValueId input : node.inputs) {
          HAI_TRY(const ValueId one, without_sigmoids(input));
          inputs.push_back(one);
        }
        HAI_TRY(out, append(node.op, std::move(inputs), node.attributes));
      } else {
        leaves_.push_back(value);
      }
    }
    again_[value] = out;
    return out;
  }

  // On zeros the output is zero for boxes and 1/2 for all else.
  Status check_sigmoids() const {
    Graph part = graph_;
    for (const ValueId leaf : leaves_) {
      if (!is_float(part.value(leaf).type.dtype)) continue;
      const ValueId input = part.add_input("leaf", part.value(leaf).type);
      part.replace_uses(leaf, input);
    }
    for (size_t i = 0; i < part.outputs().size(); ++i) part.set_output(i, prediction_);
    part.erase_dead();
    ops::InterpretOptions options;
    options.symbol_values.assign(graph_.symbols.size(), 1);
    std::vector<ops::Tensor> inputs;
    for (const ValueId input : part.inputs()) {
      const ir::TensorType& type = part.value(input).type;
      inputs.push_back(ops::Tensor::zeros(type.dtype, resolve(type.shape, options.symbol_values)));
    }
    HAI_TRY(const ops::InterpretResult result, ops::interpret(part, inputs, options));
    const std::vector<double> values = ops::load_all_f64(result.outputs[0].view());
    for (size_t i = 0; i < values.size(); ++i) {
      const auto field = static_cast<int64_t>(i) % (kFields + classes_);
      if (values[i] == (field < 4 ? 0.0 : 0.5)) continue;
      return refuse(
          fmt::format("logits of zero make field {} of row {} {}; boxes have no sigmoid, objectness and "
                      "classes have one",
                      field, static_cast<int64_t>(i) / (kFields + classes_), values[i]));
    }
    return {};
  }

  Status assign() {
    std::vector<int64_t> heights;
    std::vector<int64_t> widths;
    std::vector<double> strides;
    for (const int64_t stride : kStrides) {
      heights.push_back(height_ / stride);
      widths.push_back(width_ / stride);
      strides.push_back(static_cast<double>(stride));
    }
    ops::AppendOptions options;
    options.node_name = "loss";
    options.output_count = 4;
    HAI_TRY(const ir::NodeId node,
            ops::append(graph_, "simota_assignment", {logits_, labels_},
                        {{"heights", heights}, {"widths", widths}, {"strides", strides}}, std::move(options)));
    const std::vector<ValueId>& out = graph_.node(node).outputs;
    answers_ = out[0];
    box_ = out[1];
    class_ = out[2];
    share_ = out[3];
    return {};
  }

  Status split() {
    ops::AppendOptions options;
    options.node_name = "loss";
    options.output_count = 4;
    HAI_TRY(
        const ir::NodeId node,
        ops::append(graph_, "split", {logits_},
                    {{"axis", int64_t{2}}, {"sizes", std::vector<int64_t>{2, 2, 1, classes_}}}, std::move(options)));
    parts_ = graph_.node(node).outputs;
    return {};
  }

  // Both numbers of each row of [N, rows, 2] multiplied.
  Result<ValueId> area(ValueId sides) {
    ops::AppendOptions options;
    options.node_name = "loss";
    options.output_count = 2;
    HAI_TRY(const ir::NodeId node,
            ops::append(graph_, "split", {sides}, {{"axis", int64_t{2}}, {"sizes", std::vector<int64_t>{1, 1}}},
                        std::move(options)));
    const std::vector<ValueId> halves = graph_.node(node).outputs;
    HAI_TRY(const ValueId product, append("mul", {halves[0], halves[1]}));
    return append("reshape", {product}, {{"shape", std::vector<int64_t>{0, rows_}}});
  }

  Result<ValueId> box_loss() {
    std::vector<double> cells;
    std::vector<double> strides;
    for (const int64_t stride : kStrides) {
      for (int64_t cell = 0; cell < height_ / stride * (width_ / stride); ++cell) {
        cells.push_back(static_cast<double>(cell % (width_ / stride)));
        cells.push_back(static_cast<double>(cell / (width_ / stride)));
        strides.insert(strides.end(), 2, static_cast<double>(stride));
      }
    }
    const ValueId scale = constant({1, rows_, 2}, strides);
    HAI_TRY(const ValueId moved, append("add", {parts_[0], constant({1, rows_, 2}, cells)}));
    HAI_TRY(const ValueId center, append("mul", {moved, scale}));
    HAI_TRY(const ValueId powers, append("exp", {parts_[1]}));
    HAI_TRY(const ValueId size, append("mul", {powers, scale}));
    ops::AppendOptions options;
    options.node_name = "loss";
    options.output_count = 2;
    HAI_TRY(const ir::NodeId node,
            ops::append(graph_, "split", {box_}, {{"axis", int64_t{2}}, {"sizes", std::vector<int64_t>{2, 2}}},
                        std::move(options)));
    const std::vector<ValueId> truth = graph_.node(node).outputs;
    const auto edge = [&](const char* op, ValueId middle, ValueId sides) -> Result<ValueId> {
      HAI_TRY(const ValueId half, append("mul", {sides, number(0.5)}));
      return append(op, {middle, half});
    };
    HAI_TRY(const ValueId low, edge("sub", center, size));
    HAI_TRY(const ValueId high, edge("add", center, size));
    HAI_TRY(const ValueId true_low, edge("sub", truth[0], truth[1]));
    HAI_TRY(const ValueId true_high, edge("add", truth[0], truth[1]));
    HAI_TRY(const ValueId begin, append("max", {low, true_low}));
    HAI_TRY(const ValueId end, append("min", {high, true_high}));
    HAI_TRY(const ValueId length, append("sub", {end, begin}));
    HAI_TRY(const ValueId common, append("relu", {length}));
    HAI_TRY(const ValueId shared, area(common));
    HAI_TRY(const ValueId own, area(size));
    HAI_TRY(const ValueId theirs, area(truth[1]));
    HAI_TRY(const ValueId both, append("add", {own, theirs}));
    HAI_TRY(const ValueId all, append("sub", {both, shared}));
    HAI_TRY(const ValueId some, append("add", {all, number(kLeastArea)}));
    HAI_TRY(const ValueId overlap, append("div", {shared, some}));
    HAI_TRY(const ValueId square, append("square", {overlap}));
    HAI_TRY(const ValueId miss, append("sub", {number(1), square}));
    HAI_TRY(const ValueId weighted, append("mul", {miss, answers_}));
    HAI_TRY(const ValueId total, sum(weighted));
    return append("mul", {total, number(kBoxGain)});
  }

  // softplus(x) - x t.
  Result<ValueId> cross_entropy(ValueId x, ValueId t) {
    HAI_TRY(const ValueId softplus, append("softplus", {x}));
    HAI_TRY(const ValueId product, append("mul", {x, t}));
    return append("sub", {softplus, product});
  }

  Result<ValueId> objectness_loss() {
    HAI_TRY(const ValueId x, append("reshape", {parts_[2]}, {{"shape", std::vector<int64_t>{0, rows_}}}));
    HAI_TRY(const ValueId entropy, cross_entropy(x, answers_));
    return sum(entropy);
  }

  Result<ValueId> class_loss() {
    HAI_TRY(const ValueId entropy, cross_entropy(parts_[3], class_));
    HAI_TRY(const ValueId of_row,
            append("reduce_sum", {entropy}, {{"axes", std::vector<int64_t>{2}}, {"keep_dims", int64_t{0}}}));
    HAI_TRY(const ValueId weighted, append("mul", {of_row, answers_}));
    return sum(weighted);
  }

  Graph& graph_;
  ValueId prediction_;
  ValueId labels_;
  int64_t rows_ = 0;
  int64_t classes_ = 0;
  int64_t height_ = 0;
  int64_t width_ = 0;
  std::map<ValueId, ValueId> again_;
  std::vector<ValueId> leaves_;
  ValueId logits_ = kNone;
  ValueId answers_ = kNone;
  ValueId box_ = kNone;
  ValueId class_ = kNone;
  ValueId share_ = kNone;
  std::vector<ValueId> parts_;
};

}  // namespace

Result<ValueId> append_yolox_loss(Graph& graph, const DetectorLossOptions& options, ValueId prediction,
                                  ValueId labels) {
  HAI_TRY_STATUS(check_detector_options(options));
  HAI_TRY_STATUS(check_labels(graph, options, prediction, labels));
  return YoloxLoss(graph, prediction, labels).run();
}

}  // namespace hai::passes
