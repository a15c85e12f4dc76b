// SampleFolder: the pictures or .npy files of a folder as samples for a model's inputs.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/result.h"
#include "ir/graph.h"
#include "quantizer/quantizer.h"
#include "types/preprocessing.h"

namespace hai::tools {

class SampleFolder {
 public:
  // A model with one input takes pictures (by `rule`) or .npy files; one with several takes a subfolder a sample with a
  // file INPUT.npy for each input. At most `limit` samples, spread evenly (0: all). Errors: L070 an unreadable folder,
  // L071 nothing usable in it, L072 pictures without a rule.
  static Result<SampleFolder> open(const std::string& folder, const ir::Graph& graph, std::optional<Preprocessing> rule,
                                   int64_t limit);

  size_t size() const { return paths_.size(); }
  // The next readable sample; unreadable ones are named on standard error, kept in skipped() and passed over.
  Result<std::optional<std::vector<ops::Tensor>>> next();
  const std::vector<std::pair<std::string, std::string>>& skipped() const { return skipped_; }

 private:
  struct Input {
    std::string name;
    ir::TensorType type;
  };
  Result<std::vector<ops::Tensor>> read(const std::filesystem::path& path) const;
  Result<ops::Tensor> read_array(const std::filesystem::path& path, const Input& input) const;
  Result<ops::Tensor> read_picture(const std::filesystem::path& path) const;

  std::vector<Input> inputs_;
  std::optional<Preprocessing> rule_;
  std::vector<std::filesystem::path> paths_;
  std::vector<std::pair<std::string, std::string>> skipped_;
  size_t done_ = 0;
};

}  // namespace hai::tools
