// Errors: their text form and the names of status codes.
//
// Method: an Error is plain data; formatting happens once, when it is made, so that an error can cross threads and the
// C ABI. It is not an exception and never becomes one inside HAI. Names come from files: what is no UTF-8 of them and
// what a terminal would obey is escaped, since messages end in terminals, JSON and Python.
#include "base/error.h"

#include "base/utf8.h"

namespace hai {

std::string_view status_code_name(StatusCode code) {
  switch (code) {
    case StatusCode::kOk:
      return "ok";
    case StatusCode::kInvalidArgument:
      return "invalid argument";
    case StatusCode::kNotFound:
      return "not found";
    case StatusCode::kCorrupt:
      return "corrupt";
    case StatusCode::kUnsupported:
      return "unsupported";
    case StatusCode::kOutOfRange:
      return "out of range";
    case StatusCode::kResourceExhausted:
      return "resource exhausted";
    case StatusCode::kIo:
      return "input/output error";
    case StatusCode::kInternal:
      return "internal error";
  }
  return "unknown";
}

std::string Error::to_string() const {
  std::string text = where;
  if (!text.empty()) text += ": ";
  text += message;
  text += " [HAI-";
  text += id;
  text += "]";
  return text;
}

Error make_error_from(StatusCode code, std::string_view id, fmt::string_view format, fmt::format_args args) {
  const std::string text = fmt::vformat(format, args);
  // Line ends are ours only where the sentence itself has them.
  const bool has_lines = std::string_view(format.data(), format.size()).find('\n') != std::string_view::npos;
  return Error{code, std::string(id), has_lines ? printable_lines(text) : printable(text), {}};
}

Error with_where(Error error, std::string_view where) {
  const std::string place = printable(where);
  error.where = error.where.empty() ? place : place + ": " + error.where;
  return error;
}

}  // namespace hai
