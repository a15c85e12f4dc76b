// Files that a command must not write, since it reads them or writes them otherwise.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"

namespace hai::tools {

struct OutputPath {
  std::string what;  // as the user knows it: "--json", "output \"y\""
  std::string path;  // empty: nothing is written
};

// Call it before any work. Paths are compared as files, whatever their spelling: links are followed. An input that is a
// folder stands for the pictures and .npy files in and below it, so that a report may be put there. Empty paths are
// passed over. Errors: L064 an output that is an input, L065 two outputs that are one file.
Status check_outputs(const std::vector<OutputPath>& outputs, const std::vector<std::string>& inputs);

}  // namespace hai::tools
