// From a detector's raw outputs to boxes.
//
// Method: the decoding that each family's published code does after its network: YOLOv5 (rows are final), YOLOX (Ge et
// al. 2021: centre = (t + cell) * stride, size = exp(t) * stride), FastestDet (centre = (tanh t + cell) / grid, size =
// sigmoid t, score = objectness^0.6 * class^0.4); then greedy suppression within a class.
// Invariants: f32 arithmetic in a fixed order; a box is made only of finite numbers, lies within the picture, and the
// result is sorted by score, equal scores in the order of the output. It does not run the network (runtime).
#include "data/detections.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <map>

namespace hai::data {
namespace {

constexpr std::array<int32_t, 3> kYoloxStrides = {8, 16, 32};
constexpr size_t kMaxCandidates = 30000;  // before suppression, whose cost grows with the square

// One box in pixels of the model's input, before its classes are looked at.
struct Place {
  float x = 0;  // centre
  float y = 0;
  float width = 0;
  float height = 0;
};

class Collector {
 public:
  Collector(const DecodeRule& rule, const PictureTransform& transform, int32_t width, int32_t height)
      : rule_(rule), transform_(transform), width_(width), height_(height) {}

  // `score_of(c)` is the score of class c.
  template <typename ScoreOf>
  void add(const Place& place, int64_t classes, const ScoreOf& score_of) {
    int64_t best = -1;
    float best_score = rule_.min_score;
    for (int64_t c = 0; c < classes; ++c) {
      const float score = score_of(c);
      if (!(score > rule_.min_score) || !std::isfinite(score)) continue;
      if (rule_.many_per_box) {
        add_box(place, score, c);
      } else if (score > best_score) {
        best = c;
        best_score = score;
      }
    }
    if (best >= 0) add_box(place, best_score, best);
  }

  // Suppression in the model's pixels, as published code does it; then the way back into the picture.
  std::vector<Detection> suppressed() && {
    std::stable_sort(boxes_.begin(), boxes_.end(),
                     [](const Detection& a, const Detection& b) { return a.score > b.score; });
    boxes_.resize(std::min(boxes_.size(), kMaxCandidates));
    std::vector<Detection> kept =
        suppress_overlaps(std::move(boxes_), rule_.max_overlap, static_cast<size_t>(std::max(rule_.max_boxes, 0)));
    const auto in_picture = [](float position, double offset, double scale, int32_t side) {
      return std::clamp(static_cast<float>((position - offset) / scale), 0.0F, static_cast<float>(side));
    };
    for (Detection& box : kept) {
      box.x0 = in_picture(box.x0, transform_.offset_x, transform_.scale_x, width_);
      box.x1 = in_picture(box.x1, transform_.offset_x, transform_.scale_x, width_);
      box.y0 = in_picture(box.y0, transform_.offset_y, transform_.scale_y, height_);
      box.y1 = in_picture(box.y1, transform_.offset_y, transform_.scale_y, height_);
    }
    return kept;
  }

 private:
  void add_box(const Place& place, float score, int64_t category) {
    const float half_width = place.width / 2;
    const float half_height = place.height / 2;
    if (!std::isfinite(place.x + place.y) || !std::isfinite(half_width + half_height) || half_width < 0 ||
        half_height < 0)
      return;
    boxes_.push_back({place.x - half_width, place.y - half_height, place.x + half_width, place.y + half_height, score,
                      static_cast<int32_t>(category)});
  }

  const DecodeRule& rule_;
  const PictureTransform& transform_;
  int32_t width_;
  int32_t height_;
  std::vector<Detection> boxes_;
};

std::string text_of(std::span<const int64_t> shape) {
  std::string text;
  for (const int64_t side : shape) text += (text.empty() ? "" : ", ") + std::to_string(side);
  return "[" + text + "]";
}

Error wrong_shape(std::span<const int64_t> shape, const DecodeRule& rule, const char* wanted) {
  return make_error(StatusCode::kInvalidArgument, "D060",
                    "an output of shape {} for an input of {}x{} pixels: {}; is this the right decoder, and the "
                    "output as the network gives it, without the batch?",
                    text_of(shape), rule.width, rule.height, wanted);
}

Status decode_yolov5(std::span<const float> output, std::span<const int64_t> shape, const DecodeRule& rule,
                     Collector& boxes) {
  if (shape.size() != 2 || shape[1] < 6) return wrong_shape(shape, rule, "YOLOv5 gives [boxes, 5 + classes]");
  const auto fields = static_cast<size_t>(shape[1]);
  for (size_t i = 0; i < static_cast<size_t>(shape[0]); ++i) {
    const auto row = output.subspan(i * fields, fields);
    if (!(row[4] > rule.min_score)) continue;
    boxes.add({row[0], row[1], row[2], row[3]}, shape[1] - 5,
              [&](int64_t c) { return row[4] * row[static_cast<size_t>(5 + c)]; });
  }
  return {};
}

Status decode_yolox(std::span<const float> output, std::span<const int64_t> shape, const DecodeRule& rule,
                    Collector& boxes) {
  int64_t cells = 0;
  for (const int32_t stride : kYoloxStrides) cells += int64_t{rule.width / stride} * (rule.height / stride);
  if (shape.size() != 2 || shape[1] < 6 || shape[0] != cells)
    return wrong_shape(shape, rule, "YOLOX gives [cells of the grids of stride 8, 16 and 32, 5 + classes]");
  const auto fields = static_cast<size_t>(shape[1]);
  size_t at = 0;
  for (const int32_t stride : kYoloxStrides) {
    const auto step = static_cast<float>(stride);
    for (int32_t y = 0; y < rule.height / stride; ++y) {
      for (int32_t x = 0; x < rule.width / stride; ++x, at += fields) {
        const auto row = output.subspan(at, fields);
        if (!(row[4] > rule.min_score)) continue;
        const Place place{(row[0] + static_cast<float>(x)) * step, (row[1] + static_cast<float>(y)) * step,
                          std::exp(row[2]) * step, std::exp(row[3]) * step};
        boxes.add(place, shape[1] - 5, [&](int64_t c) { return row[4] * row[static_cast<size_t>(5 + c)]; });
      }
    }
  }
  return {};
}

Status decode_fastestdet(std::span<const float> output, std::span<const int64_t> shape, const DecodeRule& rule,
                         Collector& boxes) {
  if (shape.size() != 3 || shape[0] < 6 || shape[1] < 1 || shape[2] < 1)
    return wrong_shape(shape, rule, "FastestDet gives [5 + classes, rows, columns]");
  const int64_t rows = shape[1];
  const int64_t columns = shape[2];
  const auto sigmoid = [](float x) { return 1.0F / (1.0F + std::exp(-x)); };
  for (int64_t y = 0; y < rows; ++y) {
    for (int64_t x = 0; x < columns; ++x) {
      const auto field = [&](int64_t index) { return output[static_cast<size_t>((index * rows + y) * columns + x)]; };
      const Place place{
          (std::tanh(field(1)) + static_cast<float>(x)) / static_cast<float>(columns) * static_cast<float>(rule.width),
          (std::tanh(field(2)) + static_cast<float>(y)) / static_cast<float>(rows) * static_cast<float>(rule.height),
          sigmoid(field(3)) * static_cast<float>(rule.width), sigmoid(field(4)) * static_cast<float>(rule.height)};
      const float objectness = std::pow(field(0), 0.6F);
      boxes.add(place, shape[0] - 5, [&](int64_t c) { return objectness * std::pow(field(5 + c), 0.4F); });
    }
  }
  return {};
}

}  // namespace

Result<std::vector<Detection>> decode_detections(std::span<const float> output, std::span<const int64_t> shape,
                                                 const DecodeRule& rule, const PictureTransform& transform,
                                                 int32_t picture_width, int32_t picture_height) {
  size_t count = 1;
  for (const int64_t side : shape) {
    if (side < 0 || (side > 0 && count > output.size())) return wrong_shape(shape, rule, "its sides are out of range");
    count *= static_cast<size_t>(side);
  }
  if (count != output.size()) {
    return make_error(StatusCode::kInvalidArgument, "D061", "{} numbers do not make an output of shape {}",
                      output.size(), text_of(shape));
  }
  if (rule.width < 1 || rule.height < 1 || rule.width > kMaxImageSide || rule.height > kMaxImageSide ||
      !(rule.min_score >= 0) || !(rule.max_overlap >= 0) || picture_width < 1 || picture_height < 1 ||
      !(transform.scale_x > 0) || !(transform.scale_y > 0)) {
    return make_error(
        StatusCode::kOutOfRange, "D062",
        "decoding for an input of {}x{} and a picture of {}x{} pixels, scores above {}, overlap {}: sides "
        "must be 1..{}, the rest not negative",
        rule.width, rule.height, picture_width, picture_height, rule.min_score, rule.max_overlap, kMaxImageSide);
  }
  Collector boxes(rule, transform, picture_width, picture_height);
  switch (rule.family) {
    case DetectorFamily::kYolov5:
      HAI_TRY_STATUS(decode_yolov5(output, shape, rule, boxes));
      break;
    case DetectorFamily::kYolox:
      HAI_TRY_STATUS(decode_yolox(output, shape, rule, boxes));
      break;
    case DetectorFamily::kFastestDet:
      HAI_TRY_STATUS(decode_fastestdet(output, shape, rule, boxes));
      break;
  }
  return std::move(boxes).suppressed();
}

std::vector<Detection> suppress_overlaps(std::vector<Detection> boxes, float max_overlap, size_t max_boxes) {
  std::stable_sort(boxes.begin(), boxes.end(),
                   [](const Detection& a, const Detection& b) { return a.score > b.score; });
  std::vector<Detection> kept;
  std::map<int32_t, std::vector<size_t>> kept_of;  // by class: places in `kept`
  for (const Detection& box : boxes) {
    if (kept.size() >= max_boxes) break;
    std::vector<size_t>& rivals = kept_of[box.category];
    const float area = (box.x1 - box.x0) * (box.y1 - box.y0);
    const bool hidden = std::any_of(rivals.begin(), rivals.end(), [&](size_t index) {
      const Detection& rival = kept[index];
      const float width = std::min(box.x1, rival.x1) - std::max(box.x0, rival.x0);
      const float height = std::min(box.y1, rival.y1) - std::max(box.y0, rival.y0);
      if (width <= 0 || height <= 0) return false;
      const float shared = width * height;
      const float rival_area = (rival.x1 - rival.x0) * (rival.y1 - rival.y0);
      return shared / (area + rival_area - shared) > max_overlap;
    });
    if (hidden) continue;
    rivals.push_back(kept.size());
    kept.push_back(box);
  }
  return kept;
}

}  // namespace hai::data
