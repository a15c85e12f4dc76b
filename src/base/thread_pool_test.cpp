#include "base/thread_pool.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cmath>
#include <limits>
#include <thread>
#include <vector>

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

namespace hai {
namespace {

TEST(ThreadPool, RunsEveryIndexOnce) {
  for (const int threads : {0, 1, 2, 3, 7}) {
    ThreadPool pool(threads);
    EXPECT_EQ(pool.thread_count(), threads < 1 ? 1 : threads);
    for (const int64_t count : {int64_t{0}, int64_t{1}, int64_t{2}, int64_t{13}, int64_t{127}, int64_t{5000}}) {
      std::vector<std::atomic<int>> hits(static_cast<size_t>(count));
      std::atomic<bool> threads_in_range{true};
      pool.parallel(count, [&](int64_t i, int thread) {
        hits[static_cast<size_t>(i)].fetch_add(1);
        if (thread < 0 || thread >= pool.thread_count()) threads_in_range = false;
      });
      for (const auto& hit : hits) EXPECT_EQ(hit.load(), 1);
      EXPECT_TRUE(threads_in_range);
    }
  }
}

TEST(ThreadPool, ManyShortLoopsWithSleepBetween) {
  ThreadPool pool(3);
  std::atomic<int64_t> sum{0};
  int64_t expected = 0;
  for (int loop = 0; loop < 2000; ++loop) {
    const int64_t count = 1 + loop % 7;
    pool.parallel(count, [&](int64_t i, int) { sum.fetch_add(i + loop); });
    for (int64_t i = 0; i < count; ++i) expected += i + loop;
    if (loop % 500 == 0) std::this_thread::sleep_for(std::chrono::milliseconds(2));  // workers park
  }
  EXPECT_EQ(sum.load(), expected);
}

TEST(ThreadPool, WritesOfTheLoopAreVisibleAfterwards) {
  ThreadPool pool(4);
  std::vector<int> values(1009);
  for (int loop = 1; loop < 200; ++loop) {
    pool.parallel(1009, [&](int64_t i, int) { values[static_cast<size_t>(i)] += 1; });
    for (const int value : values) ASSERT_EQ(value, loop);
  }
}

TEST(ScopedFloatEnvironment, DenormalsLiveOnEveryThread) {
#if defined(__x86_64__)
  const unsigned before = _mm_getcsr();
  _mm_setcsr(before | 0x8040U);  // what an audio library or -ffast-math leaves behind
#endif
  ThreadPool pool(3);
  std::atomic<int> flushed{0};
  pool.parallel(64, [&](int64_t, int) {
    volatile float tiny = std::numeric_limits<float>::min();
    volatile float half = tiny * 0.5F;
    if (half == 0.0F) flushed.fetch_add(1);
  });
  EXPECT_EQ(flushed.load(), 0);
#if defined(__x86_64__)
  EXPECT_EQ(_mm_getcsr() & 0x8040U, 0x8040U) << "the caller's setting is put back";
  _mm_setcsr(before);
#endif
}

}  // namespace
}  // namespace hai
