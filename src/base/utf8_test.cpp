// Well-formed and ill-formed sequences at every boundary of the Unicode standard's table 3-7.
#include "base/utf8.h"

#include <gtest/gtest.h>

#include <string>

#include "base/error.h"

namespace hai {
namespace {

TEST(Utf8, WellFormedTextIsLeftAlone) {
  for (const std::string text :
       {"", "plain", "\x7f", "\xc2\x80", "\xdf\xbf", "\xe0\xa0\x80", "\xed\x9f\xbf", "\xee\x80\x80", "\xef\xbf\xbf",
        "\xf0\x90\x80\x80", "\xf4\x8f\xbf\xbf", "Stra\xc3\x9f", "\xe5\xb1\x82/\xf0\x9f\x90\x88"}) {
    EXPECT_TRUE(is_utf8(text)) << text;
    EXPECT_EQ(escape_invalid_utf8(text), text);
  }
  const std::string with_null("a\0b", 3);
  EXPECT_TRUE(is_utf8(with_null));
  EXPECT_EQ(escape_invalid_utf8(with_null), with_null);
}

TEST(Utf8, IllFormedBytesBecomeEscapes) {
  const std::pair<std::string, std::string> cases[] = {
      {"\x80", "\\x80"},                             // a continuation alone
      {"\xc3", "\\xc3"},                             // cut short
      {"\xc0\xaf", "\\xc0\\xaf"},                    // overlong
      {"\xc1\xbf", "\\xc1\\xbf"},                    // overlong
      {"\xe0\x9f\xbf", "\\xe0\\x9f\\xbf"},           // overlong
      {"\xed\xa0\x80", "\\xed\\xa0\\x80"},           // a surrogate
      {"\xf0\x8f\xbf\xbf", "\\xf0\\x8f\\xbf\\xbf"},  // overlong
      {"\xf4\x90\x80\x80", "\\xf4\\x90\\x80\\x80"},  // beyond U+10FFFF
      {"\xf5", "\\xf5"},
      {"\xff", "\\xff"},
      {"Gru\xdf", "Gru\\xdf"},               // Latin-1
      {"\xe5\xb1layer", "\\xe5\\xb1layer"},  // the next byte is no continuation
  };
  for (const auto& [bytes, wanted] : cases) {
    EXPECT_FALSE(is_utf8(bytes)) << wanted;
    EXPECT_EQ(escape_invalid_utf8(bytes), wanted);
    EXPECT_TRUE(is_utf8(escape_invalid_utf8(bytes)));
  }
}

// Whatever a file calls its parts, what is said of it is text.
TEST(Utf8, ErrorsAreText) {
  const Error error = with_where(
      make_error(StatusCode::kCorrupt, "F030", "tensor \"{}\" is broken", std::string("conv\xff")), "f\xe9.hai");
  EXPECT_EQ(error.to_string(), "f\\xe9.hai: tensor \"conv\\xff\" is broken [HAI-F030]");
}

}  // namespace
}  // namespace hai
