// AlignedBuffer: bytes that start on a cache line, for packed weights and tables. Running out of memory is an error.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <span>

#include "base/result.h"

namespace hai::cpu {

class AlignedBuffer {
 public:
  AlignedBuffer() = default;

  // Zeroed, with 64 readable bytes past the end.
  static Result<AlignedBuffer> zeros(int64_t size_bytes) {
    constexpr int64_t kLine = 64;
    AlignedBuffer out;
    const int64_t capacity =
        size_bytes < 0 || size_bytes > INT64_MAX - 4 * kLine ? -1 : (size_bytes + 2 * kLine - 1) / kLine * kLine;
    void* memory = capacity < 0 ? nullptr : std::aligned_alloc(kLine, static_cast<size_t>(capacity));
    if (memory == nullptr) {
      return make_error(StatusCode::kResourceExhausted, "C020",
                        "no memory for {} bytes of packed weights: free some, or choose a smaller model", size_bytes);
    }
    std::memset(memory, 0, static_cast<size_t>(capacity));
    out.memory_.reset(static_cast<std::byte*>(memory));
    out.size_bytes_ = size_bytes;
    return out;
  }

  int64_t size_bytes() const { return size_bytes_; }
  std::byte* data() { return memory_.get(); }
  const std::byte* data() const { return memory_.get(); }
  template <typename T>
  std::span<T> as() {
    return {reinterpret_cast<T*>(memory_.get()), static_cast<size_t>(size_bytes_) / sizeof(T)};
  }
  template <typename T>
  const T* as() const {
    return reinterpret_cast<const T*>(memory_.get());
  }

 private:
  struct Free {
    void operator()(std::byte* memory) const { std::free(memory); }
  };
  std::unique_ptr<std::byte, Free> memory_;
  int64_t size_bytes_ = 0;
};

}  // namespace hai::cpu
