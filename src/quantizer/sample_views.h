// Views of a calibration sample: a colour picture mirrored and enlarged, so that few pictures say more.
#pragma once

#include <span>
#include <vector>

#include "ops/interpreter.h"

namespace hai::quantizer {

inline constexpr int kSampleViews = 6;

// kSampleViews for one f32 tensor [N, 3, height, width] or [N, height, width, 3] with sides of at least 16; 1 for
// everything else, of which it is not known what a harmless change is.
int view_count(std::span<const ops::Tensor> sample);

// View 0 is the sample itself, 1 mirrored, the others corners of seven eighths of the sides, bilinear, every second one
// mirrored. Preconditions: 0 <= view < view_count(sample).
std::vector<ops::Tensor> sample_view(const std::vector<ops::Tensor>& sample, int view);

}  // namespace hai::quantizer
