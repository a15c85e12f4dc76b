// Prefetch: makes the batches of an epoch in order, on a thread of its own, while the caller works on the one before.
//
// A ring of three: one that the caller holds, one ready, one in the making. What `make` does may depend on epoch and
// number alone; it is called by one thread at a time.
#pragma once

#include <algorithm>
#include <array>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <new>
#include <thread>
#include <utility>

#include "base/result.h"
#include "base/thread_pool.h"

namespace hai::data {

template <typename Batch>
class Prefetch {
 public:
  using Make = std::function<Status(int64_t epoch, int64_t number, Batch& batch)>;

  Prefetch(int64_t batches, Make make) : batches_(batches), make_(std::move(make)) {
    worker_ = std::thread([this] { work(); });
  }
  ~Prefetch() {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      quit_ = true;
    }
    changed_.notify_all();
    worker_.join();
  }
  Prefetch(const Prefetch&) = delete;
  Prefetch& operator=(const Prefetch&) = delete;

  int64_t batches() const { return batches_; }

  // Begins epoch `epoch` at its batch `first` (0..batches()); what is left of the one before is dropped.
  void start(int64_t epoch, int64_t first = 0) {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      epoch_ = epoch;
      ++starts_;
      made_ = taken_ = std::clamp<int64_t>(first, 0, batches_);
      failure_ = {};
      working_ = true;
    }
    changed_.notify_all();
  }

  // The next batch, valid until the next call of next() or start(); null at the end of the epoch. The error of `make`.
  Result<const Batch*> next() {
    std::unique_lock<std::mutex> lock(mutex_);
    if (taken_ == batches_) return static_cast<const Batch*>(nullptr);
    changed_.wait(lock, [&] { return made_ > taken_ || !failure_; });
    if (made_ == taken_) return failure_.error();
    const Batch* batch = &ring_[static_cast<size_t>(taken_ % kRing)];
    ++taken_;
    lock.unlock();
    changed_.notify_all();
    return batch;
  }

 private:
  static constexpr int64_t kRing = 3;

  void work() {
    const ScopedFloatEnvironment environment;
    std::unique_lock<std::mutex> lock(mutex_);
    while (!quit_) {
      changed_.wait(lock, [&] { return quit_ || working_; });
      if (!quit_) make_epoch(lock);
    }
  }

  // Up to its end, an error, or the wish for another epoch.
  void make_epoch(std::unique_lock<std::mutex>& lock) {
    const int64_t epoch = epoch_;
    const int64_t start = starts_;
    const int64_t first = made_;
    const auto dropped = [&] { return quit_ || starts_ != start; };
    for (int64_t number = first; number < batches_; ++number) {
      // The caller holds batch taken - 1, so kRing - 1 others may lie beside it.
      changed_.wait(lock, [&] { return dropped() || number - taken_ < kRing - 1; });
      if (dropped()) return;
      lock.unlock();
      Status status;
      try {
        status = make_(epoch, number, ring_[static_cast<size_t>(number % kRing)]);
      } catch (const std::bad_alloc&) {
        status = make_error(StatusCode::kResourceExhausted, "D099",
                            "no memory left to make a batch; use a smaller batch or smaller pictures");
      }
      lock.lock();
      if (dropped()) return;
      if (!status) {
        failure_ = std::move(status);
        working_ = false;
        changed_.notify_all();
        return;
      }
      ++made_;
      changed_.notify_all();
    }
    working_ = false;
  }

  const int64_t batches_;
  const Make make_;
  std::array<Batch, kRing> ring_;
  std::mutex mutex_;
  std::condition_variable changed_;
  // Under the mutex.
  int64_t epoch_ = 0;   // that is wanted
  int64_t starts_ = 0;  // so that an epoch begun again is another one
  int64_t made_ = 0;    // batches of it
  int64_t taken_ = 0;
  bool working_ = false;  // an epoch is being made
  bool quit_ = false;
  Status failure_;
  std::thread worker_;  // last: it uses all of the above
};

}  // namespace hai::data
