// AdaRound: which of two neighbouring integers each weight becomes, learned by gradient descent.
#pragma once

#include <vector>

#include "quantizer/matrix.h"
#include "quantizer/rounding.h"

namespace hai::quantizer {

// The outputs of a problem behind its clamp: the float layer's as the target, and how far rounded weights are from it.
class ClampedOutputs {
 public:
  ClampedOutputs(const RoundingProblem& problem, const Reduced& reduced, const Algebra& algebra);

  const Matrix& target() const { return target_; }  // [N][R]
  double signal() const { return signal_; }         // sum over channels of the target's variance
  // Adjusts the bias of each channel until its mean error is zero; returns the mean square errors by channel.
  std::vector<double> fit_bias(const Matrix& levels, const std::vector<float>& scales, std::vector<float>& bias) const;

 private:
  const RoundingProblem& problem_;
  const Algebra& algebra_;
  Matrix target_;
  double signal_ = 0;
};

// Learns for each weight whether it takes the lower or the upper of the two integers around its best real value, from
// `rounded` on. Scales stay; the bias is learned along.
void learn_rounding(const RoundingProblem& problem, const Reduced& reduced, const ClampedOutputs& outputs,
                    const AdaRoundOptions& options, const Algebra& algebra, Rounded& rounded);

}  // namespace hai::quantizer
