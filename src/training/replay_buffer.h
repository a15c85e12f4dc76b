// Samples of earlier tasks that are learnt again beside new ones, in a fixed room.
//
// A sample is any bytes (a picture, or features of the frozen part), with a key of the caller's, a class, and perhaps
// the answers that the model gave when it was kept. Which samples stay follows from the seed and the order of offers
// alone, and the buffer as bytes holds all of it, so a resumed training ends in the same bits. One caller at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace hai::training {

enum class ReplayPolicy : uint8_t {
  kReservoir,  // each sample ever offered is kept with the same chance (Vitter 1985, algorithm R)
  kBalanced,   // classes have equal room, within each as above (Chrysakis & Moens 2020)
};

struct ReplaySample {
  int64_t key = 0;
  int64_t label = 0;
  std::vector<std::byte> bytes;
  std::vector<float> answers;
};

class ReplayBuffer {
 public:
  // Error E040: a capacity that is not from 1 to 2^24.
  static Result<ReplayBuffer> create(int64_t capacity, ReplayPolicy policy, uint64_t seed);

  // Whether it was kept; another one may have gone for it.
  bool offer(ReplaySample sample);
  // Positions of `count` samples, none twice before all were drawn once. Nothing where the buffer is empty.
  std::vector<size_t> draw(size_t count);
  // Corrects the class of what was kept under this key; how many there were.
  size_t relabel(int64_t key, int64_t label);

  size_t size() const { return samples_.size(); }
  int64_t capacity() const { return capacity_; }
  const ReplaySample& sample(size_t position) const { return samples_[position]; }

  // For a checkpoint, and back. Error E041: the bytes are no buffer; nothing is changed then.
  std::string serialize() const;
  static Result<ReplayBuffer> parse(std::string_view bytes);

 private:
  ReplayBuffer() = default;
  uint64_t next_random();
  uint64_t below(uint64_t count);  // each of 0..count-1 with the same chance
  size_t position_of(int64_t label, uint64_t number) const;
  bool offer_balanced(ReplaySample sample);

  int64_t capacity_ = 0;
  ReplayPolicy policy_ = ReplayPolicy::kReservoir;
  uint64_t random_ = 0;
  uint64_t offered_ = 0;
  std::map<int64_t, uint64_t> offered_of_;  // by class
  std::vector<ReplaySample> samples_;
};

}  // namespace hai::training
