// FeatureCache: what the frozen part of a step gave for samples, kept in memory and, with a folder, on disk.
//
// A record belongs to one view of one sample: its content's digest and the number of the view. A cache belongs to one
// key, a digest of everything else that the features follow from (model file, instruction set, augmentation, seed).
// It never fails a training: a file that is missing, damaged or another key's is passed over, a full disk or a full
// cache keeps nothing more, and what is not kept is computed again. One thread puts; any may ask contains().
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/file.h"
#include "base/result.h"
#include "base/sha256.h"

namespace hai::training {

struct FeatureCacheOptions {
  std::string folder;                              // empty: in memory alone
  int64_t limit_bytes = int64_t{512} * (1 << 20);  // of all records
};

class FeatureCache {
 public:
  FeatureCache(FeatureCacheOptions options, const Sha256Digest& key, int64_t record_bytes);

  // Takes over what the folder holds for this key. Returns why a file there was passed over; empty: it was not, or
  // there is none.
  std::string load();
  // Writes the file anew where there is something that it does not hold; whole or not at all. Nothing without a folder.
  Status save(FileSystem& file_system = FileSystem::real());

  bool contains(int64_t view, const Sha256Digest& sample) const;
  // Empty: not kept. Valid as long as the cache.
  std::span<const std::byte> find(int64_t view, const Sha256Digest& sample) const;
  // Keeps it unless the limit is reached or it is known.
  void put(int64_t view, const Sha256Digest& sample, std::span<const std::byte> record);

  int64_t count() const;
  int64_t record_bytes() const { return record_bytes_; }
  std::string path() const;  // of its file; empty without a folder

 private:
  using Place = std::pair<int64_t, Sha256Digest>;

  const FeatureCacheOptions options_;
  const Sha256Digest key_;
  const int64_t record_bytes_;
  mutable std::mutex mutex_;
  std::map<Place, std::vector<std::byte>> records_;
  int64_t saved_ = 0;  // records that the file holds
};

}  // namespace hai::training
