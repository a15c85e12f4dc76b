// Pictures with masks: what is refused by name, masks that go where their pictures go, and the score by hand.
#include "data/mask_loader.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

#include "data/testing/training_folder.h"

namespace hai::data {
namespace {

using testing::TrainingFolder;

constexpr int kStep = 60;  // of brightness for each class

// Four pictures whose brightness is the class of their mask, in blocks of different sizes.
class MaskLoaderTest : public ::testing::Test {
 protected:
  MaskLoaderTest() {
    for (int i = 0; i < 4; ++i) write("p" + std::to_string(i), 20 + 3 * i, 14 + i, 3);
    rule_.width = 16;
    rule_.height = 12;
    rule_.layout = PictureLayout::kNhwc;
    rule_.interpolation = Interpolation::kNearest;
  }
  void write(const std::string& name, int width, int height, int classes) const {
    std::vector<uint8_t> picture, mask;
    for (int y = 0; y < height; ++y) {
      for (int x = 0; x < width; ++x) {
        const auto label = static_cast<uint8_t>((x / 5 + 2 * (y / 4)) % classes);
        for (int c = 0; c < 3; ++c) {
          mask.push_back(label);
          picture.push_back(static_cast<uint8_t>(label * kStep));
        }
      }
    }
    folder_.pixels("pictures/" + name + ".png", width, height, picture);
    folder_.pixels("masks/" + name + ".png", width, height, mask);
  }
  std::vector<MaskedPicture> pairs() const {
    return list_masked(folder_.root() / "pictures", folder_.root() / "masks").value();
  }

  TrainingFolder folder_;
  Preprocessing rule_;
};

TEST_F(MaskLoaderTest, AMaskGoesWhereItsPictureGoes) {
  const auto all = pairs();
  ASSERT_EQ(all.size(), 4U);
  for (const ResizeRule resize : {ResizeRule::kStretch, ResizeRule::kLetterbox, ResizeRule::kShortSide}) {
    rule_.resize_rule = resize;
    rule_.resize_size = resize == ResizeRule::kShortSide ? 16 : 0;
    std::vector<uint8_t> of_one_thread;
    for (const int threads : {1, 3}) {
      MaskLoaderOptions options;
      options.batch = 3;
      options.map = {3, 12, 16, threads == 3};
      options.augmentation.flip = options.augmentation.crop = true;
      options.threads = threads;
      options.seed = 5;
      auto loader = MaskLoader::create(all, {0, 1, 2, 3}, rule_, options);
      ASSERT_TRUE(loader) << loader.error().to_string();
      EXPECT_EQ((*loader)->batches(), 2);
      (*loader)->start(3);
      std::vector<uint8_t> seen;
      for (int64_t number = 0; number < 2; ++number) {
        const auto batch = (*loader)->next();
        ASSERT_TRUE(batch && *batch != nullptr);
        EXPECT_EQ((*batch)->fresh, number == 0 ? 3 : 1);
        const std::vector<uint8_t>& classes = (*batch)->classes;
        ASSERT_EQ(classes.size(), 3U * 12U * 16U);
        for (size_t i = 0; i < classes.size(); ++i) {
          ASSERT_EQ((*batch)->pixels[3 * i], static_cast<float>(classes[i] * kStep)) << i;
          const size_t picture = i / 192;
          const size_t at = i % 192;
          for (size_t k = 0; k < 3; ++k) {
            const size_t place = options.map.classes_first ? picture * 576 + k * 192 + at : 3 * i + k;
            ASSERT_EQ((*batch)->targets[place], k == classes[i] ? 1.0F : 0.0F) << i;
          }
        }
        seen.insert(seen.end(), classes.begin(), classes.end());
      }
      EXPECT_EQ(*(*loader)->next(), nullptr);
      EXPECT_EQ(*std::max_element(seen.begin(), seen.end()), 2);
      if (threads == 1) of_one_thread = seen;
      EXPECT_EQ(seen, of_one_thread);
    }
  }
}

TEST_F(MaskLoaderTest, ASmallerMapTakesPixelsOfTheLargeOne) {
  write("p0", 16, 12, 2);
  const auto all = pairs();
  MaskLoaderOptions options;
  options.batch = 1;
  options.map = {1, 6, 8, false};
  auto loader = MaskLoader::create(all, {0}, rule_, options);
  ASSERT_TRUE(loader);
  (*loader)->start(1);
  const MaskBatch& batch = **(*loader)->next();
  for (size_t y = 0; y < 6; ++y) {
    for (size_t x = 0; x < 8; ++x) {
      const size_t from = (2 * y + 1) * 16 + 2 * x + 1;
      EXPECT_EQ(batch.classes[y * 8 + x] * kStep, static_cast<int>(batch.pixels[3 * from]));
      EXPECT_EQ(batch.targets[y * 8 + x], static_cast<float>(batch.classes[y * 8 + x]));
    }
  }
}

TEST_F(MaskLoaderTest, WhatIsWrongIsNamed) {
  folder_.picture("pictures/alone.png", 1);
  const auto alone = list_masked(folder_.root() / "pictures", folder_.root() / "masks");
  ASSERT_FALSE(alone);
  EXPECT_EQ(alone.error().id, "D100");
  EXPECT_NE(alone.error().message.find("alone.png"), std::string::npos);
  folder_.picture("masks/alone.png", 1);  // in colours
  auto all = pairs();
  EXPECT_EQ(read_masked(all[0], 3).error().id, "D102");
  EXPECT_EQ(read_masked(all[1], 2).error().id, "D102");  // there is a class 2
  const std::vector<uint8_t> white(20 * 14 * 3, 255);
  folder_.pixels("masks/p0.png", 20, 14, white);
  EXPECT_EQ(read_masked(all[1], 2).value().mask.pixels[0], 1);
  EXPECT_EQ(read_masked(all[1], 3).error().id, "D102");
  folder_.picture("masks/p1.png", 1, 4, 4);
  EXPECT_EQ(read_masked(all[2], 3).error().id, "D101");

  const auto report = drop_unusable(all, 3, rule_, 2);
  ASSERT_TRUE(report) << report.error().to_string();
  EXPECT_EQ(report->skipped.size(), 3U);
  EXPECT_EQ(all.size(), 2U);
  EXPECT_EQ(drop_unusable(all, 1, rule_, 1).error().id, "D103");
  EXPECT_EQ(split_masked(1, 0.5, 1).error().id, "D104");
  EXPECT_EQ(split_masked(4, 1.0, 1).error().id, "D108");
  const auto split = split_masked(10, 0.25, 7);
  ASSERT_TRUE(split);
  EXPECT_EQ(split->held_out.size(), 3U);
  EXPECT_EQ(split->training.size(), 7U);
  EXPECT_EQ(MaskLoader::create(all, {}, rule_, {}).error().id, "D106");
}

TEST(MaskScore, IsOverlapOverUnion) {
  MaskScore one(2);
  EXPECT_EQ(one.mean_iou(), 0);
  const float numbers[] = {-1, 2, 3, -4};
  const uint8_t truth[] = {0, 1, 0, 0};
  one.add({1, 2, 2, false}, numbers, 0, truth);
  EXPECT_DOUBLE_EQ(one.mean_iou(), (2.0 / 3 + 1.0 / 2) / 2);

  MaskScore three(3);  // of which the last is nowhere
  const float first[] = {1, 0, 0, 1, 0, 1, 1, 0, -1, -1, -1, -1};
  three.add({3, 2, 2, true}, first, 0, truth);
  EXPECT_DOUBLE_EQ(three.mean_iou(), (2.0 / 3 + 1.0 / 2) / 2);
}

}  // namespace
}  // namespace hai::data
