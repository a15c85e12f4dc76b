// A file system that does what it is told and keeps a record of it, and what a power loss may leave of such a record.
//
// The disk of DiskAfterLoss promises no more than POSIX does: bytes are there for sure once their file was synced, the
// names of a folder once the folder was. Of everything later each single thing may be there or not, in whatever order
// it reached the disk: a rename without the bytes, half a write, a hole where an earlier write should be.
#pragma once

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "base/file.h"

namespace hai::file_testing {

struct FileOperation {
  enum class Kind { kCreate, kWrite, kSync, kRename, kSyncFolder, kRemove };
  Kind kind = Kind::kCreate;
  size_t file = 0;        // of create, write and sync: the number of the file, in the order of creation
  std::string path = {};  // of create, rename, remove and the folder's sync
  std::string to = {};    // of rename
  std::string bytes = {};
};

// Passes everything on to the real file system. What fails is not recorded.
class RecordingFileSystem final : public FileSystem {
 public:
  using Kind = FileOperation::Kind;

  const std::vector<FileOperation>& operations() const { return operations_; }

  Result<int> create_exclusive(const std::string& path, uint32_t mode) override {
    HAI_TRY(const int handle, FileSystem::real().create_exclusive(path, mode));
    files_[handle] = count_;
    operations_.push_back({Kind::kCreate, count_++, path});
    return handle;
  }
  Status write(int handle, std::span<const std::byte> bytes) override {
    HAI_TRY_STATUS(FileSystem::real().write(handle, bytes));
    const std::string text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    operations_.push_back({Kind::kWrite, files_.at(handle), {}, {}, text});
    return {};
  }
  Status sync(int handle) override {
    HAI_TRY_STATUS(FileSystem::real().sync(handle));
    operations_.push_back({Kind::kSync, files_.at(handle)});
    return {};
  }
  Status close(int handle) override {
    files_.erase(handle);
    return FileSystem::real().close(handle);
  }
  Status rename(const std::string& from, const std::string& to) override {
    HAI_TRY_STATUS(FileSystem::real().rename(from, to));
    operations_.push_back({Kind::kRename, 0, from, to});
    return {};
  }
  Status sync_folder(const std::string& path) override {
    HAI_TRY_STATUS(FileSystem::real().sync_folder(path));
    operations_.push_back({Kind::kSyncFolder, 0, path});
    return {};
  }
  Status remove(const std::string& path) override {
    HAI_TRY_STATUS(FileSystem::real().remove(path));
    operations_.push_back({Kind::kRemove, 0, path});
    return {};
  }

 private:
  std::vector<FileOperation> operations_;
  std::map<int, size_t> files_;  // by open handle
  size_t count_ = 0;
};

// The files of one folder after the first operations of a record, and a loss of power.
class DiskAfterLoss {
 public:
  enum class Bytes { kNone, kAll, kSome };  // of what was not synced

  DiskAfterLoss(const std::vector<FileOperation>& operations, size_t count, std::string folder)
      : folder_(std::move(folder)) {
    for (size_t i = 0; i < count; ++i) apply(operations[i]);
  }

  // Operations on names that may or may not have reached the disk.
  size_t uncertain_names() const { return pending_names_.size(); }

  // What is found: content by name. Bit i of `kept`: operation i on names reached the disk; they did so in their order,
  // or in a random one.
  std::map<std::string, std::string> found(uint64_t kept, bool in_order, Bytes bytes, std::mt19937& random) const {
    std::vector<const FileOperation*> names;
    for (size_t i = 0; i < pending_names_.size(); ++i)
      if ((kept >> i & 1) != 0) names.push_back(&pending_names_[i]);
    if (!in_order) std::shuffle(names.begin(), names.end(), random);
    std::map<std::string, size_t> entries = names_;
    for (const FileOperation* operation : names) change_names(entries, *operation);
    std::map<std::string, std::string> out;
    for (const auto& [path, file] : entries) {
      if (path.starts_with(folder_ + "/")) out[path.substr(folder_.size() + 1)] = content(file, bytes, random);
    }
    return out;
  }

 private:
  using Kind = FileOperation::Kind;
  struct File {
    std::string durable;
    std::vector<std::pair<size_t, std::string>> pending;  // offset, bytes
    size_t end = 0;
  };

  void apply(const FileOperation& operation) {
    if (operation.kind == Kind::kCreate && operation.file >= files_.size()) files_.resize(operation.file + 1);
    switch (operation.kind) {
      case Kind::kWrite: {
        File& file = files_[operation.file];
        file.pending.emplace_back(file.end, operation.bytes);
        file.end += operation.bytes.size();
        break;
      }
      case Kind::kSync: {
        File& file = files_[operation.file];
        for (const auto& [offset, bytes] : file.pending) put(file.durable, offset, bytes);
        file.pending.clear();
        break;
      }
      case Kind::kSyncFolder:
        if (operation.path != folder_) break;
        for (const FileOperation& pending : pending_names_) change_names(names_, pending);
        pending_names_.clear();
        break;
      default: {
        FileOperation named = operation;
        // A rename moves the file that has the name now, whatever became of the name's entry on the disk.
        if (named.kind == Kind::kRename) named.file = live_.at(named.path);
        change_names(live_, named);
        pending_names_.push_back(std::move(named));
      }
    }
  }

  static void change_names(std::map<std::string, size_t>& names, const FileOperation& operation) {
    if (operation.kind == Kind::kCreate) names[operation.path] = operation.file;
    if (operation.kind == Kind::kRename) names[operation.to] = operation.file;
    if (operation.kind == Kind::kRename || operation.kind == Kind::kRemove) names.erase(operation.path);
  }

  static void put(std::string& to, size_t offset, std::string_view bytes) {
    if (to.size() < offset + bytes.size()) to.resize(offset + bytes.size(), '\0');
    std::copy(bytes.begin(), bytes.end(), to.begin() + static_cast<std::ptrdiff_t>(offset));
  }

  std::string content(size_t number, Bytes bytes, std::mt19937& random) const {
    const File& file = files_[number];
    std::string out = file.durable;
    // A file as a whole as well: else hardly one of many writes would be.
    if (bytes == Bytes::kSome && random() % 2 == 0) bytes = random() % 2 == 0 ? Bytes::kNone : Bytes::kAll;
    if (bytes == Bytes::kNone) return out;
    for (const auto& [offset, text] : file.pending) {
      if (bytes == Bytes::kAll) {
        put(out, offset, text);
        continue;
      }
      switch (random() % 4) {
        case 0:
          break;  // lost; a later write leaves a hole of zeros
        case 1:
          put(out, offset, text);
          break;
        case 2:
          put(out, offset, std::string_view(text).substr(0, random() % (text.size() + 1)));
          break;
        default:  // sector by sector; what is missing is zeros or what the disk held there before
          put(out, offset, std::string(text.size(), random() % 2 == 0 ? '\0' : '\xa5'));
          for (size_t at = 0; at < text.size(); at += kSectorBytes)
            if (random() % 2 == 0) put(out, offset + at, std::string_view(text).substr(at, kSectorBytes));
      }
    }
    return out;
  }

  static constexpr size_t kSectorBytes = 512;
  std::string folder_;
  std::vector<File> files_;
  std::map<std::string, size_t> live_;   // names as a running system sees them
  std::map<std::string, size_t> names_;  // names that are durable
  std::vector<FileOperation> pending_names_;
};

// Makes `folder` hold these files and nothing else; `before`: what it holds, from an earlier call.
inline void fill_folder(const std::string& folder, const std::map<std::string, std::string>& files,
                        const std::map<std::string, std::string>& before) {
  std::filesystem::create_directories(folder);
  for (const auto& [name, text] : before)
    if (!files.contains(name)) std::filesystem::remove(folder + "/" + name);
  for (const auto& [name, text] : files) {
    if (const auto old = before.find(name); old != before.end() && old->second == text) continue;
    std::ofstream out(folder + "/" + name, std::ios::binary);
    out.write(text.data(), static_cast<std::streamsize>(text.size()));
  }
}

}  // namespace hai::file_testing
