// PictureFolder: the pictures of a folder one after the other, for calibration, comparison and evaluation. A picture
// that cannot be read is skipped, named and counted, so that one bad file among many does not end the work.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "data/image.h"
#include "types/preprocessing.h"

namespace hai::data {

struct SkippedPicture {
  std::filesystem::path path;
  Error error;  // says why and what to do
};

// What was read so far.
struct PictureReport {
  int64_t wanted_count = 0;  // pictures that are to be read
  int64_t read_count = 0;
  std::vector<SkippedPicture> skipped;
  std::vector<std::filesystem::path> blank;  // one colour everywhere: read and used, and worth a look

  // "12 pictures read, 1 skipped, 1 of one colour only", then a line for each of the latter two (at most `most`).
  std::string to_string(size_t most = 20) const;
};

class PictureFolder {
 public:
  // `limit` above 0: that many of them, spread evenly over the sorted paths, since neighbours are often alike and each
  // subfolder shall have its share; the others stand by for those that cannot be read. Errors: as list_images.
  static Result<PictureFolder> open(const std::filesystem::path& folder, int64_t limit = 0);
  // These files, in this order.
  static PictureFolder of(std::vector<std::filesystem::path> paths);

  const std::filesystem::path& folder() const { return folder_; }
  const PictureReport& report() const { return report_; }

  struct Picture {
    std::filesystem::path path;
    Image image;
  };
  // The next picture that can be read; std::nullopt at the end. Error at the end when none could be.
  Result<std::optional<Picture>> next();
  // The next one as a model's input: fills `output` by `rule` and returns its path. A picture that `rule` cannot take
  // (thousands of times longer than wide) is skipped too; a rule or an output that no picture fits is an error.
  Result<std::optional<std::filesystem::path>> next_input(const Preprocessing& rule, std::span<float> output);
  // Begins again, with an empty report.
  void rewind();

 private:
  template <typename Use>
  Result<bool> advance(const Use& use);

  std::filesystem::path folder_;
  std::vector<std::filesystem::path> paths_;  // the chosen ones, then those that stand by
  size_t wanted_ = 0;
  size_t position_ = 0;
  PictureReport report_;
};

}  // namespace hai::data
