// Preprocessing: exact small cases worked by hand, geometry, hostile rules. Equality with Pillow is tested from Python
// (python/tests).
#include "data/preprocess.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace hai::data {
namespace {

Image constant_image(int width, int height, uint8_t red, uint8_t green, uint8_t blue) {
  Image image{width, height, {}};
  for (int i = 0; i < width * height; ++i) image.pixels.insert(image.pixels.end(), {red, green, blue});
  return image;
}

TEST(Resize, SameSizeIsTheSamePicture) {
  Image image = constant_image(5, 3, 1, 2, 3);
  image.pixels[7] = 200;
  EXPECT_EQ(resize(image, 5, 3, Interpolation::kBilinear).pixels, image.pixels);
}

TEST(Resize, ConstantStaysConstant) {
  for (const int size : {1, 2, 13, 19, 127}) {
    for (const Interpolation interpolation :
         {Interpolation::kNearest, Interpolation::kBilinear, Interpolation::kBicubic}) {
      const Image out = resize(constant_image(37, 53, 7, 130, 255), size, size + 1, interpolation);
      EXPECT_EQ(out.pixels, constant_image(size, size + 1, 7, 130, 255).pixels) << size;
    }
  }
}

TEST(Resize, HalvingARowWeighsFourNeighbours) {
  Image image{4, 1, {0, 0, 0, 40, 40, 40, 80, 80, 80, 120, 120, 120}};
  // Support 2: output 0 is centred on 1.0 with weights 3/8 3/8 1/8 of positions 0, 1, 2 over their sum 7/8: (0 + 120 +
  // 80) / 7 = 28.57.
  const Image out = resize(image, 2, 1, Interpolation::kBilinear);
  EXPECT_EQ(out.pixels[0], 29);
  EXPECT_EQ(out.pixels[3], 91);
}

TEST(Preprocess, CropsColoursAndScales) {
  Preprocessing rule;
  rule.width = rule.height = 2;
  rule.resize_rule = ResizeRule::kShortSide;
  rule.resize_size = 4;
  rule.color_order = ColorOrder::kBgr;
  rule.mean = {1, 2, 3};
  rule.scale = {0.5F, 1.0F, 2.0F};
  std::vector<float> out(12);
  ASSERT_TRUE(preprocess(constant_image(8, 4, 10, 20, 30), rule, out).has_value());
  EXPECT_FLOAT_EQ(out[0], 14.5F);  // (30 - 1) * 0.5
  EXPECT_FLOAT_EQ(out[4], 18.0F);  // (20 - 2)
  EXPECT_FLOAT_EQ(out[8], 14.0F);  // (10 - 3) * 2
  rule.layout = PictureLayout::kNhwc;
  ASSERT_TRUE(preprocess(constant_image(8, 4, 10, 20, 30), rule, out).has_value());
  EXPECT_FLOAT_EQ(out[1], 18.0F);
}

TEST(Preprocess, LetterboxPadsAndSaysWhere) {
  Preprocessing rule;
  rule.width = rule.height = 8;
  rule.resize_rule = ResizeRule::kLetterbox;
  rule.pad_value = 114;
  rule.layout = PictureLayout::kNhwc;
  std::vector<float> out(8 * 8 * 3);
  const auto transform = preprocess(constant_image(16, 8, 50, 50, 50), rule, out);
  ASSERT_TRUE(transform.has_value());
  EXPECT_DOUBLE_EQ(transform->scale_x, 0.5);
  EXPECT_DOUBLE_EQ(transform->offset_y, 2.0);
  EXPECT_FLOAT_EQ(out[0], 114.0F);
  EXPECT_FLOAT_EQ(out[2 * 8 * 3], 50.0F);
  EXPECT_FLOAT_EQ(out[6 * 8 * 3], 114.0F);
}

// 13 x 9 into 8 x 8 has 5.54 rows, which are rounded to 6 in the centre and cut down to 5 at the top left.
TEST(Preprocess, LetterboxAtTheTopLeftCutsSidesDown) {
  Preprocessing rule;
  rule.width = rule.height = 8;
  rule.pad_value = 114;
  rule.layout = PictureLayout::kNhwc;
  std::vector<float> out(8 * 8 * 3);
  const auto rows = [&] {
    int count = 0;
    for (size_t y = 0; y < 8; ++y) count += out[y * 8 * 3] == 50.0F ? 1 : 0;
    return count;
  };
  rule.resize_rule = ResizeRule::kLetterbox;
  const auto centred = preprocess(constant_image(13, 9, 50, 50, 50), rule, out);
  ASSERT_TRUE(centred.has_value());
  EXPECT_EQ(rows(), 6);
  EXPECT_DOUBLE_EQ(centred->offset_y, 1.0);
  rule.resize_rule = ResizeRule::kLetterboxTopLeft;
  const auto top_left = preprocess(constant_image(13, 9, 50, 50, 50), rule, out);
  ASSERT_TRUE(top_left.has_value());
  EXPECT_EQ(rows(), 5);
  EXPECT_FLOAT_EQ(out[0], 50.0F);
  EXPECT_FLOAT_EQ(out[7 * 8 * 3], 114.0F);
  EXPECT_DOUBLE_EQ(top_left->offset_x, 0.0);
  EXPECT_DOUBLE_EQ(top_left->offset_y, 0.0);
  EXPECT_DOUBLE_EQ(top_left->scale_y, 5.0 / 9.0);
  // A sliver keeps one pixel.
  ASSERT_TRUE(preprocess(constant_image(1000, 1, 50, 50, 50), rule, out).has_value());
  EXPECT_EQ(rows(), 1);
}

TEST(Preprocess, GreyUsesLuma) {
  Preprocessing rule;
  rule.width = rule.height = 1;
  rule.resize_rule = ResizeRule::kStretch;
  rule.color_order = ColorOrder::kGray;
  std::vector<float> out(1);
  ASSERT_TRUE(preprocess(constant_image(3, 3, 255, 0, 0), rule, out).has_value());
  EXPECT_FLOAT_EQ(out[0], 76.0F);
}

TEST(Preprocess, HostileRulesAreRefused) {
  const Image image = constant_image(3, 3, 1, 1, 1);
  std::vector<float> out(3);
  const auto error_of = [&](const auto& change) {
    Preprocessing rule;
    rule.width = rule.height = rule.resize_size = 1;
    rule.resize_rule = ResizeRule::kShortSide;
    change(rule);
    const auto result = preprocess(image, rule, out);
    return result.has_value() ? std::string("none") : result.error().id;
  };
  EXPECT_EQ(error_of([](Preprocessing&) {}), "none");
  EXPECT_EQ(error_of([](Preprocessing& rule) { rule.width = 0; }), "D020");
  EXPECT_EQ(error_of([](Preprocessing& rule) { rule.height = 1 << 30; }), "D020");
  EXPECT_EQ(error_of([](Preprocessing& rule) { rule.resize_size = 0; }), "D021");
  EXPECT_EQ(error_of([](Preprocessing& rule) { rule.scale[1] = 0; }), "D022");
  EXPECT_EQ(error_of([](Preprocessing& rule) { rule.mean[2] = std::numeric_limits<float>::quiet_NaN(); }), "D022");
  EXPECT_EQ(error_of([](Preprocessing& rule) { rule.pad_value = -1; }), "D026");
  EXPECT_EQ(error_of([](Preprocessing& rule) { rule.width = rule.resize_size = 2; }), "D023");
}

TEST(Preprocess, AThinPictureIsAClearError) {
  Preprocessing rule;
  rule.width = rule.height = 224;
  rule.resize_size = 256;
  rule.resize_rule = ResizeRule::kShortSide;
  std::vector<float> out(3 * 224 * 224);
  const auto result = preprocess(constant_image(1, 5000, 1, 1, 1), rule, out);
  ASSERT_FALSE(result.has_value());
  EXPECT_EQ(result.error().id, "D025");
}

}  // namespace
}  // namespace hai::data
