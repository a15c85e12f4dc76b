// The loops behind the measured peak: they do the work that they claim. Never how long it takes.
#include "devices/cpu/exec/machine_peak.h"

#include <gtest/gtest.h>

#include <vector>

#include "devices/cpu/exec/kernel_dispatch.h"

HAI_DOT_KERNEL_FAMILY(peak_f32, float, (int64_t, int64_t*));
HAI_DOT_KERNEL_FAMILY(peak_i8, int32_t, (int64_t, int64_t*));
HAI_KERNEL_FAMILY(read_bandwidth, float, (const float*, int64_t, int64_t));

namespace hai::cpu {
namespace {

TEST(MachinePeakTest, WorkGrowsWithRoundsAndIsNeverLessWithDotProducts) {
  for (const Isa isa : available_isas()) {
    int64_t one = 0;
    int64_t three = 0;
    peak_f32_for(isa)(1, &one);
    peak_f32_for(isa)(3, &three);
    EXPECT_GT(one, 0) << isa_name(isa);
    EXPECT_EQ(three, 3 * one) << isa_name(isa);
    int64_t integer = 0;
    peak_i8_for(isa)(1, &integer);
    EXPECT_GE(integer, one) << isa_name(isa);
  }
}

TEST(MachinePeakTest, EveryElementOfWholeGroupsIsRead) {
  for (const Isa isa : available_isas()) {
    std::vector<float> x(256, 0.0F);  // a multiple of eight vectors of any width
    for (const size_t at : {size_t{0}, size_t{100}, size_t{255}}) {
      x[at] = 2.0F;
      EXPECT_EQ(read_bandwidth_for(isa)(x.data(), 256, 1), 2.0F) << isa_name(isa) << ' ' << at;
      EXPECT_EQ(read_bandwidth_for(isa)(x.data(), 256, 5), 10.0F) << isa_name(isa) << ' ' << at;
      x[at] = 0.0F;
    }
    EXPECT_EQ(read_bandwidth_for(isa)(x.data(), 7, 1), 0.0F);
  }
}

TEST(MachinePeakTest, FiguresArePositiveAndSetsAscend) {
  ThreadPool pool(1);
  const ArithmeticPeak peak = measure_arithmetic_peak(Isa::kScalar, pool);
  EXPECT_EQ(peak.isa, Isa::kScalar);
  EXPECT_GT(peak.f32_macs_per_s, 0);
  EXPECT_GT(peak.i8_macs_per_s, 0);
}

}  // namespace
}  // namespace hai::cpu
