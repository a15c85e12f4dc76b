// No allocation after the first run: malloc and operator new of this program count themselves.
#include <gtest/gtest.h>

#include <cstdlib>

#include "runtime/test_kernels.h"

#if !defined(HAI_SANITIZE_ADDRESS) && !defined(HAI_SANITIZE_THREAD)
#define HAI_COUNT_ALLOCATIONS 1

// glibc lets a program define malloc; operator new calls it.
extern "C" {
void* __libc_malloc(size_t size);                      // NOLINT: glibc's name
void* __libc_calloc(size_t count, size_t size);        // NOLINT
void* __libc_realloc(void* data, size_t size);         // NOLINT
void* __libc_memalign(size_t alignment, size_t size);  // NOLINT
}

namespace {
thread_local bool counting = false;
thread_local int64_t allocations = 0;
void count_one() {
  if (counting) ++allocations;
}
}  // namespace

extern "C" {
void* malloc(size_t size) {
  count_one();
  return __libc_malloc(size);
}
void* calloc(size_t count, size_t size) {
  count_one();
  return __libc_calloc(count, size);
}
void* realloc(void* data, size_t size) {
  count_one();
  return __libc_realloc(data, size);
}
void* memalign(size_t alignment, size_t size) {
  count_one();
  return __libc_memalign(alignment, size);
}
void* aligned_alloc(size_t alignment, size_t size) {
  count_one();
  return __libc_memalign(alignment, size);
}
}
#endif

namespace hai::runtime {
namespace {

using testing::TestBuffers;

TEST(AllocationTest, NoneAfterTheFirstRun) {
#ifndef HAI_COUNT_ALLOCATIONS
  GTEST_SKIP() << "sanitizers bring their own malloc";
#else
  const auto bytes = format::serialize(format::testing::make_test_model());
  ASSERT_TRUE(bytes);
  const auto model = Model::load(memory_source(*bytes), "test", testing::test_registry());
  ASSERT_TRUE(model);
  for (const bool timed : {false, true}) {
    for (const int threads : {1, 2}) {
      const auto session =
          Session::create(*model, {.threads = threads, .profile = timed, .trace_events = timed ? 8 : 0});
      ASSERT_TRUE(session);
      TestBuffers large(16);
      TestBuffers small(3);
      ASSERT_TRUE(run(**session, large));
      const int64_t arena = (*session)->arena_bytes();
      allocations = 0;
      counting = true;
      bool good = true;
      for (int i = 0; i < 20; ++i) good = run(**session, i % 2 == 0 ? small : large).has_value() && good;
      counting = false;
      EXPECT_TRUE(good);
      EXPECT_EQ(allocations, 0) << threads << " threads" << (timed ? ", timed" : "");
      EXPECT_EQ((*session)->arena_bytes(), arena);
      EXPECT_EQ(small.y, small.expected());
    }
  }
  // The counter itself works.
  counting = true;
  const auto probe = std::make_unique<std::vector<int> >(100);
  counting = false;
  EXPECT_GE(allocations, 2);
  EXPECT_EQ(probe->size(), 100U);
#endif
}

}  // namespace
}  // namespace hai::runtime
