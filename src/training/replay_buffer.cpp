// Random numbers are SplitMix64 (Steele et al. 2014): a state of 64 bits, the same on every machine.
//
// As bytes: the numbers of the buffer, then its samples, each with lengths before its parts; little-endian. Lengths are
// checked against what is there before anything is allocated.
#include "training/replay_buffer.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <utility>

namespace hai::training {
namespace {

static_assert(std::endian::native == std::endian::little);

constexpr uint64_t kMagic = 0x31594c5045524148;  // "HAREPLY1"
constexpr int64_t kMostSamples = int64_t{1} << 24;

void put(std::string& out, const void* data, size_t size) { out.append(static_cast<const char*>(data), size); }
void put(std::string& out, uint64_t number) { put(out, &number, sizeof(number)); }

class Reader {
 public:
  explicit Reader(std::string_view bytes) : bytes_(bytes) {}
  bool take(void* out, size_t size) {
    if (size > bytes_.size()) return false;
    if (size > 0) std::memcpy(out, bytes_.data(), size);
    bytes_.remove_prefix(size);
    return true;
  }
  bool take(uint64_t& number) { return take(&number, sizeof(number)); }
  bool take(int64_t& number) { return take(&number, sizeof(number)); }
  template <typename T>
  bool take(std::vector<T>& out) {
    uint64_t count = 0;
    if (!take(count) || count > bytes_.size() / sizeof(T)) return false;
    out.resize(static_cast<size_t>(count));
    return take(out.data(), out.size() * sizeof(T));
  }
  size_t left() const { return bytes_.size(); }

 private:
  std::string_view bytes_;
};

}  // namespace

Result<ReplayBuffer> ReplayBuffer::create(int64_t capacity, ReplayPolicy policy, uint64_t seed) {
  if (capacity < 1 || capacity > kMostSamples) {
    return make_error(StatusCode::kOutOfRange, "E040", "a replay buffer of {} samples: give 1 to {}", capacity,
                      kMostSamples);
  }
  ReplayBuffer buffer;
  buffer.capacity_ = capacity;
  buffer.policy_ = policy;
  buffer.random_ = seed;
  return buffer;
}

uint64_t ReplayBuffer::next_random() {
  random_ += 0x9e3779b97f4a7c15;
  uint64_t z = random_;
  z = (z ^ (z >> 30U)) * 0xbf58476d1ce4e5b9;
  z = (z ^ (z >> 27U)) * 0x94d049bb133111eb;
  return z ^ (z >> 31U);
}

// Draws again where the remainder would favour small numbers.
uint64_t ReplayBuffer::below(uint64_t count) {
  const uint64_t limit = UINT64_MAX - UINT64_MAX % count;
  uint64_t number = next_random();
  while (number >= limit) number = next_random();
  return number % count;
}

size_t ReplayBuffer::position_of(int64_t label, uint64_t number) const {
  for (size_t i = 0; i < samples_.size(); ++i) {
    if (samples_[i].label == label && number-- == 0) return i;
  }
  return samples_.size();
}

bool ReplayBuffer::offer(ReplaySample sample) {
  ++offered_;
  ++offered_of_[sample.label];
  if (samples_.size() < static_cast<size_t>(capacity_)) {
    samples_.push_back(std::move(sample));
    return true;
  }
  if (policy_ == ReplayPolicy::kBalanced) return offer_balanced(std::move(sample));
  const uint64_t place = below(offered_);
  if (place >= static_cast<uint64_t>(capacity_)) return false;
  samples_[static_cast<size_t>(place)] = std::move(sample);
  return true;
}

// A class below the largest takes one of the largest's places; one of the largest is a reservoir of its own.
bool ReplayBuffer::offer_balanced(ReplaySample sample) {
  std::map<int64_t, uint64_t> kept;
  for (const ReplaySample& one : samples_) ++kept[one.label];
  const auto largest =
      std::max_element(kept.begin(), kept.end(), [](const auto& a, const auto& b) { return a.second < b.second; });
  const uint64_t own = kept.contains(sample.label) ? kept[sample.label] : 0;
  if (own < largest->second) {
    samples_[position_of(largest->first, below(largest->second))] = std::move(sample);
    return true;
  }
  const uint64_t place = below(offered_of_[sample.label]);
  if (place >= own) return false;
  samples_[position_of(sample.label, place)] = std::move(sample);
  return true;
}

std::vector<size_t> ReplayBuffer::draw(size_t count) {
  std::vector<size_t> out;
  std::vector<size_t> rest;
  while (!samples_.empty() && out.size() < count) {
    if (rest.empty()) {
      for (size_t i = 0; i < samples_.size(); ++i) rest.push_back(i);
    }
    const auto at = static_cast<size_t>(below(rest.size()));
    out.push_back(rest[at]);
    rest[at] = rest.back();
    rest.pop_back();
  }
  return out;
}

size_t ReplayBuffer::relabel(int64_t key, int64_t label) {
  size_t corrected = 0;
  for (ReplaySample& sample : samples_) {
    if (sample.key != key) continue;
    sample.label = label;
    ++corrected;
  }
  return corrected;
}

std::string ReplayBuffer::serialize() const {
  std::string out;
  for (const uint64_t number : {kMagic, static_cast<uint64_t>(capacity_), static_cast<uint64_t>(policy_), random_,
                                offered_, uint64_t{offered_of_.size()}})
    put(out, number);
  for (const auto& [label, count] : offered_of_) {
    put(out, static_cast<uint64_t>(label));
    put(out, count);
  }
  put(out, uint64_t{samples_.size()});
  for (const ReplaySample& sample : samples_) {
    put(out, static_cast<uint64_t>(sample.key));
    put(out, static_cast<uint64_t>(sample.label));
    put(out, uint64_t{sample.bytes.size()});
    put(out, sample.bytes.data(), sample.bytes.size());
    put(out, uint64_t{sample.answers.size()});
    put(out, sample.answers.data(), sample.answers.size() * sizeof(float));
  }
  return out;
}

Result<ReplayBuffer> ReplayBuffer::parse(std::string_view bytes) {
  const Error broken = make_error(StatusCode::kCorrupt, "E041", "{} bytes are no replay buffer", bytes.size());
  Reader reader(bytes);
  ReplayBuffer buffer;
  uint64_t magic = 0;
  uint64_t policy = 0;
  uint64_t classes = 0;
  const bool head = reader.take(magic) && reader.take(buffer.capacity_) && reader.take(policy) &&
                    reader.take(buffer.random_) && reader.take(buffer.offered_) && reader.take(classes);
  if (!head || magic != kMagic || policy > 1 || buffer.capacity_ < 1 || buffer.capacity_ > kMostSamples) return broken;
  buffer.policy_ = static_cast<ReplayPolicy>(policy);
  for (uint64_t i = 0; i < classes; ++i) {
    int64_t label = 0;
    uint64_t count = 0;
    const bool in_order = reader.take(label) && reader.take(count) &&
                          (buffer.offered_of_.empty() || buffer.offered_of_.rbegin()->first < label);
    if (!in_order || count == 0) return broken;
    buffer.offered_of_[label] = count;
  }
  uint64_t samples = 0;
  if (!reader.take(samples) || samples > static_cast<uint64_t>(buffer.capacity_)) return broken;
  for (uint64_t i = 0; i < samples; ++i) {
    ReplaySample sample;
    if (!reader.take(sample.key) || !reader.take(sample.label) || !reader.take(sample.bytes) ||
        !reader.take(sample.answers))
      return broken;
    buffer.samples_.push_back(std::move(sample));
  }
  if (reader.left() > 0 || buffer.offered_ < samples) return broken;
  return buffer;
}

}  // namespace hai::training
