// Preprocessing of pictures, the same code in calibration, evaluation and the field.
//
// Method: separable convolution with a triangle filter whose support grows with the reduction (antialiasing),
// coefficients normalised in f64 and rounded to 22 fraction bits, as the well-known Python imaging library does, so
// that a model trained with it sees the same bytes here. Invariants: output depends on picture and rule alone; no
// thread, no state. It does not decode (image.cpp) and does not quantize (the graph does).
#include "data/preprocess.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

namespace hai::data {
namespace {

constexpr int kFractionBits = 22;

// For each output position: the first source position and the filter's weights from there on.
struct Filter {
  std::vector<int> first;
  std::vector<int> length;
  std::vector<int32_t> weights;  // `stride` per output position
  int stride = 0;
};

double triangle(double distance) { return distance < 1.0 ? 1.0 - distance : 0.0; }

double cubic(double distance) {
  constexpr double kA = -0.5;
  if (distance < 1.0) return ((kA + 2.0) * distance - (kA + 3.0)) * distance * distance + 1.0;
  if (distance < 2.0) return (((distance - 5.0) * distance + 8.0) * distance - 4.0) * kA;
  return 0.0;
}

Filter make_filter(int source_size, int target_size, Interpolation interpolation) {
  const double ratio = static_cast<double>(source_size) / target_size;
  const double stretch = std::max(ratio, 1.0);  // a reduction widens the filter, an enlargement does not
  const double support = stretch * (interpolation == Interpolation::kBicubic ? 2.0 : 1.0);
  Filter filter;
  filter.stride = static_cast<int>(std::ceil(support)) * 2 + 1;
  filter.first.resize(static_cast<size_t>(target_size));
  filter.length.resize(static_cast<size_t>(target_size));
  filter.weights.resize(static_cast<size_t>(target_size) * static_cast<size_t>(filter.stride));
  std::vector<double> raw(static_cast<size_t>(filter.stride));
  for (int target = 0; target < target_size; ++target) {
    const double center = (target + 0.5) * ratio;
    const int first = std::max(static_cast<int>(center - support + 0.5), 0);
    const int last = std::min(static_cast<int>(center + support + 0.5), source_size);
    double sum = 0;
    for (int i = first; i < last; ++i) {
      const double distance = std::abs((i - center + 0.5) / stretch);
      raw[static_cast<size_t>(i - first)] =
          interpolation == Interpolation::kBicubic ? cubic(distance) : triangle(distance);
      sum += raw[static_cast<size_t>(i - first)];
    }
    const auto slot = static_cast<size_t>(target);
    filter.first[slot] = first;
    filter.length[slot] = last - first;
    for (int i = 0; i < last - first; ++i) {
      const double weight = sum != 0 ? raw[static_cast<size_t>(i)] / sum : 0.0;
      filter.weights[slot * static_cast<size_t>(filter.stride) + static_cast<size_t>(i)] =
          static_cast<int32_t>((weight < 0 ? -0.5 : 0.5) + weight * (1 << kFractionBits));
    }
  }
  return filter;
}

uint8_t to_byte(int32_t fixed) { return static_cast<uint8_t>(std::clamp(fixed >> kFractionBits, 0, 255)); }

// Filters along one axis: `outer` lines of `source_size` positions, each of `inner` interleaved samples.
void filter_axis(const uint8_t* source, uint8_t* target, size_t outer, int source_size, int target_size, size_t inner,
                 Interpolation interpolation) {
  const Filter filter = make_filter(source_size, target_size, interpolation);
  std::vector<int32_t> sums(inner);
  for (size_t line = 0; line < outer; ++line) {
    const uint8_t* from = source + line * static_cast<size_t>(source_size) * inner;
    uint8_t* to = target + line * static_cast<size_t>(target_size) * inner;
    for (int t = 0; t < target_size; ++t) {
      const auto slot = static_cast<size_t>(t);
      const int32_t* weights = filter.weights.data() + slot * static_cast<size_t>(filter.stride);
      std::fill(sums.begin(), sums.end(), 1 << (kFractionBits - 1));
      for (int i = 0; i < filter.length[slot]; ++i) {
        const uint8_t* samples = from + static_cast<size_t>(filter.first[slot] + i) * inner;
        for (size_t k = 0; k < inner; ++k) sums[k] += samples[k] * weights[i];
      }
      for (size_t k = 0; k < inner; ++k) to[slot * inner + k] = to_byte(sums[k]);
    }
  }
}

Image crop(const Image& image, int left, int top, int width, int height) {
  Image out{width, height, std::vector<uint8_t>(static_cast<size_t>(width) * static_cast<size_t>(height) * 3)};
  const size_t row_bytes = static_cast<size_t>(width) * 3;
  for (int y = 0; y < height; ++y) {
    const size_t from =
        (static_cast<size_t>(top + y) * static_cast<size_t>(image.width) + static_cast<size_t>(left)) * 3;
    std::copy_n(image.pixels.data() + from, row_bytes, out.pixels.data() + static_cast<size_t>(y) * row_bytes);
  }
  return out;
}

struct Fitted {
  Image image;
  PictureTransform transform;
};

Fitted short_side_crop(const Image& image, const Preprocessing& rule) {
  const int64_t shorter = std::min(image.width, image.height);
  const auto scaled = [&](int64_t side) {
    return static_cast<int>(side == shorter ? rule.resize_size : side * rule.resize_size / shorter);
  };
  const int width = scaled(image.width);
  const int height = scaled(image.height);
  const Image resized = resize(image, width, height, rule.interpolation);
  // Half a pixel goes to the even neighbour, as Python's round() does it: the usual centre crop.
  const int left = static_cast<int>(std::nearbyint((width - rule.width) / 2.0));
  const int top = static_cast<int>(std::nearbyint((height - rule.height) / 2.0));
  return {crop(resized, left, top, rule.width, rule.height),
          {static_cast<double>(width) / image.width, static_cast<double>(height) / image.height,
           -static_cast<double>(left), -static_cast<double>(top)}};
}

// Centred, sides are rounded, as YOLOv5 does it; at the top left, they are cut down to whole pixels, as YOLOX does it.
Fitted letterbox(const Image& image, const Preprocessing& rule) {
  const bool centred = rule.resize_rule == ResizeRule::kLetterbox;
  const double scale =
      std::min(static_cast<double>(rule.width) / image.width, static_cast<double>(rule.height) / image.height);
  const auto whole = [&](double side) {
    return static_cast<int>(centred ? std::lround(side) : static_cast<long>(std::floor(side)));
  };
  const int width = std::clamp(whole(image.width * scale), 1, rule.width);
  const int height = std::clamp(whole(image.height * scale), 1, rule.height);
  const Image resized = resize(image, width, height, rule.interpolation);
  const int left = centred ? (rule.width - width) / 2 : 0;
  const int top = centred ? (rule.height - height) / 2 : 0;
  Image out{rule.width, rule.height,
            std::vector<uint8_t>(static_cast<size_t>(rule.width) * static_cast<size_t>(rule.height) * 3,
                                 static_cast<uint8_t>(rule.pad_value + 0.5F))};
  const size_t row_bytes = static_cast<size_t>(width) * 3;
  for (int y = 0; y < height; ++y) {
    const size_t to = (static_cast<size_t>(top + y) * static_cast<size_t>(rule.width) + static_cast<size_t>(left)) * 3;
    std::copy_n(resized.pixels.data() + static_cast<size_t>(y) * row_bytes, row_bytes, out.pixels.data() + to);
  }
  return {std::move(out),
          {static_cast<double>(width) / image.width, static_cast<double>(height) / image.height,
           static_cast<double>(left), static_cast<double>(top)}};
}

Fitted stretch(const Image& image, const Preprocessing& rule) {
  return {resize(image, rule.width, rule.height, rule.interpolation),
          {static_cast<double>(rule.width) / image.width, static_cast<double>(rule.height) / image.height, 0, 0}};
}

// The source pixel under the centre of each target pixel.
Image resize_nearest(const Image& image, int width, int height) {
  Image out{width, height, std::vector<uint8_t>(static_cast<size_t>(width) * static_cast<size_t>(height) * 3)};
  for (int64_t y = 0; y < height; ++y) {
    const int64_t from_y = (2 * y + 1) * image.height / (2 * static_cast<int64_t>(height));
    for (int64_t x = 0; x < width; ++x) {
      const int64_t from_x = (2 * x + 1) * image.width / (2 * static_cast<int64_t>(width));
      std::copy_n(image.pixels.data() + (from_y * image.width + from_x) * 3, 3,
                  out.pixels.data() + (y * width + x) * 3);
    }
  }
  return out;
}

// ITU-R 601 luma with the integer weights of the same imaging library.
float luma(const uint8_t* pixel) {
  return static_cast<float>((pixel[0] * 19595U + pixel[1] * 38470U + pixel[2] * 7471U + 0x8000U) >> 16U);
}

}  // namespace

Image resize(const Image& image, int width, int height, Interpolation interpolation) {
  if (interpolation == Interpolation::kNearest) return resize_nearest(image, width, height);
  const auto rows = static_cast<size_t>(image.height);
  Image narrow{width, image.height, {}};
  if (width == image.width) {
    narrow.pixels = image.pixels;
  } else {
    narrow.pixels.resize(rows * static_cast<size_t>(width) * 3);
    filter_axis(image.pixels.data(), narrow.pixels.data(), rows, image.width, width, 3, interpolation);
  }
  if (height == image.height) return narrow;
  Image out{width, height, std::vector<uint8_t>(static_cast<size_t>(width) * static_cast<size_t>(height) * 3)};
  filter_axis(narrow.pixels.data(), out.pixels.data(), 1, image.height, height, static_cast<size_t>(width) * 3,
              interpolation);
  return out;
}

Status verify(const Preprocessing& rule) {
  const auto in_range = [](int side) { return side >= 1 && side <= kMaxImageSide; };
  if (!in_range(rule.width) || !in_range(rule.height)) {
    return make_error(StatusCode::kOutOfRange, "D020", "preprocessing to {}x{} pixels: sides must be 1..{}", rule.width,
                      rule.height, kMaxImageSide);
  }
  if (rule.resize_rule == ResizeRule::kShortSide &&
      (!in_range(rule.resize_size) || rule.resize_size < std::max(rule.width, rule.height))) {
    return make_error(StatusCode::kOutOfRange, "D021",
                      "preprocessing crops {}x{} from a short side of {}: it must be at least as long", rule.width,
                      rule.height, rule.resize_size);
  }
  if (!(rule.pad_value >= 0.0F && rule.pad_value <= 255.0F)) {
    return make_error(StatusCode::kOutOfRange, "D026", "preprocessing pads with {}: a pixel value must be 0..255",
                      rule.pad_value);
  }
  for (size_t c = 0; c < 3; ++c) {
    if (!std::isfinite(rule.mean[c]) || !std::isfinite(rule.scale[c]) || rule.scale[c] == 0.0F) {
      return make_error(StatusCode::kOutOfRange, "D022",
                        "preprocessing mean {} and scale {} of channel {}: both must be finite, scale not zero",
                        rule.mean[c], rule.scale[c], c);
    }
  }
  return {};
}

Status check_output(const Preprocessing& rule, std::span<const float> output) {
  HAI_TRY_STATUS(verify(rule));
  const size_t pixel_count = static_cast<size_t>(rule.width) * static_cast<size_t>(rule.height);
  if (output.size() != pixel_count * static_cast<size_t>(rule.channels())) {
    return make_error(StatusCode::kInvalidArgument, "D023", "preprocessing makes {}x{}x{} numbers, the input takes {}",
                      rule.width, rule.height, rule.channels(), output.size());
  }
  return {};
}

Result<PictureTransform> preprocess(const Image& image, const Preprocessing& rule, std::span<float> output) {
  HAI_TRY_STATUS(check_output(rule, output));
  const size_t pixel_count = static_cast<size_t>(rule.width) * static_cast<size_t>(rule.height);
  const auto channels = static_cast<size_t>(rule.channels());
  if (image.width < 1 || image.height < 1)
    return make_error(StatusCode::kInvalidArgument, "D024", "an empty picture has nothing to preprocess");
  if (rule.resize_rule == ResizeRule::kShortSide) {
    const int64_t longest =
        std::max<int64_t>(image.width, image.height) * rule.resize_size / std::min(image.width, image.height);
    if (longest > kMaxImageSide) {
      return make_error(
          StatusCode::kOutOfRange, "D025",
          "a picture of {}x{} resized to a short side of {} is {} pixels long: the limit is {}; crop it first",
          image.width, image.height, rule.resize_size, longest, kMaxImageSide);
    }
  }
  const Fitted fitted = rule.resize_rule == ResizeRule::kShortSide ? short_side_crop(image, rule)
                        : is_letterbox(rule.resize_rule)           ? letterbox(image, rule)
                                                                   : stretch(image, rule);
  const uint8_t* pixels = fitted.image.pixels.data();
  for (size_t i = 0; i < pixel_count; ++i) {
    for (size_t c = 0; c < channels; ++c) {
      const size_t source = rule.color_order == ColorOrder::kBgr ? 2 - c : c;
      const float x = channels == 1 ? luma(pixels + 3 * i) : static_cast<float>(pixels[3 * i + source]);
      output[rule.layout == PictureLayout::kNhwc ? i * channels + c : c * pixel_count + i] =
          (x - rule.mean[c]) * rule.scale[c];
    }
  }
  return fitted.transform;
}

}  // namespace hai::data
