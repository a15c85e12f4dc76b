// Text inside pages of HTML: the characters that have a meaning there become entities (HTML Living Standard, 13.3).
//
// Both quotes are among them, so that a result fits an attribute whatever its quotes are.
#include "base/html.h"

namespace hai {

std::string html_escaped(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (const char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      case '\'':
        out += "&#39;";
        break;
      default:
        out += c;
    }
  }
  return out;
}

}  // namespace hai
