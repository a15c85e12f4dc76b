// Strided copies: collapse, choose a loop, split over threads. See the header.
//
// Method: after collapsing, the axes that remain are sorted as the caller gave them (destination order as a rule, so
// that writes run forward). The innermost loop takes the last axis; for a transpose it takes the two axes along which
// source and destination are contiguous, in tiles. All other axes form one outer index that threads share.
// Invariant: every element is written once; the result does not depend on the number of threads.
#include "devices/cpu/exec/strided_copy.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "devices/cpu/exec/kernel_dispatch.h"
#include "devices/cpu/exec/parallel_range.h"

namespace hai::cpu {
namespace {

HAI_KERNEL_FAMILY(transpose_2d, void,
                  (const unsigned char* x, int64_t x_stride_bytes, unsigned char* y, int64_t y_stride_bytes,
                   int64_t rows, int64_t columns, int64_t element_bytes));

// Rows of one tile of a transpose that is split over threads.
constexpr int64_t kTileColumns = 64;

void erase_axis(StridedCopy& copy, int axis) {
  for (int i = axis; i + 1 < copy.rank; ++i) {
    const auto to = static_cast<size_t>(i);
    copy.size[to] = copy.size[to + 1];
    copy.destination_stride[to] = copy.destination_stride[to + 1];
    copy.source_stride[to] = copy.source_stride[to + 1];
  }
  --copy.rank;
}

void collapse(StridedCopy& copy) {
  for (int i = copy.rank - 1; i >= 0; --i) {
    if (copy.size[static_cast<size_t>(i)] == 1) erase_axis(copy, i);
  }
  for (int i = copy.rank - 2; i >= 0; --i) {
    const auto outer = static_cast<size_t>(i);
    const size_t inner = outer + 1;
    if (copy.destination_stride[outer] == copy.size[inner] * copy.destination_stride[inner] &&
        copy.source_stride[outer] == copy.size[inner] * copy.source_stride[inner]) {
      copy.size[inner] *= copy.size[outer];
      erase_axis(copy, i);
    }
  }
  if (copy.rank == 0) return;
  const auto last = static_cast<size_t>(copy.rank - 1);
  if (copy.destination_stride[last] == copy.element_bytes && copy.source_stride[last] == copy.element_bytes) {
    copy.element_bytes *= copy.size[last];
    --copy.rank;
  }
}

int axis_with_stride(const std::array<int64_t, kMaxRank>& strides, int rank, int64_t stride) {
  for (int i = rank - 1; i >= 0; --i) {
    if (strides[static_cast<size_t>(i)] == stride) return i;
  }
  return -1;
}

void move_axis_to_end(StridedCopy& copy, int axis) {
  for (int i = axis; i + 1 < copy.rank; ++i) {
    const auto here = static_cast<size_t>(i);
    std::swap(copy.size[here], copy.size[here + 1]);
    std::swap(copy.destination_stride[here], copy.destination_stride[here + 1]);
    std::swap(copy.source_stride[here], copy.source_stride[here + 1]);
  }
}

// The position in both views of one index over the first `axes` axes.
struct Position {
  int64_t destination = 0;
  int64_t source = 0;
};
Position position_of(const StridedCopy& copy, int axes, int64_t index) {
  Position out;
  for (int i = axes - 1; i >= 0; --i) {
    const auto axis = static_cast<size_t>(i);
    const int64_t at = index % copy.size[axis];
    index /= copy.size[axis];
    out.destination += at * copy.destination_stride[axis];
    out.source += at * copy.source_stride[axis];
  }
  return out;
}

template <typename T>
void copy_axis(std::byte* destination, const std::byte* source, int64_t count, int64_t destination_stride,
               int64_t source_stride) {
  T value;
  if (source_stride == 0 && destination_stride == static_cast<int64_t>(sizeof(T))) {
    std::memcpy(&value, source, sizeof(T));
    for (int64_t i = 0; i < count; ++i)
      std::memcpy(destination + i * static_cast<int64_t>(sizeof(T)), &value, sizeof(T));
    return;
  }
  for (int64_t i = 0; i < count; ++i) {
    std::memcpy(&value, source + i * source_stride, sizeof(T));
    std::memcpy(destination + i * destination_stride, &value, sizeof(T));
  }
}

// The last axis of `copy`, from one position.
void copy_last_axis(const StridedCopy& copy, std::byte* destination, const std::byte* source) {
  const auto last = static_cast<size_t>(copy.rank - 1);
  const int64_t count = copy.size[last];
  const int64_t destination_stride = copy.destination_stride[last];
  const int64_t source_stride = copy.source_stride[last];
  switch (copy.element_bytes) {
    case 1:
      if (source_stride == 0 && destination_stride == 1) {
        std::memset(destination, static_cast<int>(*source), static_cast<size_t>(count));
        return;
      }
      return copy_axis<uint8_t>(destination, source, count, destination_stride, source_stride);
    case 2:
      return copy_axis<uint16_t>(destination, source, count, destination_stride, source_stride);
    case 4:
      return copy_axis<uint32_t>(destination, source, count, destination_stride, source_stride);
    case 8:
      return copy_axis<uint64_t>(destination, source, count, destination_stride, source_stride);
    default:
      break;
  }
  const auto run = static_cast<size_t>(copy.element_bytes);
  for (int64_t i = 0; i < count; ++i) {
    std::memcpy(destination + i * destination_stride, source + i * source_stride, run);
  }
}

int64_t count_of(const StridedCopy& copy, int axes) {
  int64_t count = 1;
  for (int i = 0; i < axes; ++i) count *= copy.size[static_cast<size_t>(i)];
  return count;
}

void run_contiguous(int64_t bytes, std::byte* destination, const std::byte* source, ThreadPool& threads) {
  constexpr int64_t kLine = 64;
  const int64_t lines = (bytes + kLine - 1) / kLine;
  parallel_range(threads, lines, kLine, [&](int64_t begin, int64_t end) {
    const int64_t first = begin * kLine;
    std::memcpy(destination + first, source + first, static_cast<size_t>(std::min(end * kLine, bytes) - first));
  });
}

// Source contiguous along the last axis but one, destination along the last.
void run_transpose(const StridedCopy& copy, std::byte* destination, const std::byte* source, Isa isa,
                   ThreadPool& threads) {
  const auto row_axis = static_cast<size_t>(copy.rank - 1);     // contiguous in the destination
  const auto column_axis = static_cast<size_t>(copy.rank - 2);  // contiguous in the source
  const int64_t rows = copy.size[row_axis];
  const int64_t columns = copy.size[column_axis];
  const int64_t tiles = (columns + kTileColumns - 1) / kTileColumns;
  const int64_t outer = count_of(copy, copy.rank - 2);
  const auto kernel = transpose_2d_for(isa);
  const int64_t work = rows * std::min(columns, kTileColumns) * copy.element_bytes;
  parallel_range(threads, outer * tiles, work, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const Position at = position_of(copy, copy.rank - 2, i / tiles);
      const int64_t column = i % tiles * kTileColumns;
      kernel(reinterpret_cast<const unsigned char*>(source) + at.source + column * copy.element_bytes,
             copy.source_stride[row_axis],
             reinterpret_cast<unsigned char*>(destination) + at.destination +
                 column * copy.destination_stride[column_axis],
             copy.destination_stride[column_axis], rows, std::min(kTileColumns, columns - column), copy.element_bytes);
    }
  });
}

}  // namespace

void StridedCopy::add_axis(int64_t axis_size, int64_t destination_stride_bytes, int64_t source_stride_bytes) {
  const auto axis = static_cast<size_t>(rank++);
  size[axis] = axis_size;
  destination_stride[axis] = destination_stride_bytes;
  source_stride[axis] = source_stride_bytes;
}

std::array<int64_t, kMaxRank> row_major_strides(const Dims& dims, int64_t element_bytes) {
  std::array<int64_t, kMaxRank> out{};
  int64_t stride = element_bytes;
  for (int i = dims.rank - 1; i >= 0; --i) {
    out[static_cast<size_t>(i)] = stride;
    stride *= dims[i];
  }
  return out;
}

void run_strided_copy(StridedCopy copy, std::byte* destination, const std::byte* source, Isa isa, ThreadPool& threads) {
  if (count_of(copy, copy.rank) == 0) return;
  collapse(copy);
  if (copy.rank == 0) {
    run_contiguous(copy.element_bytes, destination, source, threads);
    return;
  }
  const int64_t run = copy.element_bytes;
  if (copy.rank >= 2 && (run == 1 || run == 2 || run == 4 || run == 8)) {
    const int to = axis_with_stride(copy.destination_stride, copy.rank, run);
    const int from = axis_with_stride(copy.source_stride, copy.rank, run);
    if (to >= 0 && from >= 0 && to != from) {
      move_axis_to_end(copy, from);
      move_axis_to_end(copy, to > from ? to - 1 : to);
      run_transpose(copy, destination, source, isa, threads);
      return;
    }
  }
  const int64_t outer = count_of(copy, copy.rank - 1);
  const int64_t work = copy.size[static_cast<size_t>(copy.rank - 1)] * run;
  parallel_range(threads, outer, work, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const Position at = position_of(copy, copy.rank - 1, i);
      copy_last_axis(copy, destination + at.destination, source + at.source);
    }
  });
}

}  // namespace hai::cpu
