// Names from outside cannot leave the place of a page that they are written to.
//
// What a browser would read as a tag, an attribute's end or an entity becomes an entity itself.
#include "base/html.h"

#include <gtest/gtest.h>

namespace hai {
namespace {

TEST(Html, WhatHasAMeaningBecomesAnEntity) {
  EXPECT_EQ(html_escaped("<img src=x onerror='a(\"b\")'>&amp;"),
            "&lt;img src=x onerror=&#39;a(&quot;b&quot;)&#39;&gt;&amp;amp;");
  EXPECT_EQ(html_escaped(""), "");
  EXPECT_EQ(html_escaped("plain \xc3\xa4 \x01"), "plain \xc3\xa4 \x01");
}

}  // namespace
}  // namespace hai
