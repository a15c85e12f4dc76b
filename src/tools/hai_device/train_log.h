// TrainLog: the file of `hai train --log`, a line of JSON for each step and epoch.
#pragma once

#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>
#include <string_view>

#include "base/result.h"

namespace hai::tools {

class TrainLog {
 public:
  // An empty path: nothing is written. `kept_bytes` of an old file stay (of a shorter one all, up to its last whole
  // line). Error L104: the file cannot be opened.
  static Result<TrainLog> open(const std::string& path, int64_t kept_bytes = 0);

  // One line of JSON, out of this process when it returns. Error L105: it was not written whole.
  Status write(std::string_view line);
  int64_t size_bytes() const { return size_bytes_; }

 private:
  struct Close {
    void operator()(std::FILE* file) const { std::fclose(file); }
  };
  std::string path_;
  int64_t size_bytes_ = 0;
  std::unique_ptr<std::FILE, Close> file_;
};

}  // namespace hai::tools
