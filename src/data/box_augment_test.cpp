// Augmentation of pictures with boxes: boxes go where their pixels go, and nothing happens where nothing is asked for.
#include "data/box_augment.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

namespace hai::data {
namespace {

// Noise below 100 with a bright rectangle for each box.
BoxedImage picture_with(int width, int height, const std::vector<LabelledBox>& boxes, uint64_t seed = 3) {
  BoxedImage out;
  out.image = {width, height, std::vector<uint8_t>(static_cast<size_t>(width) * static_cast<size_t>(height) * 3)};
  RandomStream random(seed, RandomStream::Purpose::kPicture, 0);
  for (uint8_t& p : out.image.pixels) p = static_cast<uint8_t>(random.below(100));
  out.boxes = boxes;
  for (const LabelledBox& box : boxes) {
    for (int y = static_cast<int>(box.y); y < static_cast<int>(box.y + box.height); ++y) {
      for (int x = static_cast<int>(box.x); x < static_cast<int>(box.x + box.width); ++x) {
        for (size_t k = 0; k < 3; ++k)
          out.image.pixels[(static_cast<size_t>(y) * static_cast<size_t>(width) + static_cast<size_t>(x)) * 3 + k] =
              255;
      }
    }
  }
  return out;
}

// The bright part of a picture.
LabelledBox bright(const Image& image) {
  int left = image.width;
  int top = image.height;
  int right = 0;
  int bottom = 0;
  for (int y = 0; y < image.height; ++y) {
    for (int x = 0; x < image.width; ++x) {
      if (image.pixels[(static_cast<size_t>(y) * static_cast<size_t>(image.width) + static_cast<size_t>(x)) * 3] < 178)
        continue;
      left = std::min(left, x);
      top = std::min(top, y);
      right = std::max(right, x + 1);
      bottom = std::max(bottom, y + 1);
    }
  }
  return {0,
          static_cast<double>(left),
          static_cast<double>(top),
          static_cast<double>(right - left),
          static_cast<double>(bottom - top),
          0,
          false};
}

// Half a pixel at each edge may be on either side of the threshold.
void expect_box_on_its_pixels(const BoxedImage& picture) {
  ASSERT_EQ(picture.boxes.size(), 1U);
  const LabelledBox seen = bright(picture.image);
  EXPECT_LE(std::fabs(picture.boxes[0].x - seen.x), 1);
  EXPECT_LE(std::fabs(picture.boxes[0].y - seen.y), 1);
  EXPECT_LE(std::fabs(picture.boxes[0].width - seen.width), 1.5);
  EXPECT_LE(std::fabs(picture.boxes[0].height - seen.height), 1.5);
}

const LabelledBox kBox = {2, 7, 5, 11, 6, 66, false};

TEST(BoxAugment, FlipsMoveBoxesAndTwiceIsNothing) {
  const BoxedImage before = picture_with(37, 23, {kBox});
  BoxedImage after = before;
  flip_horizontally(after);
  EXPECT_EQ(after.boxes[0].x, 37 - 7 - 11);
  expect_box_on_its_pixels(after);
  flip_vertically(after);
  EXPECT_EQ(after.boxes[0].y, 23 - 5 - 6);
  expect_box_on_its_pixels(after);
  flip_horizontally(after);
  flip_vertically(after);
  EXPECT_EQ(after.image.pixels, before.image.pixels);
}

TEST(BoxAugment, ScalingByOneIsTheSamePictureAndOthersTakeTheBoxAlong) {
  const BoxedImage before = picture_with(37, 23, {kBox});
  const BoxedImage same = move_and_scale(before, 1, 0, 0, 37, 23);
  EXPECT_EQ(same.image.pixels, before.image.pixels);
  EXPECT_EQ(same.boxes[0].x, kBox.x);
  for (const double scale : {0.7, 1.3, 2.0}) {
    for (const double shift : {-3.25, 0.0, 4.5}) {
      SCOPED_TRACE(::testing::Message() << scale << " " << shift);
      expect_box_on_its_pixels(move_and_scale(before, scale, shift, shift / 2, 60, 40));
    }
  }
}

TEST(BoxAugment, BoxesCutToATenthAreDropped) {
  const BoxedImage before = picture_with(40, 40, {{0, 10, 10, 20, 20, 400, false}});
  EXPECT_EQ(move_and_scale(before, 1, -20, 0, 40, 40).boxes.at(0).width, 10);
  EXPECT_TRUE(move_and_scale(before, 1, -28.5, 0, 40, 40).boxes.empty());   // below 2 pixels
  EXPECT_TRUE(move_and_scale(before, 1, -26, -26, 40, 40).boxes.empty());   // 16 of 400
  EXPECT_EQ(move_and_scale(before, 1, -22, -22, 40, 40).boxes.size(), 1U);  // 64 of 400
}

TEST(BoxAugment, HueSaturationAndValueOfOneAreNothing) {
  BoxedImage picture = picture_with(19, 13, {kBox});
  const Image before = picture.image;
  change_hsv(picture.image, 0, 1, 1);
  EXPECT_EQ(picture.image.pixels, before.pixels);
  Image red{1, 1, {200, 50, 50}};
  change_hsv(red, 1.0 / 3, 1, 1);
  EXPECT_EQ(red.pixels, (std::vector<uint8_t>{50, 200, 50}));
  change_hsv(red, 0, 0, 0.5);
  EXPECT_EQ(red.pixels, (std::vector<uint8_t>{100, 100, 100}));
}

TEST(BoxAugment, AMosaicHasAPictureInEachCorner) {
  std::vector<BoxedImage> four;
  for (uint64_t i = 0; i < 4; ++i) four.push_back(picture_with(20, 16, {{static_cast<int32_t>(i), 2, 3, 5, 4}}, i));
  const BoxedImage out = mosaic_of(four, 22, 12);
  EXPECT_EQ(out.image.width, 40);
  EXPECT_EQ(out.image.height, 32);
  const double left[] = {4, 24, 4, 24};
  const double top[] = {-1, -1, 15, 15};
  ASSERT_EQ(out.boxes.size(), 4U);
  for (size_t i = 0; i < 4; ++i) {
    EXPECT_EQ(out.boxes[i].category, static_cast<int32_t>(i));
    EXPECT_EQ(out.boxes[i].x, left[i]);
    EXPECT_EQ(out.boxes[i].y, std::max(top[i], 0.0));
    const size_t at = (static_cast<size_t>(out.boxes[i].y) * 40 + static_cast<size_t>(out.boxes[i].x)) * 3;
    EXPECT_EQ(out.image.pixels[at], 255);
  }
  EXPECT_EQ(out.image.pixels[0], 114);
}

TEST(BoxAugment, MixUpHasTheBoxesOfBoth) {
  const BoxedImage a = picture_with(20, 16, {kBox}, 1);
  const BoxedImage b = picture_with(20, 16, {kBox, kBox}, 2);
  EXPECT_EQ(mix_up(a, b, 1).image.pixels, a.image.pixels);
  EXPECT_EQ(mix_up(a, b, 0).image.pixels, b.image.pixels);
  EXPECT_EQ(mix_up(a, b, 0.5).boxes.size(), 3U);
}

TEST(BoxAugment, PastedBoxesLieWhereNoneWas) {
  RandomStream random(1, RandomStream::Purpose::kPicture, 0);
  const BoxedImage from = picture_with(60, 50, {{1, 20, 20, 8, 8, 64, false}}, 1);
  for (int i = 0; i < 20; ++i) {
    BoxedImage to = picture_with(60, 50, {}, 2);
    paste_boxes(to, from, random);
    expect_box_on_its_pixels(to);
    BoxedImage crowded = picture_with(60, 50, {{0, 0, 0, 60, 50, 3000, false}}, 2);
    paste_boxes(crowded, from, random);
    EXPECT_EQ(crowded.boxes.size(), 1U);
  }
}

TEST(BoxAugment, NamesAreRead) {
  EXPECT_EQ(*parse_box_augmentation("none"), BoxAugmentation{});
  const auto some = parse_box_augmentation("mosaic,flip");
  ASSERT_TRUE(some);
  EXPECT_TRUE(some->mosaic && some->flip && !some->mixup);
  for (const char* text : {"", "flip,", "flip,flip", "crop"}) {
    const auto refused = parse_box_augmentation(text);
    ASSERT_FALSE(refused) << text;
    EXPECT_EQ(refused.error().id, "D098");
  }
}

}  // namespace
}  // namespace hai::data
