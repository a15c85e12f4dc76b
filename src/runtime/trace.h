// TraceRing: what ran when, in a ring that is made before the first run; and its Chrome / Perfetto JSON form.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace hai::runtime {

struct TraceEvent {
  static constexpr uint32_t kWholeRun = 0xffffffffU;
  uint32_t instruction = 0;  // or kWholeRun
  int32_t batch = 0;
  int64_t start_ns = 0;  // of the monotonic clock
  int64_t duration_ns = 0;
};

class TraceRing {
 public:
  explicit TraceRing(size_t capacity) : events_(capacity) {}

  bool enabled() const { return !events_.empty(); }
  // Forgets the oldest event when full. Does not allocate.
  void add(const TraceEvent& event) {
    events_[next_] = event;
    next_ = next_ + 1 == events_.size() ? 0 : next_ + 1;
    if (count_ < events_.size()) ++count_;
  }
  // Oldest first.
  template <typename F>
  void each(F&& visit) const {
    const size_t first = count_ < events_.size() ? 0 : next_;
    for (size_t i = 0; i < count_; ++i) visit(events_[(first + i) % events_.size()]);
  }

 private:
  std::vector<TraceEvent> events_;
  size_t next_ = 0;
  size_t count_ = 0;
};

// What an instruction's events say besides their time.
struct TraceLabel {
  std::string name;
  std::string kernel;
  int64_t macs_per_sample = 0;
  int64_t bytes_per_sample = 0;
  int64_t bytes_fixed = 0;  // whatever the batch: weights
};

// One row per engine; `row` names this one ("cpu session 1"). All times are measured.
std::string trace_json(const TraceRing& ring, std::span<const TraceLabel> labels, const std::string& row,
                       int64_t row_number, const std::string& device);

}  // namespace hai::runtime
