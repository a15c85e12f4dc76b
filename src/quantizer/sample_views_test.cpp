// Views of samples: mirrored, enlarged, in both layouts; and what has none.
#include "quantizer/sample_views.h"

#include <gtest/gtest.h>

#include <cmath>

namespace hai::quantizer {
namespace {

// Pixel (y, x, c) of picture n has the value 1000 n + 100 c + y + x / 64: linear, so that enlarging is exact inside.
std::vector<ops::Tensor> ramp(bool channels_last, int64_t height, int64_t width) {
  const Dims dims = channels_last ? Dims{2, height, width, 3} : Dims{2, 3, height, width};
  std::vector<ops::Tensor> sample{ops::Tensor::zeros(DataType::kF32, dims)};
  auto* data = data_of<float>(sample[0].mutable_view());
  for (int64_t n = 0; n < 2; ++n) {
    for (int64_t y = 0; y < height; ++y) {
      for (int64_t x = 0; x < width; ++x) {
        for (int64_t c = 0; c < 3; ++c) {
          const int64_t at =
              channels_last ? ((n * height + y) * width + x) * 3 + c : ((n * 3 + c) * height + y) * width + x;
          data[at] = static_cast<float>(1000 * n + 100 * c + y) + static_cast<float>(x) / 64;
        }
      }
    }
  }
  return sample;
}

float at(const std::vector<ops::Tensor>& sample, bool channels_last, int64_t n, int64_t y, int64_t x, int64_t c) {
  const Dims& d = sample[0].dims;
  const int64_t offset = channels_last ? ((n * d[1] + y) * d[2] + x) * 3 + c : ((n * 3 + c) * d[2] + y) * d[3] + x;
  return data_of<float>(sample[0].view())[offset];
}

TEST(SampleViews, TheFirstIsTheSampleAndTheSecondIsMirrored) {
  constexpr int64_t kHeight = 19;
  constexpr int64_t kWidth = 23;
  for (const bool last : {false, true}) {
    const auto sample = ramp(last, kHeight, kWidth);
    ASSERT_EQ(view_count(sample), kSampleViews);
    EXPECT_EQ(sample_view(sample, 0)[0].storage.size(), sample[0].storage.size());
    const auto mirrored = sample_view(sample, 1);
    for (int64_t y = 0; y < kHeight; ++y) {
      for (int64_t x = 0; x < kWidth; ++x) {
        EXPECT_EQ(at(sample_view(sample, 0), last, 1, 0, x, 2), at(sample, last, 1, 0, x, 2));
        EXPECT_EQ(at(mirrored, last, 1, y, x, 2), at(sample, last, 1, y, kWidth - 1 - x, 2));
      }
      if (y > 1) break;  // copies of the first view make this slow
    }
  }
}

TEST(SampleViews, TheOthersAreEnlargedCorners) {
  constexpr int64_t kSide = 32;  // a window of 28
  for (const bool last : {false, true}) {
    const auto sample = ramp(last, kSide, kSide);
    const bool mirrored[] = {false, true, false, true, false, true};
    const int64_t top[] = {0, 0, 0, 4, 0, 4};
    const int64_t left[] = {0, 0, 0, 4, 4, 0};
    for (int view = 2; view < kSampleViews; ++view) {
      const auto shown = sample_view(sample, view);
      const auto v = static_cast<size_t>(view);
      for (const int64_t y : {3, 17, 28}) {
        for (const int64_t x : {2, 13, 29}) {
          const double across = static_cast<double>(mirrored[v] ? kSide - 1 - x : x);
          const double row = static_cast<double>(top[v]) + (static_cast<double>(y) + 0.5) * 28 / 32 - 0.5;
          const double column = static_cast<double>(left[v]) + (across + 0.5) * 28 / 32 - 0.5;
          EXPECT_NEAR(static_cast<double>(at(shown, last, 1, y, x, 1)), 1100 + row + column / 64, 2e-3)
              << view << " " << y << " " << x;
        }
      }
    }
  }
}

TEST(SampleViews, OnlyColourPicturesHaveThem) {
  const auto count = [](DataType dtype, const Dims& dims) {
    return view_count(std::vector<ops::Tensor>{ops::Tensor::zeros(dtype, dims)});
  };
  EXPECT_EQ(count(DataType::kF32, {1, 3, 16, 16}), kSampleViews);
  EXPECT_EQ(count(DataType::kF32, {1, 16, 16, 3}), kSampleViews);
  EXPECT_EQ(count(DataType::kF32, {1, 3, 15, 16}), 1);
  EXPECT_EQ(count(DataType::kF32, {1, 1, 64, 64}), 1);  // a spectrogram, perhaps
  EXPECT_EQ(count(DataType::kU8, {1, 3, 16, 16}), 1);
  EXPECT_EQ(count(DataType::kF32, {3, 16, 16}), 1);
  EXPECT_EQ(count(DataType::kF32, {1, 3}), 1);
  std::vector<ops::Tensor> two(2, ops::Tensor::zeros(DataType::kF32, {1, 3, 16, 16}));
  EXPECT_EQ(view_count(two), 1);
  EXPECT_EQ(view_count({}), 1);
}

}  // namespace
}  // namespace hai::quantizer
