// Keeping and bringing back a replaced model.
//
// Method: copies through AtomicFileWriter, never renames of the only copy, so that no moment is without a whole model
// at its path. A rollback removes PATH.previous last: what stops it before that can be done again, and whether it was
// done already follows from the digests.
#include "training/previous_model.h"

#include <sys/types.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <filesystem>
#include <memory>
#include <system_error>
#include <utility>
#include <vector>

#include "format/container.h"
#include "format/model_reader.h"

namespace hai::training {
namespace {

constexpr int64_t kCopiedBytes = 1 << 20;  // at a time

// ".out.hai.1234-0.tmp", as AtomicFileWriter calls it: the process that writes it; -1: it is called otherwise.
pid_t writer_of(std::string_view name) {
  constexpr std::string_view kEnd = ".tmp";
  if (!name.ends_with(kEnd)) return -1;
  name.remove_suffix(kEnd.size());
  name.remove_prefix(std::min(name.size(), name.rfind('.') + 1));
  pid_t process = -1;
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), process);
  return error == std::errc() && end != name.data() + name.size() && *end == '-' && process > 0 ? process : -1;
}

}  // namespace

std::string previous_path(const std::string& path) { return path + ".previous"; }
std::string replaced_path(const std::string& path) { return path + ".replaced"; }

std::string model_digest(const std::string& path) {
  const auto source = open_file(path);
  if (!source) return {};
  const auto container = format::read_container(**source);
  return container ? to_hex(container->digest) : std::string();
}

Status copy_file(const std::string& from, const std::string& to, FileSystem& file_system) {
  HAI_TRY(const std::shared_ptr<const ByteSource> source, open_file(from));
  HAI_TRY(AtomicFileWriter writer, AtomicFileWriter::create(to, file_system));
  std::vector<std::byte> bytes(static_cast<size_t>(std::min(kCopiedBytes, source->size_bytes())));
  for (int64_t offset = 0; offset < source->size_bytes(); offset += kCopiedBytes) {
    const auto count = static_cast<size_t>(std::min(kCopiedBytes, source->size_bytes() - offset));
    HAI_TRY_STATUS(source->read_at(offset, std::span(bytes).first(count)));
    HAI_TRY_STATUS(writer.write(std::span(bytes).first(count)));
  }
  return writer.commit();
}

void remove_leftovers(const std::string& path) {
  namespace fs = std::filesystem;
  std::error_code failure;  // one that stays takes room and harms nothing
  const fs::path target = fs::weakly_canonical(path, failure);
  if (failure) return;
  const std::string begin = "." + target.filename().string();
  std::vector<fs::path> leftovers;
  for (fs::directory_iterator entry(target.parent_path(), failure), end; !failure && entry != end;
       entry.increment(failure)) {
    const std::string name = entry->path().filename().string();
    const pid_t writer = name.starts_with(begin) ? writer_of(name) : -1;
    if (writer > 0 && ::kill(writer, 0) != 0 && errno == ESRCH) leftovers.push_back(entry->path());
  }
  for (const fs::path& leftover : leftovers) fs::remove(leftover, failure);
}

Status keep_previous(const std::string& path, const std::string& digest, FileSystem& file_system) {
  if (digest.empty() || model_digest(path) != digest) return {};
  return copy_file(path, previous_path(path), file_system);
}

Result<RolledBack> roll_back(const std::string& path, FileSystem& file_system) {
  HAI_TRY_STATUS(check_path(path));
  remove_leftovers(path);
  const std::string previous = previous_path(path);
  {
    auto source = open_file(previous);
    if (!source && source.error().code == StatusCode::kNotFound) {
      return with_where(make_error(StatusCode::kNotFound, "E060",
                                   "no model is kept beside it as {}; one is kept when training, a promotion or an "
                                   "update replaces a model",
                                   previous),
                        path);
    }
    HAI_TRY(std::shared_ptr<const ByteSource> bytes, std::move(source));
    HAI_TRY(const auto reader, format::ModelReader::open(std::move(bytes), previous));
    HAI_TRY_STATUS(reader->verify_all());
  }
  RolledBack out{model_digest(previous), model_digest(path)};
  if (out.digest != out.replaced_digest) {
    if (!out.replaced_digest.empty()) HAI_TRY_STATUS(copy_file(path, replaced_path(path), file_system));
    HAI_TRY_STATUS(copy_file(previous, path, file_system));
  } else {
    out.replaced_digest = model_digest(replaced_path(path));  // of the rollback that was stopped before its end
  }
  HAI_TRY_STATUS(file_system.remove(previous));
  return out;
}

}  // namespace hai::training
