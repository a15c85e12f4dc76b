// What JSON reserves is escaped, what is not UTF-8 replaced, the rest left alone.
#include "base/json_text.h"

#include <gtest/gtest.h>

namespace hai {
namespace {

std::string quoted(std::string_view text) {
  std::string out = "x";
  append_json_string(out, text);
  return out;
}

TEST(JsonText, EscapesWhatIsReserved) {
  EXPECT_EQ(quoted(""), "x\"\"");
  EXPECT_EQ(quoted("a/b"), "x\"a/b\"");
  EXPECT_EQ(quoted("\"\\\n"), "x\"\\\"\\\\\\u000a\"");
  EXPECT_EQ(quoted(std::string_view("\0", 1)), "x\"\\u0000\"");
}

TEST(JsonText, KeepsUtf8AndReplacesTheRest) {
  EXPECT_EQ(quoted("\xc3\xa9"), "x\"\xc3\xa9\"");
  EXPECT_EQ(quoted("\xc3"), "x\"\\ufffd\"");
  EXPECT_EQ(quoted("a\xff\xfe"
                   "b"),
            "x\"a\\ufffd\\ufffdb\"");
}

}  // namespace
}  // namespace hai
