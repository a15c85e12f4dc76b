// Results of the public interface as Results of our own, so that commands use one kind.
#pragma once

#include <string>
#include <utility>

#include "base/result.h"
#include "hai/hai.hpp"

namespace hai::tools {

// "message [HAI-F012]" apart again into message and id.
Error from_api_error(const api::Error& error);

template <typename T>
Result<T> from_api(api::Result<T> result) {
  if (!result.has_value()) return from_api_error(result.error());
  return std::move(result).value();
}

inline Status from_api(const api::Status& status) {
  if (!status.has_value()) return from_api_error(status.error());
  return {};
}

}  // namespace hai::tools
