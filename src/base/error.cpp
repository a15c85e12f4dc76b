// Errors: their text form and the names of status codes.
//
// Method: an Error is plain data; formatting happens once, when it is made, so that an error can cross threads and the
// C ABI. It is not an exception and never becomes one inside HAI.
#include "base/error.h"

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
  return Error{code, std::string(id), fmt::vformat(format, args), {}};
}

Error with_where(Error error, std::string_view where) {
  error.where = error.where.empty() ? std::string(where) : std::string(where) + ": " + error.where;
  return error;
}

}  // namespace hai
