// Positioned reads and atomic replacement on POSIX.
//
// Method: pread in a loop; a short read before the recorded end means that the file shrank. Files are opened with
// O_NONBLOCK so that a FIFO given by mistake is refused instead of waited for. Replacement: create exclusively in the
// same folder (rename is atomic within a file system only), write, fsync, rename, fsync of the folder, without which
// the rename itself may be lost. Not a lock: two writers of one path each leave a whole file, the later rename wins.
#include "base/file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <climits>
#include <cstdlib>
#include <cstring>
#include <utility>

namespace hai {
namespace {

StatusCode code_of(int error_number) {
  switch (error_number) {
    case ENOENT:
    case ENOTDIR:
      return StatusCode::kNotFound;
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
    case EMFILE:
    case ENFILE:
    case ENOMEM:
      return StatusCode::kResourceExhausted;
    default:
      return StatusCode::kIo;
  }
}

class FileDescriptor {
 public:
  explicit FileDescriptor(int value) : value_(value) {}
  FileDescriptor(FileDescriptor&& other) noexcept : value_(std::exchange(other.value_, -1)) {}
  FileDescriptor& operator=(FileDescriptor&&) = delete;
  FileDescriptor(const FileDescriptor&) = delete;
  FileDescriptor& operator=(const FileDescriptor&) = delete;
  ~FileDescriptor() {
    if (value_ >= 0) ::close(value_);
  }
  int get() const { return value_; }

 private:
  int value_;
};

class FileSource final : public ByteSource {
 public:
  FileSource(FileDescriptor descriptor, int64_t size_bytes)
      : descriptor_(std::move(descriptor)), size_bytes_(size_bytes) {}

  int64_t size_bytes() const override { return size_bytes_; }

  Status read_at(int64_t offset_bytes, std::span<std::byte> out) const override {
    size_t done = 0;
    while (done < out.size()) {
      const ssize_t count = ::pread(descriptor_.get(), out.data() + done, out.size() - done,
                                    static_cast<off_t>(offset_bytes) + static_cast<off_t>(done));
      if (count < 0 && errno == EINTR) continue;
      if (count < 0) {
        return make_error(StatusCode::kIo, "B001", "reading {} bytes at {:#x} failed: {}", out.size(), offset_bytes,
                          std::strerror(errno));
      }
      if (count == 0) {
        return make_error(StatusCode::kCorrupt, "B002",
                          "the file ends at {:#x} while {} bytes at {:#x} were wanted (its size was {}); was it "
                          "truncated or replaced while in use?",
                          offset_bytes + static_cast<int64_t>(done), out.size(), offset_bytes, size_bytes_);
      }
      done += static_cast<size_t>(count);
    }
    return {};
  }

 private:
  FileDescriptor descriptor_;
  int64_t size_bytes_;
};

class MemorySource final : public ByteSource {
 public:
  explicit MemorySource(std::span<const std::byte> bytes) : bytes_(bytes) {}
  int64_t size_bytes() const override { return static_cast<int64_t>(bytes_.size()); }
  Status read_at(int64_t offset_bytes, std::span<std::byte> out) const override {
    const auto offset = static_cast<size_t>(offset_bytes);
    if (offset_bytes < 0 || offset > bytes_.size() || out.size() > bytes_.size() - offset) {
      return make_error(StatusCode::kCorrupt, "B003", "{} bytes at {:#x} lie beyond the {} bytes given", out.size(),
                        offset_bytes, bytes_.size());
    }
    if (!out.empty()) std::memcpy(out.data(), bytes_.data() + offset, out.size());
    return {};
  }

 private:
  std::span<const std::byte> bytes_;
};

class RealFileSystem final : public FileSystem {
 public:
  Result<int> create_exclusive(const std::string& path, uint32_t mode) override {
    const int handle = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode);
    if (handle < 0) {
      return make_error(code_of(errno), "B004", "{} cannot be created: {}; is the folder there and writable?", path,
                        std::strerror(errno));
    }
    return handle;
  }

  Status write(int handle, std::span<const std::byte> bytes) override {
    constexpr size_t kMostAtOnce = 1U << 30;  // Linux writes at most 2 GiB a call
    size_t done = 0;
    while (done < bytes.size()) {
      const ssize_t count = ::write(handle, bytes.data() + done, std::min(bytes.size() - done, kMostAtOnce));
      if (count < 0 && errno == EINTR) continue;
      if (count < 0) {
        return make_error(code_of(errno), "B005", "writing {} bytes failed: {}; is the disk full?", bytes.size(),
                          std::strerror(errno));
      }
      done += static_cast<size_t>(count);
    }
    return {};
  }

  Status sync(int handle) override {
    if (::fsync(handle) == 0) return {};
    return make_error(code_of(errno), "B006", "the file's bytes could not be made durable: {}", std::strerror(errno));
  }

  Status close(int handle) override {
    if (::close(handle) == 0 || errno == EINTR) return {};
    return make_error(code_of(errno), "B007", "closing the file failed: {}", std::strerror(errno));
  }

  Status rename(const std::string& from, const std::string& to) override {
    if (::rename(from.c_str(), to.c_str()) == 0) return {};
    return make_error(code_of(errno), "B008", "{} could not be renamed to {}: {}", from, to, std::strerror(errno));
  }

  Status sync_folder(const std::string& path) override {
    const FileDescriptor folder(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    // Some file systems have no durable folders and say so with EINVAL: there is nothing to wait for then.
    if (folder.get() >= 0 && (::fsync(folder.get()) == 0 || errno == EINVAL || errno == ENOTSUP)) return {};
    return make_error(code_of(errno), "B009", "the folder {} could not be made durable: {}", path,
                      std::strerror(errno));
  }

  Status remove(const std::string& path) override {
    if (::unlink(path.c_str()) == 0) return {};
    return make_error(code_of(errno), "B010", "{} could not be removed: {}", path, std::strerror(errno));
  }
};

std::string folder_of(const std::string& path) {
  const size_t slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

std::string name_of(const std::string& path) {
  const size_t slash = path.rfind('/');
  return slash == std::string::npos ? path : path.substr(slash + 1);
}

}  // namespace

Status check_path(const std::string& path) {
  const size_t place = path.find('\0');
  if (place == std::string::npos) return {};
  return make_error(
      StatusCode::kInvalidArgument, "B017",
      "the path \"{}\" goes on with a NUL character at position {}; no file can be called so: take it out",
      path.substr(0, place), place);
}

Result<std::shared_ptr<const ByteSource>> open_file(const std::string& path) {
  HAI_TRY_STATUS(check_path(path));
  FileDescriptor descriptor(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (descriptor.get() < 0) {
    return with_where(make_error(code_of(errno), "B011", "the file cannot be opened: {}", std::strerror(errno)), path);
  }
  struct stat info{};
  if (::fstat(descriptor.get(), &info) != 0 || !S_ISREG(info.st_mode)) {
    return with_where(make_error(StatusCode::kInvalidArgument, "B012", "this is no regular file; name a file on disk"),
                      path);
  }
  return std::shared_ptr<const ByteSource>(
      std::make_shared<FileSource>(std::move(descriptor), static_cast<int64_t>(info.st_size)));
}

std::shared_ptr<const ByteSource> memory_source(std::span<const std::byte> bytes) {
  return std::make_shared<MemorySource>(bytes);
}

FileSystem& FileSystem::real() {
  static RealFileSystem file_system;
  return file_system;
}

AtomicFileWriter::AtomicFileWriter(FileSystem* file_system, std::string path, std::string temporary_path, int handle)
    : file_system_(file_system), path_(std::move(path)), temporary_path_(std::move(temporary_path)), handle_(handle) {}

AtomicFileWriter::AtomicFileWriter(AtomicFileWriter&& other) noexcept
    : file_system_(other.file_system_),
      path_(std::move(other.path_)),
      temporary_path_(std::move(other.temporary_path_)),
      handle_(std::exchange(other.handle_, -1)),
      done_(std::exchange(other.done_, true)) {}

AtomicFileWriter::~AtomicFileWriter() {
  // Failures here have nobody left to tell; the temporary file's name says what it is.
  if (handle_ >= 0) (void)file_system_->close(handle_).has_value();
  if (!done_) (void)file_system_->remove(temporary_path_).has_value();
}

Result<AtomicFileWriter> AtomicFileWriter::create(const std::string& path, FileSystem& file_system) {
  static std::atomic<uint32_t> counter{0};
  HAI_TRY_STATUS(check_path(path));
  std::string target = path;
  uint32_t mode = 0666;  // less the umask
  struct stat info{};
  if (::lstat(target.c_str(), &info) == 0 && S_ISLNK(info.st_mode)) {
    const std::unique_ptr<char, void (*)(void*)> resolved(::realpath(target.c_str(), nullptr), std::free);
    if (resolved == nullptr) {
      return with_where(make_error(code_of(errno), "B013", "the symbolic link leads nowhere: {}", std::strerror(errno)),
                        path);
    }
    target = resolved.get();
  }
  if (::stat(target.c_str(), &info) == 0) {
    if (!S_ISREG(info.st_mode)) {
      return with_where(make_error(StatusCode::kInvalidArgument, "B014",
                                   "something that is no regular file stands there and is not replaced; name a file"),
                        path);
    }
    mode = info.st_mode & 07777;
  }
  const std::string name = name_of(target);
  if (name.empty()) {
    return with_where(make_error(StatusCode::kInvalidArgument, "B015", "the path names a folder; name a file in it"),
                      path);
  }
  const std::string stem = name.substr(0, std::min<size_t>(name.size(), NAME_MAX - 40));
  const std::string temporary =
      fmt::format("{}/.{}.{}-{}.tmp", folder_of(target), stem, ::getpid(), counter.fetch_add(1));
  Result<int> handle = file_system.create_exclusive(temporary, mode);
  if (!handle) return with_where(std::move(handle).error(), path);
  return AtomicFileWriter(&file_system, std::move(target), temporary, *handle);
}

Status AtomicFileWriter::write(std::span<const std::byte> bytes) {
  Status status = file_system_->write(handle_, bytes);
  if (!status) return with_where(std::move(status).error(), path_);
  return {};
}

Status AtomicFileWriter::commit() {
  Status status = file_system_->sync(handle_);
  if (status) status = file_system_->close(std::exchange(handle_, -1));
  if (status) status = file_system_->rename(temporary_path_, path_);
  if (status) {
    done_ = true;
    status = file_system_->sync_folder(folder_of(path_));
  }
  if (!status) return with_where(std::move(status).error(), path_);
  return {};
}

Status write_file_atomically(const std::string& path, std::span<const std::byte> bytes, FileSystem& file_system) {
  HAI_TRY(AtomicFileWriter writer, AtomicFileWriter::create(path, file_system));
  HAI_TRY_STATUS(writer.write(bytes));
  return writer.commit();
}

Result<std::string> read_file(const std::string& path, int64_t limit_bytes) {
  HAI_TRY(const auto source, open_file(path));
  if (source->size_bytes() > limit_bytes) {
    return with_where(make_error(StatusCode::kOutOfRange, "B016", "the file has {} bytes, more than the limit of {}",
                                 source->size_bytes(), limit_bytes),
                      path);
  }
  std::string text(static_cast<size_t>(source->size_bytes()), '\0');
  Status status = source->read_at(0, std::as_writable_bytes(std::span(text)));
  if (!status) return with_where(std::move(status).error(), path);
  return text;
}

}  // namespace hai
