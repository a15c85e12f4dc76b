// Cutting the sums into parts, slices and blocks, and calling the kernel for each tile.
//
// A block of pixels is as long as its operands for a tile stay in the first cache; within a block the columns of b are
// the outer loop, so that those of a tile are read from there for all rows of dy.
#include "devices/cpu/train/weight_sums.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "devices/cpu/exec/kernel_dispatch.h"
#include "devices/cpu/exec/parallel_chunks.h"

namespace hai::cpu {
namespace {

HAI_KERNEL_FAMILY(hai_outer_f32, void, (const hai_outer_f32*));

constexpr int64_t kBlockPixels = 128;  // whose operands for a tile stay in the first cache
constexpr int64_t kMostColumns = 128;  // of a part
constexpr int64_t kMostRows = 192;
constexpr int64_t kWantedTasks = 8;  // that keep a few threads busy
constexpr int64_t kShortRun = 32;
constexpr int64_t kLeastRow = 16;     // output pixels: a call of the kernel reads and writes its sums once
constexpr int64_t kRowsPixels = 256;  // of a block by rows
constexpr int64_t kMostBlockBytes = int64_t{1} << 20;
constexpr int64_t kLine = 16;           // elements of a cache line
constexpr int64_t kSlackElements = 32;  // a vector may begin at the last element of a copy

void copy_run(const float* from, int64_t count, float* to) {
  if (count >= kShortRun) {
    std::memcpy(to, from, static_cast<size_t>(count) * sizeof(float));
    return;
  }
  int64_t i = 0;  // a call would take longer
  for (; i + 8 <= count; i += 8) std::memcpy(to + i, from + i, 8 * sizeof(float));
  for (; i < count; ++i) to[i] = from[i];
}

}  // namespace

void add_slices(const float* slices, int64_t slice_count, int64_t count, float* to, ThreadPool& threads) {
  for_chunks(threads, count, kElementChunk, [&](int64_t begin, int64_t end) {
    std::copy(slices + begin, slices + end, to + begin);
    for (int64_t s = 1; s < slice_count; ++s) {
      const float* slice = slices + s * count;
      for (int64_t i = begin; i < end; ++i) to[i] += slice[i];
    }
  });
}

WeightSums::WeightSums(const ConvolutionGeometry& g, Isa isa)
    : g_(g), kernel_(hai_outer_f32_for(isa)), tile_(gemm_f32_for(isa)()) {
  depth_ = g.in_channels / g.groups;
  outputs_ = g.out_channels / g.groups;
  columns_ = g.kernel_rows * g.kernel_cols * depth_;
  run_length_ = g.groups == 1 && g.dilation_cols == 1 ? g.kernel_cols * depth_ : depth_;
  direct_ = g.kernel_rows == 1 && g.kernel_cols == 1 && g.stride_rows == 1 && g.stride_cols == 1 && g.pad_top == 0 &&
            g.pad_left == 0 && g.out_rows == g.in_rows && g.out_cols == g.in_cols;
  pitch_ = ((g.out_cols - 1) * g.stride_cols + (g.kernel_cols - 1) * g.dilation_cols + 1) * g.in_channels;
  block_rows_ = ceil_div(kRowsPixels, std::max<int64_t>(1, g.out_cols));
  by_rows_ = !direct_ && g.groups == 1 && run_length_ >= kShortRun && g.out_cols >= kLeastRow &&
             image_rows(block_rows_) <= kMostBlockBytes / 4 / pitch_;
  column_parts_ = ceil_div(columns_, kMostColumns);
  part_columns_ = align_up(ceil_div(columns_, column_parts_), tile_->nr);
  column_parts_ = ceil_div(columns_, part_columns_);
  row_parts_ = direct_ ? ceil_div(outputs_, kMostRows) : 1;
  part_rows_ = ceil_div(outputs_, row_parts_);
  row_parts_ = ceil_div(outputs_, part_rows_);
  slices_ = std::clamp<int64_t>(kWantedTasks / (g.groups * column_parts_ * row_parts_), 1, kWantedTasks);
}

WeightSums WeightSums::of_matrix(int64_t outputs, int64_t columns, Isa isa) {
  ConvolutionGeometry g;
  g.out_channels = outputs;
  g.in_channels = columns;
  return WeightSums(g, isa);
}

int64_t WeightSums::block_bytes() const {
  if (by_rows_) return align_up((image_rows(block_rows_) * pitch_ + kSlackElements) * 4, 64);
  return direct_ ? 0 : kBlockPixels * part_columns_ * 4;
}

void WeightSums::run(const float* x, const float* dy, int64_t pixels, float* dw, std::byte* scratch,
                     ThreadPool& threads) const {
  const int64_t elements = g_.out_channels * columns_;
  float* sums = slices_ == 1 ? dw : reinterpret_cast<float*>(scratch);
  const int64_t count = by_rows_ ? pixels / g_.out_cols : pixels;
  const int64_t slice_count = align_up(ceil_div(count, slices_), by_rows_ ? block_rows_ : kBlockPixels);
  const int64_t parts = column_parts_ * row_parts_;
  threads.parallel(g_.groups * parts * slices_, [&](int64_t task, int thread) {
    const int64_t slice = task / (g_.groups * parts);
    const int64_t group = task / parts % g_.groups;
    const int64_t part = task % parts;
    const Part what{group,
                    part / column_parts_ * part_rows_,
                    part % column_parts_ * part_columns_,
                    std::min(count, slice * slice_count),
                    std::min(count, (slice + 1) * slice_count),
                    sums + slice * elements,
                    reinterpret_cast<float*>(scratch + slice_bytes() + thread * block_bytes())};
    run_part(what, x, dy);
  });
  if (slices_ > 1) add_slices(sums, slices_, elements, dw, threads);
}

void WeightSums::run_part(const Part& part, const float* x, const float* dy) const {
  const int64_t row_end = std::min(outputs_, part.first_row + part_rows_);
  const int64_t column_end = std::min(columns_, part.first_column + part_columns_);
  const int64_t rows = row_end - part.first_row;
  const int64_t tile_rows = ceil_div(rows, ceil_div(rows, tile_->mr));  // even: short tiles hide less latency
  float* corner = part.to + (part.group * outputs_ + part.first_row) * columns_ + part.first_column;
  if (part.begin >= part.end) {
    for (int64_t i = 0; i < rows; ++i) std::fill_n(corner + i * columns_, column_end - part.first_column, 0.0F);
    return;
  }
  if (by_rows_) return run_part_by_rows(part, x, dy);
  hai_outer_f32 tile = {};
  tile.a_stride = g_.out_channels;
  tile.b_stride = direct_ ? g_.in_channels : part_columns_;
  tile.padded = direct_ ? 0 : 1;
  tile.out_stride = columns_;
  for (int64_t pixel = part.begin; pixel < part.end; pixel += kBlockPixels) {
    tile.count = std::min(kBlockPixels, part.end - pixel);
    tile.accumulate = pixel == part.begin ? 0 : 1;
    const float* b = part.block;
    if (direct_) {
      b = x + pixel * g_.in_channels + part.group * depth_ + part.first_column;
    } else {
      copy_windows(part, x, pixel, tile.count, column_end);
    }
    const float* a = dy + pixel * g_.out_channels + part.group * outputs_ + part.first_row;
    // The next block of both operands, where these lie whole in memory: a line of each a step.
    const bool fetches = direct_ && row_parts_ == 1 && column_parts_ == 1 && pixel + 2 * kBlockPixels <= part.end;
    const float* next_a = a + kBlockPixels * g_.out_channels;
    const float* next_b = b + kBlockPixels * g_.in_channels;
    for (int64_t j = part.first_column; j < column_end; j += tile_->nr) {
      tile.cols = static_cast<int32_t>(std::min<int64_t>(tile_->nr, column_end - j));
      tile.b = b + (j - part.first_column);
      for (int64_t i = 0; i < rows; i += tile_rows) {
        tile.next_a = fetches && next_a < a + 2 * kBlockPixels * g_.out_channels ? next_a : nullptr;
        tile.next_b = fetches && next_b < b + 2 * kBlockPixels * g_.in_channels ? next_b : nullptr;
        next_a += kBlockPixels * kLine;
        next_b += kBlockPixels * kLine;
        tile.rows = static_cast<int32_t>(std::min(tile_rows, rows - i));
        tile.a = a + i;
        tile.out = corner + i * columns_ + (j - part.first_column);
        kernel_(&tile);
      }
    }
  }
}

// The same over rows of output pixels. A column tile ends where its run in the image's row does.
void WeightSums::run_part_by_rows(const Part& part, const float* x, const float* dy) const {
  const int64_t rows = std::min(outputs_, part.first_row + part_rows_) - part.first_row;
  const int64_t column_end = std::min(columns_, part.first_column + part_columns_);
  const int64_t tile_rows = ceil_div(rows, ceil_div(rows, tile_->mr));
  const int64_t runs_a_row = g_.kernel_cols * depth_ / run_length_;
  hai_outer_f32 tile = {};
  tile.a_stride = g_.out_channels;
  tile.b_stride = g_.stride_cols * g_.in_channels;
  tile.count = g_.out_cols;
  tile.padded = 1;
  tile.out_stride = columns_;
  int64_t count = 0;
  for (int64_t row = part.begin; row < part.end; row += count) {
    const int64_t in_image = row % g_.out_rows;
    count = std::min({block_rows_, part.end - row, g_.out_rows - in_image});
    copy_rows(x + row / g_.out_rows * g_.in_rows * g_.in_cols * g_.in_channels, in_image * g_.stride_rows - g_.pad_top,
              image_rows(count), part.block);
    for (int64_t j = part.first_column; j < column_end; j += tile.cols) {
      const int64_t run = j / run_length_;
      tile.cols = static_cast<int32_t>(std::min({int64_t{tile_->nr}, column_end - j, (run + 1) * run_length_ - j}));
      const float* b = part.block + run / runs_a_row * g_.dilation_rows * pitch_ +
                       run % runs_a_row * g_.dilation_cols * g_.in_channels + j % run_length_;
      for (int64_t i = 0; i < rows; i += tile_rows) {
        tile.rows = static_cast<int32_t>(std::min(tile_rows, rows - i));
        tile.out = part.to + (part.first_row + i) * columns_ + j;
        for (int64_t r = 0; r < count; ++r) {
          tile.accumulate = row + r == part.begin ? 0 : 1;
          tile.a = dy + (row + r) * g_.out_cols * g_.out_channels + part.first_row + i;
          tile.b = b + r * g_.stride_rows * pitch_;
          kernel_(&tile);
        }
      }
    }
  }
}

// Rows [first, first + count) of an image, zeros outside of it.
void WeightSums::copy_rows(const float* image, int64_t first, int64_t count, float* to) const {
  const int64_t row_elements = g_.in_cols * g_.in_channels;
  const int64_t before = std::min(g_.pad_left * g_.in_channels, pitch_);
  const int64_t inside = std::min(pitch_ - before, row_elements);
  for (int64_t row = first; row < first + count; ++row, to += pitch_) {
    if (row < 0 || row >= g_.in_rows) {
      std::fill_n(to, pitch_, 0.0F);
      continue;
    }
    std::fill_n(to, before, 0.0F);
    copy_run(image + row * row_elements, inside, to + before);
    std::fill_n(to + before + inside, pitch_ - before - inside, 0.0F);
  }
}

// Columns [part.first_column, end) of the windows of `count` output pixels, zeros outside the image and past `end`.
void WeightSums::copy_windows(const Part& part, const float* x, int64_t first, int64_t count, int64_t end) const {
  // The runs of a window: rows below its top, elements from its left end in the image's row, and how many.
  struct Run {
    int64_t row, element, length;
  };
  std::array<Run, kMostColumns + 1> runs;
  size_t run_count = 0;
  const int64_t runs_a_row = g_.kernel_cols * depth_ / run_length_;
  for (int64_t k = part.first_column; k < end; ++run_count) {
    const int64_t run = k / run_length_;
    const int64_t length = std::min(end, (run + 1) * run_length_) - k;
    runs[run_count] = {run / runs_a_row * g_.dilation_rows,
                       run % runs_a_row * g_.dilation_cols * g_.in_channels + part.group * depth_ + k % run_length_,
                       length};
    k += length;
  }
  const int64_t row_elements = g_.in_cols * g_.in_channels;
  const int64_t image_elements = g_.in_rows * row_elements;
  const int64_t past_end = part_columns_ - (end - part.first_column);
  int64_t out_col = first % g_.out_cols;
  int64_t out_row = first / g_.out_cols % g_.out_rows;
  const float* image = x + first / g_.out_cols / g_.out_rows * image_elements;
  float* to = part.block;
  for (int64_t p = 0; p < count; ++p) {
    const int64_t top = out_row * g_.stride_rows - g_.pad_top;
    const int64_t left = (out_col * g_.stride_cols - g_.pad_left) * g_.in_channels;
    for (size_t i = 0; i < run_count; ++i) {
      const Run& run = runs[i];
      const int64_t row = top + run.row;
      const int64_t element = left + run.element;  // outside of [0, row_elements): padding
      if (row < 0 || row >= g_.in_rows) {
        std::fill_n(to, run.length, 0.0F);
      } else if (element >= 0 && element + run.length <= row_elements) {
        copy_run(image + row * row_elements + element, run.length, to);
      } else {
        const int64_t before = std::clamp<int64_t>(-element, 0, run.length);
        const int64_t inside = std::clamp<int64_t>(row_elements - element, before, run.length);
        std::fill_n(to, before, 0.0F);
        copy_run(image + row * row_elements + element + before, inside - before, to + before);
        std::fill_n(to + inside, run.length - inside, 0.0F);
      }
      to += run.length;
    }
    std::fill_n(to, past_end, 0.0F);
    to += past_end;
    if (++out_col < g_.out_cols) continue;
    out_col = 0;
    if (++out_row < g_.out_rows) continue;
    out_row = 0;
    image += image_elements;
  }
}

}  // namespace hai::cpu
