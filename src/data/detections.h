// Detections: a detector's raw outputs become boxes with class and score in pixels of the source picture; class-wise
// suppression of overlapping boxes. What published networks leave outside their graph is computed here in f32.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/result.h"
#include "data/preprocess.h"

namespace hai::data {

// Corners in pixels: x0 <= x1, y0 <= y1.
struct Detection {
  float x0 = 0;
  float y0 = 0;
  float x1 = 0;
  float y1 = 0;
  float score = 0;
  int32_t category = 0;
};

enum class DetectorFamily : uint8_t {
  kYolov5,      // [boxes, 5 + classes], decoded in the graph: centre and size in pixels, objectness, class scores
  kYolox,       // the same rows for the cells of grids of stride 8, 16, 32, relative to the cell; sizes as logarithms
  kFastestDet,  // [5 + classes, rows, columns]: objectness, tanh offset, sigmoid size, class shares of one grid
};

struct DecodeRule {
  DetectorFamily family = DetectorFamily::kYolov5;
  int32_t width = 0;  // of the model's input, pixels
  int32_t height = 0;
  float min_score = 0.001F;
  float max_overlap = 0.45F;  // of two boxes of one class; the lower score goes
  int32_t max_boxes = 300;    // best scores first
  bool many_per_box = false;  // every class above min_score makes a box of its own, not only the best
};

// One picture's output, as the graph gives it; `shape` without the batch. Boxes in pixels of the source picture (whose
// sides clip them), best score first. Errors: a shape that the family does not have. Numbers that are not finite make
// no box.
Result<std::vector<Detection>> decode_detections(std::span<const float> output, std::span<const int64_t> shape,
                                                 const DecodeRule& rule, const PictureTransform& transform,
                                                 int32_t picture_width, int32_t picture_height);

// Greedy suppression within each class: of two boxes that overlap by more than `max_overlap` (intersection over union)
// the one of lower score goes; among equal scores the later. Best score first.
std::vector<Detection> suppress_overlaps(std::vector<Detection> boxes, float max_overlap, size_t max_boxes);

}  // namespace hai::data
