// Pictures with boxes for the training of detectors: from COCO's JSON, checked against the pictures as they are.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "base/result.h"
#include "data/image.h"
#include "data/picture_folder.h"
#include "types/preprocessing.h"

namespace hai::data {

// In pixels of the picture, x and y of the upper left corner.
struct LabelledBox {
  int32_t category = 0;  // into BoxSet::classes
  double x = 0;
  double y = 0;
  double width = 0;
  double height = 0;
  double area = 0;  // COCO: of the outline; decides only the area range of an evaluation
  // A region of many: nothing to train on, and no answer in it is wrong.
  bool crowd = false;
};

struct BoxedPicture {
  std::filesystem::path path;
  std::vector<LabelledBox> boxes;
  int64_t listed_width = 0;  // as the labels say; 0: they do not
  int64_t listed_height = 0;
  Image image;  // empty: not kept, to be read when it is wanted
};

// What became of the boxes.
struct BoxReport {
  int64_t count = 0;               // in the file
  int64_t crowds = 0;              // kept for evaluation, not trained on
  int64_t clipped = 0;             // cut down to their picture
  int64_t outside = 0;             // dropped: nothing of them lies in the picture
  int64_t empty = 0;               // dropped: without an area, or no finite numbers
  int64_t other_size = 0;          // pictures that are not of the size that the file gives them
  std::vector<std::string> named;  // the first of those clipped and dropped, and of those pictures, and why
};

struct BoxSet {
  std::vector<std::string> classes;  // by COCO's category number
  std::vector<BoxedPicture> pictures;
  BoxReport boxes;
};

// Reads COCO's `images`, `annotations` and `categories`; pictures lie in `folder` under their file_name, and no file of
// them is opened. Errors: D090 it is no such JSON, with what is missing; D091 a category or picture that is not listed,
// or listed twice; D092 another number of classes than `class_count`; D093 no picture; D099 no box to train on.
Result<BoxSet> read_coco(const std::filesystem::path& json, const std::filesystem::path& folder, int64_t class_count);

// Reads every picture once: those that cannot be decoded or preprocessed are taken out and named, boxes are cut down to
// the pictures, and up to `keep_bytes` of decoded pictures are kept. The same whatever `threads`. Errors: D094 a
// picture with more than `max_boxes` boxes to train on; D095 no picture could be read; an unsound rule.
Result<PictureReport> read_pictures(BoxSet& set, const Preprocessing& rule, int64_t max_boxes, int64_t keep_bytes,
                                    int threads);

// Holds `share` of the pictures out: rounded, but at least one and never all. One seed, one split; ascending indices.
struct BoxSplit {
  std::vector<size_t> training;
  std::vector<size_t> held_out;
};
Result<BoxSplit> split_pictures(const BoxSet& set, double share, uint64_t seed);

}  // namespace hai::data
