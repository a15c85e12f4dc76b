// What a specification of faults may be, and what is refused by name.
#include "devices/sd3403/exec/fault_spec.h"

#include <gtest/gtest.h>

namespace hai::sd3403 {
namespace {

TEST(FaultSpec, ReadsEveryForm) {
  const auto faults = parse_faults(
      "flip,image=constants,byte=12,bit=7;flip,seed=99;flip,seed=1,image=x,segment=npu1;semaphore,number=63;"
      "dma,channel=1,core=0,transfer=5");
  ASSERT_TRUE(faults.has_value()) << faults.error().to_string();
  ASSERT_EQ(faults->size(), 5U);
  const auto& f = *faults;
  EXPECT_EQ(f[0].image, "constants");
  EXPECT_EQ(f[0].byte, 12);
  EXPECT_EQ(f[0].bit, 7);
  EXPECT_FALSE(f[0].seed.has_value());
  EXPECT_EQ(f[1].seed, 99U);
  EXPECT_TRUE(f[1].image.empty() && f[1].segment.empty());
  EXPECT_EQ(f[2].segment, "npu1");
  EXPECT_EQ(f[3].kind, FaultKind::kSemaphore);
  EXPECT_EQ(f[3].semaphore, 63);
  EXPECT_EQ(f[4].kind, FaultKind::kDma);
  EXPECT_EQ(f[4].channel, 1);
  EXPECT_EQ(f[4].transfer, 5);
  EXPECT_EQ(f[4].text, "dma,channel=1,core=0,transfer=5");
}

TEST(FaultSpec, RefusesEverythingElseAndSaysWhatThereIs) {
  const auto refused = [](const std::string& text, std::string_view word) {
    const auto faults = parse_faults(text);
    ASSERT_FALSE(faults.has_value()) << text;
    EXPECT_EQ(faults.error().id, "N093") << text;
    const std::string message = faults.error().to_string();
    EXPECT_NE(message.find(word), std::string::npos) << message;
    EXPECT_NE(message.find("semaphore,number=0..63"), std::string::npos) << message;
  };
  refused("", "no fault \"\"");
  refused(";", "no fault \"\"");
  refused("semaphore,number=1;", "no fault \"\"");
  refused("melt", "no fault \"melt\"");
  refused("FLIP,seed=1", "no fault");
  refused("flip", "nor a seed");
  refused("flip,image=x", "byte is missing");
  refused("flip,image=x,byte=1", "bit is missing");
  refused("flip,byte=1,bit=2", "image is missing");
  refused("flip,image=x,byte=1,bit=8", "bit=8");
  refused("flip,image=x,byte=-1,bit=0", "byte=-1");
  refused("flip,image=x,byte=0x10,bit=0", "byte=0x10");
  refused("flip,image=x,byte=99999999999999999999,bit=0", "byte=");
  refused("flip,image=x,byte=1.5,bit=0", "byte=1.5");
  refused("flip,image=,byte=1,bit=0", "word=value");
  refused("flip,=3,seed=1", "word=value");
  refused("flip,seed", "word=value");
  refused("flip,seed=1,seed=2", "twice");
  refused("flip,seed=1,byte=2", "byte means nothing");
  refused("flip,seed=-1", "seed=-1");
  refused("semaphore", "number is missing");
  refused("semaphore,number=64", "number=64");
  refused("semaphore,number=1,core=0", "core means nothing");
  refused("dma,core=0,channel=1", "transfer is missing");
  refused("dma,core=2,channel=1,transfer=0", "core=2");
  refused("dma,core=0,channel=2,transfer=0", "channel=2");
  refused("dma,core=0,channel=0,transfer=4194305", "transfer=");
  std::string many;
  for (int i = 0; i < 65; ++i) many += (i == 0 ? "" : ";") + std::string("semaphore,number=1");
  refused(many, "more than 64");
}

}  // namespace
}  // namespace hai::sd3403
