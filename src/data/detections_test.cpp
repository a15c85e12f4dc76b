// Decoding of each family on outputs worked by hand, suppression, and outputs that do not fit or hold no numbers.
#include "data/detections.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace hai::data {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

DecodeRule rule_of(DetectorFamily family, int32_t side) {
  DecodeRule rule;
  rule.family = family;
  rule.width = rule.height = side;
  return rule;
}

TEST(Suppression, IsByClassAndKeepsTheBest) {
  const std::vector<Detection> boxes = {
      {0, 0, 10, 10, 0.5F, 1}, {0, 0, 10, 9, 0.9F, 1}, {0, 0, 10, 10, 0.8F, 2}, {20, 20, 30, 30, 0.1F, 1}};
  const auto kept = suppress_overlaps(boxes, 0.45F, 300);
  ASSERT_EQ(kept.size(), 3U);
  EXPECT_EQ(kept[0].score, 0.9F);
  EXPECT_EQ(kept[1].category, 2);
  EXPECT_EQ(kept[2].score, 0.1F);
  EXPECT_EQ(suppress_overlaps(boxes, 0.45F, 2).size(), 2U);
  EXPECT_EQ(suppress_overlaps(boxes, 0.95F, 300).size(), 4U);
  EXPECT_TRUE(suppress_overlaps({}, 0.45F, 300).empty());
}

TEST(Decode, Yolov5RowsAreCentresInTheModelsPixels) {
  const std::vector<float> output = {30,   40, 20, 10, 0.5F, 0.2F, 0.8F,  //
                                     30,   40, 20, 10, 0.5F, kNan, kNan,  //
                                     kNan, 40, 20, 10, 0.9F, 0.9F, 0.9F};
  // The picture was halved and moved down by 8.
  const auto boxes = decode_detections(output, std::vector<int64_t>{3, 7}, rule_of(DetectorFamily::kYolov5, 64),
                                       {0.5, 0.5, 0, 8}, 70, 128)
                         .value();
  ASSERT_EQ(boxes.size(), 1U);
  EXPECT_EQ(boxes[0].category, 1);
  EXPECT_FLOAT_EQ(boxes[0].score, 0.4F);
  EXPECT_FLOAT_EQ(boxes[0].x0, 40);
  EXPECT_FLOAT_EQ(boxes[0].x1, 70);  // 80, cut at the picture's side
  EXPECT_FLOAT_EQ(boxes[0].y0, 54);
  EXPECT_FLOAT_EQ(boxes[0].y1, 74);
  DecodeRule both = rule_of(DetectorFamily::kYolov5, 64);
  both.many_per_box = true;
  EXPECT_EQ(decode_detections(output, std::vector<int64_t>{3, 7}, both, {}, 64, 64).value().size(), 2U);
}

TEST(Decode, YoloxCellsFollowTheGridsOfThreeStrides) {
  // 32 pixels: 16 + 4 + 1 cells of 6 fields.
  std::vector<float> output(21 * 6, 0.0F);
  const auto set = [&](size_t cell, std::initializer_list<float> fields) {
    std::copy(fields.begin(), fields.end(), output.begin() + static_cast<std::ptrdiff_t>(cell * 6));
  };
  set(7, {0.5F, 0.5F, 0, std::log(2.0F), 1, 0.9F});  // stride 8, row 1, column 3
  set(18, {0.25F, 0.5F, 0, 0, 1, 0.7F});             // stride 16, row 1, column 0
  set(20, {0.5F, 0.5F, 0, 0, 0.5F, 0.5F});           // stride 32
  const auto boxes =
      decode_detections(output, std::vector<int64_t>{21, 6}, rule_of(DetectorFamily::kYolox, 32), {}, 32, 32).value();
  ASSERT_EQ(boxes.size(), 3U);
  EXPECT_FLOAT_EQ(boxes[0].x0, 24);
  EXPECT_FLOAT_EQ(boxes[0].x1, 32);
  EXPECT_NEAR(boxes[0].y0, 4, 1e-5);
  EXPECT_NEAR(boxes[0].y1, 20, 1e-5);
  EXPECT_FLOAT_EQ(boxes[1].x0, 0);  // -4, cut
  EXPECT_FLOAT_EQ(boxes[1].x1, 12);
  EXPECT_FLOAT_EQ(boxes[1].y0, 16);
  EXPECT_FLOAT_EQ(boxes[2].score, 0.25F);
  EXPECT_FLOAT_EQ(boxes[2].x1, 32);
}

TEST(Decode, FastestDetFieldsArePlanes) {
  std::vector<float> output(7 * 2 * 3, 0.0F);  // 2 classes, 2 rows, 3 columns
  const auto set = [&](size_t field, float value) { output[(field * 2 + 1) * 3 + 2] = value; };
  set(0, 0.5F);
  set(5, 0.25F);
  set(6, 0.75F);
  const auto boxes =
      decode_detections(output, std::vector<int64_t>{7, 2, 3}, rule_of(DetectorFamily::kFastestDet, 96), {}, 96, 96)
          .value();
  ASSERT_EQ(boxes.size(), 1U);  // centre 2/3, 1/2; sides one half
  EXPECT_EQ(boxes[0].category, 1);
  EXPECT_NEAR(boxes[0].score, std::pow(0.5, 0.6) * std::pow(0.75, 0.4), 1e-6);
  EXPECT_NEAR(boxes[0].x0, 40, 1e-4);
  EXPECT_NEAR(boxes[0].x1, 88, 1e-4);
  EXPECT_NEAR(boxes[0].y0, 24, 1e-4);
  EXPECT_NEAR(boxes[0].y1, 72, 1e-4);
}

TEST(Decode, RefusesShapesThatDoNotFit) {
  const std::vector<float> output(42, 0.5F);
  const auto id_of = [&](DetectorFamily family, const std::vector<int64_t>& shape, int32_t side) {
    const auto result = decode_detections(output, shape, rule_of(family, side), {}, 64, 64);
    return result.has_value() ? std::string() : result.error().id;
  };
  EXPECT_EQ(id_of(DetectorFamily::kYolov5, {7, 6}, 64), "");
  EXPECT_EQ(id_of(DetectorFamily::kYolov5, {42}, 64), "D060");
  EXPECT_EQ(id_of(DetectorFamily::kYolov5, {14, 3}, 64), "D060");
  EXPECT_EQ(id_of(DetectorFamily::kYolov5, {6, 6}, 64), "D061");
  EXPECT_EQ(id_of(DetectorFamily::kYolov5, {-7, -6}, 64), "D060");
  EXPECT_EQ(id_of(DetectorFamily::kYolov5, {int64_t{1} << 62, 8}, 64), "D060");
  EXPECT_EQ(id_of(DetectorFamily::kYolox, {7, 6}, 64), "D060");
  EXPECT_EQ(id_of(DetectorFamily::kFastestDet, {7, 6}, 64), "D060");
  EXPECT_EQ(id_of(DetectorFamily::kYolov5, {7, 6}, 0), "D062");
}

}  // namespace
}  // namespace hai::data
