// Scores of outputs.
//
// Class outputs may be logits or probabilities; rows that are non-negative and sum to one are probabilities, and their
// logarithms (of at least 1e-12) stand in for logits. KL is computed from log-soft-max in f64. For each row the nearest
// rivals of the float model's first class are kept with their margins: that is what a forecast of overturned answers
// needs, and it is a few numbers a picture.
#include "quantizer/output_scores.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "quantizer/graph_runner.h"

namespace hai::quantizer {
namespace {

bool are_probabilities(std::span<const float> row) {
  double sum = 0;
  for (const float value : row) {
    if (value < 0) return false;
    sum += static_cast<double>(value);
  }
  return std::abs(sum - 1.0) < 1e-3;
}

std::vector<double> logits_of(std::span<const float> row, bool probabilities) {
  std::vector<double> logits(row.size());
  for (size_t i = 0; i < row.size(); ++i) {
    const double value = static_cast<double>(row[i]);
    logits[i] = probabilities ? std::log(std::max(value, 1e-12)) : value;
  }
  return logits;
}

std::vector<double> log_softmax(const std::vector<double>& logits) {
  const double largest = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (const double value : logits) sum += std::exp(value - largest);
  std::vector<double> out(logits.size());
  for (size_t i = 0; i < out.size(); ++i) out[i] = logits[i] - largest - std::log(sum);
  return out;
}

ClassAnswer compare_rows(std::span<const float> reference, std::span<const float> actual) {
  const bool probabilities = are_probabilities(reference);
  const std::vector<double> p = log_softmax(logits_of(reference, probabilities));
  const std::vector<double> q = log_softmax(logits_of(actual, probabilities));
  ClassAnswer answer;
  for (size_t i = 0; i < p.size(); ++i) answer.kl += std::exp(p[i]) * (p[i] - q[i]);
  const size_t count = std::min(OutputScores::kRivals + 1, p.size());
  std::vector<size_t> order(p.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::partial_sort(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(count), order.end(),
                    [&](size_t a, size_t b) { return p[a] != p[b] ? p[a] > p[b] : a < b; });
  const size_t first = order[0];
  const auto answered = static_cast<size_t>(std::max_element(q.begin(), q.end()) - q.begin());
  answer.agrees = answered == first || q[first] == q[answered];
  answer.regret = answer.agrees ? 0 : std::exp(p[first]) - std::exp(p[answered]);
  for (size_t i = 1; i < count; ++i) {
    const size_t rival = order[i];
    answer.margins.push_back(p[first] - p[rival]);
    answer.regrets.push_back(std::exp(p[first]) - std::exp(p[rival]));
    answer.disturbances.push_back((q[first] - q[rival]) - (p[first] - p[rival]));
  }
  return answer;
}

int64_t classes_of(const Shape& shape) {
  int64_t classes = 1;
  for (size_t i = 1; i < shape.size(); ++i) classes = std::max(classes, shape[i].value);
  return classes;
}

}  // namespace

double OutputScore::mean_kl() const {
  double sum = 0;
  for (const ClassAnswer& answer : answers) sum += answer.kl;
  return answers.empty() ? 0 : sum / static_cast<double>(answers.size());
}

double OutputScore::agreement() const {
  const auto agreeing = std::count_if(answers.begin(), answers.end(), [](const ClassAnswer& a) { return a.agrees; });
  return answers.empty() ? 1 : static_cast<double>(agreeing) / static_cast<double>(answers.size());
}

bool holds_classes(const Shape& shape) {
  if (shape.size() < 2) return false;
  int long_axes = 0;
  for (size_t i = 1; i < shape.size(); ++i) {
    if (shape[i].is_symbolic()) return false;
    if (shape[i].value != 1) ++long_axes;
  }
  return long_axes == 1 && classes_of(shape) >= 2;
}

OutputScores::OutputScores(const ir::Graph& graph, std::span<const ir::ValueId> outputs) {
  for (const ir::ValueId id : outputs) {
    const ir::Value& value = graph.value(id);
    OutputScore score;
    score.name = value.name;
    score.classes = holds_classes(value.type.shape);
    outputs_.push_back(std::move(score));
  }
}

Status OutputScores::add(std::span<const api::Tensor> reference, std::span<const api::Tensor> actual, int64_t sample) {
  for (size_t i = 0; i < outputs_.size(); ++i) {
    OutputScore& score = outputs_[i];
    const auto expected = floats_of(reference[i]);
    const auto got = floats_of(actual[i]);
    if (expected.size() != got.size()) {
      return make_error(StatusCode::kInvalidArgument, "Q062",
                        "output \"{}\" has {} elements in the float model and {} in the quantized one: these are not "
                        "two forms of one model",
                        score.name, expected.size(), got.size());
    }
    if (!score.errors.add(expected, got)) {
      return make_error(StatusCode::kInvalidArgument, "Q061",
                        "output \"{}\" is NaN or infinite on sample {}; check that sample and the model's weights",
                        score.name, sample);
    }
    TensorErrors alone;
    if (alone.add(expected, got)) score.sample_errors.push_back(alone.relative_error());
    if (!score.classes) continue;
    const std::vector<int64_t>& dims = reference[i].dims();
    const size_t classes = dims[0] > 0 ? expected.size() / static_cast<size_t>(dims[0]) : 0;
    for (size_t row = 0; classes > 0 && row + classes <= expected.size(); row += classes) {
      score.answers.push_back(compare_rows(expected.subspan(row, classes), got.subspan(row, classes)));
      score.answers.back().sample = sample;
    }
  }
  return {};
}

}  // namespace hai::quantizer
