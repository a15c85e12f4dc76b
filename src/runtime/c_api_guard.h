// What the C interfaces share: handles of models, the thread's last error, and the guard that no exception passes.
//
// guarded() turns errors into a status and a text of the calling thread, and whatever a library throws (bad_alloc above
// all) into an error too.
#pragma once

#include <algorithm>
#include <cstring>
#include <exception>
#include <memory>
#include <new>
#include <stdexcept>
#include <string_view>

#include "base/result.h"
#include "hai/hai.h"
#include "runtime/c_api_views.h"
#include "runtime/model.h"

struct hai_model {
  std::shared_ptr<hai::runtime::Model> model;
  hai::runtime::ModelView view;
};

namespace hai::runtime {

// For hai_last_error(): this text, or that memory ran out.
void keep_last_error(const Error& error) noexcept;
void lose_last_error() noexcept;

// A handle of the model.
Result<hai_model*> wrap(Result<std::shared_ptr<Model>> model);

template <typename F>
hai_status guarded(F&& body) noexcept {
  try {
    const Status status = body();
    if (status.has_value()) return HAI_OK;
    keep_last_error(status.error());
    return static_cast<hai_status>(status.error().code);
  } catch (const std::bad_alloc&) {
    {
      lose_last_error();
      return HAI_RESOURCE_EXHAUSTED;
    }
  } catch (const std::length_error&) {
    {
      lose_last_error();
      return HAI_RESOURCE_EXHAUSTED;
    }  // a container that would pass its largest size
  } catch (const std::exception& exception) {
    try {
      keep_last_error(
          make_error(StatusCode::kInternal, "A001", "a library threw: {}; please report it", exception.what()));
    } catch (...) {
      {
        lose_last_error();
        return HAI_RESOURCE_EXHAUSTED;
      }
    }
    return HAI_INTERNAL;
  } catch (...) {
    lose_last_error();
    return HAI_INTERNAL;
  }
}

inline Status require(const void* pointer, std::string_view what) {
  if (pointer != nullptr) return {};
  return make_error(StatusCode::kInvalidArgument, "A002", "{} is NULL", what);
}

// Takes a structure of the caller's version: what it does not have keeps its default; what we do not know must be zero.
template <typename T>
Status copy_versioned(T& target, const T* source, std::string_view name) {
  const size_t size = source->struct_size;
  if (size < sizeof(size_t) || size > 4096) {
    return make_error(StatusCode::kInvalidArgument, "A003", "{} has struct_size {}; begin it with its _INIT macro",
                      name, size);
  }
  const auto* bytes = reinterpret_cast<const unsigned char*>(source);
  if (std::any_of(bytes + std::min(size, sizeof(T)), bytes + size, [](unsigned char byte) { return byte != 0; })) {
    return make_error(StatusCode::kUnsupported, "A004", "{} uses members that this library does not know; update HAI",
                      name);
  }
  std::memcpy(&target, source, std::min(size, sizeof(T)));
  return {};
}

}  // namespace hai::runtime
