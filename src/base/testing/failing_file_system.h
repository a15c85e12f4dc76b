// A file system whose operation number N fails, and every later one but close and remove, as on a full disk.
#pragma once

#include <string>

#include "base/file.h"

namespace hai::file_testing {

class FailingFileSystem final : public FileSystem {
 public:
  explicit FailingFileSystem(int fail_at) : left_(fail_at) {}  // counted from 0
  Result<int> create_exclusive(const std::string& path, uint32_t mode) override {
    HAI_TRY_STATUS(step());
    return FileSystem::real().create_exclusive(path, mode);
  }
  Status write(int handle, std::span<const std::byte> bytes) override {
    if (Status status = step(); !status) {
      // As a full disk does: a part is written before the failure.
      (void)FileSystem::real().write(handle, bytes.first(bytes.size() / 2)).has_value();
      return status;
    }
    return FileSystem::real().write(handle, bytes);
  }
  Status sync(int handle) override {
    return then([&] { return FileSystem::real().sync(handle); });
  }
  Status close(int handle) override {
    Status real = FileSystem::real().close(handle);
    return then([&] { return real; });
  }
  Status rename(const std::string& from, const std::string& to) override {
    return then([&] { return FileSystem::real().rename(from, to); });
  }
  Status sync_folder(const std::string& path) override {
    return then([&] { return FileSystem::real().sync_folder(path); });
  }
  Status remove(const std::string& path) override { return FileSystem::real().remove(path); }

 private:
  Status step() {
    if (left_-- > 0) return {};
    return Error{StatusCode::kResourceExhausted, "B005", "no space left", {}};
  }
  template <typename F>
  Status then(F&& operation) {
    HAI_TRY_STATUS(step());
    return operation();
  }
  int left_;
};

}  // namespace hai::file_testing
