// UTF-8: whether bytes from outside are text, and text made of them all the same.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace hai {

// Bytes of the well-formed sequence (Unicode 15, table 3-7: shortest form, no surrogates) at the start of `text`; 0
// when there is none.
size_t utf8_length(std::string_view text);

bool is_utf8(std::string_view text);

// Each byte that belongs to no well-formed sequence becomes \xNN; the rest stays. Different texts that are not UTF-8
// stay different; a backslash is not doubled, so the result is for reading, not for decoding.
std::string escape_invalid_utf8(std::string_view text);

}  // namespace hai
