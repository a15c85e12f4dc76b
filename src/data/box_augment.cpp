// Augmentation of pictures with boxes.
//
// Method: every number comes from the stream that the caller gives, in a fixed order. Pixels move in fixed point of 16
// fraction bits and are blended in integers; boxes move in f64 with the same numbers. The rules and their sizes are
// those of published YOLOv5 training, but for pasting, which takes boxes where published code takes outlines. Not here:
// preprocessing, threads (box_loader.cpp).
#include "data/box_augment.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "data/named_flags.h"

namespace hai::data {
namespace {

constexpr int64_t kOne = 1 << 16;
constexpr uint8_t kGrey = 114;
constexpr double kLeastShare = 0.1;  // of a box that is cut at the edge
constexpr double kLeastSide = 2;     // pixels

int64_t fixed(double number) { return std::llround(number * static_cast<double>(kOne)); }

Image blank(int width, int height) {
  return {width, height, std::vector<uint8_t>(static_cast<size_t>(width) * static_cast<size_t>(height) * 3, kGrey)};
}

size_t pixel(const Image& image, int64_t x, int64_t y) {
  return (static_cast<size_t>(y) * static_cast<size_t>(image.width) + static_cast<size_t>(x)) * 3;
}

// The box within a picture of this size; false where too little is left.
bool keep_inside(LabelledBox& box, int width, int height) {
  const double area = box.width * box.height;
  const double right = std::min(box.x + box.width, static_cast<double>(width));
  const double bottom = std::min(box.y + box.height, static_cast<double>(height));
  box.x = std::max(box.x, 0.0);
  box.y = std::max(box.y, 0.0);
  box.width = right - box.x;
  box.height = bottom - box.y;
  if (box.width < kLeastSide || box.height < kLeastSide) return false;
  return box.width * box.height >= kLeastShare * area;
}

// Of the source pixels around a position in fixed point along one axis: the first, and the weight of the second.
struct Tap {
  int64_t first = 0;
  int64_t weight = 0;  // of 256
};
Tap tap_of(int64_t position) { return {position >> 16, (position & (kOne - 1)) >> 8}; }

// Where a box of `to` would be met.
bool overlaps(const LabelledBox& a, const LabelledBox& b) {
  return a.x < b.x + b.width && b.x < a.x + a.width && a.y < b.y + b.height && b.y < a.y + a.height;
}

// The 8th of 15 uniform numbers in rising order has the distribution Beta(8, 8).
double beta_share(RandomStream& random) {
  std::array<double, 15> draws{};
  for (double& draw : draws) draw = random.unit();
  std::nth_element(draws.begin(), draws.begin() + 7, draws.end());
  return draws[7];
}

// A picture as large as fits into width x height, at the top left of it.
BoxedImage fitted(BoxedImage picture, int width, int height) {
  if (picture.image.width == width && picture.image.height == height) return picture;
  const double scale =
      std::min(static_cast<double>(width) / picture.image.width, static_cast<double>(height) / picture.image.height);
  return move_and_scale(picture, scale, 0, 0, width, height);
}

}  // namespace

Result<BoxAugmentation> parse_box_augmentation(std::string_view text) {
  BoxAugmentation out;
  if (text == "none") return out;
  const NamedFlag names[] = {{"flip", &out.flip},     {"flip_vertical", &out.flip_vertical},
                             {"affine", &out.affine}, {"color", &out.color},
                             {"mosaic", &out.mosaic}, {"mixup", &out.mixup},
                             {"paste", &out.paste}};
  if (const auto wrong = set_named_flags(text, names)) {
    return make_error(StatusCode::kInvalidArgument, "D098",
                      "\"{}\" is no augmentation of pictures with boxes, or is given twice; give none, or some of "
                      "flip, flip_vertical, affine, color, mosaic, mixup, paste, separated by commas",
                      *wrong);
  }
  return out;
}

void flip_horizontally(BoxedImage& picture) {
  Image& image = picture.image;
  for (int64_t y = 0; y < image.height; ++y) {
    for (int64_t x = 0; x < image.width / 2; ++x) {
      uint8_t* left = image.pixels.data() + pixel(image, x, y);
      std::swap_ranges(left, left + 3, image.pixels.data() + pixel(image, image.width - 1 - x, y));
    }
  }
  for (LabelledBox& box : picture.boxes) box.x = image.width - box.x - box.width;
}

void flip_vertically(BoxedImage& picture) {
  Image& image = picture.image;
  for (int64_t y = 0; y < image.height / 2; ++y) {
    uint8_t* top = image.pixels.data() + pixel(image, 0, y);
    std::swap_ranges(top, top + static_cast<ptrdiff_t>(image.width) * 3,
                     image.pixels.data() + pixel(image, 0, image.height - 1 - y));
  }
  for (LabelledBox& box : picture.boxes) box.y = image.height - box.y - box.height;
}

BoxedImage move_and_scale(const BoxedImage& picture, double scale, double shift_x, double shift_y, int width,
                          int height) {
  const Image& from = picture.image;
  BoxedImage out;
  out.image = blank(width, height);
  const int64_t step = fixed(1 / scale);
  // Centres of pixels lie at halves.
  const auto begin = [&](double shift) { return fixed((0.5 - shift) / scale - 0.5); };
  const int64_t first_x = begin(shift_x);
  const int64_t first_y = begin(shift_y);
  const auto at = [&](int64_t x, int64_t y) {
    return from.pixels.data() +
           pixel(from, std::clamp<int64_t>(x, 0, from.width - 1), std::clamp<int64_t>(y, 0, from.height - 1));
  };
  const auto inside = [](int64_t position, int side) {
    return position >= -kOne / 2 && position < (int64_t{side} << 16) - kOne / 2;
  };
  for (int64_t y = 0; y < height; ++y) {
    const int64_t position_y = first_y + y * step;
    if (!inside(position_y, from.height)) continue;
    const Tap row = tap_of(position_y);
    for (int64_t x = 0; x < width; ++x) {
      const int64_t position_x = first_x + x * step;
      if (!inside(position_x, from.width)) continue;
      const Tap column = tap_of(position_x);
      const uint8_t* corners[] = {at(column.first, row.first), at(column.first + 1, row.first),
                                  at(column.first, row.first + 1), at(column.first + 1, row.first + 1)};
      uint8_t* to = out.image.pixels.data() + pixel(out.image, x, y);
      for (size_t k = 0; k < 3; ++k) {
        const int64_t upper = corners[0][k] * (256 - column.weight) + corners[1][k] * column.weight;
        const int64_t lower = corners[2][k] * (256 - column.weight) + corners[3][k] * column.weight;
        to[k] = static_cast<uint8_t>((upper * (256 - row.weight) + lower * row.weight + kOne / 2) >> 16);
      }
    }
  }
  for (LabelledBox box : picture.boxes) {
    box.x = box.x * scale + shift_x;
    box.y = box.y * scale + shift_y;
    box.width *= scale;
    box.height *= scale;
    if (keep_inside(box, width, height)) out.boxes.push_back(box);
  }
  return out;
}

void change_hsv(Image& image, double turn, double saturation, double value) {
  for (size_t i = 0; i + 2 < image.pixels.size(); i += 3) {
    uint8_t* p = image.pixels.data() + i;
    const int largest = std::max({p[0], p[1], p[2]});
    const int least = std::min({p[0], p[1], p[2]});
    const double bright = std::min(largest * value, 255.0);
    if (largest == least) {
      p[0] = p[1] = p[2] = static_cast<uint8_t>(bright + 0.5);
      continue;
    }
    const double spread = largest - least;
    double hue = largest == p[0]   ? (p[1] - p[2]) / spread
                 : largest == p[1] ? 2 + (p[2] - p[0]) / spread
                                   : 4 + (p[0] - p[1]) / spread;
    hue += 6 * turn;
    hue -= 6 * std::floor(hue / 6);
    const double deep = std::min(spread / largest * saturation, 1.0);
    for (size_t k = 0; k < 3; ++k) {
      // How far the channel is below the brightest one: 0 within a sixth of its own hue, 1 from two sixths on.
      double away = std::fabs(hue - 2 * static_cast<double>(k));
      away = std::min(away, 6 - away);
      p[k] = static_cast<uint8_t>(bright * (1 - deep * std::clamp(away - 1, 0.0, 1.0)) + 0.5);
    }
  }
}

BoxedImage mosaic_of(const std::vector<BoxedImage>& four, int x, int y) {
  const int width = four[0].image.width;
  const int height = four[0].image.height;
  BoxedImage out;
  out.image = blank(2 * width, 2 * height);
  for (size_t i = 0; i < 4; ++i) {
    const Image& image = four[i].image;
    const int64_t left = i % 2 == 0 ? x - width : x;
    const int64_t top = i < 2 ? y - height : y;
    const int64_t first = std::max<int64_t>(left, 0);
    const int64_t last = std::min<int64_t>(left + width, out.image.width);
    for (int64_t row = std::max<int64_t>(top, 0); row < std::min<int64_t>(top + height, out.image.height); ++row) {
      if (last <= first) break;
      std::copy_n(image.pixels.data() + pixel(image, first - left, row - top), static_cast<size_t>(last - first) * 3,
                  out.image.pixels.data() + pixel(out.image, first, row));
    }
    for (LabelledBox box : four[i].boxes) {
      box.x += static_cast<double>(left);
      box.y += static_cast<double>(top);
      if (keep_inside(box, out.image.width, out.image.height)) out.boxes.push_back(box);
    }
  }
  return out;
}

BoxedImage mix_up(const BoxedImage& first, const BoxedImage& second, double share) {
  BoxedImage out = first;
  const int64_t weight = fixed(share);
  for (size_t i = 0; i < out.image.pixels.size(); ++i) {
    const int64_t sum = first.image.pixels[i] * weight + second.image.pixels[i] * (kOne - weight);
    out.image.pixels[i] = static_cast<uint8_t>((sum + kOne / 2) >> 16);
  }
  out.boxes.insert(out.boxes.end(), second.boxes.begin(), second.boxes.end());
  return out;
}

void paste_boxes(BoxedImage& to, const BoxedImage& from, RandomStream& random) {
  constexpr int kTries = 8;
  for (size_t i = 0; i < from.boxes.size(); ++i) {
    const LabelledBox& box = from.boxes[i];
    const auto floor_of = [](double x, int most) { return std::clamp(static_cast<int>(std::floor(x)), 0, most); };
    const int left = floor_of(box.x - box.width / 4, from.image.width);
    const int top = floor_of(box.y - box.height / 4, from.image.height);
    const int width = floor_of(box.x + box.width * 1.25 + 1, from.image.width) - left;
    const int height = floor_of(box.y + box.height * 1.25 + 1, from.image.height) - top;
    if (width < 1 || height < 1 || width >= to.image.width || height >= to.image.height) continue;
    LabelledBox patch{box.category,
                      static_cast<double>(left),
                      static_cast<double>(top),
                      static_cast<double>(width),
                      static_cast<double>(height),
                      0,
                      false};
    const auto meets = [&](const std::vector<LabelledBox>& boxes) {
      return std::count_if(boxes.begin(), boxes.end(), [&](const LabelledBox& one) { return overlaps(one, patch); });
    };
    if (meets(from.boxes) > 1) continue;
    for (int attempt = 0; attempt < kTries; ++attempt) {
      const auto x = static_cast<int>(random.below(static_cast<uint64_t>(to.image.width - width)));
      const auto y = static_cast<int>(random.below(static_cast<uint64_t>(to.image.height - height)));
      patch.x = x;
      patch.y = y;
      if (meets(to.boxes) > 0) continue;
      for (int row = 0; row < height; ++row) {
        std::copy_n(from.image.pixels.data() + pixel(from.image, left, top + row), static_cast<size_t>(width) * 3,
                    to.image.pixels.data() + pixel(to.image, x, y + row));
      }
      LabelledBox pasted = box;
      pasted.x += x - left;
      pasted.y += y - top;
      to.boxes.push_back(pasted);
      break;
    }
  }
}

namespace {

class Augmenter {
 public:
  Augmenter(const BoxedImageSource& source, const BoxAugmentation& wanted, int64_t max_boxes, RandomStream& random)
      : source_(source), wanted_(wanted), most_(static_cast<size_t>(max_boxes)), random_(random) {}

  Result<BoxedImage> run(size_t index) {
    HAI_TRY(BoxedImage out, arranged(index));
    if (wanted_.mixup && random_.below(7) == 0) {
      HAI_TRY(BoxedImage other, arranged(another()));
      const double share = beta_share(random_);
      other = fitted(std::move(other), out.image.width, out.image.height);
      if (out.boxes.size() + other.boxes.size() <= most_) out = mix_up(out, other, share);
    }
    if (wanted_.color) {
      const double turn = random_.between(-0.015, 0.015);
      const double saturation = random_.between(0.3, 1.7);
      change_hsv(out.image, turn, saturation, random_.between(0.6, 1.4));
    }
    if (wanted_.flip && random_.below(2) == 0) flip_horizontally(out);
    if (wanted_.flip_vertical && random_.below(2) == 0) flip_vertically(out);
    return out;
  }

 private:
  size_t another() { return static_cast<size_t>(random_.below(source_.count())); }

  Result<BoxedImage> pasted(size_t index) {
    HAI_TRY(BoxedImage out, source_.get(index));
    if (!wanted_.paste || random_.below(2) != 0) return out;
    HAI_TRY(const BoxedImage from, source_.get(another()));
    if (out.boxes.size() + from.boxes.size() <= most_) paste_boxes(out, from, random_);
    return out;
  }

  // The picture, or a mosaic around it, moved and scaled; of its size.
  Result<BoxedImage> arranged(size_t index) {
    HAI_TRY(BoxedImage out, pasted(index));
    const int width = out.image.width;
    const int height = out.image.height;
    bool mosaic = false;
    if (wanted_.mosaic && random_.below(4) != 0) {
      std::vector<BoxedImage> four;
      four.push_back(out);
      size_t boxes = out.boxes.size();
      while (four.size() < 4) {
        HAI_TRY(BoxedImage other, pasted(another()));
        four.push_back(fitted(std::move(other), width, height));
        boxes += four.back().boxes.size();
      }
      const auto x = static_cast<int>(random_.between(0.5, 1.5) * width);
      const auto y = static_cast<int>(random_.between(0.5, 1.5) * height);
      mosaic = boxes <= most_;
      if (mosaic) out = mosaic_of(four, x, y);
    }
    if (!wanted_.affine && !mosaic) return out;
    const double scale = wanted_.affine ? random_.between(0.5, 1.5) : 1.0;
    const double reach = wanted_.affine ? 0.1 : 0.0;
    const double x = (0.5 + random_.between(-reach, reach)) * width - scale * out.image.width / 2;
    const double y = (0.5 + random_.between(-reach, reach)) * height - scale * out.image.height / 2;
    return move_and_scale(out, scale, x, y, width, height);
  }

  const BoxedImageSource& source_;
  const BoxAugmentation& wanted_;
  size_t most_;
  RandomStream& random_;
};

}  // namespace

Result<BoxedImage> augment(const BoxedImageSource& source, size_t index, const BoxAugmentation& augmentation,
                           int64_t max_boxes, RandomStream& random) {
  return Augmenter(source, augmentation, max_boxes, random).run(index);
}

}  // namespace hai::data
