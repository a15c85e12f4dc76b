// WeightSums: the gradient of the weights of convolutions and matrix products: sums of outer products of dy and of what
// the weights were multiplied by.
//
// The result is cut into parts (outputs x taps and channels); where that makes few tasks, the output pixels are cut
// into slices too, whose results are added in order. The cuts depend on the shapes alone, so the bits do not depend on
// the threads. A task goes through its pixels block by block. 1x1 windows of stride 1 are read where they lie. Wide
// images with enough channels are copied row by row, with their padding: windows of neighbours then lie a fixed
// distance apart, and what they share is copied once. Others are copied window by window (a block of im2col).
#pragma once

#include "base/checked.h"
#include "devices/cpu/exec/convolution.h"
#include "devices/cpu/train/kernels/outer.h"

namespace hai::cpu {

// to = slices [slice][count] added up in order.
void add_slices(const float* slices, int64_t slice_count, int64_t count, float* to, ThreadPool& threads);

class WeightSums {
 public:
  WeightSums(const ConvolutionGeometry& g, Isa isa);
  // x [rows, columns], dy [rows, outputs]: dw is [outputs, columns].
  static WeightSums of_matrix(int64_t outputs, int64_t columns, Isa isa);

  int64_t scratch_bytes(int thread_count) const { return slice_bytes() + (direct_ ? 0 : thread_count * block_bytes()); }
  // `pixels`: of dy, over all images.
  void run(const float* x, const float* dy, int64_t pixels, float* dw, std::byte* scratch, ThreadPool& threads) const;

 private:
  struct Part {
    int64_t group;
    int64_t first_row, first_column;  // of the group's [outputs_][columns_]
    int64_t begin, end;               // output pixels, or rows of them (by_rows_)
    float* to;                        // the whole result
    float* block;                     // for windows or rows of the image
  };
  int64_t slice_bytes() const { return slices_ == 1 ? 0 : align_up(slices_ * g_.out_channels * columns_ * 4, 64); }
  int64_t block_bytes() const;
  void run_part(const Part& part, const float* x, const float* dy) const;
  void run_part_by_rows(const Part& part, const float* x, const float* dy) const;
  void copy_rows(const float* image, int64_t first, int64_t count, float* to) const;
  int64_t image_rows(int64_t out_rows) const {
    return (out_rows - 1) * g_.stride_rows + (g_.kernel_rows - 1) * g_.dilation_rows + 1;
  }
  void copy_windows(const Part& part, const float* x, int64_t first, int64_t count, int64_t end) const;

  ConvolutionGeometry g_;
  void (*kernel_)(const hai_outer_f32*);
  const hai_gemm_kernel* tile_;
  int64_t depth_ = 1, outputs_ = 1, columns_ = 1;
  int64_t run_length_ = 1;  // columns that lie side by side in the image
  bool direct_ = false;
  bool by_rows_ = false;
  int64_t pitch_ = 0, block_rows_ = 1;  // by rows: elements of a row with its padding; output rows of a block
  int64_t column_parts_ = 1, part_columns_ = 1, row_parts_ = 1, part_rows_ = 1, slices_ = 1;
};

}  // namespace hai::cpu
