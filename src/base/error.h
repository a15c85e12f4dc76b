// Error: what went wrong, in words that a user can act on.
//
// Every message says what, where, the value, the limit and what to do next, and ends with a stable id: a room letter
// and three digits
// (`HAI-F012`). An id has one meaning; docs/reference/errors.md is generated from the `make_error` calls. The status
// code is what a program branches on, the id is what a person searches for.
#pragma once

#include <fmt/core.h>

#include <cstdint>
#include <string>
#include <string_view>

namespace hai {

// What kind of failure this is, and so who can mend it.
enum class StatusCode : int32_t {
  kOk = 0,
  kInvalidArgument = 1,  // the caller passed something that can never work: mend the call
  kNotFound = 2,         // a file, name or symbol does not exist
  kCorrupt = 3,          // data read from outside breaks its own format: get the file again
  kUnsupported = 4,      // valid, but HAI (or this device, or this build) cannot do it: the message names the way round
  kOutOfRange = 5,       // a number is beyond a stated limit
  kResourceExhausted = 6,  // memory, disk or a configured budget ran out
  kIo = 7,                 // the operating system refused a read or a write
  kInternal = 8,           // a bug in HAI: report it
};

// "invalid argument", "corrupt", ...
std::string_view status_code_name(StatusCode code);

struct Error {
  StatusCode code = StatusCode::kInternal;
  std::string id;       // "F012"
  std::string message;  // one sentence or two, without the id
  std::string where;    // file, node or section: outermost first, may be empty

  // "where: message [HAI-F012]".
  std::string to_string() const;
};

Error make_error_from(StatusCode code, std::string_view id, fmt::string_view format, fmt::format_args args);

// The one way to make an error. `id` is a literal such as "F012".
template <typename... Args>
Error make_error(StatusCode code, std::string_view id, fmt::format_string<Args...> format, Args&&... args) {
  return make_error_from(code, id, format, fmt::make_format_args(args...));
}

// Puts `where` in front of what the error already says about its place.
Error with_where(Error error, std::string_view where);

}  // namespace hai
