#include "devices/cpu/exec/isa.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <string>

#include "devices/cpu/exec/exec_registry.h"

namespace hai::cpu {
namespace {

class IsaTest : public testing::Test {
 protected:
  void SetUp() override {
    if (const char* value = std::getenv("HAI_CPU")) saved_ = value;
  }
  void TearDown() override {
    if (saved_.empty()) {
      unsetenv("HAI_CPU");
    } else {
      setenv("HAI_CPU", saved_.c_str(), 1);
    }
  }
  std::string saved_;
};

TEST_F(IsaTest, ScalarIsAlwaysThereAndFirst) {
  ASSERT_FALSE(available_isas().empty());
  EXPECT_EQ(available_isas().front(), Isa::kScalar);
  for (const Isa isa : available_isas()) EXPECT_TRUE(isa_compiled(isa) && isa_available(isa));
}

TEST_F(IsaTest, EnvironmentForcesOne) {
  for (const Isa isa : available_isas()) {
    setenv("HAI_CPU", std::string(isa_name(isa)).c_str(), 1);
    const auto selected = selected_isa();
    ASSERT_TRUE(selected.has_value());
    EXPECT_EQ(*selected, isa);
  }
  unsetenv("HAI_CPU");
  EXPECT_EQ(selected_isa().value(), available_isas().back());
}

TEST_F(IsaTest, UnknownAndForeignNamesAreErrors) {
  setenv("HAI_CPU", "mmx", 1);
  ASSERT_FALSE(selected_isa().has_value());
  EXPECT_EQ(selected_isa().error().id, "C002");
  EXPECT_NE(selected_isa().error().message.find("scalar"), std::string::npos);
#if defined(__x86_64__)
  setenv("HAI_CPU", "neon", 1);
#else
  setenv("HAI_CPU", "avx2", 1);
#endif
  ASSERT_FALSE(selected_isa().has_value());
  EXPECT_EQ(selected_isa().error().id, "C001");
}

TEST(KernelContext, HostileAttributesBecomeErrors) {
  format::Instruction instruction;
  instruction.kernel = "conv2d";
  instruction.name = "stem";
  instruction.attributes = {{"groups", int64_t{0}},
                            {"activation", int64_t{3}},
                            {"strides", std::vector<int64_t>{1, 2, 3}},
                            {"alpha", std::string("x")}};
  const KernelContext context{instruction, {}, {}, {}, {}, Isa::kScalar};
  EXPECT_EQ(context.int_attribute("groups", 1, 1, 100).error().id, "C011");
  EXPECT_EQ(context.int_attribute("absent", 7, 1, 100).value(), 7);
  EXPECT_EQ(context.string_attribute("activation", "none").error().id, "C010");
  EXPECT_EQ(context.ints_attribute("strides", 2, 1, 9).error().id, "C010");
  EXPECT_EQ(context.ints_attribute("pads", 4, 0, 9).error().id, "C010");
  EXPECT_EQ(context.ints_attribute_or("strides", {}, 1, 2).error().id, "C011");
  EXPECT_EQ(context.float_attribute("alpha", 0.0).error().id, "C010");
  EXPECT_NE(context.refuse("weights of i4").to_string().find("conv2d 'stem': weights of i4"), std::string::npos);
}

}  // namespace
}  // namespace hai::cpu
