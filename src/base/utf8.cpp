// Well-formed UTF-8 by the table of the Unicode standard.
//
// Names in files are bytes until someone has looked at them; what goes to a JSON writer, a terminal or Python must be
// text. Not here: normalisation, characters, anything that needs Unicode's data.
#include "base/utf8.h"

#include <fmt/format.h>

#include <cstdint>
#include <iterator>

namespace hai {

size_t utf8_length(std::string_view text) {
  if (text.empty()) return 0;
  const auto byte = [&](size_t i) { return i < text.size() ? static_cast<unsigned char>(text[i]) : 0U; };
  const auto continues = [&](size_t i) { return (byte(i) & 0xc0U) == 0x80U; };
  const unsigned lead = byte(0);
  if (lead < 0x80) return 1;
  if (lead >= 0xc2 && lead <= 0xdf && continues(1)) return 2;
  if (lead >= 0xe0 && lead <= 0xef && continues(1) && continues(2)) {
    const bool overlong = lead == 0xe0 && byte(1) < 0xa0;
    const bool surrogate = lead == 0xed && byte(1) >= 0xa0;
    return overlong || surrogate ? 0 : 3;
  }
  if (lead >= 0xf0 && lead <= 0xf4 && continues(1) && continues(2) && continues(3)) {
    const bool overlong = lead == 0xf0 && byte(1) < 0x90;
    const bool beyond = lead == 0xf4 && byte(1) >= 0x90;
    return overlong || beyond ? 0 : 4;
  }
  return 0;
}

bool is_utf8(std::string_view text) {
  while (!text.empty()) {
    const size_t length = utf8_length(text);
    if (length == 0) return false;
    text.remove_prefix(length);
  }
  return true;
}

namespace {

// U+0080..U+009F, and the embeddings, overrides and isolates of Unicode's bidirectional algorithm (UAX 9).
bool steers_terminal(uint32_t code) {
  return (code >= 0x80 && code <= 0x9f) || code == 0x061c || code == 0x200e || code == 0x200f ||
         (code >= 0x2028 && code <= 0x202e) || (code >= 0x2066 && code <= 0x2069);
}

// Precondition: a well-formed sequence of 2 or 3 bytes.
uint32_t code_of(std::string_view sequence) {
  uint32_t code = static_cast<unsigned char>(sequence[0]) & (sequence.size() == 2 ? 0x1fU : 0x0fU);
  for (const char c : sequence.substr(1)) code = code << 6 | (static_cast<unsigned char>(c) & 0x3fU);
  return code;
}

// What stays as it is although a terminal would obey it.
enum class Keep { kControls, kLineEnds, kNothing };

std::string escape(std::string_view text, Keep keep) {
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    const size_t length = utf8_length(text);
    const auto first = static_cast<unsigned char>(text[0]);
    const bool kept = keep == Keep::kControls || (keep == Keep::kLineEnds && first == '\n');
    const bool control = length == 1 && (first < 0x20 || first == 0x7f);
    if (length == 0 || (control && !kept)) {
      fmt::format_to(std::back_inserter(out), "\\x{:02x}", static_cast<unsigned>(first));
    } else if (!kept && (length == 2 || length == 3) && steers_terminal(code_of(text.substr(0, length)))) {
      fmt::format_to(std::back_inserter(out), "\\u{:04x}", code_of(text.substr(0, length)));
    } else {
      out += text.substr(0, length);
    }
    text.remove_prefix(length == 0 ? 1 : length);
  }
  return out;
}

}  // namespace

std::string escape_invalid_utf8(std::string_view text) { return escape(text, Keep::kControls); }

std::string printable(std::string_view text) { return escape(text, Keep::kNothing); }

std::string printable_lines(std::string_view text) { return escape(text, Keep::kLineEnds); }

}  // namespace hai
