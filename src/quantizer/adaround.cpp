// AdaRound (Nagel, Amjad, van Baalen, Louizos, Blankevoort: "Up or Down? Adaptive Rounding for Post-Training
// Quantization", ICML 2020), with an optimiser of its own.
//
// Method: each weight is (lower integer + h(V)) * scale with the rectified sigmoid h; Adam lowers the mean square error
// of the layer's outputs behind its clamp plus lambda * sum of 1 - |2 h - 1|^beta, whose beta falls from 20 to 2 along
// a cosine after a warm-up without it, so that every h ends at 0 or 1. The gradient of the error is two matrix products
// per step on a batch of rows (output positions of all pictures). Errors are measured in rounding steps: then lambda
// and the learning rate mean the same in every layer. It starts from the closed-form result, each h leaning towards the
// integer found there. Deterministic: batches go through the rows in order.
#include "quantizer/adaround.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace hai::quantizer {
namespace {

constexpr int kBiasSteps = 4;
constexpr double kWarmUp = 0.2;      // share of the steps without regularisation
constexpr float kLeastLive = 0.05F;  // share of a channel's outputs that the bias moves: smaller ones are not trusted
constexpr float kLeaning = 0.35F;    // where h starts, from the integer found before
constexpr float kFirstPower = 20.0F;
constexpr float kLastPower = 2.0F;
constexpr float kBiasRate = 0.05F;

// V with 1.2 sigmoid(V) - 0.1 = h
float variable_of(float h) {
  const float sigmoid = (h + 0.1F) / 1.2F;
  return std::log(sigmoid / (1.0F - sigmoid));
}

Matrix soft_weights(const Matrix& levels, const std::vector<float>& scales) {
  Matrix out(levels.rows(), levels.cols());
  for (int64_t r = 0; r < levels.rows(); ++r) {
    for (int64_t k = 0; k < levels.cols(); ++k) out.at(r, k) = levels.at(r, k) * scales[static_cast<size_t>(r)];
  }
  return out;
}

struct Learner {
  const RoundingProblem& problem;
  const Reduced& reduced;
  const Matrix& target;
  const AdaRoundOptions& options;
  const Algebra& algebra;
  Matrix base, variable, moment, square, weights;
  std::vector<float> unit;  // by channel: one over the error that one rounding step makes

  void start(const Rounded& rounded) {
    const int64_t rows = rounded.levels.rows();
    const int64_t depth = rounded.levels.cols();
    base = variable = moment = square = weights = Matrix(rows, depth);
    double diagonal = 0;
    for (int64_t k = 0; k < depth; ++k) diagonal += static_cast<double>(reduced.gram.at(k, k));
    const auto mean = static_cast<float>(std::max(diagonal / static_cast<double>(depth), 1e-20));
    for (int64_t r = 0; r < rows; ++r) {
      const float scale = rounded.scales[static_cast<size_t>(r)];
      unit.push_back(1.0F / (scale * mean));
      for (int64_t k = 0; k < depth; ++k) {
        const float level = rounded.levels.at(r, k);
        const float exact = reduced.target.at(r, k) / scale;
        const auto limit = static_cast<float>(problem.limit);
        const float lower = std::clamp(exact < level ? level - 1.0F : level, -limit, limit - 1.0F);
        base.at(r, k) = lower;
        const float h = level > lower ? 1.0F - kLeaning : kLeaning;
        variable.at(r, k) = variable_of(h);
        weights.at(r, k) = problem.pruned(r, k) ? 0.0F : (lower + h) * scale;
      }
    }
  }

  // Error of the batch's outputs times what the clamp lets through; moves the bias.
  void output_gradient(int64_t first, Matrix& outputs, std::vector<float>& bias) const {
    const float factor = 2.0F / static_cast<float>(outputs.rows());
    std::vector<float> sums(bias.size(), 0.0F);
    for (int64_t i = 0; i < outputs.rows(); ++i) {
      float* y = outputs.row(i);
      const float* wanted = target.row(first + i);
      for (size_t r = 0; r < bias.size(); ++r) {
        const float value = y[r] + bias[r];
        const float clamped = std::min(std::max(value, problem.low), problem.high);
        y[r] = value == clamped ? factor * (value - wanted[r]) : 0.0F;
        sums[r] += y[r];
      }
    }
    for (size_t r = 0; r < bias.size(); ++r) bias[r] -= kBiasRate * sums[r];
  }

  void step(int index, const Matrix& gradient, const std::vector<float>& scales) {
    const double progress = static_cast<double>(index) / options.iterations;
    const double after = std::max(0.0, (progress - kWarmUp) / (1.0 - kWarmUp));
    const double beta = static_cast<double>(kLastPower) + 0.5 * static_cast<double>(kFirstPower - kLastPower) *
                                                              (1.0 + std::cos(after * std::numbers::pi));
    const double first = 1.0 - std::pow(0.9, index + 1);
    const double second = std::sqrt(1.0 - std::pow(0.999, index + 1));
    algebra.threads().parallel(base.rows(), [&](int64_t r, int) {
      const auto c = static_cast<size_t>(r);
      hai_adaround_step s{};
      s.count = base.cols();
      s.gradient = gradient.row(r);
      s.base = base.row(r);
      s.variable = variable.row(r);
      s.moment = moment.row(r);
      s.square = square.row(r);
      s.weight = weights.row(r);
      s.scale = scales[c];
      s.gradient_scale = unit[c];
      s.regularization = progress < kWarmUp ? 0.0F : static_cast<float>(options.regularization);
      s.power = static_cast<float>(beta);
      s.rate = static_cast<float>(options.learning_rate * second / first);
      s.epsilon = static_cast<float>(1e-8 * second);
      algebra.adaround_step(s);
      for (int64_t k = 0; k < base.cols(); ++k) {
        if (problem.pruned(r, k)) weights.at(r, k) = 0.0F;
      }
    });
  }
};

}  // namespace

ClampedOutputs::ClampedOutputs(const RoundingProblem& problem, const Reduced& reduced, const Algebra& algebra)
    : problem_(problem), algebra_(algebra), target_(problem.float_rows.rows(), problem.weights.rows()) {
  algebra.multiply(problem.float_rows, transposed(problem.weights), target_);
  for (int64_t r = 0; r < target_.cols(); ++r) {
    double sum = 0;
    double squares = 0;
    for (int64_t i = 0; i < target_.rows(); ++i) {
      float& y = target_.at(i, r);
      y = std::min(std::max(y + reduced.bias[static_cast<size_t>(r)], problem.low), problem.high);
      sum += static_cast<double>(y);
      squares += static_cast<double>(y) * static_cast<double>(y);
    }
    const auto count = static_cast<double>(target_.rows());
    signal_ += squares / count - sum / count * sum / count;
  }
}

std::vector<double> ClampedOutputs::fit_bias(const Matrix& levels, const std::vector<float>& scales,
                                             std::vector<float>& bias) const {
  Matrix outputs(target_.rows(), target_.cols());
  algebra_.multiply(problem_.quantized_rows, transposed(soft_weights(levels, scales)), outputs);
  std::vector<double> errors(bias.size(), 0.0);
  const auto count = static_cast<double>(target_.rows());
  algebra_.threads().parallel(target_.cols(), [&](int64_t r, int) {
    const auto c = static_cast<size_t>(r);
    for (int step = 0; step <= kBiasSteps; ++step) {
      double sum = 0;
      double squares = 0;
      int64_t live = 0;
      for (int64_t i = 0; i < target_.rows(); ++i) {
        const float value = outputs.at(i, r) + bias[c];
        const float clamped = std::min(std::max(value, problem_.low), problem_.high);
        const auto error = static_cast<double>(clamped - target_.at(i, r));
        sum += error;
        squares += error * error;
        live += value == clamped ? 1 : 0;
      }
      errors[c] = squares / count;
      const double share = static_cast<double>(live) / count;
      if (step == kBiasSteps || share < static_cast<double>(kLeastLive)) break;
      bias[c] -= static_cast<float>(sum / count / share);
    }
  });
  return errors;
}

void learn_rounding(const RoundingProblem& problem, const Reduced& reduced, const ClampedOutputs& outputs,
                    const AdaRoundOptions& options, const Algebra& algebra, Rounded& rounded) {
  Learner learner{problem, reduced, outputs.target(), options, algebra, {}, {}, {}, {}, {}, {}};
  learner.start(rounded);
  const int64_t rows = problem.quantized_rows.rows();
  const int64_t batch = std::min<int64_t>(options.batch_rows, rows);
  Matrix y(batch, rounded.levels.rows());
  Matrix gradient(rounded.levels.rows(), rounded.levels.cols());
  int64_t first = 0;
  for (int i = 0; i < options.iterations; ++i) {
    algebra.multiply(problem.quantized_rows, transposed(learner.weights), y, {first, batch, 0});
    learner.output_gradient(first, y, rounded.bias);
    algebra.multiply(transposed(y), problem.quantized_rows, gradient, {0, y.cols(), first});
    learner.step(i, gradient, rounded.scales);
    first = first + 2 * batch <= rows ? first + batch : 0;
  }
  for (int64_t r = 0; r < rounded.levels.rows(); ++r) {
    for (int64_t k = 0; k < rounded.levels.cols(); ++k) {
      const float level = learner.base.at(r, k) + (learner.variable.at(r, k) >= 0.0F ? 1.0F : 0.0F);
      rounded.levels.at(r, k) = problem.pruned(r, k) ? 0.0F : level;
    }
  }
}

}  // namespace hai::quantizer
