// Positions of a resize against values worked out by hand from the definitions of ONNX, and limits under hostile
// scales.
//
// The examples are small pictures whose expected rows anyone can check on paper.
#include "types/resize_map.h"

#include <gtest/gtest.h>

#include <vector>

namespace hai {
namespace {

ResizeAxis axis_of(int64_t in, int64_t out, ResizeCoordinates coordinates) {
  return {in, out, static_cast<double>(out) / static_cast<double>(in), coordinates};
}

std::vector<int64_t> nearest(const ResizeAxis& axis, ResizeNearest rounding) {
  std::vector<int64_t> rows;
  for (int64_t i = 0; i < axis.out; ++i) rows.push_back(resize_nearest_index(axis, rounding, i));
  return rows;
}

TEST(ResizeMap, NearestTwiceIsEachRowTwice) {
  using Rows = std::vector<int64_t>;
  const Rows twice = {0, 0, 1, 1, 2, 2};
  EXPECT_EQ(nearest(axis_of(3, 6, ResizeCoordinates::kHalfPixel), ResizeNearest::kRoundPreferFloor), twice);
  EXPECT_EQ(nearest(axis_of(3, 6, ResizeCoordinates::kAsymmetric), ResizeNearest::kFloor), twice);
  EXPECT_EQ(nearest(axis_of(3, 6, ResizeCoordinates::kAsymmetric), ResizeNearest::kCeil), (Rows{0, 1, 1, 2, 2, 2}));
  // Positions 0.5 and 2.5 of 4 -> 2 are ties.
  EXPECT_EQ(nearest(axis_of(4, 2, ResizeCoordinates::kHalfPixel), ResizeNearest::kRoundPreferFloor), (Rows{0, 2}));
  EXPECT_EQ(nearest(axis_of(4, 2, ResizeCoordinates::kHalfPixel), ResizeNearest::kRoundPreferCeil), (Rows{1, 3}));
  EXPECT_EQ(nearest(axis_of(5, 3, ResizeCoordinates::kAlignCorners), ResizeNearest::kFloor), (Rows{0, 2, 4}));
}

TEST(ResizeMap, LinearBlendsNeighbours) {
  const ResizeAxis half = axis_of(2, 4, ResizeCoordinates::kHalfPixel);  // positions -0.25, 0.25, 0.75, 1.25
  const ResizeTap first = resize_linear_tap(half, 0);
  EXPECT_EQ(first.first, 0);
  EXPECT_EQ(first.fraction, 0.0);
  const ResizeTap second = resize_linear_tap(half, 1);
  EXPECT_EQ(second.first, 0);
  EXPECT_EQ(second.second, 1);
  EXPECT_EQ(second.fraction, 0.25);
  EXPECT_EQ(second.weight, 512);
  const ResizeTap last = resize_linear_tap(half, 3);
  EXPECT_EQ(last.first, 1);
  EXPECT_EQ(last.second, 1);
  EXPECT_EQ(last.weight, 0);
  const ResizeAxis corners = axis_of(3, 5, ResizeCoordinates::kAlignCorners);  // positions 0, 0.5, 1, 1.5, 2
  EXPECT_EQ(resize_linear_tap(corners, 3).first, 1);
  EXPECT_EQ(resize_linear_tap(corners, 3).weight, 1024);
  EXPECT_EQ(resize_linear_tap(corners, 4).first, 2);
}

TEST(ResizeMap, AnOutputOfOne) {
  EXPECT_EQ(axis_of(7, 1, ResizeCoordinates::kHalfPixel).source(0), 3.0);
  EXPECT_EQ(axis_of(7, 1, ResizeCoordinates::kPytorchHalfPixel).source(0), 0.0);
  EXPECT_EQ(axis_of(7, 1, ResizeCoordinates::kAlignCorners).source(0), 0.0);
}

TEST(ResizeMap, HostileScalesStayInside) {
  for (const double scale : {1e-300, 1e-9, 1e300}) {
    for (const auto coordinates : {ResizeCoordinates::kHalfPixel, ResizeCoordinates::kAsymmetric,
                                   ResizeCoordinates::kAlignCorners, ResizeCoordinates::kPytorchHalfPixel}) {
      const ResizeAxis axis{13, 19, scale, coordinates};
      for (int64_t i = 0; i < axis.out; ++i) {
        for (const auto rounding : {ResizeNearest::kRoundPreferFloor, ResizeNearest::kRoundPreferCeil,
                                    ResizeNearest::kFloor, ResizeNearest::kCeil}) {
          const int64_t row = resize_nearest_index(axis, rounding, i);
          ASSERT_TRUE(row >= 0 && row < 13);
        }
        const ResizeTap tap = resize_linear_tap(axis, i);
        ASSERT_TRUE(tap.first >= 0 && tap.first <= tap.second && tap.second < 13);
        ASSERT_TRUE(tap.weight >= 0 && tap.weight <= 2048);
      }
    }
  }
}

TEST(ResizeMap, Names) {
  EXPECT_EQ(resize_coordinates_from("align_corners"), ResizeCoordinates::kAlignCorners);
  EXPECT_EQ(resize_nearest_from("round_prefer_ceil"), ResizeNearest::kRoundPreferCeil);
  EXPECT_FALSE(resize_coordinates_from("tf_crop_and_resize"));
  EXPECT_FALSE(resize_nearest_from(""));
}

}  // namespace
}  // namespace hai
