// Method: two paths are one file when the file system says so, or, where nothing stands yet, when they are equal once
// links and dots are resolved. A path that cannot be looked at is no reason to stop here: reading or writing it will
// say why.
#include "tools/hai_device/output_paths.h"

#include <strings.h>

#include <filesystem>

#include "data/image.h"

namespace hai::tools {
namespace {

namespace fs = std::filesystem;

bool same_file(const fs::path& one, const fs::path& other) {
  std::error_code failure;
  if (fs::equivalent(one, other, failure)) return true;
  const fs::path first = fs::weakly_canonical(fs::absolute(one, failure), failure);
  if (failure) return false;
  const fs::path second = fs::weakly_canonical(fs::absolute(other, failure), failure);
  return !failure && first == second;
}

bool reads(const fs::path& input, const fs::path& output) {
  std::error_code failure;
  if (!fs::is_directory(input, failure)) return same_file(input, output);
  if (!fs::exists(output, failure)) return false;
  fs::recursive_directory_iterator it(input, fs::directory_options::skip_permission_denied, failure);
  for (; !failure && it != fs::recursive_directory_iterator(); it.increment(failure)) {
    std::error_code unknown;
    const bool sample = data::is_image_path(it->path()) || ::strcasecmp(it->path().extension().c_str(), ".npy") == 0;
    if (sample && fs::equivalent(it->path(), output, unknown)) return true;
  }
  return false;
}

}  // namespace

Status check_outputs(const std::vector<OutputPath>& outputs, const std::vector<std::string>& inputs) {
  for (size_t i = 0; i < outputs.size(); ++i) {
    const OutputPath& output = outputs[i];
    if (output.path.empty()) continue;
    for (const std::string& input : inputs) {
      if (input.empty() || !reads(input, output.path)) continue;
      return make_error(StatusCode::kInvalidArgument, "L064",
                        "{} would replace {}, which this command reads; write to another file", output.what,
                        output.path);
    }
    for (size_t k = 0; k < i; ++k) {
      if (outputs[k].path.empty() || !same_file(outputs[k].path, output.path)) continue;
      return make_error(StatusCode::kInvalidArgument, "L065",
                        "{} and {} would both be written to {}; give each a file of its own", outputs[k].what,
                        output.what, output.path);
    }
  }
  return {};
}

}  // namespace hai::tools
