// Augmentation: what training does to pictures so that a network sees more than there are. On decoded pictures before
// the model's own preprocessing (flip, crop, colour), and on a finished batch with its targets (MixUp, CutMix).
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "data/image.h"
#include "data/random_stream.h"
#include "types/preprocessing.h"

namespace hai::data {

struct Augmentation {
  bool flip = false;    // half of the pictures, left for right
  bool crop = false;    // a part of 35 % to 100 % of the area, its aspect up to 4/3 wider or narrower
  bool color = false;   // brightness, contrast and saturation, each times 0.6 to 1.4
  bool mixup = false;   // two pictures of the batch, shares from Beta(0.2, 0.2) (Zhang 2018)
  bool cutmix = false;  // a rectangle of another picture, its area uniform (Yun 2019)
  bool operator==(const Augmentation&) const = default;
};

// "none", or names separated by commas. Error D085: no such augmentation, or one twice.
Result<Augmentation> parse_augmentation(std::string_view text);

Image flip_horizontally(const Image& image);
// Precondition: the rectangle lies inside.
Image crop_to(const Image& image, int left, int top, int width, int height);
// In this order, in fixed point of 16 fraction bits: times brightness; away from the picture's mean luma by contrast;
// away from each pixel's luma by saturation. Factors of 1 change nothing.
void change_color(Image& image, double brightness, double contrast, double saturation);
// What `augmentation` says of single pictures, drawn from `random`.
Image augment(const Image& image, const Augmentation& augmentation, RandomStream& random);

// A finished batch: `count` pictures by `rule`, and shares of `classes` for each.
struct BatchView {
  std::span<float> pixels;
  std::span<float> targets;
  int64_t count = 0;
  int64_t classes = 0;
};
// What a batch is mixed from; copies, since every picture may be read for another one.
struct MixScratch {
  std::vector<float> pixels;
  std::vector<float> targets;
};
// Each picture becomes `share` of itself and the rest of picture `partner[i]`, and so do its targets. Shares are
// multiples of 2^-16, so that those of a target add up to 1 exactly.
void mix_up(BatchView batch, std::span<const double> share, std::span<const size_t> partner, MixScratch& scratch);
struct Rectangle {
  int left = 0;
  int top = 0;
  int width = 0;
  int height = 0;
};
// Each picture takes the pixels of `rectangle[i]` from picture `partner[i]`, and of its targets the share of the area.
void cut_mix(BatchView batch, const Preprocessing& rule, std::span<const Rectangle> rectangle,
             std::span<const size_t> partner, MixScratch& scratch);
// MixUp or CutMix as `augmentation` says; with both, each batch has one of the two.
void mix_batch(BatchView batch, const Preprocessing& rule, const Augmentation& augmentation, RandomStream& random,
               MixScratch& scratch);

}  // namespace hai::data
