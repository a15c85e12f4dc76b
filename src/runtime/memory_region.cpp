// Memory for arenas, scratch and staged weights.
//
// Method: anonymous mappings. malloc would keep what a model of the past needed (its threshold for mapping grows with
// every large block that is freed), and the runtime promises that loading leaves nothing behind. Under the address
// sanitizer the memory comes from operator new, so that a kernel that leaves its region is caught.
#include "runtime/memory_region.h"

#include <sys/mman.h>

#include <cerrno>
#include <cstring>
#include <new>

namespace hai::runtime {
namespace {

constexpr int64_t kMaxRegionBytes = int64_t{1} << 46;

#if defined(HAI_SANITIZE_ADDRESS)
constexpr size_t kAlignment = 64;

void* take(size_t size_bytes) {
  void* data = ::operator new(size_bytes, std::align_val_t{kAlignment}, std::nothrow);
  if (data != nullptr) std::memset(data, 0, size_bytes);
  return data;
}
void give_back(void* data, size_t) { ::operator delete(data, std::align_val_t{kAlignment}); }
#else
constexpr size_t kHugeBytes = size_t{32} << 20;

void* take(size_t size_bytes) {
  void* data = ::mmap(nullptr, size_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (data == MAP_FAILED) return nullptr;
#if defined(MADV_HUGEPAGE)
  // A wish that may be refused: arenas of training are swept over, and small pages would cost a table look-up each.
  if (size_bytes >= kHugeBytes) static_cast<void>(::madvise(data, size_bytes, MADV_HUGEPAGE));
#endif
  return data;
}
void give_back(void* data, size_t size_bytes) { ::munmap(data, size_bytes); }
#endif

// An empty region still has an address, and room behind its end like any other tensor's.
size_t held_bytes(int64_t size_bytes) { return static_cast<size_t>(size_bytes == 0 ? 64 : size_bytes); }

}  // namespace

Result<MemoryRegion> MemoryRegion::allocate(int64_t size_bytes, std::string_view what) {
  MemoryRegion region;
  void* data = size_bytes <= kMaxRegionBytes ? take(held_bytes(size_bytes)) : nullptr;
  if (data == nullptr) {
    return make_error(StatusCode::kResourceExhausted, "R001",
                      "{} bytes for {} cannot be had; use a smaller batch or model, or give the process more memory",
                      size_bytes, what);
  }
  region.data_ = static_cast<std::byte*>(data);
  region.size_bytes_ = size_bytes;
  return region;
}

MemoryRegion::~MemoryRegion() {
  if (data_ != nullptr) give_back(data_, held_bytes(size_bytes_));
}

}  // namespace hai::runtime
