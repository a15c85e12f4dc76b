// Strided copies against the plain definition: every permutation of odd shapes, every element size, negative and zero
// strides, on every instruction set and with several threads.
//
// Elements are numbered, so that each misplaced one shows. Views are exactly as large as they must be: the address
// sanitizer sees any step outside.
#include "devices/cpu/exec/strided_copy.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <numeric>
#include <vector>

namespace hai::cpu {
namespace {

// What the copy must do, one element at a time.
void plain_copy(const StridedCopy& copy, std::byte* destination, const std::byte* source, int axis = 0) {
  if (axis == copy.rank) {
    std::memcpy(destination, source, static_cast<size_t>(copy.element_bytes));
    return;
  }
  const auto a = static_cast<size_t>(axis);
  for (int64_t i = 0; i < copy.size[a]; ++i) {
    plain_copy(copy, destination + i * copy.destination_stride[a], source + i * copy.source_stride[a], axis + 1);
  }
}

std::vector<std::byte> numbered(int64_t bytes) {
  std::vector<std::byte> out(static_cast<size_t>(bytes));
  uint32_t state = 12345;
  for (std::byte& byte : out) {
    state = state * 1664525U + 1013904223U;
    byte = static_cast<std::byte>(state >> 24);
  }
  return out;
}

void expect_same(const StridedCopy& copy, int64_t destination_bytes, const std::byte* source, const std::string& what) {
  std::vector<std::byte> want(static_cast<size_t>(destination_bytes), std::byte{0x77});
  plain_copy(copy, want.data(), source);
  for (const Isa isa : available_isas()) {
    for (const int thread_count : {1, 3}) {
      ThreadPool threads(thread_count);
      std::vector<std::byte> got(static_cast<size_t>(destination_bytes), std::byte{0x77});
      run_strided_copy(copy, got.data(), source, isa, threads);
      ASSERT_EQ(got, want) << what << " on " << isa_name(isa) << " with " << thread_count << " threads";
    }
  }
}

void check_permutation(const Dims& dims, const std::vector<int>& permutation, int64_t element_bytes) {
  const auto from = row_major_strides(dims, element_bytes);
  Dims out = dims;
  for (int i = 0; i < dims.rank; ++i) out[i] = dims[permutation[static_cast<size_t>(i)]];
  const auto to = row_major_strides(out, element_bytes);
  StridedCopy copy;
  copy.element_bytes = element_bytes;
  std::string what = to_string(dims) + " x " + std::to_string(element_bytes) + " bytes, permutation";
  for (int i = 0; i < dims.rank; ++i) {
    const int axis = permutation[static_cast<size_t>(i)];
    copy.add_axis(out[i], to[static_cast<size_t>(i)], from[static_cast<size_t>(axis)]);
    what += " " + std::to_string(axis);
  }
  const auto source = numbered(dims.count() * element_bytes);
  expect_same(copy, dims.count() * element_bytes, source.data(), what);
}

TEST(StridedCopy, EveryPermutationOfOddShapes) {
  for (const Dims& dims : {Dims{13, 19, 5}, Dims{3, 17, 33, 2}, Dims{1, 35, 1, 19}, Dims{16, 16, 16}}) {
    std::vector<int> permutation(static_cast<size_t>(dims.rank));
    std::iota(permutation.begin(), permutation.end(), 0);
    do {
      for (const int64_t element_bytes : {1, 2, 4, 8}) check_permutation(dims, permutation, element_bytes);
    } while (std::next_permutation(permutation.begin(), permutation.end()));
  }
}

TEST(StridedCopy, LargeEnoughForThreads) {
  for (const int64_t element_bytes : {1, 2, 4, 8}) {
    check_permutation(Dims{127, 313}, {1, 0}, element_bytes);
    check_permutation(Dims{2, 67, 51, 19}, {0, 2, 3, 1}, element_bytes);
    check_permutation(Dims{2, 67, 51, 19}, {0, 1, 2, 3}, element_bytes);
    check_permutation(Dims{2, 67, 51, 19}, {0, 2, 1, 3}, element_bytes);
  }
}

TEST(StridedCopy, NegativeAndZeroStrides) {
  const auto source = numbered(19 * 13 * 4);
  for (const int64_t element_bytes : {1, 2, 4}) {
    StridedCopy reversed;
    reversed.element_bytes = element_bytes;
    reversed.add_axis(19, 13 * element_bytes, -13 * element_bytes);
    reversed.add_axis(13, element_bytes, -element_bytes);
    expect_same(reversed, 19 * 13 * element_bytes, source.data() + (19 * 13 - 1) * element_bytes, "reversed");
    StridedCopy repeated;
    repeated.element_bytes = element_bytes;
    repeated.add_axis(7, 13 * 5 * element_bytes, 0);
    repeated.add_axis(13, 5 * element_bytes, element_bytes);
    repeated.add_axis(5, element_bytes, 0);
    expect_same(repeated, 7 * 13 * 5 * element_bytes, source.data(), "repeated");
  }
}

TEST(StridedCopy, GapsStayAsTheyWere) {
  const auto source = numbered(13 * 6 * 4);
  StridedCopy copy;  // a concat along the last axis: runs of 6 elements every 10
  copy.element_bytes = 4;
  copy.add_axis(13, 40, 24);
  copy.add_axis(6, 4, 4);
  expect_same(copy, 13 * 40, source.data(), "runs with gaps");
}

TEST(StridedCopy, NothingAndOneElement) {
  const auto source = numbered(8);
  StridedCopy none;
  none.element_bytes = 8;
  none.add_axis(3, 0, 0);
  none.add_axis(0, 8, 8);
  expect_same(none, 0, source.data(), "an empty axis");
  StridedCopy one;
  one.element_bytes = 8;
  expect_same(one, 8, source.data(), "no axis");
}

}  // namespace
}  // namespace hai::cpu
