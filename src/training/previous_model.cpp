// Keeping and bringing back a replaced model.
//
// Method: copies through AtomicFileWriter, never renames of the only copy, so that no moment is without a whole model
// at its path. A rollback removes PATH.previous last: what stops it before that can be done again, and whether it was
// done already follows from the digests.
#include "training/previous_model.h"

#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

#include "format/container.h"
#include "format/model_reader.h"

namespace hai::training {
namespace {

constexpr int64_t kCopiedBytes = 1 << 20;  // at a time

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

Status keep_previous(const std::string& path, const std::string& digest, FileSystem& file_system) {
  if (digest.empty() || model_digest(path) != digest) return {};
  return copy_file(path, previous_path(path), file_system);
}

Result<RolledBack> roll_back(const std::string& path, FileSystem& file_system) {
  HAI_TRY_STATUS(check_path(path));
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
