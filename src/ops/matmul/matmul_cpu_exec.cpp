// matmul on the CPU. A constant matrix b is packed once and the product runs as a 1x1 convolution whose pixels are the
// rows of a. A b that varies, or a batch of matrices, is packed at each run: here for f32, in
// integer_product.cpp for integers.
//
// A task of the second kind is one panel of columns of one product: the thread packs it into its scratch and runs over
// all rows of a. Each element is one micro-kernel call over all of k: results do not depend on threads.
#include <algorithm>
#include <array>

#include "base/checked.h"
#include "devices/cpu/exec/half_product.h"
#include "devices/cpu/exec/integer_product.h"
#include "devices/cpu/exec/product_operands.h"

namespace hai::cpu {
namespace {

class ConstantMatrix final : public CpuKernel {
 public:
  ConstantMatrix(Convolution product, ProductEpilogue epilogue)
      : product_(std::move(product)), epilogue_(std::move(epilogue)) {}

  int64_t scratch_bytes(int64_t, int thread_count) const override {
    return product_.scratch_bytes_per_thread() * thread_count;
  }
  int64_t packed_bytes() const override { return product_.packed_bytes() + epilogue_.bytes(); }
  void run(const RunContext& context) const override {
    Convolution::Buffers buffers = product_buffers(context, 3);
    const Dims& y = context.outputs[0].dims;
    buffers.images = 1;
    for (int axis = 0; axis + 1 < y.rank; ++axis) buffers.images *= y[axis];
    product_.run(epilogue_, buffers, context.threads);
  }

 private:
  Convolution product_;
  ProductEpilogue epilogue_;
};

class VaryingMatrix final : public CpuKernel {
 public:
  VaryingMatrix(const hai_gemm_kernel* kernel, ProductEpilogue epilogue, int64_t k, int64_t n, bool transpose_b)
      : kernel_(kernel), epilogue_(std::move(epilogue)), k_(k), n_(n), transpose_b_(transpose_b) {}

  int64_t scratch_bytes(int64_t, int thread_count) const override { return per_thread() * thread_count; }
  int64_t packed_bytes() const override { return epilogue_.bytes(); }
  bool needs_constant(size_t input) const override { return input != 2; }
  void run(const RunContext& context) const override;

 private:
  int64_t panel_bytes() const { return align_up(k_ * kernel_->nr * 4, 64); }
  int64_t per_thread() const { return panel_bytes() + align_up(int64_t{kernel_->mr} * kernel_->nr * 4, 64); }
  void pack_panel(const float* b, int64_t panel, float* out) const;
  void run_panel(const float* a, const float* residual, float* y, int64_t rows, int64_t panel,
                 std::byte* scratch) const;

  const hai_gemm_kernel* kernel_;
  ProductEpilogue epilogue_;
  int64_t k_;
  int64_t n_;
  bool transpose_b_;
};

void VaryingMatrix::run(const RunContext& context) const {
  const TensorView& a = context.inputs[0];
  const TensorView& b = context.inputs[1];
  const Dims& y = context.outputs[0].dims;
  const float* residual = context.inputs.size() > 3 ? data_of<float>(context.inputs[3]) : nullptr;
  const int64_t rows = y[y.rank - 2];
  int64_t products = 1;
  for (int axis = 0; axis + 2 < y.rank; ++axis) products *= y[axis];
  const int64_t panels = ceil_div(n_, kernel_->nr);
  context.threads.parallel(products * panels, [&](int64_t task, int thread) {
    const int64_t product = task / panels;
    const int64_t panel = task % panels;
    std::byte* scratch = context.scratch + thread * per_thread();
    pack_panel(data_of<float>(b) + matrix_of(b.dims, y, product) * k_ * n_, panel, reinterpret_cast<float*>(scratch));
    const int64_t first = product * rows * n_;
    run_panel(data_of<float>(a) + matrix_of(a.dims, y, product) * rows * k_,
              residual == nullptr ? nullptr : residual + first, data_of<float>(context.outputs[0]) + first, rows, panel,
              scratch);
  });
}

void VaryingMatrix::pack_panel(const float* b, int64_t panel, float* out) const {
  const int64_t nr = kernel_->nr;
  const int64_t first = panel * nr;
  const int64_t cols = std::min(nr, n_ - first);
  if (cols < nr) std::fill_n(out, k_ * nr, 0.0F);
  if (!transpose_b_) {
    for (int64_t k = 0; k < k_; ++k) std::copy_n(b + k * n_ + first, cols, out + k * nr);
    return;
  }
  // Four columns at once: each line of the panel is written a quarter as often.
  int64_t j = 0;
  for (; j + 4 <= cols; j += 4) {
    const float* from = b + (first + j) * k_;
    for (int64_t k = 0; k < k_; ++k) {
      const std::array<float, 4> four = {from[k], from[k_ + k], from[2 * k_ + k], from[3 * k_ + k]};
      std::copy_n(four.data(), 4, out + k * nr + j);
    }
  }
  for (; j < cols; ++j) {
    for (int64_t k = 0; k < k_; ++k) out[k * nr + j] = b[(first + j) * k_ + k];
  }
}

void VaryingMatrix::run_panel(const float* a, const float* residual, float* y, int64_t rows, int64_t panel,
                              std::byte* scratch) const {
  const int64_t first = panel * kernel_->nr;
  const void* segment = nullptr;
  hai_gemm_f32_tile tile = {};
  tile.in.segments = &segment;
  tile.in.segment_count = 1;
  tile.in.segment_steps = k_;
  tile.in.row_stride_bytes = k_ * 4;
  tile.in.panel = scratch;
  tile.bias = epilogue_.bias_f32.data() + first;
  tile.lo = epilogue_.lo;
  tile.hi = epilogue_.hi;
  const auto cols = static_cast<int32_t>(std::min<int64_t>(kernel_->nr, n_ - first));
  for (int64_t row = 0; row < rows; row += kernel_->mr) {
    segment = a + row * k_;
    tile.in.rows = static_cast<int32_t>(std::min<int64_t>(kernel_->mr, rows - row));
    float* out = y + row * n_ + first;
    const bool simple = epilogue_.stores_in_kernel();
    tile.in.cols = simple ? cols : kernel_->nr;
    tile.out = simple ? out : reinterpret_cast<float*>(scratch + panel_bytes());
    tile.out_stride = simple ? n_ : kernel_->nr;
    kernel_->run_f32(&tile);
    if (simple) continue;
    epilogue_.finish_f32(tile.out, tile.out_stride, tile.in.rows, cols,
                         residual == nullptr ? nullptr : residual + row * n_ + first, n_, out, n_);
  }
}

// y must be the broadcast of the leading axes, then a's rows and b's columns.
Result<MatrixShapes> read_shapes(const KernelContext& context) {
  if (context.inputs.size() < 2 || context.inputs[0] == nullptr || context.inputs[1] == nullptr ||
      context.outputs.size() != 1 || context.outputs[0] == nullptr) {
    return context.refuse("takes 2 to 4 operands and gives one result");
  }
  MatrixShapes out;
  HAI_TRY(const int64_t transpose_b, context.int_attribute("transpose_b", 0, 0, 1));
  out.transpose_b = transpose_b != 0;
  const Shape& a = context.inputs[0]->shape;
  const Shape& b = context.inputs[1]->shape;
  const Shape& y = context.outputs[0]->shape;
  if (a.size() < 2 || b.size() < 2 || y.size() != std::max(a.size(), b.size())) {
    return context.refuse("a and b must be matrices, y of the larger rank");
  }
  const Dim inner = b[b.size() - (out.transpose_b ? 1 : 2)];
  const Dim n = b[b.size() - (out.transpose_b ? 2 : 1)];
  bool fits = a.back() == inner && !inner.is_symbolic() && !n.is_symbolic() && inner.value >= 1 && n.value >= 1 &&
              inner.value <= INT32_MAX && n.value <= INT32_MAX && y.back() == n && y[y.size() - 2] == a[a.size() - 2];
  for (size_t back = 3; back <= y.size() && fits; ++back) {
    const Dim from_a = back <= a.size() ? a[a.size() - back] : Dim(1);
    const Dim from_b = back <= b.size() ? b[b.size() - back] : Dim(1);
    const Dim wanted = from_a == Dim(1) ? from_b : from_a;
    fits = y[y.size() - back] == wanted && (from_b == wanted || from_b == Dim(1));
  }
  if (!fits) return context.refuse("y has another shape than a and b give");
  out.k = inner.value;
  out.n = n.value;
  return out;
}

// [N][K] from [K][N].
template <typename T>
std::vector<T> transposed(const T* values, const MatrixShapes& shapes) {
  std::vector<T> out(static_cast<size_t>(shapes.k * shapes.n));
  for (int64_t k = 0; k < shapes.k; ++k) {
    for (int64_t n = 0; n < shapes.n; ++n) out[static_cast<size_t>(n * shapes.k + k)] = values[k * shapes.n + n];
  }
  return out;
}

Result<std::unique_ptr<CpuKernel>> make_constant(const KernelContext& context, const MatrixShapes& shapes) {
  HAI_TRY(ProductInputs inputs,
          read_product_inputs(context, 3, shapes.transpose_b ? 0 : 1, shapes.transpose_b ? 1 : 0));
  std::vector<float> f32;
  std::vector<int8_t> i8;
  std::vector<int16_t> i16;
  if (!shapes.transpose_b && inputs.weights.f32 != nullptr) {
    f32 = transposed(inputs.weights.f32, shapes);
    inputs.weights.f32 = f32.data();
  } else if (!shapes.transpose_b && inputs.weights.i16 != nullptr) {
    i16 = transposed(inputs.weights.i16, shapes);
    inputs.weights.i16 = i16.data();
  } else if (!shapes.transpose_b) {
    i8 = transposed(inputs.weights.i8, shapes);
    inputs.weights.i8 = i8.data();
  }
  ConvolutionGeometry geometry;
  geometry.in_channels = shapes.k;
  geometry.out_channels = shapes.n;
  HAI_TRY(Convolution product,
          Convolution::make(geometry, inputs.weights, inputs.x_dtype, inputs.x_zero_point, context.isa));
  HAI_TRY(ProductEpilogue epilogue,
          ProductEpilogue::make(context, inputs.operands, product.channel_positions(), product.padded_channels(),
                                product.channel_weights(), product.left_offset()));
  return std::unique_ptr<CpuKernel>(std::make_unique<ConstantMatrix>(std::move(product), std::move(epilogue)));
}

Result<std::unique_ptr<CpuKernel>> make_half_matrix(const KernelContext& context, const MatrixShapes& shapes) {
  HAI_TRY(std::vector<float> weights, half_weights(context));
  if (context.inputs[1]->shape.size() != 2) return context.refuse("b of f16 must be one matrix");
  if (!shapes.transpose_b) weights = transposed(weights.data(), shapes);
  ConvolutionGeometry geometry;
  geometry.in_channels = shapes.k;
  geometry.out_channels = shapes.n;
  return make_half_product(context, geometry, weights);
}

Result<std::unique_ptr<CpuKernel>> make_matmul(const KernelContext& context) {
  HAI_TRY(const MatrixShapes shapes, read_shapes(context));
  const format::ProgramTensor& b = *context.inputs[1];
  if (is_half_product(context)) return make_half_matrix(context, shapes);
  if (b.shape.size() == 2 && context.constants[1].data != nullptr) return make_constant(context, shapes);
  if (is_integer(context.inputs[0]->dtype)) return make_integer_product(context, shapes);
  if (context.inputs[0]->dtype != DataType::kF32 || b.dtype != DataType::kF32) {
    return context.refuse("integers under an f32 a need b to be one constant matrix");
  }
  const hai_gemm_kernel* kernel = gemm_f32_for(context.isa)();
  std::vector<int64_t> positions(static_cast<size_t>(shapes.n));
  for (size_t n = 0; n < positions.size(); ++n) positions[n] = static_cast<int64_t>(n);
  const ProductOperands operands{0, 1, 2, 3};
  HAI_TRY(ProductEpilogue epilogue,
          ProductEpilogue::make(context, operands, positions, align_up(shapes.n, kernel->nr), {}, 0));
  return std::unique_ptr<CpuKernel>(
      std::make_unique<VaryingMatrix>(kernel, std::move(epilogue), shapes.k, shapes.n, shapes.transpose_b));
}

}  // namespace

void register_matmul_exec(ExecRegistry& registry);
void register_matmul_exec(ExecRegistry& registry) { registry.add("matmul", make_matmul); }

}  // namespace hai::cpu
