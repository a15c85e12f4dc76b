// The log of a training.
//
// Method: each line is flushed, so that a reader that follows the file sees whole lines, and a disk that is full is
// found at the line that did not fit and not at the end of the night.
#include "tools/hai_device/train_log.h"

#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

#include "base/file.h"

namespace hai::tools {
namespace {

// The largest number of bytes up to `most` behind which a line ends; -1: the file cannot be read.
int64_t whole_lines(std::FILE* file, int64_t most) {
  int64_t whole = 0;
  for (int64_t at = 0; at < most; ++at) {
    const int c = std::getc(file);
    if (c == EOF) return std::ferror(file) != 0 ? -1 : whole;
    if (c == '\n') whole = at + 1;
  }
  return whole;
}

}  // namespace

Result<TrainLog> TrainLog::open(const std::string& path, int64_t kept_bytes) {
  TrainLog log;
  if (path.empty()) return log;
  HAI_TRY_STATUS(check_path(path));
  log.path_ = path;
  const bool append = kept_bytes > 0 && std::filesystem::is_regular_file(path);
  log.file_.reset(std::fopen(path.c_str(), append ? "r+" : "w"));
  if (log.file_ && append) log.size_bytes_ = whole_lines(log.file_.get(), kept_bytes);
  const bool placed =
      !append || (log.file_ && log.size_bytes_ >= 0 && ::ftruncate(::fileno(log.file_.get()), log.size_bytes_) == 0 &&
                  std::fseek(log.file_.get(), log.size_bytes_, SEEK_SET) == 0);
  if (!log.file_ || !placed)
    return make_error(StatusCode::kIo, "L104", "--log {}: cannot open it: {}", path, std::strerror(errno));
  return log;
}

Status TrainLog::write(std::string_view line) {
  if (!file_) return {};
  const std::string text = std::string(line) + "\n";
  const bool written = std::fwrite(text.data(), 1, text.size(), file_.get()) == text.size();
  if (std::fflush(file_.get()) == 0 && written) {
    size_bytes_ += static_cast<int64_t>(text.size());
    return {};
  }
  return make_error(StatusCode::kResourceExhausted, "L105",
                    "--log {}: it takes no more: {}; write to a place with room, or leave it out", path_,
                    std::strerror(errno));
}

}  // namespace hai::tools
