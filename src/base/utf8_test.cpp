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

TEST(Utf8, WhatATerminalObeysIsEscaped) {
  const std::pair<std::string, std::string> cases[] = {
      {"conv1/Stra\xc3\x9f \xe5\xb1\x82\xf0\x9f\x90\x88~", "conv1/Stra\xc3\x9f \xe5\xb1\x82\xf0\x9f\x90\x88~"},
      {"a\x1b[2Jb", "a\\x1b[2Jb"},          // clears the screen
      {std::string("a\0b", 3), "a\\x00b"},  //
      {"a\nhai: error\r\t\x7f", "a\\x0ahai: error\\x0d\\x09\\x7f"},
      {"\xc2\x9b"
       "2J\xc2\xa0",
       "\\u009b2J\xc2\xa0"},                                  // the same in one character; a space stays
      {"\xe2\x80\xaegnp.exe", "\\u202egnp.exe"},              // right to left
      {"\xe2\x81\xa6x\xe2\x81\xaa", "\\u2066x\xe2\x81\xaa"},  // isolates end at U+2069
      {"\xff\x07", "\\xff\\x07"},
  };
  for (const auto& [text, wanted] : cases) EXPECT_EQ(printable(text), wanted);
  EXPECT_EQ(printable_lines("one\ntwo\x1b\r\n\xff"), "one\ntwo\\x1b\\x0d\n\\xff");
}

TEST(Utf8, ErrorsShowNamesAsTheyCanBeShown) {
  const Error error = with_where(
      make_error(StatusCode::kCorrupt, "F030", "tensor \"{}\" is broken", std::string("a\x1b[2J\nhai: all is well")),
      "f\n.hai");
  EXPECT_EQ(error.to_string(), "f\\x0a.hai: tensor \"a\\x1b[2J\\x0ahai: all is well\" is broken [HAI-F030]");
  const Error lines = make_error(StatusCode::kInternal, "F030", "lines:\n  {}", std::string("x\x1b\n  y"));
  EXPECT_EQ(lines.message, "lines:\n  x\\x1b\n  y");
}

// Whatever a file calls its parts, what is said of it is text.
TEST(Utf8, ErrorsAreText) {
  const Error error = with_where(
      make_error(StatusCode::kCorrupt, "F030", "tensor \"{}\" is broken", std::string("conv\xff")), "f\xe9.hai");
  EXPECT_EQ(error.to_string(), "f\\xe9.hai: tensor \"conv\\xff\" is broken [HAI-F030]");
}

}  // namespace
}  // namespace hai
