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

// Text that a terminal can show: as escape_invalid_utf8(), and what a terminal would obey becomes an escape as well:
// control characters \xNN, those beyond ASCII and the marks that turn the direction of writing \uNNNN. For names, so
// line ends and tabs are escaped too.
std::string printable(std::string_view text);
// The same for texts of several lines: line ends stay.
std::string printable_lines(std::string_view text);

}  // namespace hai
