// The public interface carries errors as text that ends in the id; commands print Errors. The two meet here.
//
// Invariant: to_string() of the result is the text that came in.
#include "tools/hai_device/api_errors.h"

namespace hai::tools {

Error from_api_error(const api::Error& error) {
  Error out{static_cast<StatusCode>(error.code), "R000", error.message, {}};
  const size_t bracket = out.message.rfind(" [HAI-");
  if (bracket != std::string::npos && out.message.back() == ']') {
    out.id = out.message.substr(bracket + 6, out.message.size() - bracket - 7);
    out.message.resize(bracket);
  }
  return out;
}

}  // namespace hai::tools
