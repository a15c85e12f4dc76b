// BoxLoader: batches of pictures with boxes for training and validation, decoded, augmented and preprocessed on a
// thread of its own while the caller works on the one before.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "base/result.h"
#include "data/box_augment.h"
#include "data/box_labels.h"
#include "data/preprocess.h"
#include "types/preprocessing.h"

namespace hai::data {

struct BoxLoaderOptions {
  int64_t batch = 16;
  int64_t max_boxes = 128;
  BoxAugmentation augmentation;
  int64_t plain_from = 0;  // from this epoch on no mosaic, mixup and pasting; 0: always
  bool shuffle = true;     // another order each epoch
  uint64_t seed = 0;
  int threads = 1;
};

struct BoxBatch {
  std::vector<float> pixels;     // `batch` pictures as the rule makes them
  std::vector<float> labels;     // [batch, max_boxes, 5]: class, centre x, y, width, height in its pixels; -1
  std::vector<size_t> pictures;  // index into the set of each
  std::vector<PictureTransform> transforms;  // of each, from the picture that was preprocessed
  std::vector<std::pair<int, int>> sizes;    // width and height of that picture
  int64_t fresh = 0;                         // of this epoch; the last batch is filled up with its first pictures
};

// A batch depends on set, indices, seed, epoch and its number alone, not on threads or on what is kept in memory.
class BoxLoader {
 public:
  // `indices`: of the pictures of `set` to load, at least one; `set` must outlive the loader. Errors: an unsound rule.
  static Result<std::unique_ptr<BoxLoader>> create(const BoxSet& set, std::vector<size_t> indices,
                                                   const Preprocessing& rule, const BoxLoaderOptions& options);
  ~BoxLoader();
  BoxLoader(const BoxLoader&) = delete;
  BoxLoader& operator=(const BoxLoader&) = delete;

  int64_t batches() const;  // in an epoch
  // Begins epoch `epoch` at its batch `first` (0..batches()); what is left of the one before is dropped.
  void start(int64_t epoch, int64_t first = 0);
  // The next batch, valid until the next call of next() or start(); null at the end of the epoch. Errors: a picture
  // that can no longer be read; no memory.
  Result<const BoxBatch*> next();

 private:
  struct State;
  explicit BoxLoader(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace hai::data
