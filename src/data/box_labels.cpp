// COCO's labels, and pictures with boxes.
//
// Method: the JSON is checked field by field, since it comes from anywhere: what is missing or of another type is an
// error that says where. Boxes are judged by the decoded picture, not by what the JSON says of its size. Not here:
// augmentation (box_augment.cpp), batches (box_loader.cpp), average precision (metrics.cpp).
#include "data/box_labels.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <new>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/file.h"
#include "base/thread_pool.h"
#include "data/preprocess.h"
#include "data/random_stream.h"

namespace hai::data {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

constexpr size_t kMostNamed = 20;
constexpr int64_t kMostBytes = int64_t{1} << 30;

class CocoReader {
 public:
  CocoReader(const fs::path& json, const fs::path& folder) : json_(json), folder_(folder) {}

  Result<BoxSet> run(int64_t class_count) {
    HAI_TRY(const std::string text, read_file(json_.string(), kMostBytes));
    const Json document = Json::parse(text, nullptr, false);
    if (!document.is_object()) return refuse("it is no JSON object");
    for (const char* name : {"categories", "images", "annotations"}) {
      if (!document.contains(name) || !document[name].is_array()) return refuse(fmt::format("no list \"{}\"", name));
    }
    HAI_TRY_STATUS(read_categories(document["categories"]));
    if (static_cast<int64_t>(set_.classes.size()) != class_count) {
      return make_error(StatusCode::kInvalidArgument, "D092",
                        "{}: {} categories, and the model has {} classes; both must be as many", json_.string(),
                        set_.classes.size(), class_count);
    }
    HAI_TRY_STATUS(read_images(document["images"]));
    HAI_TRY_STATUS(read_annotations(document["annotations"]));
    if (set_.pictures.empty())
      return make_error(StatusCode::kNotFound, "D093", "{}: it lists no picture", json_.string());
    return std::move(set_);
  }

 private:
  Error refuse(std::string_view why) const {
    return make_error(StatusCode::kCorrupt, "D090", "{}: {}; labels are COCO's JSON: images, annotations, categories",
                      json_.string(), why);
  }
  Error unlisted(std::string_view what) const {
    return make_error(StatusCode::kCorrupt, "D091", "{}: {}", json_.string(), what);
  }
  static const Json* field(const Json& object, const char* name) {
    const auto found = object.is_object() ? object.find(name) : object.end();
    return found == object.end() ? nullptr : &*found;
  }
  static std::optional<int64_t> whole(const Json& object, const char* name) {
    const Json* value = field(object, name);
    return value != nullptr && value->is_number_integer() ? std::optional(value->get<int64_t>()) : std::nullopt;
  }

  Status read_categories(const Json& list) {
    std::map<int64_t, std::string> names;
    for (size_t i = 0; i < list.size(); ++i) {
      const auto id = whole(list[i], "id");
      const Json* name = field(list[i], "name");
      if (!id || name == nullptr || !name->is_string()) return refuse(fmt::format("category {} has no id and name", i));
      if (!names.emplace(*id, name->get<std::string>()).second)
        return unlisted(fmt::format("category {} is listed twice", *id));
    }
    for (const auto& [id, name] : names) {
      categories_[id] = static_cast<int32_t>(set_.classes.size());
      set_.classes.push_back(name);
    }
    return {};
  }

  Status read_images(const Json& list) {
    std::map<std::string, int64_t> seen;
    for (size_t i = 0; i < list.size(); ++i) {
      const auto id = whole(list[i], "id");
      const Json* name = field(list[i], "file_name");
      if (!id || name == nullptr || !name->is_string())
        return refuse(fmt::format("image {} has no id and file_name", i));
      BoxedPicture picture;
      picture.listed_width = whole(list[i], "width").value_or(0);
      picture.listed_height = whole(list[i], "height").value_or(0);
      picture.path = (folder_ / name->get<std::string>()).lexically_normal();
      if (!seen.emplace(picture.path.string(), *id).second || !pictures_.emplace(*id, set_.pictures.size()).second)
        return unlisted(fmt::format("image {} (\"{}\") is listed twice", *id, name->get<std::string>()));
      set_.pictures.push_back(std::move(picture));
    }
    return {};
  }

  Status read_annotations(const Json& list) {
    for (size_t i = 0; i < list.size(); ++i) {
      const auto picture = whole(list[i], "image_id");
      const auto category = whole(list[i], "category_id");
      const Json* box = field(list[i], "bbox");
      bool numbers = box != nullptr && box->is_array() && box->size() == 4;
      for (size_t k = 0; numbers && k < 4; ++k) numbers = (*box)[k].is_number();
      if (!picture || !category || !numbers)
        return refuse(fmt::format("annotation {} has no image_id, category_id and bbox of four numbers", i));
      const auto to = pictures_.find(*picture);
      const auto kind = categories_.find(*category);
      if (to == pictures_.end() || kind == categories_.end()) {
        return unlisted(fmt::format("annotation {} is of image {} and category {}, {} of which is not listed", i,
                                    *picture, *category, to == pictures_.end() ? "the first" : "the second"));
      }
      LabelledBox one;
      one.category = kind->second;
      one.x = (*box)[0].get<double>();
      one.y = (*box)[1].get<double>();
      one.width = (*box)[2].get<double>();
      one.height = (*box)[3].get<double>();
      const Json* area = field(list[i], "area");
      one.area = area != nullptr && area->is_number() ? area->get<double>() : one.width * one.height;
      one.crowd = whole(list[i], "iscrowd").value_or(0) != 0;
      set_.pictures[to->second].boxes.push_back(one);
      ++set_.boxes.count;
    }
    return {};
  }

  const fs::path& json_;
  const fs::path& folder_;
  BoxSet set_;
  std::map<int64_t, int32_t> categories_;
  std::map<int64_t, size_t> pictures_;
};

// What is wrong with one picture, if anything; else it is in `image`.
Status try_picture(const fs::path& path, const Preprocessing& rule, std::vector<float>& scratch, Image& image) {
  try {
    HAI_TRY(image, read_image(path));
    const auto made = preprocess(image, rule, scratch);
    if (!made) return with_where(made.error(), path.string());
    return {};
  } catch (const std::bad_alloc&) {
    return make_error(StatusCode::kResourceExhausted, "D096", "{}: no memory left to decode it", path.string());
  }
}

void name_box(BoxReport& report, const fs::path& path, const LabelledBox& box, std::string_view what) {
  if (report.named.size() >= kMostNamed) return;
  report.named.push_back(
      fmt::format("{}: box [{}, {}, {}, {}] {}", path.string(), box.x, box.y, box.width, box.height, what));
}

// Boxes that were drawn on a larger or smaller copy lie in the wrong places.
void compare_size(const BoxedPicture& picture, int width, int height, BoxReport& report) {
  const bool said = picture.listed_width > 0 && picture.listed_height > 0;
  if (!said || (picture.listed_width == width && picture.listed_height == height)) return;
  ++report.other_size;
  if (report.named.size() >= kMostNamed) return;
  report.named.push_back(fmt::format("{}: {}x{}, but the labels are of a picture of {}x{}", picture.path.string(),
                                     width, height, picture.listed_width, picture.listed_height));
}

// Boxes as far as they lie in a picture of this size.
void clip_boxes(BoxedPicture& picture, int width, int height, BoxReport& report) {
  std::vector<LabelledBox> good;
  for (LabelledBox box : picture.boxes) {
    const bool finite = std::isfinite(box.x + box.y) && std::isfinite(box.width + box.height);
    if (!finite || box.width <= 0 || box.height <= 0) {
      ++report.empty;
      name_box(report, picture.path, box, "has no area: dropped");
      continue;
    }
    const double right = std::min(box.x + box.width, static_cast<double>(width));
    const double bottom = std::min(box.y + box.height, static_cast<double>(height));
    const double left = std::max(box.x, 0.0);
    const double top = std::max(box.y, 0.0);
    if (right <= left || bottom <= top) {
      ++report.outside;
      name_box(report, picture.path, box, fmt::format("lies outside {}x{}: dropped", width, height));
      continue;
    }
    const bool whole = box.x >= 0 && box.y >= 0 && box.x + box.width <= width && box.y + box.height <= height;
    if (!whole) {
      ++report.clipped;
      name_box(report, picture.path, box, fmt::format("reaches out of {}x{}: clipped", width, height));
      const double area = box.width * box.height;
      box.x = left;
      box.y = top;
      box.width = right - left;
      box.height = bottom - top;
      box.area *= box.width * box.height / area;
    }
    report.crowds += box.crowd ? 1 : 0;
    good.push_back(box);
  }
  picture.boxes = std::move(good);
}

}  // namespace

Result<BoxSet> read_coco(const fs::path& json, const fs::path& folder, int64_t class_count) {
  return CocoReader(json, folder).run(class_count);
}

Result<PictureReport> read_pictures(BoxSet& set, const Preprocessing& rule, int64_t max_boxes, int64_t keep_bytes,
                                    int threads) {
  HAI_TRY_STATUS(verify(rule));
  const size_t numbers =
      static_cast<size_t>(rule.width) * static_cast<size_t>(rule.height) * static_cast<size_t>(rule.channels());
  ThreadPool pool(std::max(threads, 1));
  std::vector<std::vector<float>> scratch(static_cast<size_t>(pool.thread_count()), std::vector<float>(numbers));
  PictureReport report;
  report.wanted_count = static_cast<int64_t>(set.pictures.size());
  std::vector<BoxedPicture> good;
  int64_t kept_bytes = 0;
  constexpr size_t kAtOnce = 32;  // decoded pictures that are not yet known to be kept
  for (size_t first = 0; first < set.pictures.size(); first += kAtOnce) {
    const size_t count = std::min(kAtOnce, set.pictures.size() - first);
    std::vector<Status> found(count);
    std::vector<Image> images(count);
    pool.parallel(static_cast<int64_t>(count), [&](int64_t i, int thread) {
      const auto slot = static_cast<size_t>(i);
      found[slot] =
          try_picture(set.pictures[first + slot].path, rule, scratch[static_cast<size_t>(thread)], images[slot]);
    });
    for (size_t i = 0; i < count; ++i) {
      BoxedPicture& picture = set.pictures[first + i];
      if (!found[i]) {
        report.skipped.push_back({picture.path, std::move(found[i]).error()});
        continue;
      }
      compare_size(picture, images[i].width, images[i].height, set.boxes);
      clip_boxes(picture, images[i].width, images[i].height, set.boxes);
      const auto boxes =
          std::count_if(picture.boxes.begin(), picture.boxes.end(), [](const LabelledBox& box) { return !box.crowd; });
      if (boxes > max_boxes) {
        return make_error(StatusCode::kOutOfRange, "D094",
                          "{}: {} boxes, and the model was compiled for at most {} a picture; compile it with --train "
                          "loss=yolov5,max_boxes={}",
                          picture.path.string(), boxes, max_boxes, boxes);
      }
      const auto bytes = static_cast<int64_t>(images[i].pixels.size());
      if (kept_bytes + bytes <= keep_bytes) {
        kept_bytes += bytes;
        picture.image = std::move(images[i]);
      }
      good.push_back(std::move(picture));
    }
  }
  report.read_count = static_cast<int64_t>(good.size());
  set.pictures = std::move(good);
  if (!set.pictures.empty()) return report;
  return make_error(StatusCode::kCorrupt, "D095", "none of the {} pictures could be read; the first: {}",
                    report.wanted_count, report.skipped.front().error.to_string());
}

Result<BoxSplit> split_pictures(const BoxSet& set, double share, uint64_t seed) {
  const auto count = static_cast<int64_t>(set.pictures.size());
  if (!(share >= 0 && share < 1) || (share > 0 && count < 2)) {
    return make_error(
        StatusCode::kOutOfRange, "D097",
        "a share of {} of {} pictures cannot be held out: it must be at least 0 and below 1, of 2 pictures "
        "or more",
        share, count);
  }
  std::vector<size_t> order(set.pictures.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = i;
  RandomStream random(seed, RandomStream::Purpose::kSplit, 0);
  random.shuffle(order);
  const int64_t out =
      share > 0 ? std::clamp<int64_t>(std::llround(share * static_cast<double>(count)), 1, count - 1) : 0;
  BoxSplit split;
  split.held_out.assign(order.begin(), order.begin() + out);
  split.training.assign(order.begin() + out, order.end());
  std::sort(split.training.begin(), split.training.end());
  std::sort(split.held_out.begin(), split.held_out.end());
  return split;
}

}  // namespace hai::data
