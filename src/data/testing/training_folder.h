// A folder of small pictures for tests of what reads labelled pictures; it goes with the object.
#pragma once

#include <unistd.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <span>
#include <string>

namespace hai::data::testing {

class TrainingFolder {
 public:
  TrainingFolder()
      : root_(std::filesystem::temp_directory_path() / ("hai_training_folder_" + std::to_string(::getpid()))) {
    std::filesystem::remove_all(root_);
    std::filesystem::create_directories(root_);
  }
  ~TrainingFolder() { std::filesystem::remove_all(root_); }
  TrainingFolder(const TrainingFolder&) = delete;
  TrainingFolder& operator=(const TrainingFolder&) = delete;

  const std::filesystem::path& root() const { return root_; }

  void text(const std::string& name, const std::string& text) const {
    std::filesystem::create_directories((root_ / name).parent_path());
    std::ofstream(root_ / name, std::ios::binary) << text;
  }
  // A PNG whose bytes count up from `first`, by threes.
  void picture(const std::string& name, uint8_t first, int width = 5, int height = 4) const;
  // A PNG of these RGB bytes.
  void pixels(const std::string& name, int width, int height, std::span<const uint8_t> rgb) const;

 private:
  std::filesystem::path root_;
};

}  // namespace hai::data::testing
