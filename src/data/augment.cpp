// Augmentation of pictures and batches.
//
// Method: every number comes from the stream that the caller gives, in a fixed order, and only + - * / and square roots
// are used, which are rounded alike everywhere. Colours are computed in integers. Beta(0.2, 0.2) is drawn by Joehnk's
// method, whose powers 1 / 0.2 are whole. Not here: decoding, preprocessing, threads (batch_loader.cpp).
#include "data/augment.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "data/named_flags.h"

namespace hai::data {
namespace {

constexpr int64_t kOne = 1 << 16;
constexpr double kColorRange = 0.4;
constexpr double kLeastCropShare = 0.35;
constexpr double kMostAspect = 4.0 / 3.0;

int64_t fixed(double factor) { return std::llround(factor * kOne); }

uint8_t to_pixel(int64_t value) { return static_cast<uint8_t>(std::clamp<int64_t>((value + kOne / 2) >> 16, 0, 255)); }

// ITU-R 601, weights of 16 bits that add up to one.
int64_t luma(const uint8_t* p) { return p[0] * 19595 + p[1] * 38470 + p[2] * 7471; }

Image random_crop(const Image& image, RandomStream& random) {
  const double share = random.between(kLeastCropShare, 1.0);
  const double stretch = random.between(1.0, kMostAspect);
  const double aspect = random.unit() < 0.5 ? stretch : 1 / stretch;
  const auto side = [](double wanted, int most) {
    return static_cast<int>(std::clamp<int64_t>(std::llround(wanted), 1, most));
  };
  const int width = side(image.width * std::sqrt(share * aspect), image.width);
  const int height = side(image.height * std::sqrt(share / aspect), image.height);
  const auto left = static_cast<int>(random.below(static_cast<uint64_t>(image.width - width + 1)));
  const auto top = static_cast<int>(random.below(static_cast<uint64_t>(image.height - height + 1)));
  return crop_to(image, left, top, width, height);
}

// A multiple of 2^-16.
double beta_share(RandomStream& random) {
  const auto fifth_power = [](double x) { return x * x * x * x * x; };
  for (;;) {
    const double x = fifth_power(random.unit());
    const double y = fifth_power(random.unit());
    if (x + y > 0 && x + y <= 1) return static_cast<double>(fixed(x / (x + y))) / kOne;
  }
}

Rectangle random_rectangle(const Preprocessing& rule, RandomStream& random) {
  const double side = std::sqrt(random.unit());
  const auto width = static_cast<int>(rule.width * side);
  const auto height = static_cast<int>(rule.height * side);
  const int left = static_cast<int>(random.below(static_cast<uint64_t>(rule.width))) - width / 2;
  const int top = static_cast<int>(random.below(static_cast<uint64_t>(rule.height))) - height / 2;
  Rectangle out;
  out.left = std::max(left, 0);
  out.top = std::max(top, 0);
  out.width = std::min(left + width, rule.width) - out.left;
  out.height = std::min(top + height, rule.height) - out.top;
  return out;
}

void mix_targets(BatchView batch, size_t i, size_t partner, float share, const MixScratch& scratch) {
  const auto classes = static_cast<size_t>(batch.classes);
  const float* own = scratch.targets.data() + i * classes;
  const float* other = scratch.targets.data() + partner * classes;
  float* to = batch.targets.data() + i * classes;
  for (size_t c = 0; c < classes; ++c) to[c] = share * own[c] + (1 - share) * other[c];
}

void copy_batch(BatchView batch, MixScratch& scratch) {
  scratch.pixels.assign(batch.pixels.begin(), batch.pixels.end());
  scratch.targets.assign(batch.targets.begin(), batch.targets.end());
}

}  // namespace

Result<Augmentation> parse_augmentation(std::string_view text) {
  Augmentation out;
  if (text == "none") return out;
  const NamedFlag names[] = {
      {"flip", &out.flip}, {"crop", &out.crop}, {"color", &out.color}, {"mixup", &out.mixup}, {"cutmix", &out.cutmix}};
  if (const auto wrong = set_named_flags(text, names)) {
    return make_error(StatusCode::kInvalidArgument, "D085",
                      "\"{}\" is no augmentation, or is given twice; give none, or some of flip, crop, color, mixup, "
                      "cutmix, separated by commas",
                      *wrong);
  }
  return out;
}

Image flip_horizontally(const Image& image) {
  Image out = image;
  const auto width = static_cast<size_t>(image.width);
  for (size_t y = 0; y < static_cast<size_t>(image.height); ++y) {
    for (size_t x = 0; x < width; ++x)
      std::copy_n(image.pixels.data() + (y * width + x) * 3, 3, out.pixels.data() + (y * width + width - 1 - x) * 3);
  }
  return out;
}

Image crop_to(const Image& image, int left, int top, int width, int height) {
  Image out{width, height, std::vector<uint8_t>(static_cast<size_t>(width) * static_cast<size_t>(height) * 3)};
  const size_t row = static_cast<size_t>(width) * 3;
  for (size_t y = 0; y < static_cast<size_t>(height); ++y) {
    const size_t from =
        ((static_cast<size_t>(top) + y) * static_cast<size_t>(image.width) + static_cast<size_t>(left)) * 3;
    std::copy_n(image.pixels.data() + from, row, out.pixels.data() + y * row);
  }
  return out;
}

void change_color(Image& image, double brightness, double contrast, double saturation) {
  const int64_t b = fixed(brightness);
  const int64_t c = fixed(contrast);
  const int64_t s = fixed(saturation);
  std::vector<uint8_t>& pixels = image.pixels;
  if (pixels.empty()) return;
  std::array<uint8_t, 256> table = {};
  for (int64_t p = 0; p < 256; ++p) table[static_cast<size_t>(p)] = to_pixel(p * b);
  for (uint8_t& p : pixels) p = table[p];
  int64_t sum = 0;
  for (size_t i = 0; i < pixels.size(); i += 3) sum += luma(&pixels[i]);
  const int64_t mean = (sum / static_cast<int64_t>(pixels.size() / 3) + kOne / 2) >> 16;
  for (int64_t p = 0; p < 256; ++p) table[static_cast<size_t>(p)] = to_pixel(mean * kOne + (p - mean) * c);
  for (uint8_t& p : pixels) p = table[p];
  for (size_t i = 0; i < pixels.size(); i += 3) {
    const int64_t grey = (luma(&pixels[i]) + kOne / 2) >> 16;
    for (size_t k = 0; k < 3; ++k) pixels[i + k] = to_pixel(grey * kOne + (pixels[i + k] - grey) * s);
  }
}

Image augment(const Image& image, const Augmentation& augmentation, RandomStream& random) {
  Image out = augmentation.crop ? random_crop(image, random) : image;
  if (augmentation.flip && random.unit() < 0.5) out = flip_horizontally(out);
  if (augmentation.color) {
    const double brightness = random.between(1 - kColorRange, 1 + kColorRange);
    const double contrast = random.between(1 - kColorRange, 1 + kColorRange);
    change_color(out, brightness, contrast, random.between(1 - kColorRange, 1 + kColorRange));
  }
  return out;
}

void mix_up(BatchView batch, std::span<const double> share, std::span<const size_t> partner, MixScratch& scratch) {
  copy_batch(batch, scratch);
  const size_t size = batch.pixels.size() / static_cast<size_t>(batch.count);
  for (size_t i = 0; i < static_cast<size_t>(batch.count); ++i) {
    const auto part = static_cast<float>(share[i]);
    const float* own = scratch.pixels.data() + i * size;
    const float* other = scratch.pixels.data() + partner[i] * size;
    float* to = batch.pixels.data() + i * size;
    for (size_t k = 0; k < size; ++k) to[k] = part * own[k] + (1 - part) * other[k];
    mix_targets(batch, i, partner[i], part, scratch);
  }
}

void cut_mix(BatchView batch, const Preprocessing& rule, std::span<const Rectangle> rectangle,
             std::span<const size_t> partner, MixScratch& scratch) {
  copy_batch(batch, scratch);
  const size_t size = batch.pixels.size() / static_cast<size_t>(batch.count);
  const auto channels = static_cast<size_t>(rule.channels());
  const bool interleaved = rule.layout == PictureLayout::kNhwc;
  const size_t planes = interleaved ? 1 : channels;
  const size_t step = interleaved ? channels : 1;  // numbers a pixel of a plane
  const auto width = static_cast<size_t>(rule.width);
  const auto height = static_cast<size_t>(rule.height);
  for (size_t i = 0; i < static_cast<size_t>(batch.count); ++i) {
    const Rectangle& cut = rectangle[i];
    for (size_t plane = 0; plane < planes; ++plane) {
      for (size_t y = 0; y < static_cast<size_t>(cut.height); ++y) {
        const size_t row = plane * height + static_cast<size_t>(cut.top) + y;
        const size_t at = (row * width + static_cast<size_t>(cut.left)) * step;
        std::copy_n(scratch.pixels.data() + partner[i] * size + at, static_cast<size_t>(cut.width) * step,
                    batch.pixels.data() + i * size + at);
      }
    }
    const int64_t all = static_cast<int64_t>(rule.width) * rule.height;
    const int64_t kept = all - static_cast<int64_t>(cut.width) * cut.height;
    mix_targets(batch, i, partner[i], static_cast<float>(static_cast<double>(kept) / static_cast<double>(all)),
                scratch);
  }
}

void mix_batch(BatchView batch, const Preprocessing& rule, const Augmentation& augmentation, RandomStream& random,
               MixScratch& scratch) {
  if (!augmentation.mixup && !augmentation.cutmix) return;
  const auto count = static_cast<size_t>(batch.count);
  const bool cut = augmentation.cutmix && (!augmentation.mixup || random.unit() < 0.5);
  std::vector<size_t> partner(count);
  for (size_t i = 0; i < count; ++i) partner[i] = i;
  random.shuffle(partner);
  if (cut) {
    std::vector<Rectangle> rectangles(count);
    for (Rectangle& one : rectangles) one = random_rectangle(rule, random);
    cut_mix(batch, rule, rectangles, partner, scratch);
  } else {
    std::vector<double> shares(count);
    for (double& one : shares) one = beta_share(random);
    mix_up(batch, shares, partner, scratch);
  }
}

}  // namespace hai::data
