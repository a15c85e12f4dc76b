// Two sums a channel over all rows of a tensor [rows][channels]: what batch normalisation is made of.
//
// Few channels make short loops, so several rows are taken as one wide row, and what stands for a channel is repeated.
// Rows are cut into slices by the shape alone, a slice into blocks that are summed in f32; blocks and slices are added
// in f64, in order: the bits do not depend on the threads. Blocks are short where rows are few: an error in the sums of
// a channel is one in all its elements, and nothing averages it.
#pragma once

#include <algorithm>
#include <cstdint>
#include <numeric>

#include "base/checked.h"
#include "base/thread_pool.h"
#include "devices/cpu/exec/parallel_chunks.h"

namespace hai::cpu {

class ChannelSums {
 public:
  explicit ChannelSums(int64_t channels) : channels_(channels), repeat_(kLine / std::gcd(channels, kLine)), width_(0) {
    repeat_ *= std::max<int64_t>(1, kWidth / (repeat_ * channels));
    width_ = repeat_ * channels;
  }

  int64_t width() const { return width_; }
  int64_t array_bytes() const { return align_up(width_ * 4, 64); }  // of one number a column of a wide row
  int64_t scratch_bytes() const { return kSlices * slice_bytes(); }
  int64_t total_bytes() const { return align_up(2 * channels_ * 8, 64); }

  // `to` is so large that no later reader finds it in a cache, and its wide rows begin on cache lines: stores go past
  // the caches (train/kernels/stream.h).
  bool streams(const float* to, int64_t rows) const {
    return rows * channels_ * 4 >= kStreamBytes && reinterpret_cast<uintptr_t>(to) % (kLine * 4) == 0;
  }

  // The numbers of the channels, for every column of a wide row.
  void repeat(const float* from, float* to) const {
    for (int64_t i = 0; i < repeat_; ++i) std::copy_n(from, channels_, to + i * channels_);
  }

  // sum(first element, rows, width, a, b) writes the sums of a block of rows. totals: [2][channels].
  template <typename Sum>
  void run(ThreadPool& threads, int64_t rows, std::byte* scratch, double* totals, Sum&& sum) const {
    const int64_t wide_rows = rows / repeat_;
    // Backwards: the end was written last, and the sweep that follows begins where this one ends.
    threads.parallel(kSlices, [&](int64_t task, int) {
      const int64_t slice = kSlices - 1 - task;
      auto* partial = reinterpret_cast<double*>(scratch + slice * slice_bytes());
      auto* a = reinterpret_cast<float*>(partial + 2 * width_);
      float* b = a + width_;
      std::fill_n(partial, 2 * width_, 0.0);
      const auto block = [&](int64_t first, int64_t count, int64_t width) {
        sum(first * width_, count, width, a, b);
        for (int64_t column = 0; column < width; ++column) partial[column] += static_cast<double>(a[column]);
        for (int64_t column = 0; column < width; ++column) partial[width_ + column] += static_cast<double>(b[column]);
      };
      const int64_t block_rows =
          std::clamp<int64_t>(wide_rows / kWantedBlocks, 1, std::max<int64_t>(1, kBlockRows / repeat_));
      const int64_t end = (slice + 1) * wide_rows / kSlices;
      for (int64_t row = slice * wide_rows / kSlices; row < end; row += block_rows)
        block(row, std::min(block_rows, end - row), width_);
      if (slice == kSlices - 1 && rows % repeat_ != 0) block(wide_rows, 1, rows % repeat_ * channels_);
    });
    std::fill_n(totals, 2 * channels_, 0.0);
    for (int64_t slice = 0; slice < kSlices; ++slice) {
      const auto* partial = reinterpret_cast<const double*>(scratch + slice * slice_bytes());
      for (int64_t column = 0; column < 2 * width_; column += channels_) {
        double* to = totals + (column < width_ ? 0 : channels_);
        for (int64_t c = 0; c < channels_; ++c) to[c] += partial[column + c];
      }
    }
  }

  // body(first element, rows, width) over all rows, in chunks.
  template <typename Body>
  void for_rows(ThreadPool& threads, int64_t rows, Body&& body) const {
    const int64_t wide_rows = rows / repeat_;
    for_chunks(threads, wide_rows, std::max<int64_t>(1, kElementChunk / width_),
               [&](int64_t begin, int64_t end) { body(begin * width_, end - begin, width_); });
    if (rows % repeat_ != 0) body(wide_rows * width_, int64_t{1}, rows % repeat_ * channels_);
  }

 private:
  static constexpr int64_t kLine = 16;    // elements of a cache line: wide rows are a whole number of these
  static constexpr int64_t kWidth = 128;  // about
  static constexpr int64_t kSlices = 16;
  static constexpr int64_t kStreamBytes = int64_t{16} << 20;
  static constexpr int64_t kBlockRows = 256;  // few enough for sums in f32
  static constexpr int64_t kWantedBlocks = 64;
  int64_t slice_bytes() const { return align_up(2 * width_ * 12, 64); }

  int64_t channels_, repeat_, width_;
};

}  // namespace hai::cpu
