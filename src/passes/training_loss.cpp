// Losses from core operators, so that their gradients need no rules of their own. Those with a softmax or a sigmoid
// take logits and use the forms that neither overflow nor lose digits: log-sum-exp about the largest logit,
// softplus(x) - x t for binary cross-entropy.
#include "passes/training_loss.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

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

  Result<ValueId> cross_entropy() {
    HAI_TRY(const ValueId largest,
            append("reduce_max", {x_}, {{"axes", std::vector<int64_t>{-1}}, {"keep_dims", int64_t{1}}}));
    HAI_TRY(const ValueId centred, append("sub", {x_, largest}));
    HAI_TRY(const ValueId powers, append("exp", {centred}));
    HAI_TRY(const ValueId sum, sum_along(powers, {-1}, true));
    HAI_TRY(const ValueId log_sum, append("log", {sum}));
    HAI_TRY(const ValueId surprise, append("sub", {log_sum, centred}));  // -log softmax
    ValueId target = t_;
    if (options_.label_smoothing > 0) {
      const auto classes = static_cast<double>(graph_.value(x_).type.shape.back().value);
      HAI_TRY(const ValueId kept, scale(t_, 1 - options_.label_smoothing));
      HAI_TRY(target, append("add", {kept, number(options_.label_smoothing / classes)}));
    }
    HAI_TRY(const ValueId product, append("mul", {target, surprise}));
    HAI_TRY(const ValueId rows, sum_along(product, {-1}, false));
    return mean(rows);
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

  // A smoothing of 1 in both sums: an empty mask that is found empty costs nothing.
  Result<ValueId> dice() {
    std::vector<int64_t> axes;
    for (size_t i = 1; i < graph_.value(x_).type.shape.size(); ++i) axes.push_back(static_cast<int64_t>(i));
    HAI_TRY(const ValueId p, append("sigmoid", {x_}));
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
  ValueId x_;
  ValueId t_;
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
  return {};
}

}  // namespace

const std::vector<std::string_view>& loss_names() {
  static const std::vector<std::string_view> kNames = {"cross_entropy", "bce",  "focal", "mse",
                                                       "huber",         "dice", "yolov5"};
  return kNames;
}

ir::TensorType target_type(const Graph& graph, const LossOptions& options, ValueId prediction) {
  return options.kind == "yolov5" ? detector_labels_type(graph, options.detector, prediction)
                                  : graph.value(prediction).type;
}

Result<ValueId> append_loss(Graph& graph, const LossOptions& options, ValueId prediction, ValueId target) {
  HAI_TRY_STATUS(check_options(options));
  if (options.kind == "yolov5") return append_yolov5_loss(graph, options.detector, prediction, target);
  const ir::TensorType& x = graph.value(prediction).type;
  const ir::TensorType& t = graph.value(target).type;
  const bool rows = options.kind == "cross_entropy";
  if (!is_float(x.dtype) || x != t || x.shape.size() < (rows || options.kind == "dice" ? 2U : 1U) ||
      (rows && x.shape.back().is_symbolic())) {
    return make_error(StatusCode::kInvalidArgument, "P522",
                      "loss {} of prediction {} {} and target {} {}: it takes two floats of one type and shape{}",
                      options.kind, data_type_name(x.dtype), to_string(x.shape, graph.symbols), data_type_name(t.dtype),
                      to_string(t.shape, graph.symbols), rows ? ", samples first and classes last" : ", samples first");
  }
  return LossBuilder(graph, options, prediction, target).run();
}

}  // namespace hai::passes
