// Rounding of the weights of one matrix product so that its outputs, not its weights, change least.
#pragma once

#include <cstdint>
#include <limits>
#include <vector>

#include "base/result.h"
#include "quantizer/matrix.h"
#include "quantizer/options.h"

namespace hai::quantizer {

// outputs = clamp(rows * weights^T + bias): one group of a layer with the clamp that follows it.
struct RoundingProblem {
  Matrix float_rows;      // [N][K]: what the float layer reads
  Matrix quantized_rows;  // [N][K]: what the layer reads behind the quantized ones
  int64_t pictures = 1;   // rows i, i + pictures, i + 2 * pictures, ... come from one calibration sample
  Matrix weights;         // [R][K]
  std::vector<float> bias;
  float low = -std::numeric_limits<float>::infinity();
  float high = std::numeric_limits<float>::infinity();
  int64_t limit = 7;                 // the largest stored weight
  std::vector<float> nearest_scale;  // [R]: what rounding to nearest uses
  std::vector<float> least_scale;    // [R]: smaller scales are not usable

  // A weight that is exactly zero stays zero: it was pruned.
  bool pruned(int64_t r, int64_t k) const { return weights.at(r, k) == 0.0F; }
};

struct Rounded {
  Matrix levels;  // [R][K]: integers
  std::vector<float> scales;
  std::vector<float> bias;
  // Sum over channels of the mean square error of the clamped outputs, and of the outputs' own variance.
  double error_nearest = 0;  // rounding to nearest, with the bias that makes the mean error zero
  double error_solved = 0;   // after the closed-form steps
  double error = 0;          // at the end
  double signal = 0;
};

// Not thread-safe for one problem: its rows are centred in place.
Result<Rounded> round_by_reconstruction(RoundingProblem& problem, const AdaRoundOptions& options,
                                        const Algebra& algebra);

// --- the steps, for tests ------------------------------------------------------------------------------------------

// What the error is made of: rows minus their means, Gram matrix, and the weights that would be best without rounding.
struct Reduced {
  Matrix gram;              // [K][K], damped
  Matrix target;            // [R][K]
  std::vector<float> bias;  // [R]: of centred rows
  std::vector<float> quantized_means;
  double damping = 0;  // how far the Gram matrix went towards its diagonal, 0 to 1
};
Result<Reduced> reduce(RoundingProblem& problem, const Algebra& algebra);
// Shrinkage intensity of Schaefer and Strimmer (2005) with pictures as the independent observations, in [0, 1].
double shrinkage(const Matrix& rows, const Matrix& gram, int64_t pictures, const Algebra& algebra);
// Scales that err least, weighted by the diagonal of the Gram matrix.
std::vector<float> best_scales(const Reduced& reduced, const RoundingProblem& problem);
// Successive rounding (GPTQ): each column's error is passed on to those after it.
Result<Matrix> round_successively(const Reduced& reduced, const RoundingProblem& problem,
                                  const std::vector<float>& scales, const Algebra& algebra);
// Coordinate descent over single integers and scales, until nothing improves or `sweeps` are done.
void descend(const Reduced& reduced, const RoundingProblem& problem, int sweeps, Matrix& levels,
             std::vector<float>& scales, const Algebra& algebra);
// target - levels * scales, in the norm of the Gram matrix, by channel.
std::vector<double> channel_errors(const Reduced& reduced, const Matrix& levels, const std::vector<float>& scales,
                                   const Algebra& algebra);

}  // namespace hai::quantizer
