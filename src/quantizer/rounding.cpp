// Weight rounding by reconstruction: the closed-form steps.
//
// Method: the squared error of a layer's outputs is a quadratic form of its weights' error in the Gram matrix of the
// layer's inputs (Nagel et al., "Up or Down? Adaptive Rounding", ICML 2020, eq. 13). The inputs are those behind the
// already quantized layers and the target the float layer's outputs, so each layer also makes up for what came before
// (the same paper, "asymmetric reconstruction"); means are taken out, since the bias answers for them. The Gram matrix
// is shrunk towards its diagonal (Schaefer and Strimmer, "A shrinkage approach to large-scale covariance matrix
// estimation", 2005, target D), pictures being the independent observations: few of them must not decide more than they
// know. Start: successive rounding with error feedback (Frantar et al., "GPTQ", 2022, in its nearest-plane form, which
// needs the Cholesky factor only). Then coordinate descent over single integers (Behdin et al., "QuantEase", 2023)
// alternates with the best scale for the integers at hand; each step lowers the error. AdaRound follows in
// adaround.cpp. Weights that are exactly zero (pruned) stay zero in every step; the others make up for them.
#include "quantizer/rounding.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "quantizer/adaround.h"

namespace hai::quantizer {
namespace {

constexpr int kScaleSteps = 40;
constexpr double kSmallestScale = 0.35;  // of the scale that clips nothing
constexpr int64_t kRowsATask = 8;
// How much of the error of the layers before a layer makes up for. All of it fits the calibration samples best; what
// chance made of them then spoils others.
constexpr float kMakeUp = 0.5F;
constexpr double kLeastDamping = 2e-3;
constexpr int kSweeps = 4;
constexpr int kRefits = 3;
constexpr float kStarts[] = {1.0F, 0.88F, 1.12F};

float to_level(float x, int64_t limit) {
  const auto bound = static_cast<float>(limit);
  return std::clamp(std::nearbyint(x), -bound, bound);
}

std::vector<float> take_means(Matrix& rows) {
  std::vector<double> sums(static_cast<size_t>(rows.cols()), 0.0);
  for (int64_t i = 0; i < rows.rows(); ++i) {
    const float* row = rows.row(i);
    for (size_t k = 0; k < sums.size(); ++k) sums[k] += static_cast<double>(row[k]);
  }
  std::vector<float> means;
  for (const double sum : sums) means.push_back(static_cast<float>(sum / static_cast<double>(rows.rows())));
  for (int64_t i = 0; i < rows.rows(); ++i) {
    float* row = rows.row(i);
    for (size_t k = 0; k < means.size(); ++k) row[k] -= means[k];
  }
  return means;
}

// Float rows that already show a part of the error of the layers before.
void mix_rows(const Matrix& quantized, Matrix& exact) {
  for (int64_t i = 0; i < exact.rows(); ++i) {
    for (int64_t k = 0; k < exact.cols(); ++k)
      exact.at(i, k) = kMakeUp * exact.at(i, k) + (1.0F - kMakeUp) * quantized.at(i, k);
  }
}

double mean_diagonal(const Matrix& gram) {
  double sum = 0;
  for (int64_t k = 0; k < gram.rows(); ++k) sum += static_cast<double>(gram.at(k, k));
  return sum / static_cast<double>(gram.rows());
}

void scale_by(Matrix& matrix, float factor) {
  for (int64_t i = 0; i < matrix.rows(); ++i) {
    for (float& value : matrix.values(i)) value *= factor;
  }
}

// (1 - share) * matrix + share * the diagonal of the Gram matrix, and a little more for channels that hardly vary.
void shrink(Matrix& matrix, double share, const std::vector<double>& diagonal, double mean) {
  scale_by(matrix, static_cast<float>(1.0 - share));
  for (int64_t k = 0; k < matrix.rows(); ++k)
    matrix.at(k, k) += static_cast<float>(share * diagonal[static_cast<size_t>(k)] + kLeastDamping * mean);
}

bool all_finite(const Matrix& matrix) {
  for (int64_t i = 0; i < matrix.rows(); ++i) {
    for (const float value : matrix.values(i)) {
      if (!std::isfinite(value)) return false;
    }
  }
  return true;
}

// The columns with the largest inputs first: their errors have the most columns left to make up for them.
std::vector<int64_t> column_order(const Matrix& gram) {
  std::vector<int64_t> order(static_cast<size_t>(gram.rows()));
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) { return gram.at(a, a) > gram.at(b, b); });
  return order;
}

// Channel by channel: what errs less.
void keep_better(const Rounded& candidate, const std::vector<double>& candidate_errors, Rounded& best,
                 std::vector<double>& errors) {
  for (int64_t r = 0; r < best.levels.rows(); ++r) {
    const auto c = static_cast<size_t>(r);
    if (candidate_errors[c] >= errors[c]) continue;
    std::copy_n(candidate.levels.row(r), best.levels.cols(), best.levels.row(r));
    best.scales[c] = candidate.scales[c];
    best.bias[c] = candidate.bias[c];
    errors[c] = candidate_errors[c];
  }
}

template <typename F>
void for_each_row(const Algebra& algebra, int64_t rows, F&& body) {
  algebra.threads().parallel((rows + kRowsATask - 1) / kRowsATask, [&](int64_t task, int) {
    body(task * kRowsATask, std::min(rows, (task + 1) * kRowsATask));
  });
}

}  // namespace

double shrinkage(const Matrix& rows, const Matrix& gram, int64_t pictures, const Algebra& algebra) {
  // With S_p the Gram matrix of picture p of P: the sum over p of |S_p - S|^2 is the sum of |S_p|^2 less P |S|^2, and
  // |S_p|^2 is the sum of squared products of the picture's rows. Of all of these only what lies beside the diagonal.
  if (pictures < 2) pictures = rows.rows();  // one sample: its rows are all there is
  if (pictures < 2) return 1.0;
  std::vector<double> squares(static_cast<size_t>(pictures), 0.0);
  algebra.threads().parallel(pictures, [&](int64_t p, int) {
    double sum = 0;
    int64_t count = 0;
    std::vector<double> diagonal(static_cast<size_t>(rows.cols()), 0.0);
    for (int64_t i = p; i < rows.rows(); i += pictures, ++count) {
      const float* row = rows.row(i);
      for (size_t k = 0; k < diagonal.size(); ++k)
        diagonal[k] += static_cast<double>(row[k]) * static_cast<double>(row[k]);
      for (int64_t j = p; j <= i; j += pictures) {
        const auto product = static_cast<double>(algebra.dot(row, rows.row(j), rows.cols()));
        sum += product * product * (i == j ? 1.0 : 2.0);
      }
    }
    for (const double d : diagonal) sum -= d * d;
    squares[static_cast<size_t>(p)] = sum / static_cast<double>(count * count);
  });
  double norm = 0;
  for (int64_t k = 0; k < gram.rows(); ++k) {
    const auto diagonal = static_cast<double>(gram.at(k, k));
    norm += static_cast<double>(algebra.dot(gram.row(k), gram.row(k), gram.cols())) - diagonal * diagonal;
  }
  if (norm <= 0) return 1.0;
  const auto count = static_cast<double>(pictures);
  const double spread =
      std::max(0.0, std::accumulate(squares.begin(), squares.end(), 0.0) / count - norm) / (count - 1.0);
  return std::clamp(spread / norm, 0.0, 1.0);
}

Result<Reduced> reduce(RoundingProblem& problem, const Algebra& algebra) {
  Reduced out;
  const int64_t depth = problem.weights.cols();
  const std::vector<float> float_means = take_means(problem.float_rows);
  out.quantized_means = take_means(problem.quantized_rows);
  for (int64_t r = 0; r < problem.weights.rows(); ++r) {
    out.bias.push_back(problem.bias[static_cast<size_t>(r)] +
                       algebra.dot(problem.weights.row(r), float_means.data(), depth));
  }
  mix_rows(problem.quantized_rows, problem.float_rows);
  const float weight = 1.0F / static_cast<float>(problem.quantized_rows.rows());
  out.gram = Matrix(depth, depth);
  Matrix cross(depth, depth);  // quantized^T float
  {
    const Matrix columns = transposed(problem.quantized_rows);
    algebra.multiply(columns, problem.quantized_rows, out.gram);
    algebra.multiply(columns, problem.float_rows, cross);
  }
  scale_by(out.gram, weight);
  scale_by(cross, weight);
  if (!all_finite(out.gram) || !all_finite(cross)) {
    return make_error(StatusCode::kInvalidArgument, "Q092",
                      "the inputs are NaN or infinite, or too large for f32 sums; check the samples and the weights");
  }
  const double mean = std::max(mean_diagonal(out.gram), 1e-12);
  out.damping = shrinkage(problem.quantized_rows, out.gram, problem.pictures, algebra);
  std::vector<double> diagonal;
  for (int64_t k = 0; k < depth; ++k) diagonal.push_back(static_cast<double>(out.gram.at(k, k)));
  shrink(out.gram, out.damping, diagonal, mean);
  shrink(cross, out.damping, diagonal, mean);  // where the inputs say nothing, the weights stay what they were
  // target = weights * cross^T * gram^-1
  Matrix upper = out.gram;
  if (!factor_upper(algebra, upper))
    return make_error(StatusCode::kInternal, "Q093", "the Gram matrix of {} inputs has no factor", depth);
  out.target = Matrix(problem.weights.rows(), depth);
  algebra.multiply(problem.weights, transposed(cross), out.target);
  solve_rows(algebra, upper, out.target);
  return out;
}

std::vector<double> channel_errors(const Reduced& reduced, const Matrix& levels, const std::vector<float>& scales,
                                   const Algebra& algebra) {
  Matrix delta(levels.rows(), levels.cols());
  for (int64_t r = 0; r < levels.rows(); ++r) {
    for (int64_t k = 0; k < levels.cols(); ++k)
      delta.at(r, k) = levels.at(r, k) * scales[static_cast<size_t>(r)] - reduced.target.at(r, k);
  }
  Matrix product(levels.rows(), levels.cols());
  algebra.multiply(delta, reduced.gram, product);
  std::vector<double> out;
  for (int64_t r = 0; r < levels.rows(); ++r)
    out.push_back(static_cast<double>(algebra.dot(delta.row(r), product.row(r), levels.cols())));
  return out;
}

std::vector<float> best_scales(const Reduced& reduced, const RoundingProblem& problem) {
  std::vector<float> out;
  const auto limit = static_cast<double>(problem.limit);
  for (int64_t r = 0; r < reduced.target.rows(); ++r) {
    const std::span<const float> weights = reduced.target.values(r);
    float largest = 0.0F;
    for (const float w : weights) largest = std::max(largest, std::abs(w));
    const float widest = largest / static_cast<float>(limit);
    float best = widest;
    double best_error = std::numeric_limits<double>::infinity();
    for (int step = 0; step < kScaleSteps; ++step) {
      const auto scale =
          static_cast<float>(static_cast<double>(widest) * (1.0 - step * (1.0 - kSmallestScale) / (kScaleSteps - 1)));
      if (scale <= 0.0F) break;
      double error = 0;
      for (size_t k = 0; k < weights.size(); ++k) {
        if (problem.pruned(r, static_cast<int64_t>(k))) continue;
        const float difference = to_level(weights[k] / scale, problem.limit) * scale - weights[k];
        error += static_cast<double>(difference * difference *
                                     reduced.gram.at(static_cast<int64_t>(k), static_cast<int64_t>(k)));
      }
      if (error < best_error) {
        best_error = error;
        best = scale;
      }
    }
    out.push_back(std::max(best, problem.least_scale[static_cast<size_t>(r)]));
  }
  return out;
}

Result<Matrix> round_successively(const Reduced& reduced, const RoundingProblem& problem,
                                  const std::vector<float>& scales, const Algebra& algebra) {
  const int64_t depth = reduced.gram.rows();
  const std::vector<int64_t> order = column_order(reduced.gram);
  Matrix upper(depth, depth);
  for (int64_t i = 0; i < depth; ++i) {
    for (int64_t j = 0; j < depth; ++j)
      upper.at(i, j) = reduced.gram.at(order[static_cast<size_t>(i)], order[static_cast<size_t>(j)]);
  }
  if (!factor_upper(algebra, upper))
    return make_error(StatusCode::kInternal, "Q093", "the Gram matrix of {} inputs has no factor", depth);
  Matrix levels(reduced.target.rows(), depth);
  for_each_row(algebra, levels.rows(), [&](int64_t begin, int64_t end) {
    // |delta V|^2 with V upper: component j holds the errors of columns 0 to j, so column j makes up for those before.
    Matrix passed(end - begin, depth);
    for (int64_t j = 0; j < depth; ++j) {
      const int64_t column = order[static_cast<size_t>(j)];
      for (int64_t r = begin; r < end; ++r) {
        const float scale = scales[static_cast<size_t>(r)];
        const float weight = reduced.target.at(r, column);
        float* errors = passed.row(r - begin);
        const float level =
            problem.pruned(r, column) ? 0.0F : to_level((weight - errors[j] / upper.at(j, j)) / scale, problem.limit);
        levels.at(r, column) = level;
        algebra.add_multiple(errors + j + 1, upper.row(j) + j + 1, level * scale - weight, depth - j - 1);
      }
    }
  });
  return levels;
}

void descend(const Reduced& reduced, const RoundingProblem& problem, int sweeps, Matrix& levels,
             std::vector<float>& scales, const Algebra& algebra) {
  const Matrix& gram = reduced.gram;
  const int64_t depth = gram.rows();
  for_each_row(algebra, levels.rows(), [&](int64_t begin, int64_t end) {
    // The gradient: (levels * scale - target) gram, kept up to date change by change.
    Matrix gradient(end - begin, depth);
    std::vector<float> delta(static_cast<size_t>(depth));
    for (int64_t r = begin; r < end; ++r) {
      for (int64_t k = 0; k < depth; ++k) {
        const float d = levels.at(r, k) * scales[static_cast<size_t>(r)] - reduced.target.at(r, k);
        algebra.add_multiple(gradient.row(r - begin), gram.row(k), d, depth);
      }
    }
    for (int sweep = 0; sweep < sweeps; ++sweep) {
      int64_t changes = 0;
      for (int64_t k = 0; k < depth; ++k) {
        for (int64_t r = begin; r < end; ++r) {
          if (problem.pruned(r, k)) continue;
          const float scale = scales[static_cast<size_t>(r)];
          float* g = gradient.row(r - begin);
          const float old = levels.at(r, k);
          const float level = to_level(old - g[k] / (gram.at(k, k) * scale), problem.limit);
          if (level == old) continue;
          levels.at(r, k) = level;
          algebra.add_multiple(g, gram.row(k), (level - old) * scale, depth);
          ++changes;
        }
      }
      if (changes == 0) break;
    }
    // The best scale: s = (q G w) / (q G q), with q G (s q - w) = the gradient's product.
    for (int64_t r = begin; r < end; ++r) {
      std::fill(delta.begin(), delta.end(), 0.0F);
      for (int64_t k = 0; k < depth; ++k) {
        if (levels.at(r, k) != 0.0F) algebra.add_multiple(delta.data(), gram.row(k), levels.at(r, k), depth);
      }
      const float square = algebra.dot(delta.data(), levels.row(r), depth);
      const float product = algebra.dot(delta.data(), reduced.target.row(r), depth);
      float& scale = scales[static_cast<size_t>(r)];
      if (square > 0.0F && product > 0.0F && std::isfinite(product / square))
        scale = std::max(product / square, problem.least_scale[static_cast<size_t>(r)]);
    }
  });
}

// From several scales, since integers and scale settle in a minimum near where they start; the best of each channel.
static Result<Rounded> solve(const Reduced& reduced, const RoundingProblem& problem, const Algebra& algebra) {
  Rounded best;
  std::vector<double> errors(reduced.bias.size(), std::numeric_limits<double>::infinity());
  best.levels = Matrix(problem.weights.rows(), problem.weights.cols());
  best.scales = problem.nearest_scale;
  best.bias = reduced.bias;
  const std::vector<float> start = best_scales(reduced, problem);
  for (const float factor : kStarts) {
    Rounded candidate;
    candidate.bias = reduced.bias;
    for (size_t r = 0; r < start.size(); ++r)
      candidate.scales.push_back(std::max(start[r] * factor, problem.least_scale[r]));
    HAI_TRY(candidate.levels, round_successively(reduced, problem, candidate.scales, algebra));
    for (int refit = 0; refit < kRefits; ++refit)
      descend(reduced, problem, kSweeps, candidate.levels, candidate.scales, algebra);
    keep_better(candidate, channel_errors(reduced, candidate.levels, candidate.scales, algebra), best, errors);
  }
  return best;
}

Result<Rounded> round_by_reconstruction(RoundingProblem& problem, const AdaRoundOptions& options,
                                        const Algebra& algebra) {
  if (problem.quantized_rows.rows() == 0)
    return make_error(StatusCode::kInvalidArgument, "Q091", "no inputs were seen; give calibration samples");
  HAI_TRY(const Reduced reduced, reduce(problem, algebra));
  const ClampedOutputs outputs(problem, reduced, algebra);
  Rounded out;
  out.signal = outputs.signal();

  out.scales = problem.nearest_scale;
  out.levels = Matrix(problem.weights.rows(), problem.weights.cols());
  for (int64_t r = 0; r < out.levels.rows(); ++r) {
    for (int64_t k = 0; k < out.levels.cols(); ++k)
      out.levels.at(r, k) = to_level(problem.weights.at(r, k) / out.scales[static_cast<size_t>(r)], problem.limit);
  }
  out.bias = reduced.bias;
  std::vector<double> errors = outputs.fit_bias(out.levels, out.scales, out.bias);
  out.error_nearest = std::accumulate(errors.begin(), errors.end(), 0.0);

  HAI_TRY(Rounded solved, solve(reduced, problem, algebra));
  keep_better(solved, outputs.fit_bias(solved.levels, solved.scales, solved.bias), out, errors);
  out.error_solved = std::accumulate(errors.begin(), errors.end(), 0.0);

  if (options.iterations > 0) {
    Rounded learned = out;
    learn_rounding(problem, reduced, outputs, options, algebra, learned);
    keep_better(learned, outputs.fit_bias(learned.levels, learned.scales, learned.bias), out, errors);
  }
  out.error = std::accumulate(errors.begin(), errors.end(), 0.0);
  for (int64_t r = 0; r < out.levels.rows(); ++r) {  // back to rows that are not centred
    const float mean = algebra.dot(out.levels.row(r), reduced.quantized_means.data(), out.levels.cols());
    out.bias[static_cast<size_t>(r)] -= mean * out.scales[static_cast<size_t>(r)];
  }
  return out;
}

}  // namespace hai::quantizer
