// Augmentation of pictures with boxes, before the model's own preprocessing.
#pragma once

#include <string_view>
#include <vector>

#include "base/result.h"
#include "data/box_labels.h"
#include "data/image.h"
#include "data/random_stream.h"

namespace hai::data {

struct BoxAugmentation {
  bool flip = false;           // half of the pictures, left for right
  bool flip_vertical = false;  // half of them, top for bottom
  bool affine = false;         // 0.5 to 1.5 times as large, moved by up to a tenth
  bool color = false;          // hue by up to 0.015 of a turn, saturation and value times 1 +- 0.7 and 0.4
  bool mosaic = false;         // four pictures around a point, three times out of four
  bool mixup = false;          // two pictures, shares from Beta(8, 8), with the boxes of both; one time out of seven
  bool paste = false;          // boxes of another picture pasted where none is; half of the pictures
  bool operator==(const BoxAugmentation&) const = default;
};

// "none", or names separated by commas. Error D098: no such augmentation, or one twice.
Result<BoxAugmentation> parse_box_augmentation(std::string_view text);

// A decoded picture and what is on it; crowds are left out.
struct BoxedImage {
  Image image;
  std::vector<LabelledBox> boxes;
};

void flip_horizontally(BoxedImage& picture);
void flip_vertically(BoxedImage& picture);
// A picture of width x height whose pixel (x, y) is that of the source at ((x - shift_x) / scale, (y - shift_y) /
// scale), linear between pixels, grey (114) outside. Boxes go along; of those cut at the edge less than a tenth is
// dropped, and what is below 2 pixels.
BoxedImage move_and_scale(const BoxedImage& picture, double scale, double shift_x, double shift_y, int width,
                          int height);
// Turns the hue by `turn` of a full circle, multiplies saturation and value.
void change_hsv(Image& image, double turn, double saturation, double value);
// Four pictures of one size around (x, y) of a canvas twice as large.
BoxedImage mosaic_of(const std::vector<BoxedImage>& four, int x, int y);
// `share` of the first and the rest of the second, which have one size; boxes of both.
BoxedImage mix_up(const BoxedImage& first, const BoxedImage& second, double share);
// Pastes boxes of `from` with a margin of a quarter of their sides at drawn places where no box of `to` is; a box that
// others reach into is not taken.
void paste_boxes(BoxedImage& to, const BoxedImage& from, RandomStream& random);

// Picture number i of whatever is trained on, decoded.
class BoxedImageSource {
 public:
  virtual ~BoxedImageSource() = default;
  virtual size_t count() const = 0;
  virtual Result<BoxedImage> get(size_t index) const = 0;
};

// What `augmentation` says, for picture `index` and others that are drawn from `source`; a mixture that would have more
// than `max_boxes` boxes is not made.
Result<BoxedImage> augment(const BoxedImageSource& source, size_t index, const BoxAugmentation& augmentation,
                           int64_t max_boxes, RandomStream& random);

}  // namespace hai::data
