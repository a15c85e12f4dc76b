// TrainLog: the file of `hai train --log`, a line of JSON for each step and epoch.
#pragma once

#include <cstdio>
#include <memory>
#include <string>
#include <string_view>

#include "base/result.h"

namespace hai::tools {

class TrainLog {
 public:
  // An empty path: nothing is written. Error L104: the file cannot be opened.
  static Result<TrainLog> open(const std::string& path);

  // One line of JSON, out of this process when it returns. Error L105: it was not written whole.
  Status write(std::string_view line);

 private:
  struct Close {
    void operator()(std::FILE* file) const { std::fclose(file); }
  };
  std::string path_;
  std::unique_ptr<std::FILE, Close> file_;
};

}  // namespace hai::tools
