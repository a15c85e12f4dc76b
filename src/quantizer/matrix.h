// Matrix: f32 rows for the numerics of weight rounding, and products of them with the CPU device's micro-kernels.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/aligned_bytes.h"
#include "base/result.h"
#include "base/thread_pool.h"
#include "devices/cpu/exec/kernels/rounding.h"

namespace hai::quantizer {

// Row-major; each row is followed by zeros up to a multiple of 32 floats, so that kernels may load whole vectors.
class Matrix {
 public:
  static constexpr int64_t kPadding = 32;

  Matrix() = default;
  Matrix(int64_t rows, int64_t cols)
      : rows_(rows),
        cols_(cols),
        stride_((cols + kPadding - 1) / kPadding * kPadding),
        data_(static_cast<size_t>(rows_ * stride_)) {}

  int64_t rows() const { return rows_; }
  int64_t cols() const { return cols_; }
  int64_t stride() const { return stride_; }
  float* row(int64_t i) { return data_.data() + i * stride_; }
  const float* row(int64_t i) const { return data_.data() + i * stride_; }
  std::span<float> values(int64_t i) { return {row(i), static_cast<size_t>(cols_)}; }
  std::span<const float> values(int64_t i) const { return {row(i), static_cast<size_t>(cols_)}; }
  float& at(int64_t i, int64_t j) { return row(i)[j]; }
  float at(int64_t i, int64_t j) const { return row(i)[j]; }

 private:
  int64_t rows_ = 0;
  int64_t cols_ = 0;
  int64_t stride_ = 0;
  std::vector<float, AlignedAllocator<float>> data_;
};

Matrix transposed(const Matrix& matrix);

// Products on all threads of a pool. Sums run in one order whatever the number of threads.
class Algebra {
 public:
  // The instruction set is HAI_CPU's or the best; errors when HAI_CPU names one that is not there.
  static Result<Algebra> make(ThreadPool& threads);

  // Which rows of the operands a product takes: `count` of a from `a_first`, and of b as many as a has columns from
  // `b_first`.
  struct Part {
    int64_t a_first = 0;
    int64_t count = 0;
    int64_t b_first = 0;
  };
  // y = a b.
  void multiply(const Matrix& a, const Matrix& b, Matrix& y) const { multiply(a, b, y, {0, a.rows(), 0}); }
  void multiply(const Matrix& a, const Matrix& b, Matrix& y, const Part& part) const;

  float dot(const float* a, const float* b, int64_t count) const { return dot_(a, b, count); }
  void add_multiple(float* y, const float* x, float factor, int64_t count) const { add_multiple_(y, x, factor, count); }
  void adaround_step(const hai_adaround_step& step) const { adaround_step_(&step); }
  ThreadPool& threads() const { return *threads_; }

 private:
  Algebra() = default;
  ThreadPool* threads_ = nullptr;
  const void* gemm_ = nullptr;  // hai_gemm_kernel
  float (*dot_)(const float*, const float*, int64_t) = nullptr;
  void (*add_multiple_)(float*, const float*, float, int64_t) = nullptr;
  void (*adaround_step_)(const hai_adaround_step*) = nullptr;
};

// V upper triangular with V V^T = h (symmetric, positive definite): the factor that rounding in the order of columns
// needs. Returns false when h is not positive definite. `h` is destroyed and becomes V (its lower part zero).
bool factor_upper(const Algebra& algebra, Matrix& h);
// Each row x of `rows` becomes the solution of (V V^T) x = row.
void solve_rows(const Algebra& algebra, const Matrix& upper, Matrix& rows);

}  // namespace hai::quantizer
