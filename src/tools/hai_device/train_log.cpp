// The log of a training.
//
// Method: each line is flushed, so that a reader that follows the file sees whole lines, and a disk that is full is
// found at the line that did not fit and not at the end of the night.
#include "tools/hai_device/train_log.h"

#include <cerrno>
#include <cstring>

#include "base/file.h"

namespace hai::tools {

Result<TrainLog> TrainLog::open(const std::string& path) {
  TrainLog log;
  if (path.empty()) return log;
  HAI_TRY_STATUS(check_path(path));
  log.path_ = path;
  log.file_.reset(std::fopen(path.c_str(), "w"));
  if (!log.file_)
    return make_error(StatusCode::kIo, "L104", "--log {}: cannot open it: {}", path, std::strerror(errno));
  return log;
}

Status TrainLog::write(std::string_view line) {
  if (!file_) return {};
  const std::string text = std::string(line) + "\n";
  const bool written = std::fwrite(text.data(), 1, text.size(), file_.get()) == text.size();
  if (std::fflush(file_.get()) == 0 && written) return {};
  return make_error(StatusCode::kResourceExhausted, "L105",
                    "--log {}: it takes no more: {}; write to a place with room, or leave it out", path_,
                    std::strerror(errno));
}

}  // namespace hai::tools
