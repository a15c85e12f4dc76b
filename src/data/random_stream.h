// RandomStream: random numbers that depend on seed, purpose and place alone, and not on who draws them or when: what a
// thread does to one picture is the same whatever the others do. The same numbers on every machine.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace hai::data {

// SplitMix64 (Steele, Lea, Flood 2014) from a starting state that mixes in each coordinate.
class RandomStream {
 public:
  enum class Purpose : uint64_t { kSplit = 1, kOrder = 2, kPicture = 3, kMix = 4, kView = 5 };

  RandomStream(uint64_t seed, Purpose purpose, uint64_t major, uint64_t minor = 0) {
    for (const uint64_t part : {seed, static_cast<uint64_t>(purpose), major, minor}) state_ = mix(state_ ^ part);
  }

  uint64_t next() { return mix(state_ += 0x9E3779B97F4A7C15U); }
  // In [0, 1), a multiple of 2^-53.
  double unit() { return static_cast<double>(next() >> 11U) * 0x1p-53; }
  double between(double low, double high) { return low + (high - low) * unit(); }
  // In [0, count), count > 0; the bias is below 2^-32 for counts below 2^32.
  uint64_t below(uint64_t count) { return next() % count; }

  template <typename T>
  void shuffle(std::vector<T>& items) {
    for (size_t i = items.size(); i > 1; --i) std::swap(items[i - 1], items[below(i)]);
  }

 private:
  static uint64_t mix(uint64_t z) {
    z += 0x9E3779B97F4A7C15U;
    z = (z ^ (z >> 30U)) * 0xBF58476D1CE4E5B9U;
    z = (z ^ (z >> 27U)) * 0x94D049BB133111EBU;
    return z ^ (z >> 31U);
  }
  uint64_t state_ = 0;
};

}  // namespace hai::data
