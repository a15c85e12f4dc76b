// Text inside pages of HTML.
#pragma once

#include <string>
#include <string_view>

namespace hai {

// With the five characters that HTML gives a meaning as entities: fit between tags and in quoted attributes. Bytes that
// are no UTF-8 stay as they are (base/utf8.h).
std::string html_escaped(std::string_view text);

}  // namespace hai
