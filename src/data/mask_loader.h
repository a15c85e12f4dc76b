// MaskLoader: batches of pictures with masks for training and validation of a segmenter, decoded, augmented and
// preprocessed on a thread of its own while the caller works on the one before.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/result.h"
#include "data/augment.h"
#include "data/mask_pictures.h"
#include "types/preprocessing.h"

namespace hai::data {

// What a segmenter answers for one picture.
struct ClassMap {
  int64_t classes = 1;  // 1: one number a pixel, whether it is class 1 of two
  int64_t height = 0;
  int64_t width = 0;
  bool classes_first = false;  // [classes, height, width], else [height, width, classes]

  int64_t class_count() const { return classes == 1 ? 2 : classes; }
  int64_t numbers() const { return classes * height * width; }
};

struct MaskLoaderOptions {
  int64_t batch = 16;
  ClassMap map;
  Augmentation augmentation;  // flip and crop of both, colour of the picture; MixUp and CutMix are not for masks
  bool shuffle = true;        // another order each epoch
  uint64_t seed = 0;
  int threads = 1;
};

struct MaskBatch {
  std::vector<float> pixels;     // `batch` pictures as the rule makes them
  std::vector<float> targets;    // `batch` maps of shares: 1 of the pixel's class
  std::vector<uint8_t> classes;  // `batch` times height times width
  std::vector<size_t> pictures;  // index into the pairs of each
  int64_t fresh = 0;             // of this epoch; the last batch is filled up with its first pictures
};

// A mask goes where its picture goes by the rule, by nearest pixels; around a letterboxed picture is class 0. A batch
// depends on pairs, indices, seed, epoch and its number alone, not on threads.
class MaskLoader {
 public:
  // `indices`: of the pairs to load, at least one; `pairs` must outlive the loader. Errors: an unsound rule, D106.
  static Result<std::unique_ptr<MaskLoader>> create(std::span<const MaskedPicture> pairs, std::vector<size_t> indices,
                                                    const Preprocessing& rule, const MaskLoaderOptions& options);
  ~MaskLoader();
  MaskLoader(const MaskLoader&) = delete;
  MaskLoader& operator=(const MaskLoader&) = delete;

  int64_t batches() const;  // in an epoch
  // Begins epoch `epoch` at its batch `first` (0..batches()); what is left of the one before is dropped.
  void start(int64_t epoch, int64_t first = 0);
  // The next batch, valid until the next call of next() or start(); null at the end of the epoch. Errors: a pair that
  // can no longer be read; no memory.
  Result<const MaskBatch*> next();

 private:
  struct State;
  explicit MaskLoader(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

// How well maps of classes fit: the overlap over the union of each class, and their mean over those that are there or
// were answered.
class MaskScore {
 public:
  explicit MaskScore(int64_t classes) : both_(static_cast<size_t>(classes)), either_(static_cast<size_t>(classes)) {}
  // `answers`: what the model says of one picture, of a single number a pixel what is above `threshold` is class 1.
  void add(const ClassMap& map, std::span<const float> answers, float threshold, std::span<const uint8_t> truth);
  double mean_iou() const;  // 0 before anything is added

 private:
  std::vector<int64_t> both_, either_;
};

}  // namespace hai::data
