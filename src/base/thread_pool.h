// ThreadPool: runs one parallel loop at a time over a fixed set of threads, without allocation.
//
// The calling thread takes part, so ThreadPool(1) has no threads and costs nothing. Workers spin for a short while
// after a loop (a network is thousands of short loops), then park. Every thread runs with round-to-nearest-even, FTZ
// and DAZ off. Bodies must not throw and must not start another loop on the same pool. One caller at a time: a session
// owns its pool, or callers serialise.
#pragma once

#include <cstdint>
#include <memory>
#include <type_traits>

namespace hai {

class ThreadPool {
 public:
  explicit ThreadPool(int thread_count);  // >= 1; fewer when the system refuses to start more
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int thread_count() const;

  // Calls body(context, index, thread) once for every index in [0, count), thread in [0, thread_count()). Indices are
  // handed out in order, one by one, to whichever thread is free; which thread runs an index is not deterministic, so
  // results must not depend on it.
  using Body = void (*)(void* context, int64_t index, int thread);
  void run(int64_t count, Body body, void* context);

  // The same with a callable: parallel(n, [&](int64_t i, int thread) { ... });
  template <typename F>
  void parallel(int64_t count, F&& body) {
    run(
        count,
        [](void* context, int64_t index, int thread) {
          (*static_cast<std::remove_reference_t<F>*>(context))(index, thread);
        },
        const_cast<void*>(static_cast<const void*>(&body)));
  }

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// Sets round-to-nearest-even, FTZ and DAZ off for this thread, and puts back what was there.
class ScopedFloatEnvironment {
 public:
  ScopedFloatEnvironment();
  ~ScopedFloatEnvironment();
  ScopedFloatEnvironment(const ScopedFloatEnvironment&) = delete;
  ScopedFloatEnvironment& operator=(const ScopedFloatEnvironment&) = delete;

 private:
  uint64_t saved_ = 0;
};

}  // namespace hai
