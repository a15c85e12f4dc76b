// Augmentation: exact pixels, exact shares of labels, and the same numbers for one seed.
#include "data/augment.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

namespace hai::data {
namespace {

Image counting(int width, int height) {
  Image image{width, height, std::vector<uint8_t>(static_cast<size_t>(width) * static_cast<size_t>(height) * 3)};
  std::iota(image.pixels.begin(), image.pixels.end(), uint8_t{0});
  return image;
}

TEST(Augmentation, NamesAreParsed) {
  EXPECT_EQ(parse_augmentation("none").value(), Augmentation{});
  EXPECT_EQ(parse_augmentation("mixup,flip").value(), (Augmentation{true, false, false, true, false}));
  EXPECT_EQ(parse_augmentation("flip,crop,color,mixup,cutmix").value(), (Augmentation{true, true, true, true, true}));
  for (const char* text : {"", "flip,", ",flip", "flip,flip", "turn", "none,flip", "Flip"})
    EXPECT_EQ(parse_augmentation(text).error().id, "D085") << text;
}

TEST(Augmentation, FlipAndCropMovePixels) {
  const Image image = counting(3, 2);
  EXPECT_EQ(flip_horizontally(image).pixels,
            (std::vector<uint8_t>{6, 7, 8, 3, 4, 5, 0, 1, 2, 15, 16, 17, 12, 13, 14, 9, 10, 11}));
  EXPECT_EQ(flip_horizontally(flip_horizontally(image)).pixels, image.pixels);
  const Image part = crop_to(image, 1, 1, 2, 1);
  EXPECT_EQ(part.pixels, (std::vector<uint8_t>{12, 13, 14, 15, 16, 17}));
}

TEST(Augmentation, ColoursByTheFormula) {
  Image image{2, 1, {100, 50, 200, 10, 20, 30}};
  Image same = image;
  change_color(same, 1, 1, 1);
  EXPECT_EQ(same.pixels, image.pixels);
  Image bright = image;
  change_color(bright, 1.5, 1, 1);
  EXPECT_EQ(bright.pixels, (std::vector<uint8_t>{150, 75, 255, 15, 30, 45}));
  // Lumas 82.05 and 18.15, their mean 50.1, so 50; and from it twice as far.
  Image hard = image;
  change_color(hard, 1, 2, 1);
  EXPECT_EQ(hard.pixels, (std::vector<uint8_t>{150, 50, 255, 0, 0, 10}));
  Image grey = image;
  change_color(grey, 1, 1, 0);
  EXPECT_EQ(grey.pixels, (std::vector<uint8_t>{82, 82, 82, 18, 18, 18}));
}

// Two pictures of 2 x 2 pixels, 3 classes: pixels 0..11 and 100..111.
struct TwoPictures {
  Preprocessing rule;
  std::vector<float> pixels;
  std::vector<float> targets = {1, 0, 0, 0, 0, 1};
  MixScratch scratch;
  explicit TwoPictures(PictureLayout layout) {
    rule.width = rule.height = 2;
    rule.layout = layout;
    for (int i = 0; i < 24; ++i) pixels.push_back(static_cast<float>(i < 12 ? i : 88 + i));
  }
  BatchView view() { return {pixels, targets, 2, 3}; }
};

TEST(MixUp, SharesAreExact) {
  TwoPictures two(PictureLayout::kNchw);
  const std::vector<double> share = {0.75, 0.5};
  const std::vector<size_t> partner = {1, 0};
  mix_up(two.view(), share, partner, two.scratch);
  EXPECT_EQ(two.targets, (std::vector<float>{0.75F, 0, 0.25F, 0.5F, 0, 0.5F}));
  for (size_t i = 0; i < 12; ++i) {
    EXPECT_EQ(two.pixels[i], static_cast<float>(i) + 25);
    EXPECT_EQ(two.pixels[12 + i], static_cast<float>(i) + 50);
  }
}

TEST(CutMix, SharesAreThoseOfTheArea) {
  for (const PictureLayout layout : {PictureLayout::kNchw, PictureLayout::kNhwc}) {
    TwoPictures two(layout);
    const std::vector<Rectangle> cut = {{1, 0, 1, 1}, {0, 1, 2, 1}};
    const std::vector<size_t> partner = {1, 0};
    cut_mix(two.view(), two.rule, cut, partner, two.scratch);
    EXPECT_EQ(two.targets, (std::vector<float>{0.75F, 0, 0.25F, 0.5F, 0, 0.5F}));
    for (size_t i = 0; i < 12; ++i) {
      const size_t pixel = layout == PictureLayout::kNchw ? i % 4 : i / 3;
      EXPECT_EQ(two.pixels[i], static_cast<float>(pixel == 1 ? i + 100 : i)) << i;
      EXPECT_EQ(two.pixels[12 + i], static_cast<float>(pixel >= 2 ? i : i + 100)) << i;
    }
  }
}

TEST(MixBatch, ShareAddUpToOneAndFollowTheSeed) {
  for (const char* text : {"mixup", "cutmix", "mixup,cutmix"}) {
    const Augmentation augmentation = parse_augmentation(text).value();
    Preprocessing rule;
    rule.width = 16;
    rule.height = 8;
    const size_t size = 16 * 8 * 3;
    int mixed = 0;
    for (uint64_t seed = 0; seed < 50; ++seed) {
      const auto made = [&] {
        std::vector<float> pixels(4 * size);
        for (size_t i = 0; i < pixels.size(); ++i) pixels[i] = static_cast<float>(i / size);  // of class i
        std::vector<float> targets(16, 0);
        for (size_t i = 0; i < 4; ++i) targets[i * 5] = 1;
        RandomStream random(seed, RandomStream::Purpose::kMix, 1);
        MixScratch scratch;
        mix_batch({pixels, targets, 4, 4}, rule, augmentation, random, scratch);
        return std::pair(pixels, targets);
      };
      const auto [pixels, targets] = made();
      EXPECT_EQ(made().second, targets);
      EXPECT_EQ(made().first, pixels);
      for (size_t i = 0; i < 4; ++i) {
        // Sums of multiples of 2^-16 or 2^-7 (128 pixels): exact in f32.
        EXPECT_EQ(std::accumulate(&targets[i * 4], &targets[i * 4] + 4, 0.0F), 1.0F);
        double mean = 0;
        double wanted = 0;
        for (size_t k = 0; k < size; ++k) mean += static_cast<double>(pixels[i * size + k]) / static_cast<double>(size);
        for (size_t c = 0; c < 4; ++c) wanted += static_cast<double>(targets[i * 4 + c]) * static_cast<double>(c);
        EXPECT_NEAR(mean, wanted, 1e-5);  // 384 products rounded to f32
        mixed += targets[i * 4 + i] < 1;
      }
    }
    EXPECT_GT(mixed, 50) << text;
  }
}

TEST(Augmentation, OnePictureFollowsItsStream) {
  const Image image = counting(40, 30);
  const Augmentation all = parse_augmentation("flip,crop,color").value();
  int narrower = 0;
  for (uint64_t place = 0; place < 40; ++place) {
    const auto made = [&](uint64_t seed) {
      RandomStream random(seed, RandomStream::Purpose::kPicture, 3, place);
      return augment(image, all, random);
    };
    const Image one = made(1);
    EXPECT_EQ(one.pixels, made(1).pixels);
    EXPECT_NE(one.pixels, made(2).pixels);
    EXPECT_EQ(one.pixels.size(), static_cast<size_t>(one.width * one.height * 3));
    EXPECT_GE(one.width * one.height, 40 * 30 / 3);
    narrower += one.width < 40;
  }
  EXPECT_GT(narrower, 20);
  const Image line = counting(1, 50);
  RandomStream random(1, RandomStream::Purpose::kPicture, 1);
  for (int i = 0; i < 100; ++i) EXPECT_EQ(augment(line, all, random).width, 1);
}

}  // namespace
}  // namespace hai::data
