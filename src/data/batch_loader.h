// BatchLoader: batches of labelled pictures for training, decoded, augmented and preprocessed on a thread of its own
// while the caller works on the one before.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "base/result.h"
#include "data/augment.h"
#include "data/labelled_pictures.h"
#include "types/preprocessing.h"

namespace hai::data {

struct LoaderOptions {
  int64_t batch = 32;
  Augmentation augmentation;
  bool shuffle = true;  // another order each epoch
  uint64_t seed = 0;
  // 0: augmentation is drawn anew in each epoch. Else each picture has so many views, which depend on nothing but seed,
  // picture and view; epoch e shows view (e - 1) % views.
  int64_t views = 0;
  // Pictures that nobody needs the pixels of, because what follows from them is kept: they are not decoded. Asked from
  // the loader's thread; once true of a picture and a view, it must stay so. Pixels are undefined then.
  std::function<bool(size_t picture, int64_t view)> known = {};
  int threads = 1;                                 // that decode
  int64_t cache_bytes = int64_t{256} * (1 << 20);  // of decoded pictures kept from epoch to epoch
};

struct Batch {
  std::vector<float> pixels;     // `batch` pictures as the rule makes them
  std::vector<float> targets;    // `batch` times the number of classes: shares
  std::vector<size_t> pictures;  // index into the set of each
  std::vector<uint8_t> known;    // of each: 1 where its pixels were not made
  int64_t view = 0;              // of all of them, where the loader was asked for views
  int64_t fresh = 0;             // of this epoch; the last batch is filled up with the epoch's first pictures
};

// A batch depends on set, indices, seed, epoch and its number alone, not on threads or on what is cached.
class BatchLoader {
 public:
  // `indices`: of the pictures of `set` to load, at least one; `set` must outlive the loader. Errors: an unsound rule.
  static Result<std::unique_ptr<BatchLoader>> create(const LabelledSet& set, std::vector<size_t> indices,
                                                     const Preprocessing& rule, const LoaderOptions& options);
  ~BatchLoader();
  BatchLoader(const BatchLoader&) = delete;
  BatchLoader& operator=(const BatchLoader&) = delete;

  int64_t batches() const;  // in an epoch
  // Begins epoch `epoch` at its batch `first` (0..batches()); what is left of the one before is dropped.
  void start(int64_t epoch, int64_t first = 0);
  // The next batch, valid until the next call of next() or start(); null at the end of the epoch. Errors: a picture
  // that can no longer be read; no memory.
  Result<const Batch*> next();

 private:
  struct State;
  explicit BatchLoader(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace hai::data
