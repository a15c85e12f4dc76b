// VariableConvolution: a convolution, or a transposed one as a few interleaved ones, whose f32 weights change from run
// to run, as they do while a network is trained.
//
// Each run packs the weights into scratch, straight from where they lie: that of conv2d, of conv_transpose2d or, for
// the gradient of x, conv2d's read the other way round. Then Convolution or the depthwise kernel runs as for constants,
// or WinogradProduct where it fits.
#pragma once

#include <optional>
#include <vector>

#include "devices/cpu/exec/convolution.h"
#include "devices/cpu/train/pointwise_product.h"
#include "devices/cpu/train/winograd_product.h"

namespace hai::cpu {

// Element (group, output of the group, tap row, tap column, input of the group) of the weights, by distances in
// elements.
struct WeightLayout {
  int64_t group_step = 0, output_step = 0, row_step = 0, col_step = 0, depth_step = 0;
};

// One convolution; kernel_rows and kernel_cols of the geometry count the taps, which are those of the operand with
// these numbers. No taps at all: one of zeros.
struct VariablePhase {
  ConvolutionGeometry geometry;
  std::vector<int64_t> row_taps, col_taps;
};

// conv2d itself: one phase with all taps.
std::vector<VariablePhase> forward_phase(const ConvolutionGeometry& geometry);
// The transpose of conv2d `g`: from images of its output's size to images of its input's size, one phase for each
// remainder of rows and columns.
std::vector<VariablePhase> transposed_phases(const ConvolutionGeometry& g);

class VariableConvolution {
 public:
  // Operand 0 of the instruction is the image, `bias_operand` and `residual_operand` may be absent (SIZE_MAX: never).
  static Result<VariableConvolution> make(const KernelContext& context, size_t bias_operand, size_t residual_operand,
                                          const WeightLayout& layout, std::vector<VariablePhase> phases);

  int64_t scratch_bytes(int thread_count) const { return shared_bytes_ + thread_count * thread_bytes_; }
  int64_t fixed_bytes() const;
  void run(const RunContext& context) const;

 private:
  struct Phase {
    VariablePhase what;
    std::optional<Convolution> product;         // none: depthwise
    std::optional<WinogradProduct> winograd;    // runs in place of the product
    std::optional<PointwiseProduct> pointwise;  // for large batches, over the product's panels
    int64_t packed = 0;                         // offset of its weights in scratch
  };
  Status make_products();
  int64_t bytes_of_thread(const Phase& phase) const;
  Status place(int64_t padded);
  void pack(const float* weights, std::byte* scratch, ThreadPool& threads) const;
  void pack_panel(const Phase& phase, const float* weights, int64_t number, float* to) const;
  void pack_filter(const Phase& phase, const float* weights, float* to) const;
  void run_depthwise(const Convolution::Buffers& buffers, ThreadPool& threads) const;
  void run_row(const Phase& phase, const Convolution::Buffers& buffers, std::byte* scratch, int64_t image, int64_t row,
               float* to) const;

  Isa isa_ = Isa::kScalar;
  WeightLayout layout_;
  size_t bias_operand_ = SIZE_MAX;
  size_t residual_operand_ = SIZE_MAX;
  bool depthwise_ = false;
  std::vector<Phase> phases_;
  std::vector<int64_t> positions_;
  ProductEpilogue epilogue_;
  AlignedBuffer idle_row_;  // depthwise: zeros above and below the image
  int64_t bias_bytes_ = 0, shared_bytes_ = 0, thread_bytes_ = 0;
};

// The kernel of an instruction that is a VariableConvolution.
class VariableConvolutionKernel final : public CpuKernel {
 public:
  explicit VariableConvolutionKernel(VariableConvolution product) : product_(std::move(product)) {}
  int64_t scratch_bytes(int64_t, int thread_count) const override { return product_.scratch_bytes(thread_count); }
  int64_t packed_bytes() const override { return product_.fixed_bytes(); }
  // Weights or bias may be constants, one of them or, beside a wanted gradient, both.
  bool needs_constant(size_t) const override { return true; }
  void run(const RunContext& context) const override { product_.run(context); }

 private:
  VariableConvolution product_;
};

}  // namespace hai::cpu
