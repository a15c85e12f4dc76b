// Integer matmul of two activations on the CPU: b is packed at run time, into scratch.
//
// The kernels sum l * w, where l = q_a + (what the left form adds) and w = q_b, or q_b - 128 for a u8 b. With z_l and
// z_w the zero points of these,
//   sum (l - z_l)(w - z_w) = sum l w - z_w sum l - z_l sum w + K z_l z_w,
// where the second term belongs to a row and the last two to a column: a tile's sums start from them. All of it is
// taken modulo 2^32 (an i16 a has 64 bits, which hold every term), and make() proves that the true sum fits: K max|q_a
// - z_a| max|q_b - z_b| and the largest bias stay within the accumulator.
//
// A task is some panels of columns of one product: the thread packs them, then runs over all rows of a, block by block.
// Each element is one micro-kernel call over all of k. run() does not allocate.
#include "devices/cpu/exec/integer_product.h"

#include <algorithm>
#include <cstring>
#include <limits>

#include "base/checked.h"
#include "devices/cpu/exec/left_operand.h"
#include "devices/cpu/exec/product_epilogue.h"
#include "devices/cpu/exec/product_kernels.h"

namespace hai::cpu {
namespace {

constexpr int64_t kPanelsBytes = 96 * 1024;  // of packed columns in one task: they stay in the second cache
constexpr int64_t kRowsBytes = 32 * 1024;    // of rows in the form that the kernel reads
constexpr int64_t kTasksPerThread = 3;
constexpr int64_t kMaxScratchBytes = int64_t{1} << 30;
constexpr int64_t kSlackBytes = 64;   // a step may read past the last row
constexpr int64_t kMostColumns = 64;  // of a kernel's panel
constexpr int64_t kLargestLeft = 32768;
constexpr int64_t kLargestRight = 128;

int64_t aligned(int64_t bytes) { return align_up(bytes, 64); }

template <typename T>
int64_t sum_of(const std::byte* values, int64_t count) {
  const auto* typed = reinterpret_cast<const T*>(values);
  int64_t sum = 0;
  for (int64_t i = 0; i < count; ++i) sum += typed[i];
  return sum;
}

class IntegerProduct final : public CpuKernel {
 public:
  static Result<std::unique_ptr<CpuKernel>> make(const KernelContext& context, const MatrixShapes& shapes);

  int64_t scratch_bytes(int64_t, int thread_count) const override { return scratch_.total * thread_count; }
  int64_t packed_bytes() const override { return epilogue_.bytes(); }
  bool needs_constant(size_t input) const override { return input != 2; }
  void run(const RunContext& context) const override;

 private:
  // Of one thread; offsets in bytes.
  struct Scratch {
    int64_t columns = 0, rows = 0, copy = 0, sums = 0, total = 0;  // packed panels at 0
  };
  // One task: panels of one product.
  struct Task {
    const std::byte* a;
    const uint8_t* b;
    const std::byte* residual;  // null: none
    std::byte* y;
    std::byte* scratch;
    int64_t rows;
    int64_t first_panel, panels;

    int64_t* column_terms(const Scratch& at) const { return reinterpret_cast<int64_t*>(scratch + at.columns); }
    int64_t* row_terms(const Scratch& at) const { return reinterpret_cast<int64_t*>(scratch + at.rows); }
  };

  void lay_out(DataType a);
  int64_t panel_count() const { return ceil_div(shapes_.n, kernel_->nr); }
  void pack_panel(const uint8_t* b, int64_t panel, int8_t* out, int64_t* column_sums) const;
  void run_task(const Task& task) const;
  const std::byte* read_rows(const Task& task, int64_t first, int64_t count) const;
  void run_panel(const Task& task, const std::byte* left, int64_t first_row, int64_t count, int64_t panel) const;
  void run_tile(const Task& task, const hai_gemm_operands& in, int64_t row, int64_t row_in_block, int64_t panel) const;

  MatrixShapes shapes_;
  Isa isa_ = Isa::kScalar;
  const hai_gemm_kernel* kernel_ = nullptr;
  ProductEpilogue epilogue_;
  LeftOperand left_;
  bool wide_ = false;
  bool copies_ = false;
  uint8_t flip_b_ = 0;
  int64_t zero_a_ = 0;      // as stored
  int64_t zero_left_ = 0;   // of what the kernel reads
  int64_t zero_right_ = 0;  // of what is packed
  int64_t steps_ = 1;
  int64_t panel_bytes_ = 0;
  int64_t group_panels_ = 1;  // at most, in a task
  int64_t block_rows_ = 1;
  int64_t most_steps_ = 1;  // before 32-bit sums of wide products might overflow
  Scratch scratch_;
};

Result<std::unique_ptr<CpuKernel>> IntegerProduct::make(const KernelContext& context, const MatrixShapes& shapes) {
  const DataType a = context.inputs[0]->dtype;
  const DataType b = context.inputs[1]->dtype;
  const bool byte_a = a == DataType::kI8 || a == DataType::kU8;
  if ((!byte_a && a != DataType::kI16) || (b != DataType::kI8 && b != DataType::kU8)) {
    return context.refuse(
        fmt::format("{} times {}, neither a constant matrix: the CPU has i8, u8 or i16 times i8 or u8",
                    data_type_name(a), data_type_name(b)));
  }
  HAI_TRY(const RoundingPoint from_a, one_scale(context, *context.inputs[0], "a"));
  HAI_TRY(const RoundingPoint from_b, one_scale(context, *context.inputs[1], "b"));
  auto out = std::make_unique<IntegerProduct>();
  out->shapes_ = shapes;
  out->isa_ = context.isa;
  out->wide_ = !byte_a;
  out->kernel_ = out->wide_ ? gemm_s16_s8_for(context.isa)() : gemm_s8_s8_s32_for(context.isa)();
  HAI_CHECK(out->kernel_->nr <= kMostColumns);
  out->left_ = left_operand(*out->kernel_, a, from_a.zero_point);
  out->zero_a_ = from_a.zero_point;
  out->zero_left_ = from_a.zero_point + out->left_.offset;
  out->flip_b_ = b == DataType::kU8 ? 0x80 : 0;
  out->zero_right_ = from_b.zero_point - (b == DataType::kU8 ? 128 : 0);
  out->lay_out(a);
  if (out->scratch_.total > kMaxScratchBytes) {
    return context.refuse(fmt::format("sums over {} products need {} bytes of scratch a thread, more than {}", shapes.k,
                                      out->scratch_.total, kMaxScratchBytes));
  }
  // What any column may hold stands in for packed weights.
  const int64_t reach = std::max(integer_max(b) - from_b.zero_point, from_b.zero_point - integer_min(b));
  const std::vector<ChannelWeights> columns(static_cast<size_t>(shapes.n), {0, shapes.k * reach});
  std::vector<int64_t> positions(static_cast<size_t>(shapes.n));
  for (size_t n = 0; n < positions.size(); ++n) positions[n] = static_cast<int64_t>(n);
  const ProductOperands operands{0, 1, 2, 3};
  HAI_TRY(out->epilogue_,
          ProductEpilogue::make(context, operands, positions, align_up(shapes.n, out->kernel_->nr), columns, 0));
  return std::unique_ptr<CpuKernel>(std::move(out));
}

void IntegerProduct::lay_out(DataType a) {
  const int64_t nr = kernel_->nr;
  steps_ = ceil_div(shapes_.k, int64_t{kernel_->k_group});
  copies_ = !left_.same_form() || shapes_.k % kernel_->k_group != 0;
  panel_bytes_ = aligned(steps_ * nr * kernel_->k_group);
  group_panels_ = std::clamp<int64_t>(kPanelsBytes / panel_bytes_, 1, panel_count());
  const int64_t row_bytes = shapes_.k * left_.element_bytes;
  block_rows_ = align_up(std::max<int64_t>(1, kRowsBytes / row_bytes), kernel_->mr);
  most_steps_ = std::numeric_limits<int32_t>::max() / (kLargestLeft * kLargestRight * kernel_->k_group);
  scratch_.columns = group_panels_ * panel_bytes_;
  scratch_.rows = scratch_.columns + aligned(group_panels_ * nr * 8);
  scratch_.copy = scratch_.rows + aligned(block_rows_ * 8);
  scratch_.sums = scratch_.copy + (copies_ ? aligned(block_rows_ * row_bytes + kSlackBytes) : 0);
  scratch_.total = scratch_.sums + aligned(int64_t{kernel_->mr} * nr * (a == DataType::kI16 ? 8 : 4));
}

void IntegerProduct::run(const RunContext& context) const {
  const TensorView& a = context.inputs[0];
  const TensorView& b = context.inputs[1];
  const Dims& y = context.outputs[0].dims;
  const bool adds = context.inputs.size() > 3 && epilogue_.has_residual;
  const int64_t rows = y[y.rank - 2];
  int64_t products = 1;
  for (int axis = 0; axis + 2 < y.rank; ++axis) products *= y[axis];
  const int64_t panels = panel_count();
  const int threads = context.threads.thread_count();
  const int64_t wanted = threads > 1 ? kTasksPerThread * threads : 1;
  const int64_t group = std::clamp<int64_t>(panels * products / wanted, 1, group_panels_);
  const int64_t groups = ceil_div(panels, group);
  const int64_t a_bytes = wide_ ? 2 : 1;
  context.threads.parallel(products * groups, [&](int64_t index, int thread) {
    const int64_t product = index / groups;
    const int64_t first_panel = index % groups * group;
    const int64_t first = product * rows * shapes_.n;
    run_task({a.data + matrix_of(a.dims, y, product) * rows * shapes_.k * a_bytes,
              data_of<uint8_t>(b) + matrix_of(b.dims, y, product) * shapes_.k * shapes_.n,
              adds ? context.inputs[3].data + first * epilogue_.residual_element_bytes() : nullptr,
              context.outputs[0].data + first * epilogue_.output_element_bytes(),
              context.scratch + thread * scratch_.total, rows, first_panel, std::min(group, panels - first_panel)});
  });
}

// Packs, and leaves the column sums of what is packed in `column_sums`.
void IntegerProduct::pack_panel(const uint8_t* b, int64_t panel, int8_t* out, int64_t* column_sums) const {
  const int64_t nr = kernel_->nr;
  const int64_t first = panel * nr;
  const bool by_columns = shapes_.transpose_b && shapes_.k > 1;
  int32_t sums[kMostColumns];
  hai_pack_right p = {};
  p.k_step = by_columns ? 1 : shapes_.n;
  p.column_step = by_columns ? shapes_.k : 1;
  p.columns = static_cast<int32_t>(std::min(nr, shapes_.n - first));
  p.nr = kernel_->nr;
  p.k_group = kernel_->k_group;
  p.flip = flip_b_;
  p.sums = sums;
  std::fill(column_sums, column_sums + nr, 0);
  for (int64_t k = 0; k < shapes_.k; k += HAI_PACK_MOST_K) {
    std::fill(sums, sums + nr, 0);
    p.from = b + k * p.k_step + first * p.column_step;
    p.k_count = std::min<int64_t>(HAI_PACK_MOST_K, shapes_.k - k);
    p.out = out + k * nr;
    pack_right_s8_for(isa_)(&p);
    for (int64_t column = 0; column < nr; ++column) column_sums[column] += sums[column];
  }
}

void IntegerProduct::run_task(const Task& task) const {
  const int64_t nr = kernel_->nr;
  for (int64_t p = 0; p < task.panels; ++p) {
    int64_t* terms = task.column_terms(scratch_) + p * nr;
    pack_panel(task.b, task.first_panel + p, reinterpret_cast<int8_t*>(task.scratch + p * panel_bytes_), terms);
    for (int64_t j = 0; j < nr; ++j) terms[j] = zero_left_ * (shapes_.k * zero_right_ - terms[j]);
  }
  for (int64_t first = 0; first < task.rows; first += block_rows_) {
    const int64_t count = std::min(block_rows_, task.rows - first);
    const std::byte* left = read_rows(task, first, count);
    for (int64_t p = 0; p < task.panels; ++p) run_panel(task, left, first, count, p);
  }
}

// The rows as the kernel reads them, and what each adds to its sums.
const std::byte* IntegerProduct::read_rows(const Task& task, int64_t first, int64_t count) const {
  const int64_t k = shapes_.k;
  const std::byte* left = task.a + first * k * (wide_ ? 2 : 1);
  if (copies_) {
    hai_stripe stripe = {};
    stripe.image = left;
    stripe.image_rows = stripe.row_count = stripe.row_step = stripe.col_step = 1;
    stripe.image_cols = stripe.col_count = count;
    stripe.channels = k;
    stripe.out = task.scratch + scratch_.copy;
    stripe.kind = left_.kind;
    stripe.zero_point = static_cast<int32_t>(zero_a_);
    stripe.flip = left_.flip;
    stripe_copy_for(isa_)(&stripe);
    left = task.scratch + scratch_.copy;
  }
  int64_t* terms = task.row_terms(scratch_);
  const int64_t row_bytes = k * left_.element_bytes;
  for (int64_t row = 0; row < count; ++row) {
    const std::byte* values = left + row * row_bytes;
    if (zero_right_ == 0) {
      terms[row] = 0;
    } else if (left_.element_bytes == 2) {
      terms[row] = -zero_right_ * sum_of<int16_t>(values, k);
    } else if (kernel_->left == HAI_GEMM_LEFT_S8) {
      terms[row] = -zero_right_ * sum_of<int8_t>(values, k);
    } else {
      terms[row] = -zero_right_ * sum_of<uint8_t>(values, k);
    }
  }
  return left;
}

void IntegerProduct::run_panel(const Task& task, const std::byte* left, int64_t first_row, int64_t count,
                               int64_t panel) const {
  const int64_t row_bytes = shapes_.k * left_.element_bytes;
  const int64_t column = (task.first_panel + panel) * kernel_->nr;
  const void* segment = nullptr;
  hai_gemm_operands in = {};
  in.segments = &segment;
  in.segment_count = 1;
  in.segment_steps = steps_;
  in.row_stride_bytes = row_bytes;
  in.panel = task.scratch + panel * panel_bytes_;
  in.cols = static_cast<int32_t>(std::min<int64_t>(kernel_->nr, shapes_.n - column));
  const int64_t tile_rows = ceil_div(count, ceil_div(count, int64_t{kernel_->mr}));
  for (int64_t row = 0; row < count; row += tile_rows) {
    segment = left + row * row_bytes;
    in.rows = static_cast<int32_t>(std::min(tile_rows, count - row));
    run_tile(task, in, first_row + row, row, panel);
  }
  if (!wide_ && epilogue_.stores_in_kernel()) {
    epilogue_.look_up(task.y + first_row * shapes_.n + column, shapes_.n, count, in.cols);
  }
}

void IntegerProduct::run_tile(const Task& task, const hai_gemm_operands& in, int64_t row, int64_t row_in_block,
                              int64_t panel) const {
  const int64_t nr = kernel_->nr;
  const int64_t column = (task.first_panel + panel) * nr;
  const int64_t first = row * shapes_.n + column;
  const std::byte* residual =
      task.residual == nullptr ? nullptr : task.residual + first * epilogue_.residual_element_bytes();
  std::byte* out = task.y + first * epilogue_.output_element_bytes();
  std::byte* sums = task.scratch + scratch_.sums;
  const int64_t* row_terms = task.row_terms(scratch_) + row_in_block;
  const int64_t* column_terms = task.column_terms(scratch_) + panel * nr;
  if (wide_) {
    const hai_gemm_s16_tile tile = {in, reinterpret_cast<int64_t*>(sums), most_steps_};
    kernel_->run_s16(&tile);
    for (int32_t i = 0; i < in.rows; ++i) {
      for (int64_t j = 0; j < nr; ++j) tile.sums[i * nr + j] += row_terms[i] + column_terms[j];  // all below 2^62
    }
    epilogue_.store_s16(tile.sums, nr, in.rows, in.cols, column, out, shapes_.n);
    epilogue_.finish_s16(out, shapes_.n, in.rows, in.cols, residual, shapes_.n);
    return;
  }
  const hai_start_sums start = {row_terms, column_terms, in.rows, kernel_->nr, reinterpret_cast<int32_t*>(sums)};
  start_sums_s32_for(isa_)(&start);
  const bool stores = epilogue_.stores_in_kernel();
  hai_gemm_i8_tile tile = {};
  tile.in = in;
  tile.sums = reinterpret_cast<int32_t*>(sums);
  tile.accumulate = 1;
  tile.out = stores ? reinterpret_cast<uint8_t*>(out) : nullptr;
  tile.out_stride = shapes_.n;
  tile.bias = epilogue_.bias.data() + column;
  tile.multiplier = epilogue_.multiplier.data() + column;
  tile.lo = epilogue_.lo;
  tile.hi = epilogue_.hi;
  tile.zero_point = epilogue_.zero_point;
  kernel_->run_i8(&tile);
  if (stores) return;
  epilogue_.finish_i8(tile.sums, nr, in.rows, in.cols, column, residual, shapes_.n, out, shapes_.n);
}

}  // namespace

Result<std::unique_ptr<CpuKernel>> make_integer_product(const KernelContext& context, const MatrixShapes& shapes) {
  return IntegerProduct::make(context, shapes);
}

}  // namespace hai::cpu
