// Losses from core operators, so that their gradients need no rules of their own. Those with a softmax or a sigmoid
// take logits and use the forms that neither overflow nor lose digits: log-sum-exp about the largest logit,
// softplus(x) - x t for binary cross-entropy.
#include "passes/training_loss.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <optional>

#include "ops/build.h"
#include "ops/gradient.h"

namespace hai::passes {
namespace {

using ir::Graph;
using ir::ValueId;

// Nodes over one prediction and target.
class LossBuilder {
 public:
  LossBuilder(Graph& graph, const LossOptions& options, ValueId x, ValueId t)
      : graph_(graph), options_(options), x_(x), t_(t) {}

  Result<ValueId> run() {
    if (options_.kind == "cross_entropy") return cross_entropy();
    if (options_.kind == "dice") return dice();
    if (options_.kind == "dice_cross_entropy") return dice_cross_entropy();
    HAI_TRY(const ValueId each, elements());
    return mean(each);
  }

 private:
  Result<ValueId> append(std::string_view op, std::vector<ValueId> inputs, ir::Attributes attributes = {}) {
    ops::AppendOptions options;
    options.node_name = "loss";
    return ops::append_value(graph_, op, std::move(inputs), std::move(attributes), std::move(options));
  }
  ValueId number(double value) {
    return ops::add_number(graph_, {graph_.value(x_).type.dtype, {}, std::nullopt}, value);
  }
  Result<ValueId> scale(ValueId a, double factor) {
    return factor == 1.0 ? Result<ValueId>(a) : append("mul", {a, number(factor)});
  }
  Result<ValueId> sum_along(ValueId a, std::vector<int64_t> axes, bool keep) {
    return append("reduce_sum", {a}, {{"axes", std::move(axes)}, {"keep_dims", int64_t{keep}}});
  }
  Result<ValueId> mean(ValueId a) {
    const size_t rank = graph_.value(a).type.shape.size();
    if (rank == 0) return a;
    std::vector<int64_t> axes;
    for (size_t i = 0; i < rank; ++i) axes.push_back(static_cast<int64_t>(i));
    return append("reduce_mean", {a}, {{"axes", std::move(axes)}, {"keep_dims", int64_t{0}}});
  }

  // -log softmax along an axis.
  Result<ValueId> surprise(ValueId x, int64_t axis = -1) {
    HAI_TRY(const ValueId largest,
            append("reduce_max", {x}, {{"axes", std::vector<int64_t>{axis}}, {"keep_dims", int64_t{1}}}));
    HAI_TRY(const ValueId centred, append("sub", {x, largest}));
    HAI_TRY(const ValueId powers, append("exp", {centred}));
    HAI_TRY(const ValueId sum, sum_along(powers, {axis}, true));
    HAI_TRY(const ValueId log_sum, append("log", {sum}));
    return append("sub", {log_sum, centred});
  }

  // Columns of the target from where the last ones ended.
  Result<ValueId> columns(int64_t count) {
    const int64_t from = column_;
    column_ += count;
    return append("slice", {t_},
                  {{"starts", std::vector<int64_t>{from}},
                   {"ends", std::vector<int64_t>{column_}},
                   {"axes", std::vector<int64_t>{-1}}});
  }

  // x where the indicator is 1, far below everything where it is 0.
  Result<ValueId> without(ValueId x, ValueId indicator) {
    HAI_TRY(const ValueId left_out, append("sub", {indicator, number(1)}));
    HAI_TRY(const ValueId penalty, scale(left_out, kFarBelow));
    return append("add", {x, penalty});
  }

  Result<ValueId> cross_entropy() {
    const int64_t classes = graph_.value(x_).type.shape.back().value;
    ValueId shares = t_;
    ValueId x = x_;
    if (graph_.value(t_).type.shape.back().value != classes) {
      HAI_TRY(shares, columns(classes));
    }
    if (options_.class_mask) {
      HAI_TRY(const ValueId mask, columns(classes));
      HAI_TRY(x, without(x_, mask));
    }
    HAI_TRY(const ValueId surprises, surprise(x));
    if (options_.label_smoothing > 0) {
      HAI_TRY(const ValueId kept, scale(shares, 1 - options_.label_smoothing));
      HAI_TRY(shares, append("add", {kept, number(options_.label_smoothing / static_cast<double>(classes))}));
    }
    HAI_TRY(const ValueId product, append("mul", {shares, surprises}));
    ValueId distilled = ir::kNone;
    if (options_.distill != "none") {
      HAI_TRY(distilled, distillation(classes));
    }
    HAI_TRY(ValueId rows, sum_along(product, {-1}, options_.sample_weights));
    if (options_.sample_weights) {
      HAI_TRY(const ValueId weight, columns(1));
      HAI_TRY(rows, append("mul", {rows, weight}));
    }
    HAI_TRY(const ValueId loss, mean(rows));
    return distilled == ir::kNone ? Result<ValueId>(loss) : append("add", {loss, distilled});
  }

  // mse: the mean square of the differences. kd: -T^2 sum softmax(old / T) log softmax(x / T).
  Result<ValueId> distillation(int64_t classes) {
    HAI_TRY(const ValueId old, columns(classes));
    HAI_TRY(const ValueId weight, columns(1));
    HAI_TRY(const ValueId shifted, append("add", {old, number(1e8)}));
    HAI_TRY(const ValueId known, append("clip", {shifted}, {{"min", 0.0}, {"max", 1.0}}));
    ValueId rows = ir::kNone;
    if (options_.distill == "mse") {
      HAI_TRY(const ValueId difference, append("sub", {x_, old}));
      HAI_TRY(const ValueId compared, append("mul", {difference, known}));
      HAI_TRY(const ValueId square, append("square", {compared}));
      HAI_TRY(rows, append("reduce_mean", {square}, {{"axes", std::vector<int64_t>{-1}}, {"keep_dims", int64_t{1}}}));
    } else {
      const double t = options_.temperature;
      HAI_TRY(const ValueId soft_old, scale(old, 1 / t));
      HAI_TRY(const ValueId shares, append("softmax", {soft_old}, {{"axis", int64_t{-1}}}));
      HAI_TRY(const ValueId soft, scale(x_, 1 / t));
      HAI_TRY(const ValueId compared, without(soft, known));
      HAI_TRY(const ValueId surprises, surprise(compared));
      HAI_TRY(const ValueId product, append("mul", {shares, surprises}));
      HAI_TRY(const ValueId sum, sum_along(product, {-1}, true));
      HAI_TRY(rows, scale(sum, t * t));
    }
    HAI_TRY(const ValueId weighted, append("mul", {rows, weight}));
    return mean(weighted);
  }

  // p = sigmoid(x); softplus(x) - x t = -(t log p + (1 - t) log (1 - p)).
  Result<ValueId> binary_cross_entropy() {
    HAI_TRY(const ValueId softplus, append("softplus", {x_}));
    HAI_TRY(const ValueId product, append("mul", {x_, t_}));
    return append("sub", {softplus, product});
  }

  // 1 - p of the truth = p + t - 2 p t.
  Result<ValueId> focal() {
    HAI_TRY(const ValueId entropy, binary_cross_entropy());
    HAI_TRY(const ValueId p, append("sigmoid", {x_}));
    HAI_TRY(const ValueId product, append("mul", {p, t_}));
    HAI_TRY(const ValueId sum, append("add", {p, t_}));
    HAI_TRY(const ValueId twice, scale(product, 2));
    HAI_TRY(const ValueId miss, append("sub", {sum, twice}));
    ValueId weight = miss;
    if (options_.gamma == 2) {
      HAI_TRY(weight, append("square", {miss}));
    } else if (options_.gamma != 1) {
      HAI_TRY(weight, append("pow", {miss, number(options_.gamma)}));
    }
    HAI_TRY(ValueId loss, append("mul", {weight, entropy}));
    if (options_.alpha < 0) return loss;
    HAI_TRY(const ValueId share, scale(t_, 2 * options_.alpha - 1));  // alpha t + (1 - alpha)(1 - t)
    HAI_TRY(const ValueId balance, append("add", {share, number(1 - options_.alpha)}));
    return append("mul", {loss, balance});
  }

  // With q = min(|d|, delta): q^2 / 2 + delta (|d| - q).
  Result<ValueId> huber() {
    HAI_TRY(const ValueId difference, append("sub", {x_, t_}));
    HAI_TRY(const ValueId distance, append("abs", {difference}));
    HAI_TRY(const ValueId near, append("min", {distance, number(options_.delta)}));
    HAI_TRY(const ValueId square, append("square", {near}));
    HAI_TRY(const ValueId half, scale(square, 0.5));
    HAI_TRY(const ValueId far, append("sub", {distance, near}));
    HAI_TRY(const ValueId line, scale(far, options_.delta));
    return append("add", {half, line});
  }

  Result<ValueId> elements() {
    if (options_.kind == "bce") return binary_cross_entropy();
    if (options_.kind == "focal") return focal();
    if (options_.kind == "huber") return huber();
    HAI_TRY(const ValueId difference, append("sub", {x_, t_}));
    return append("square", {difference});
  }

  Result<ValueId> dice() {
    HAI_TRY(const ValueId p, append("sigmoid", {x_}));
    return dice_of(p, std::nullopt);
  }

  Result<ValueId> dice_cross_entropy() {
    const ir::TensorType& type = graph_.value(x_).type;
    const size_t axis = *class_axis_of(options_, type);
    if (type.shape[axis] == Dim(1)) {
      HAI_TRY(const ValueId entropy, binary_cross_entropy());
      HAI_TRY(const ValueId pixels, mean(entropy));
      HAI_TRY(const ValueId overlap, dice());
      return append("add", {pixels, overlap});
    }
    HAI_TRY(const ValueId surprises, surprise(x_, static_cast<int64_t>(axis)));
    HAI_TRY(const ValueId product, append("mul", {t_, surprises}));
    HAI_TRY(const ValueId rows, sum_along(product, {static_cast<int64_t>(axis)}, false));
    HAI_TRY(const ValueId pixels, mean(rows));
    HAI_TRY(const ValueId negative, append("neg", {surprises}));
    HAI_TRY(const ValueId p, append("exp", {negative}));
    HAI_TRY(const ValueId overlap, dice_of(p, axis));
    return append("add", {pixels, overlap});
  }

  // Of each sample, and of each class along an axis. A smoothing of 1 in both sums: an empty mask that is found empty
  // costs nothing.
  Result<ValueId> dice_of(ValueId p, std::optional<size_t> kept_axis) {
    std::vector<int64_t> axes;
    for (size_t i = 1; i < graph_.value(x_).type.shape.size(); ++i) {
      if (i != kept_axis) axes.push_back(static_cast<int64_t>(i));
    }
    HAI_TRY(const ValueId product, append("mul", {p, t_}));
    HAI_TRY(const ValueId both, append("add", {p, t_}));
    HAI_TRY(const ValueId overlap, sum_along(product, axes, false));
    HAI_TRY(const ValueId total, sum_along(both, axes, false));
    HAI_TRY(const ValueId twice, scale(overlap, 2));
    HAI_TRY(const ValueId numerator, append("add", {twice, number(1)}));
    HAI_TRY(const ValueId denominator, append("add", {total, number(1)}));
    HAI_TRY(const ValueId score, append("div", {numerator, denominator}));
    HAI_TRY(const ValueId loss, append("sub", {number(1), score}));
    return mean(loss);
  }

  Graph& graph_;
  const LossOptions& options_;
  static constexpr double kFarBelow = 1e9;
  ValueId x_;
  ValueId t_;
  int64_t column_ = 0;  // of the target, that is read next
};

Status check_options(const LossOptions& options) {
  const std::vector<std::string_view>& names = loss_names();
  if (std::find(names.begin(), names.end(), options.kind) == names.end()) {
    return make_error(StatusCode::kNotFound, "P520", "there is no loss \"{}\"; losses are {}", options.kind,
                      fmt::join(names, ", "));
  }
  const auto refuse = [](std::string_view name, double number, std::string_view range) {
    return make_error(StatusCode::kOutOfRange, "P521", "{} is {}: it must be {}", name, number, range);
  };
  if (!(options.label_smoothing >= 0 && options.label_smoothing < 1))
    return refuse("label_smoothing", options.label_smoothing, "at least 0 and below 1");
  if (!(options.delta > 0) || !std::isfinite(options.delta)) return refuse("delta", options.delta, "above 0");
  if (!(options.gamma >= 1 && options.gamma <= 16)) return refuse("gamma", options.gamma, "from 1 to 16");
  if (!(options.alpha <= 1)) return refuse("alpha", options.alpha, "at most 1");
  if (!(options.temperature > 0 && options.temperature <= 1000))
    return refuse("temperature", options.temperature, "above 0 and at most 1000");
  const bool distill = options.distill != "none";
  if (distill && options.distill != "mse" && options.distill != "kd") {
    return make_error(StatusCode::kNotFound, "P527", "there is no distill=\"{}\"; give none, mse or kd",
                      options.distill);
  }
  if ((distill || options.class_mask || options.sample_weights) && options.kind != "cross_entropy") {
    return make_error(StatusCode::kInvalidArgument, "P526",
                      "distill, class_mask and sample_weights belong to loss=cross_entropy, not to {}", options.kind);
  }
  if (options.class_mask && options.label_smoothing > 0) {
    return make_error(StatusCode::kInvalidArgument, "P528",
                      "label_smoothing gives classes a share that class_mask leaves out: take one of the two");
  }
  return {};
}

}  // namespace

const std::vector<std::string_view>& loss_names() {
  static const std::vector<std::string_view> kNames = {"cross_entropy",      "bce",    "focal", "mse", "huber", "dice",
                                                       "dice_cross_entropy", "yolov5", "yolox"};
  return kNames;
}

std::optional<size_t> class_axis_of(const LossOptions& options, const ir::TensorType& prediction) {
  const auto rank = static_cast<int64_t>(prediction.shape.size());
  const int64_t axis = options.class_axis < 0 ? options.class_axis + rank : options.class_axis;
  if (axis < 1 || axis >= rank || prediction.shape[static_cast<size_t>(axis)].is_symbolic()) return std::nullopt;
  return static_cast<size_t>(axis);
}

ir::TensorType target_type(const Graph& graph, const LossOptions& options, ValueId prediction) {
  if (options.kind == "yolov5" || options.kind == "yolox")
    return detector_labels_type(graph, options.detector, prediction);
  ir::TensorType type = graph.value(prediction).type;
  if (type.shape.empty() || type.shape.back().is_symbolic()) return type;
  const int64_t classes = type.shape.back().value;
  int64_t width = classes;
  if (options.class_mask) width += classes;
  if (options.distill != "none") width += classes + 1;
  if (options.sample_weights) width += 1;
  type.shape.back() = Dim(width);
  return type;
}

std::string target_layout(const LossOptions& options, int64_t width) {
  const bool distill = options.distill != "none";
  const int64_t single = int64_t{distill} + int64_t{options.sample_weights};
  std::string text = fmt::format("classes={}", (width - single) / (1 + int64_t{options.class_mask} + int64_t{distill}));
  const size_t plain = text.size();
  if (options.class_mask) text += ",mask";
  if (options.distill != "none") text += ",old";
  if (options.sample_weights) text += ",weight";
  return text.size() == plain ? std::string() : text;
}

Result<ValueId> append_loss(Graph& graph, const LossOptions& options, ValueId prediction, ValueId target) {
  HAI_TRY_STATUS(check_options(options));
  if (options.kind == "yolov5") return append_yolov5_loss(graph, options.detector, prediction, target);
  if (options.kind == "yolox") return append_yolox_loss(graph, options.detector, prediction, target);
  const ir::TensorType& x = graph.value(prediction).type;
  const ir::TensorType& t = graph.value(target).type;
  const bool rows = options.kind == "cross_entropy";
  if (!is_float(x.dtype) || t != target_type(graph, options, prediction) ||
      x.shape.size() < (rows || options.kind == "dice" ? 2U : 1U) || (rows && x.shape.back().is_symbolic())) {
    return make_error(StatusCode::kInvalidArgument, "P522",
                      "loss {} of prediction {} {} and target {} {}: it takes two floats of one type and shape{}",
                      options.kind, data_type_name(x.dtype), to_string(x.shape, graph.symbols), data_type_name(t.dtype),
                      to_string(t.shape, graph.symbols), rows ? ", samples first and classes last" : ", samples first");
  }
  if (options.kind == "dice_cross_entropy" && (x.shape.size() < 3 || !class_axis_of(options, x))) {
    return make_error(StatusCode::kOutOfRange, "P552",
                      "loss dice_cross_entropy of prediction {} with class_axis={}: it takes a map of classes for each "
                      "sample, as [N, H, W, C] with class_axis=-1 or [N, C, H, W] with class_axis=1",
                      to_string(x.shape, graph.symbols), options.class_axis);
  }
  return LossBuilder(graph, options, prediction, target).run();
}

}  // namespace hai::passes
