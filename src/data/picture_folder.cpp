// Reading a folder of pictures.
//
// Method: paths are sorted and, with a limit, spread evenly, as Python's CalibrationData does it, so that the same
// folder gives the same pictures in the same order everywhere. A picture is decoded only when asked for: memory holds
// one at a time. What is wrong with a picture itself skips it; what is wrong with the rule or the caller's memory ends
// the work. Not here: decoding (image.cpp), resizing (preprocess.cpp), labels.
#include "data/picture_folder.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/utf8.h"
#include "data/preprocess.h"

namespace hai::data {
namespace {

bool is_blank(const Image& image) {
  for (size_t i = 3; i < image.pixels.size(); ++i) {
    if (image.pixels[i] != image.pixels[i - 3]) return false;
  }
  return true;
}

template <typename Items, typename Describe>
void append_lines(std::string& text, const Items& items, size_t most, const Describe& describe) {
  for (size_t i = 0; i < std::min(items.size(), most); ++i) text += "\n  " + describe(items[i]);
  if (items.size() > most) text += fmt::format("\n  and {} more", items.size() - most);
}

}  // namespace

std::string PictureReport::to_string(size_t most) const {
  std::string text = fmt::format("{} pictures read", read_count);
  if (!skipped.empty()) text += fmt::format(", {} skipped", skipped.size());
  if (!blank.empty()) text += fmt::format(", {} of one colour only", blank.size());
  append_lines(text, skipped, most,
               [](const SkippedPicture& picture) { return fmt::format("skipped: {}", picture.error.to_string()); });
  append_lines(text, blank, most, [](const std::filesystem::path& path) {
    return fmt::format("of one colour only: {}; is it a picture that the model will see?", printable(path.string()));
  });
  return text;
}

Result<PictureFolder> PictureFolder::open(const std::filesystem::path& folder, int64_t limit) {
  HAI_TRY(auto all, list_images(folder));
  const auto wanted = static_cast<size_t>(std::max<int64_t>(limit, 0));
  if (wanted > 0 && wanted < all.size()) {
    std::vector<std::filesystem::path> ordered;
    std::vector<bool> chosen(all.size(), false);
    const double step = wanted > 1 ? static_cast<double>(all.size() - 1) / static_cast<double>(wanted - 1) : 0.0;
    for (size_t i = 0; i < wanted; ++i) {
      const auto index = static_cast<size_t>(std::nearbyint(static_cast<double>(i) * step));
      chosen[index] = true;
      ordered.push_back(all[index]);
    }
    for (size_t i = 0; i < all.size(); ++i) {
      if (!chosen[i]) ordered.push_back(std::move(all[i]));
    }
    all = std::move(ordered);
  }
  PictureFolder result = of(std::move(all));
  if (wanted > 0) result.wanted_ = std::min(wanted, result.paths_.size());
  result.folder_ = folder;
  result.rewind();
  return result;
}

PictureFolder PictureFolder::of(std::vector<std::filesystem::path> paths) {
  PictureFolder result;
  result.folder_ = "pictures";
  result.paths_ = std::move(paths);
  result.wanted_ = result.paths_.size();
  result.rewind();
  return result;
}

void PictureFolder::rewind() {
  position_ = 0;
  report_ = {};
  report_.wanted_count = static_cast<int64_t>(wanted_);
}

// Calls `use` with each picture until it takes one: true. False at the end.
template <typename Use>
Result<bool> PictureFolder::advance(const Use& use) {
  while (position_ < paths_.size() && report_.read_count < report_.wanted_count) {
    const std::filesystem::path& path = paths_[position_++];
    auto image = read_image(path);
    if (!image) {
      report_.skipped.push_back({path, std::move(image).error()});
      continue;
    }
    const bool blank = is_blank(*image);
    Status used = use(path, *image);
    if (!used) {
      report_.skipped.push_back({path, with_where(std::move(used).error(), path.string())});
      continue;
    }
    ++report_.read_count;
    if (blank) report_.blank.push_back(path);
    return true;
  }
  if (report_.read_count == 0) {
    return make_error(StatusCode::kCorrupt, "D014", "{}: none of {} pictures could be read; the first of them: {}",
                      folder_.string(), report_.skipped.size(),
                      report_.skipped.empty() ? "there is none" : report_.skipped.front().error.to_string());
  }
  return false;
}

Result<std::optional<PictureFolder::Picture>> PictureFolder::next() {
  std::optional<Picture> picture;
  HAI_TRY(const bool found, advance([&](const std::filesystem::path& path, Image& image) -> Status {
            picture = Picture{path, std::move(image)};
            return {};
          }));
  if (!found) picture.reset();
  return picture;
}

Result<std::optional<std::filesystem::path>> PictureFolder::next_input(const Preprocessing& rule,
                                                                       std::span<float> output) {
  HAI_TRY_STATUS(check_output(rule, output));
  std::optional<std::filesystem::path> taken;
  HAI_TRY(const bool found, advance([&](const std::filesystem::path& path, const Image& image) -> Status {
            HAI_TRY_STATUS(preprocess(image, rule, output));
            taken = path;
            return {};
          }));
  if (!found) taken.reset();
  return taken;
}

}  // namespace hai::data
