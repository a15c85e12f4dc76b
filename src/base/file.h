// Files: positioned reads that never fault, and writes that replace a file whole or not at all.
//
// Reading goes through ByteSource::read_at, so that a file that shrinks meanwhile is an error and not a SIGBUS, and so
// that what was checked is what is used (it lies in the reader's own memory). Writing goes through AtomicFileWriter: a
// temporary file in the same folder, written, synced, renamed over the old one, and the folder synced; until the rename
// the old file is untouched, whatever fails. FileSystem is the seam where tests make operations fail.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "base/result.h"

namespace hai {

// Bytes of a fixed size that can be read anywhere. Thread-safe.
class ByteSource {
 public:
  virtual ~ByteSource() = default;
  virtual int64_t size_bytes() const = 0;
  // Fills `out` whole from `offset_bytes`, or fails.
  virtual Status read_at(int64_t offset_bytes, std::span<std::byte> out) const = 0;
};

// Refuses a path that holds a NUL character, at which the operating system would cut it.
Status check_path(const std::string& path);

// An open regular file; the descriptor is closed with the object. The size is that at opening.
Result<std::shared_ptr<const ByteSource>> open_file(const std::string& path);

// Memory of the caller, which must outlive the source.
std::shared_ptr<const ByteSource> memory_source(std::span<const std::byte> bytes);

// The operations that a durable write is made of. Handles are file descriptors.
class FileSystem {
 public:
  virtual ~FileSystem() = default;
  virtual Result<int> create_exclusive(const std::string& path, uint32_t mode) = 0;  // fails when the path exists
  virtual Status write(int handle, std::span<const std::byte> bytes) = 0;            // all of it
  virtual Status sync(int handle) = 0;
  virtual Status close(int handle) = 0;
  virtual Status rename(const std::string& from, const std::string& to) = 0;
  virtual Status sync_folder(const std::string& path) = 0;
  virtual Status remove(const std::string& path) = 0;

  static FileSystem& real();
};

class AtomicFileWriter {
 public:
  // Refuses a path that exists and is no regular file. A symbolic link is followed, the permissions of an existing file
  // are kept.
  static Result<AtomicFileWriter> create(const std::string& path, FileSystem& file_system = FileSystem::real());
  AtomicFileWriter(AtomicFileWriter&& other) noexcept;
  AtomicFileWriter& operator=(AtomicFileWriter&&) = delete;
  AtomicFileWriter(const AtomicFileWriter&) = delete;
  AtomicFileWriter& operator=(const AtomicFileWriter&) = delete;
  ~AtomicFileWriter();  // without commit(): removes the temporary file

  Status write(std::span<const std::byte> bytes);  // appends
  // Success means that the new file will be found after a power loss. After a failure the old file is still there,
  // unless only the last step, syncing the folder, failed: then the new one may be.
  Status commit();

 private:
  AtomicFileWriter(FileSystem* file_system, std::string path, std::string temporary_path, int handle);

  FileSystem* file_system_;
  std::string path_;
  std::string temporary_path_;
  int handle_;  // -1: closed
  bool done_ = false;
};

// Writes `bytes` through an AtomicFileWriter.
Status write_file_atomically(const std::string& path, std::span<const std::byte> bytes,
                             FileSystem& file_system = FileSystem::real());

// The whole of a regular file of at most `limit_bytes`.
Result<std::string> read_file(const std::string& path, int64_t limit_bytes);

}  // namespace hai
