// COCO's labels: boxes against the pictures as they are, what cannot be read, and what is refused.
#include "data/box_labels.h"

#include <gtest/gtest.h>

#include "data/testing/training_folder.h"

namespace hai::data {
namespace {

using testing::TrainingFolder;

constexpr const char* kCategories = R"("categories": [{"id": 7, "name": "late"}, {"id": 2, "name": "early"}])";

class BoxLabelsTest : public ::testing::Test {
 protected:
  BoxLabelsTest() {
    rule_.width = 8;
    rule_.height = 6;
    folder_.picture("a.png", 10, 20, 10);
    folder_.picture("b.png", 20, 30, 12);
    folder_.text("c.png", "no picture");
  }
  // Writes images a, b and c, and these annotations, `[image, category, x, y, w, h, crowd]` each.
  Result<BoxSet> read(const std::vector<std::array<double, 7>>& boxes, int64_t classes = 2) const {
    std::string text = R"({"images": [{"id": 1, "file_name": "a.png"}, {"id": 5, "file_name": "b.png"},
                           {"id": 3, "file_name": "c.png"}], "annotations": [)";
    for (size_t i = 0; i < boxes.size(); ++i) {
      const auto& b = boxes[i];
      text += (i == 0 ? "" : ", ") + std::string("{\"image_id\": ") + std::to_string(static_cast<int>(b[0])) +
              ", \"category_id\": " + std::to_string(static_cast<int>(b[1])) + ", \"bbox\": [" + std::to_string(b[2]) +
              ", " + std::to_string(b[3]) + ", " + std::to_string(b[4]) + ", " + std::to_string(b[5]) +
              "], \"iscrowd\": " + std::to_string(static_cast<int>(b[6])) + "}";
    }
    return read_text(text + "], " + kCategories + "}", classes);
  }
  Result<BoxSet> read_text(const std::string& text, int64_t classes = 2) const {
    folder_.text("labels.json", text);
    return read_coco(folder_.root() / "labels.json", folder_.root(), classes);
  }

  TrainingFolder folder_;
  Preprocessing rule_;
};

TEST_F(BoxLabelsTest, BoxesAreCutDownToTheirPicturesAndCounted) {
  auto set = read({{1, 2, 1, 2, 3, 4, 0},    // whole
                   {1, 7, -2, 5, 6, 20, 0},  // clipped at the left and below
                   {1, 7, 19, 0, 1, 1, 1},   // a crowd
                   {5, 2, 30, 0, 5, 5, 0},   // outside
                   {5, 2, 3, 3, 0, 4, 0},    // without an area
                   {5, 2, 3, 3, 4, -4, 0}});
  ASSERT_TRUE(set) << set.error().to_string();
  EXPECT_EQ(set->classes, (std::vector<std::string>{"early", "late"}));
  const auto report = read_pictures(*set, rule_, 2, 1 << 20, 2);
  ASSERT_TRUE(report) << report.error().to_string();
  EXPECT_EQ(report->wanted_count, 3);
  EXPECT_EQ(report->read_count, 2);
  ASSERT_EQ(report->skipped.size(), 1U);
  EXPECT_EQ(report->skipped[0].path.filename(), "c.png");
  EXPECT_EQ(set->boxes.count, 6);
  EXPECT_EQ(set->boxes.clipped, 1);
  EXPECT_EQ(set->boxes.outside, 1);
  EXPECT_EQ(set->boxes.empty, 2);
  EXPECT_EQ(set->boxes.crowds, 1);
  EXPECT_EQ(set->boxes.named.size(), 4U);
  ASSERT_EQ(set->pictures.size(), 2U);
  const std::vector<LabelledBox>& boxes = set->pictures[0].boxes;
  ASSERT_EQ(boxes.size(), 3U);
  EXPECT_EQ(boxes[0].category, 0);
  EXPECT_EQ(boxes[1].category, 1);
  EXPECT_EQ(boxes[1].x, 0);
  EXPECT_EQ(boxes[1].y, 5);
  EXPECT_EQ(boxes[1].width, 4);
  EXPECT_EQ(boxes[1].height, 5);
  EXPECT_TRUE(boxes[2].crowd);
  EXPECT_TRUE(set->pictures[1].boxes.empty());
  EXPECT_EQ(set->pictures[0].image.width, 20);
}

TEST_F(BoxLabelsTest, APictureOfAnotherSizeIsNamed) {
  std::string text = R"({"images": [{"id": 1, "file_name": "a.png", "width": 40, "height": 20}], "annotations": [], )";
  text.append(kCategories).append("}");
  auto set = read_text(text);
  ASSERT_TRUE(set) << set.error().to_string();
  ASSERT_TRUE(read_pictures(*set, rule_, 2, 0, 1));
  EXPECT_EQ(set->boxes.other_size, 1);
  ASSERT_EQ(set->boxes.named.size(), 1U);
  EXPECT_NE(set->boxes.named[0].find("40x20"), std::string::npos);
}

TEST_F(BoxLabelsTest, TooManyBoxesNameThePicture) {
  auto set = read({{5, 2, 0, 0, 3, 3, 0}, {5, 2, 1, 0, 3, 3, 0}, {5, 2, 1, 0, 3, 3, 1}});
  ASSERT_TRUE(set);
  auto other = *set;
  EXPECT_TRUE(read_pictures(other, rule_, 2, 0, 1));  // the crowd is not trained on
  const auto report = read_pictures(*set, rule_, 1, 0, 1);
  ASSERT_FALSE(report);
  EXPECT_EQ(report.error().id, "D094");
  EXPECT_NE(report.error().to_string().find("b.png"), std::string::npos);
}

TEST_F(BoxLabelsTest, WhatIsNoCocoIsRefused) {
  const auto id_of = [](const Result<BoxSet>& set) { return set ? std::string("read") : std::string(set.error().id); };
  EXPECT_EQ(id_of(read_text("{")), "D090");
  EXPECT_EQ(id_of(read_text("[]")), "D090");
  EXPECT_EQ(id_of(read_text(R"({"images": [], "annotations": []})")), "D090");
  std::string tail = ", ";  // appended to: joining with + trips a false -Warray-bounds of GCC 12
  tail.append(kCategories).append("}");
  EXPECT_EQ(id_of(read_text(R"({"images": [], "annotations": [])" + tail)), "D093");
  EXPECT_EQ(id_of(read_text(R"({"images": [{"id": 1}], "annotations": [])" + tail)), "D090");
  EXPECT_EQ(id_of(read_text(
                R"({"images": [{"id": 1, "file_name": "a"}, {"id": 1, "file_name": "b"}], "annotations": [])" + tail)),
            "D091");
  EXPECT_EQ(id_of(read_text(R"({"images": [{"id": 1, "file_name": "a"}], "annotations": [{"image_id": 1}])" + tail)),
            "D090");
  EXPECT_EQ(id_of(read({{9, 2, 0, 0, 3, 3, 0}})), "D091");
  EXPECT_EQ(id_of(read({{1, 3, 0, 0, 3, 3, 0}})), "D091");
  EXPECT_EQ(id_of(read({}, 3)), "D092");
}

TEST_F(BoxLabelsTest, OneSeedOneSplit) {
  auto set = read({});
  ASSERT_TRUE(set);
  const auto split = split_pictures(*set, 0.3, 5);
  ASSERT_TRUE(split);
  EXPECT_EQ(split->held_out.size(), 1U);
  EXPECT_EQ(split->training.size(), 2U);
  EXPECT_EQ(split_pictures(*set, 0.3, 5)->held_out, split->held_out);
  EXPECT_EQ(split_pictures(*set, 0, 5)->training.size(), 3U);
  EXPECT_FALSE(split_pictures(*set, 1, 5));
}

}  // namespace
}  // namespace hai::data
