// MemoryRegion: a large zeroed piece of memory, straight from the system, so that releasing it gives the pages back.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <utility>

#include "base/result.h"

namespace hai::runtime {

class MemoryRegion {
 public:
  MemoryRegion() = default;
  // `what` names the purpose in the error. Aligned to at least 64 bytes; size 0 is allowed and has a valid pointer.
  static Result<MemoryRegion> allocate(int64_t size_bytes, std::string_view what);
  MemoryRegion(MemoryRegion&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), size_bytes_(std::exchange(other.size_bytes_, 0)) {}
  MemoryRegion& operator=(MemoryRegion&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_bytes_, other.size_bytes_);
    return *this;
  }
  MemoryRegion(const MemoryRegion&) = delete;
  MemoryRegion& operator=(const MemoryRegion&) = delete;
  ~MemoryRegion();

  std::byte* data() const { return data_; }
  int64_t size_bytes() const { return size_bytes_; }

 private:
  std::byte* data_ = nullptr;
  int64_t size_bytes_ = 0;
};

}  // namespace hai::runtime
