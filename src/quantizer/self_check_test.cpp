// The self-check: which samples it takes, what it calls a collapse and what it does not.
#include "quantizer/self_check.h"

#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <random>

namespace hai::quantizer {
namespace {

// A detector's output: four box fields in pixels, then scores, mostly near zero.
ops::Tensor detections(const std::function<float(float value, int64_t field)>& change) {
  ops::Tensor tensor = ops::Tensor::zeros(DataType::kF32, Dims{1, 300, 13});
  std::mt19937 random(3);
  std::uniform_real_distribution<float> pixels(0.0F, 640.0F);
  std::uniform_real_distribution<float> score(0.0F, 1.0F);
  for (int64_t i = 0; i < tensor.view().count(); ++i) {
    const int64_t field = i % 13;
    const float value = field < 4 ? pixels(random) : std::pow(score(random), 20.0F);
    data_of<float>(tensor.mutable_view())[i] = change(value, field);
  }
  return tensor;
}

OutputCheck compare(const ops::Tensor& expected, const ops::Tensor& actual) {
  return compare_outputs({expected.view()}, {actual.view()});
}

TEST(HeldBackSamples, AreFewAndSpread) {
  EXPECT_TRUE(held_back_samples(15).empty());
  EXPECT_EQ(held_back_samples(16), (std::vector<size_t>{4, 12}));
  EXPECT_EQ(held_back_samples(500).size(), 8U);
  for (const size_t index : held_back_samples(63)) EXPECT_LT(index, 63U);
}

TEST(CompareOutputs, ASmallErrorIsNoCollapse) {
  const ops::Tensor expected = detections([](float v, int64_t) { return v; });
  const OutputCheck check =
      compare(expected, detections([](float v, int64_t f) { return f < 4 ? v + 2.0F : v * 0.95F; }));
  EXPECT_FALSE(check.collapsed);
  EXPECT_GT(check.sqnr_db, 30);
  EXPECT_EQ(check.fields, 13);
  EXPECT_EQ(check.lost_fields, 0);
  const OutputCheck same = compare(expected, expected);
  EXPECT_EQ(same.correlation, 1.0);
  EXPECT_FALSE(same.collapsed);
}

TEST(CompareOutputs, LostScoresAreACollapseThoughBoxesStay) {
  const ops::Tensor expected = detections([](float v, int64_t) { return v; });
  const OutputCheck check = compare(expected, detections([](float v, int64_t f) { return f < 4 ? v : 0.0F; }));
  EXPECT_GT(check.cosine, 0.999);  // boxes alone make any figure over all elements
  EXPECT_TRUE(check.collapsed);
  EXPECT_EQ(check.lost_fields, 9);
}

TEST(CompareOutputs, NoiseIsACollapseAndAgreementIsCounted) {
  ops::Tensor expected = ops::Tensor::zeros(DataType::kF32, Dims{2, 19});
  ops::Tensor actual = ops::Tensor::zeros(DataType::kF32, Dims{2, 19});
  std::mt19937 random(5);
  std::normal_distribution<float> normal;
  for (int64_t i = 0; i < 38; ++i) {
    data_of<float>(expected.mutable_view())[i] = normal(random);
    data_of<float>(actual.mutable_view())[i] = normal(random);
  }
  EXPECT_TRUE(compare(expected, actual).collapsed);
  const OutputCheck same = compare(expected, expected);
  EXPECT_EQ(same.agreement, 1.0);
  EXPECT_FALSE(same.collapsed);
}

// It still correlates, but half of what comes out is noise.
TEST(CompareOutputs, AsMuchNoiseAsSignalIsACollapse) {
  ops::Tensor expected = ops::Tensor::zeros(DataType::kF32, Dims{8, 19});
  ops::Tensor actual = ops::Tensor::zeros(DataType::kF32, Dims{8, 19});
  std::mt19937 random(6);
  std::normal_distribution<float> normal;
  for (int64_t i = 0; i < 8 * 19; ++i) {
    const float x = normal(random);
    data_of<float>(expected.mutable_view())[i] = x;
    data_of<float>(actual.mutable_view())[i] = x + 0.9F * normal(random);
  }
  const OutputCheck check = compare(expected, actual);
  EXPECT_GT(check.correlation, 0.6);
  EXPECT_LT(check.sqnr_db, 3.0);
  EXPECT_TRUE(check.collapsed);
}

TEST(CompareOutputs, AConstantOutputThatStaysIsFine) {
  ops::Tensor expected = ops::Tensor::zeros(DataType::kF32, Dims{1, 7});
  for (int64_t i = 0; i < 7; ++i) data_of<float>(expected.mutable_view())[i] = 2.0F;
  ops::Tensor near = expected;
  data_of<float>(near.mutable_view())[3] = 2.01F;
  EXPECT_FALSE(compare(expected, near).collapsed);
  EXPECT_TRUE(compare(expected, ops::Tensor::zeros(DataType::kF32, Dims{1, 7})).cosine < 0.5);
}

}  // namespace
}  // namespace hai::quantizer
