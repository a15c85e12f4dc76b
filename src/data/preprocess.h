// From a decoded picture to a model's input tensor: resize, crop or letterbox, colour order, mean and scale.
#pragma once

#include <span>

#include "base/result.h"
#include "data/image.h"
#include "types/preprocessing.h"

namespace hai::data {

// Resize with antialiasing: a triangle or cubic filter widened by the reduction factor, horizontally then vertically,
// in fixed point of 22 bits with 8-bit intermediate rows; nearest takes one pixel. The same bytes as Pillow's
// Image.resize. Precondition: sizes within 1..kMaxImageSide.
Image resize(const Image& image, int width, int height, Interpolation interpolation);

// Where the model's pixels come from in the source picture, for drawing boxes back: source = (model - offset) / scale.
struct PictureTransform {
  double scale_x = 1;
  double scale_y = 1;
  double offset_x = 0;
  double offset_y = 0;
};

// Writes width * height * channels floats in the layout of `rule`. Errors: output of another size, a rule out of range
// (checked, since it comes from files).
Result<PictureTransform> preprocess(const Image& image, const Preprocessing& rule, std::span<float> output);

// Checks sizes and numbers of a rule.
Status verify(const Preprocessing& rule);
// The same, and that `output` has the size that the rule makes.
Status check_output(const Preprocessing& rule, std::span<const float> output);

}  // namespace hai::data
