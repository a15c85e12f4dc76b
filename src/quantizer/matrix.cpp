// Products, Cholesky factor and triangular solutions in f32.
//
// Method: the right operand is packed into panels of the micro-kernel's width and each panel meets all rows of the left
// one; the factor is found column by column from the last with dot products of rows, which lie contiguous in memory.
// Every number is one sum in a fixed order, so results do not depend on how many threads there are. f32 suffices
// because callers damp the diagonal to a condition of at most about 1e5.
#include "quantizer/matrix.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "devices/cpu/exec/product_kernels.h"

namespace hai::quantizer {
namespace {

using cpu::Isa;

HAI_KERNEL_FAMILY(dot_f32, float, (const float*, const float*, int64_t));
HAI_KERNEL_FAMILY(add_multiple_f32, void, (float*, const float*, float, int64_t));
HAI_KERNEL_FAMILY(adaround_step_f32, void, (const hai_adaround_step*));

constexpr int64_t kMaxPanel = Matrix::kPadding;  // rows are read and written by whole panels
alignas(64) constexpr std::array<float, kMaxPanel> kZeros{};

// Columns [from, from + width) of `steps` rows of b, step after step.
void pack_panel(const Matrix& b, int64_t first, int64_t steps, int64_t from, int64_t width, float* panel) {
  const int64_t inside = std::min(width, b.cols() - from);
  for (int64_t k = 0; k < steps; ++k) {
    std::copy_n(b.row(first + k) + from, inside, panel + k * width);
    std::fill(panel + k * width + inside, panel + (k + 1) * width, 0.0F);
  }
}

}  // namespace

Matrix transposed(const Matrix& matrix) {
  Matrix out(matrix.cols(), matrix.rows());
  constexpr int64_t kTile = 16;
  for (int64_t i0 = 0; i0 < matrix.rows(); i0 += kTile) {
    for (int64_t j = 0; j < matrix.cols(); ++j) {
      float* to = out.row(j);
      for (int64_t i = i0; i < std::min(matrix.rows(), i0 + kTile); ++i) to[i] = matrix.at(i, j);
    }
  }
  return out;
}

Result<Algebra> Algebra::make(ThreadPool& threads) {
  HAI_TRY(const Isa isa, cpu::selected_isa());
  Algebra out;
  out.threads_ = &threads;
  out.gemm_ = gemm_f32_for(isa)();
  out.dot_ = dot_f32_for(isa);
  out.add_multiple_ = add_multiple_f32_for(isa);
  out.adaround_step_ = adaround_step_f32_for(isa);
  return out;
}

void Algebra::multiply(const Matrix& a, const Matrix& b, Matrix& y, const Part& part) const {
  const int64_t count = part.count;
  HAI_CHECK(part.a_first + count <= a.rows() && part.b_first + a.cols() <= b.rows() && y.rows() == count &&
            y.cols() == b.cols());
  const auto& kernel = *static_cast<const hai_gemm_kernel*>(gemm_);
  HAI_CHECK(kernel.nr <= kMaxPanel);
  const int64_t panels = (b.cols() + kernel.nr - 1) / kernel.nr;
  // Few panels: their rows are shared out too, and each share packs the panel again.
  const int64_t tiles = (count + kernel.mr - 1) / kernel.mr;
  const int64_t shares = std::clamp<int64_t>(2 * threads_->thread_count() / std::max<int64_t>(panels, 1), 1,
                                             std::max<int64_t>(tiles / 8, 1));
  threads_->parallel(panels * shares, [&](int64_t task, int) {
    thread_local std::vector<float, AlignedAllocator<float>> panel;
    const int64_t from = task / shares * kernel.nr;
    panel.resize(static_cast<size_t>(a.cols() * kernel.nr));
    pack_panel(b, part.b_first, a.cols(), from, kernel.nr, panel.data());
    const int64_t begin = tiles * (task % shares) / shares * kernel.mr;
    const int64_t end = std::min(count, tiles * (task % shares + 1) / shares * kernel.mr);
    for (int64_t i = begin; i < end; i += kernel.mr) {
      const void* left = a.row(part.a_first + i);
      hai_gemm_f32_tile tile{};
      tile.in = {&left,
                 1,
                 a.cols(),
                 a.stride() * static_cast<int64_t>(sizeof(float)),
                 panel.data(),
                 static_cast<int32_t>(std::min<int64_t>(kernel.mr, end - i)),
                 static_cast<int32_t>(std::min<int64_t>(kernel.nr, b.cols() - from))};
      tile.bias = kZeros.data();
      tile.lo = -std::numeric_limits<float>::infinity();
      tile.hi = std::numeric_limits<float>::infinity();
      tile.out = y.row(i) + from;
      tile.out_stride = y.stride();
      kernel.run_f32(&tile);
    }
  });
}

bool factor_upper(const Algebra& algebra, Matrix& h) {
  const int64_t size = h.rows();
  constexpr int64_t kRowsATask = 64;
  for (int64_t j = size - 1; j >= 0; --j) {
    const float* row_j = h.row(j) + j + 1;
    const int64_t done = size - 1 - j;
    const float square = h.at(j, j) - algebra.dot(row_j, row_j, done);
    if (!(square > 0.0F) || !std::isfinite(square)) return false;
    const float pivot = std::sqrt(square);
    h.at(j, j) = pivot;
    const auto column = [&](int64_t i) {
      h.at(i, j) = (h.at(i, j) - algebra.dot(h.row(i) + j + 1, row_j, done)) / pivot;
    };
    if (j * done < 65536) {
      for (int64_t i = 0; i < j; ++i) column(i);
    } else {
      algebra.threads().parallel((j + kRowsATask - 1) / kRowsATask, [&](int64_t task, int) {
        for (int64_t i = task * kRowsATask; i < std::min(j, (task + 1) * kRowsATask); ++i) column(i);
      });
    }
  }
  for (int64_t i = 0; i < size; ++i) std::fill_n(h.row(i), i, 0.0F);
  return true;
}

void solve_rows(const Algebra& algebra, const Matrix& upper, Matrix& rows) {
  const int64_t size = upper.rows();
  algebra.threads().parallel(rows.rows(), [&](int64_t r, int) {
    float* x = rows.row(r);
    for (int64_t j = size - 1; j >= 0; --j)  // V y = b
      x[j] = (x[j] - algebra.dot(upper.row(j) + j + 1, x + j + 1, size - 1 - j)) / upper.at(j, j);
    for (int64_t j = 0; j < size; ++j) {  // V^T x = y
      x[j] /= upper.at(j, j);
      algebra.add_multiple(x + j + 1, upper.row(j) + j + 1, -x[j], size - 1 - j);
    }
  });
}

}  // namespace hai::quantizer
