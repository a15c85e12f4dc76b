#include "types/epilogue.h"

#include <gtest/gtest.h>

#include "types/unary_functions.h"

namespace hai {
namespace {

TEST(Epilogue, AbsentMeansNone) {
  const auto epilogue = parse_epilogue({});
  ASSERT_TRUE(epilogue.has_value());
  EXPECT_TRUE(epilogue->activation.is_none());
  EXPECT_TRUE(epilogue->residual_activation.is_none());
  EXPECT_FALSE(epilogue->conv.has_value());
}

TEST(Epilogue, ReadsFunctionsAndPoints) {
  const auto epilogue = parse_epilogue({{"activation", std::string("leaky_relu")},
                                        {"activation_alpha", 0.25},
                                        {"conv_scale", 0.5},
                                        {"conv_zero_point", int64_t{-3}},
                                        {"residual_activation", std::string("clip")},
                                        {"residual_activation_lo", -1.0},
                                        {"residual_activation_hi", int64_t{2}}});
  ASSERT_TRUE(epilogue.has_value()) << epilogue.error().to_string();
  EXPECT_EQ(epilogue->activation.function, find_unary_function("leaky_relu"));
  EXPECT_EQ(apply_activation(epilogue->activation, -4.0), -1.0);
  EXPECT_EQ(epilogue->conv->zero_point, -3);
  EXPECT_EQ(epilogue->residual_activation.hi, 2.0);
  EXPECT_TRUE(check_integer_epilogue(*epilogue, false, DataType::kI8).has_value());
  EXPECT_EQ(check_integer_epilogue(*epilogue, true, DataType::kI8).error().id, "T006");
  EXPECT_EQ(check_integer_epilogue(*epilogue, false, DataType::kU8).error().id, "T006");
}

TEST(Epilogue, WidePointsHoldWhatTheOutputCannot) {
  AttributeMap attributes = {{"activation", std::string("silu")},
                             {"conv_scale", 0.5},
                             {"conv_zero_point", int64_t{-1000}},
                             {"conv_bits", int64_t{16}}};
  auto epilogue = parse_epilogue(attributes);
  ASSERT_TRUE(epilogue.has_value()) << epilogue.error().to_string();
  EXPECT_EQ(epilogue->conv->dtype(DataType::kU8), DataType::kI16);
  EXPECT_TRUE(check_integer_epilogue(*epilogue, false, DataType::kI8).has_value());
  attributes["rounding"] = std::string("fixed_point");
  epilogue = parse_epilogue(attributes);
  EXPECT_EQ(check_integer_epilogue(*epilogue, false, DataType::kI8).error().id, "T010");
  attributes.erase("conv_bits");
  epilogue = parse_epilogue(attributes);
  EXPECT_EQ(check_integer_epilogue(*epilogue, false, DataType::kI8).error().id, "T006");
}

TEST(Epilogue, ClampBoundsAreRoundedOnce) {
  const hai_output_range full{-10, -128, 127};
  Activation relu6;
  relu6.lo = 0.0;
  relu6.hi = 6.0;
  EXPECT_EQ(clamp_range(relu6, 0.05F, full).lo, -10);
  EXPECT_EQ(clamp_range(relu6, 0.05F, full).hi, 110);
  EXPECT_EQ(clamp_range(relu6, 0.01F, full).hi, 127);
  EXPECT_EQ(clamp_range(Activation{}, 0.01F, full).lo, -128);
}

TEST(Epilogue, HostileAttributes) {
  EXPECT_EQ(parse_epilogue({{"activation", int64_t{1}}}).error().id, "T002");
  EXPECT_EQ(parse_epilogue({{"activation", std::string("nonsense")}}).error().id, "T004");
  EXPECT_EQ(parse_epilogue({{"activation", std::string("clip")}, {"activation_lo", std::string("x")}}).error().id,
            "T001");
  EXPECT_EQ(
      parse_epilogue({{"activation", std::string("clip")}, {"activation_lo", 2.0}, {"activation_hi", 1.0}}).error().id,
      "T003");
  EXPECT_EQ(parse_epilogue({{"conv_scale", 0.0}}).error().id, "T005");
  EXPECT_EQ(parse_epilogue({{"conv_scale", 1e-60}, {"conv_zero_point", int64_t{0}}}).error().id, "T005");
  EXPECT_EQ(parse_epilogue({{"pre_residual_scale", 0.1}, {"pre_residual_zero_point", 0.5}}).error().id, "T005");
  EXPECT_EQ(parse_epilogue({{"pre_residual_zero_point", int64_t{1} << 40}}).error().id, "T005");
  EXPECT_EQ(parse_epilogue({{"conv_scale", 0.5}, {"conv_bits", int64_t{8}}}).error().id, "T009");
  EXPECT_EQ(parse_epilogue({{"conv_scale", 0.5}, {"conv_bits", std::string("16")}}).error().id, "T001");
  EXPECT_EQ(parse_epilogue({{"pre_residual_scale", 0.5}, {"pre_residual_bits", int64_t{32}}}).error().id, "T009");
  const auto table = parse_epilogue({{"residual_activation", std::string("silu")}});
  EXPECT_EQ(check_integer_epilogue(*table, false, DataType::kI8).error().id, "T007");
}

}  // namespace
}  // namespace hai
