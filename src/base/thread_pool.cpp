// ThreadPool: a loop is published in one record; the caller and whichever workers are awake take indices from it.
//
// `gate` holds an open bit and the number of workers inside the record. A worker enters only while the gate is open;
// the caller closes it when no index is left and waits until those inside have left. A worker that sleeps through a
// short loop is therefore not waited for: it finds the gate closed and goes back to sleep. Workers spin for some
// microseconds after a loop and then park on a condition variable; the caller pays for a wake-up only when somebody is
// parked. Nothing is allocated after the constructor.
#include "base/thread_pool.h"

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

namespace hai {
namespace {

constexpr uint32_t kOpen = 0x80000000U;
constexpr int kSpins = 4000;         // some 50 us: more than the gap between two layers
constexpr int kSpinsForTail = 2000;  // then the caller yields, in case a worker lost its core

inline void pause() {
#if defined(__x86_64__)
  _mm_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}

}  // namespace

struct ThreadPool::State {
  // Written by the caller while the gate is closed and nobody is inside.
  Body body = nullptr;
  void* context = nullptr;
  int64_t count = 0;

  alignas(64) std::atomic<int64_t> next{0};
  alignas(64) std::atomic<uint32_t> gate{0};
  alignas(64) std::atomic<uint32_t> epoch{0};  // one step a loop, and one to stop
  std::atomic<bool> stopping{false};
  std::atomic<int> parked{0};
  std::mutex mutex;
  std::condition_variable wake;
  std::vector<std::thread> workers;

  void take_indices(int thread) {
    for (int64_t i = next.fetch_add(1, std::memory_order_relaxed); i < count;
         i = next.fetch_add(1, std::memory_order_relaxed)) {
      body(context, i, thread);
    }
  }

  bool enter() {
    uint32_t seen = gate.load(std::memory_order_relaxed);
    while ((seen & kOpen) != 0) {
      if (gate.compare_exchange_weak(seen, seen + 1, std::memory_order_acquire, std::memory_order_relaxed)) return true;
    }
    return false;
  }

  void wait_for_epoch_after(uint32_t seen) {
    for (int i = 0; i < kSpins; ++i) {
      if (epoch.load(std::memory_order_acquire) != seen) return;
      pause();
    }
    std::unique_lock lock(mutex);
    parked.fetch_add(1);
    wake.wait(lock, [&] { return epoch.load() != seen; });
    parked.fetch_sub(1);
  }

  void publish_epoch() {
    epoch.fetch_add(1);
    if (parked.load() == 0) return;
    {
      const std::lock_guard lock(mutex);
    }  // a worker between its last look and its sleep holds the mutex
    wake.notify_all();
  }

  void work(int thread) {
    const ScopedFloatEnvironment environment;
    uint32_t seen = 0;
    while (true) {
      wait_for_epoch_after(seen);
      seen = epoch.load(std::memory_order_acquire);
      if (stopping.load()) return;
      if (!enter()) continue;
      take_indices(thread);
      gate.fetch_sub(1, std::memory_order_release);
    }
  }
};

ThreadPool::ThreadPool(int thread_count) : state_(std::make_unique<State>()) {
  for (int i = 1; i < thread_count; ++i) {
    try {
      state_->workers.emplace_back([state = state_.get(), i] { state->work(i); });
    } catch (const std::system_error&) {
      break;  // the system's limit: work with what there is
    }
  }
}

ThreadPool::~ThreadPool() {
  state_->stopping.store(true);
  state_->publish_epoch();
  for (std::thread& worker : state_->workers) worker.join();
}

int ThreadPool::thread_count() const { return static_cast<int>(state_->workers.size()) + 1; }

void ThreadPool::run(int64_t count, Body body, void* context) {
  const ScopedFloatEnvironment environment;
  State& state = *state_;
  if (count <= 1 || state.workers.empty()) {
    for (int64_t i = 0; i < count; ++i) body(context, i, 0);
    return;
  }
  state.body = body;
  state.context = context;
  state.count = count;
  state.next.store(0, std::memory_order_relaxed);
  state.gate.store(kOpen, std::memory_order_release);
  state.publish_epoch();
  state.take_indices(0);
  state.gate.fetch_and(~kOpen, std::memory_order_acq_rel);
  for (int spins = 0; state.gate.load(std::memory_order_acquire) != 0; ++spins) {
    if (spins < kSpinsForTail) {
      pause();
    } else {
      std::this_thread::yield();
    }
  }
}

#if defined(__x86_64__)

ScopedFloatEnvironment::ScopedFloatEnvironment() : saved_(_mm_getcsr()) {
  constexpr uint32_t kFlushToZero = 0x8000;
  constexpr uint32_t kDenormalsAreZero = 0x0040;
  constexpr uint32_t kRounding = 0x6000;
  constexpr uint32_t kMaskedExceptions = 0x1f80;
  const auto old = static_cast<uint32_t>(saved_);
  const uint32_t wanted = (old & ~(kFlushToZero | kDenormalsAreZero | kRounding)) | kMaskedExceptions;
  if (wanted != old) _mm_setcsr(wanted);
}

ScopedFloatEnvironment::~ScopedFloatEnvironment() {
  constexpr uint32_t kSticky = 0x3f;  // status flags are the thread's, not ours to restore
  const uint32_t now = _mm_getcsr();
  const uint32_t wanted = (static_cast<uint32_t>(saved_) & ~kSticky) | (now & kSticky);
  if (wanted != now) _mm_setcsr(wanted);
}

#elif defined(__aarch64__)

namespace {
uint64_t read_control() {
  uint64_t value = 0;
  __asm__ volatile("mrs %0, fpcr" : "=r"(value));
  return value;
}
void write_control(uint64_t value) { __asm__ volatile("msr fpcr, %0" : : "r"(value)); }
}  // namespace

ScopedFloatEnvironment::ScopedFloatEnvironment() : saved_(read_control()) {
  // FIZ, AH, trap enables, FZ16, rounding mode, FZ, default NaN.
  constexpr uint64_t kCleared = 0x1U | 0x2U | (0x9fU << 8) | (1U << 19) | (3U << 22) | (1U << 24) | (1U << 25);
  const uint64_t wanted = saved_ & ~kCleared;
  if (wanted != saved_) write_control(wanted);
}

ScopedFloatEnvironment::~ScopedFloatEnvironment() {
  if (read_control() != saved_) write_control(saved_);
}

#endif

}  // namespace hai
