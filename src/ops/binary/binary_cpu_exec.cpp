// Element-wise functions of two operands on the CPU.
//
// Broadcasting becomes blocks of rows and columns (devices/cpu/exec/broadcast.h); f32 and 8-bit integers run the vector
// loops of binary_cpu_kernel.c; anything with 16 bits does so in pieces of rows, widened where they are narrower. An
// operand may be a constant, whose bytes then stay resident.
#include "devices/cpu/exec/broadcast.h"
#include "devices/cpu/exec/kernel_checks.h"
#include "devices/cpu/exec/kernel_dispatch.h"
#include "devices/cpu/exec/parallel_chunks.h"
#include "types/binary_table.h"
#include "types/half.h"

namespace hai::cpu {
namespace {

HAI_KERNEL_FAMILY(hai_binary_f32, void,
                  (int32_t, const float*, const float*, float*, int64_t, int64_t, int64_t, int64_t, int, int));
HAI_KERNEL_FAMILY(hai_binary_q8, void,
                  (int32_t, const ::hai_binary_q8*, const uint8_t*, const uint8_t*, uint8_t*, int64_t, int64_t, int64_t,
                   int64_t, int, int));
HAI_KERNEL_FAMILY(hai_binary_q16, void,
                  (int32_t, const ::hai_binary_q16*, const int16_t*, const int16_t*, int16_t*, int64_t));

// Calls body(a offset, b offset, y offset, rows, columns, plan) over blocks that cover y once, on the session's
// threads.
template <typename Body>
void for_blocks(const RunContext& context, Body&& body) {
  const BroadcastPlan plan = plan_broadcast(context.inputs[0].dims, context.inputs[1].dims, context.outputs[0].dims);
  const int64_t columns = plan.columns();
  const int64_t rows = plan.total_rows();
  if (rows == 1) {
    for_chunks(context.threads, columns, kElementChunk, [&](int64_t begin, int64_t end) {
      body(begin * plan.a_step(), begin * plan.b_step(), begin, int64_t{1}, end - begin, plan);
    });
    return;
  }
  if (columns == 0 || rows == 0) return;
  const int64_t rows_a_chunk = std::max<int64_t>(1, kElementChunk / columns);
  for_chunks(context.threads, rows, rows_a_chunk, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end;) {
      const int64_t block_end = std::min(end, (row / plan.rows() + 1) * plan.rows());
      int64_t a = 0;
      int64_t b = 0;
      plan.row_offsets(row, a, b);
      body(a, b, row * columns, block_end - row, columns, plan);
      row = block_end;
    }
  });
}

class BinaryKernel : public CpuKernel {
 public:
  bool needs_constant(size_t) const override { return true; }
};

class BinaryF32 final : public BinaryKernel {
 public:
  BinaryF32(int32_t function, Isa isa) : function_(function), kernel_(hai_binary_f32_for(isa)) {}
  void run(const RunContext& context) const override {
    const auto* a = data_of<float>(context.inputs[0]);
    const auto* b = data_of<float>(context.inputs[1]);
    auto* y = data_of<float>(context.outputs[0]);
    for_blocks(context,
               [&](int64_t at_a, int64_t at_b, int64_t at_y, int64_t rows, int64_t columns, const BroadcastPlan& plan) {
                 kernel_(function_, a + at_a, b + at_b, y + at_y, rows, columns, plan.a_row(), plan.b_row(),
                         plan.a_step(), plan.b_step());
               });
  }

 private:
  int32_t function_;
  hai_binary_f32_function kernel_;
};

// Sums, differences and products of f16: f32 holds each so that rounding twice is rounding once.
class BinaryHalf final : public BinaryKernel {
 public:
  explicit BinaryHalf(int32_t function) : function_(function) {}
  void run(const RunContext& context) const override {
    const auto* a = data_of<uint16_t>(context.inputs[0]);
    const auto* b = data_of<uint16_t>(context.inputs[1]);
    auto* y = data_of<uint16_t>(context.outputs[0]);
    for_blocks(context,
               [&](int64_t at_a, int64_t at_b, int64_t at_y, int64_t rows, int64_t columns, const BroadcastPlan& plan) {
                 for (int64_t r = 0; r < rows; ++r) {
                   for (int64_t c = 0; c < columns; ++c) {
                     const float left = hai_f16_to_f32(a[at_a + r * plan.a_row() + c * plan.a_step()]);
                     const float right = hai_f16_to_f32(b[at_b + r * plan.b_row() + c * plan.b_step()]);
                     y[at_y + r * columns + c] = half_of(function_ == HAI_BINARY_add   ? left + right
                                                         : function_ == HAI_BINARY_sub ? left - right
                                                                                       : left * right);
                   }
                 }
               });
  }

 private:
  int32_t function_;
};

class BinaryQ8 final : public BinaryKernel {
 public:
  BinaryQ8(int32_t function, const ::hai_binary_q8& parameters, Isa isa)
      : function_(function), parameters_(parameters), kernel_(hai_binary_q8_for(isa)) {}
  void run(const RunContext& context) const override {
    const auto* a = data_of<uint8_t>(context.inputs[0]);
    const auto* b = data_of<uint8_t>(context.inputs[1]);
    auto* y = data_of<uint8_t>(context.outputs[0]);
    for_blocks(context,
               [&](int64_t at_a, int64_t at_b, int64_t at_y, int64_t rows, int64_t columns, const BroadcastPlan& plan) {
                 kernel_(function_, &parameters_, a + at_a, b + at_b, y + at_y, rows, columns, plan.a_row(),
                         plan.b_row(), plan.a_step(), plan.b_step());
               });
  }

 private:
  int32_t function_;
  ::hai_binary_q8 parameters_;
  hai_binary_q8_function kernel_;
};

// `count` elements from `first` on, or `count` times the first, as i16: in place where they are, else in `piece`.
const int16_t* widened(const TensorView& view, int64_t first, int step, int64_t count, int16_t* piece) {
  const auto copy = [&](const auto* from) {
    for (int64_t i = 0; i < count; ++i) piece[i] = static_cast<int16_t>(+from[i * step]);
    return piece;
  };
  if (view.dtype == DataType::kI8) return copy(data_of<int8_t>(view) + first);
  if (view.dtype == DataType::kU8) return copy(data_of<uint8_t>(view) + first);
  if (step == 0) return copy(data_of<int16_t>(view) + first);
  return data_of<int16_t>(view) + first;
}

// At least one tensor of 16 bits.
class BinaryWide final : public BinaryKernel {
 public:
  BinaryWide(int32_t function, const ::hai_binary_q16& parameters, Isa isa)
      : function_(function), parameters_(parameters), kernel_(hai_binary_q16_for(isa)) {}
  void run(const RunContext& context) const override {
    for_blocks(context, [&](int64_t at_a, int64_t at_b, int64_t at_y, int64_t rows, int64_t columns,
                            const BroadcastPlan& plan) {
      for (int64_t r = 0; r < rows; ++r) {
        for (int64_t c = 0; c < columns; c += kPiece) {
          run_piece(context, at_a + r * plan.a_row() + c * plan.a_step(), at_b + r * plan.b_row() + c * plan.b_step(),
                    at_y + r * columns + c, std::min(kPiece, columns - c), plan);
        }
      }
    });
  }

 private:
  static constexpr int64_t kPiece = 512;

  void run_piece(const RunContext& context, int64_t at_a, int64_t at_b, int64_t at_y, int64_t count,
                 const BroadcastPlan& plan) const {
    int16_t a_piece[kPiece];
    int16_t b_piece[kPiece];
    const int16_t* a = widened(context.inputs[0], at_a, plan.a_step(), count, a_piece);
    const int16_t* b = widened(context.inputs[1], at_b, plan.b_step(), count, b_piece);
    const MutableTensorView& out = context.outputs[0];
    if (out.dtype == DataType::kI16) {
      kernel_(function_, &parameters_, a, b, data_of<int16_t>(out) + at_y, count);
      return;
    }
    int16_t y_piece[kPiece];
    kernel_(function_, &parameters_, a, b, y_piece, count);
    auto* y = data_of<uint8_t>(out) + at_y;
    for (int64_t i = 0; i < count; ++i) y[i] = static_cast<uint8_t>(y_piece[i]);
  }

  int32_t function_;
  ::hai_binary_q16 parameters_;
  hai_binary_q16_function kernel_;
};

int32_t flip_of(DataType dtype) { return dtype == DataType::kI8 ? 128 : 0; }

Result<std::unique_ptr<CpuKernel>> make_integer(const KernelContext& context, int32_t function) {
  if (function == HAI_BINARY_div || function == HAI_BINARY_pow) {
    return context.refuse("is not defined on quantized tensors");
  }
  HAI_TRY(const Affine a, affine_of(context, *context.inputs[0]));
  HAI_TRY(const Affine b, affine_of(context, *context.inputs[1]));
  HAI_TRY(const Affine y, affine_of(context, *context.outputs[0]));
  HAI_TRY(const hai_output_range range, output_range_of(context, *context.outputs[0]));
  const float product = hai_multiplier_product(a.scale, b.scale, y.scale);
  const bool multiplies = function == HAI_BINARY_mul || function == HAI_BINARY_prelu;
  const float m_a = function == HAI_BINARY_mul ? product : hai_multiplier_ratio(a.scale, y.scale);
  const float m_b = multiplies ? product : hai_multiplier_ratio(b.scale, y.scale);
  HAI_TRY_STATUS(require_usable(context, m_a));
  HAI_TRY_STATUS(require_usable(context, m_b));
  const DataType da = context.inputs[0]->dtype;
  const DataType db = context.inputs[1]->dtype;
  const DataType dy = context.outputs[0]->dtype;
  if (bit_width(da) == 16 || bit_width(db) == 16 || bit_width(dy) == 16) {
    const ::hai_binary_q16 p = {a.zero_point, b.zero_point, m_a, m_b, range.zero_point, range.lo, range.hi};
    return std::unique_ptr<CpuKernel>(std::make_unique<BinaryWide>(function, p, context.isa));
  }
  ::hai_binary_q8 p{};
  p.zero_a = a.zero_point + flip_of(da);
  p.zero_b = b.zero_point + flip_of(db);
  p.m_a = m_a;
  p.m_b = m_b;
  p.zero_y = range.zero_point + flip_of(dy);
  p.lo = range.lo + flip_of(dy);
  p.hi = range.hi + flip_of(dy);
  p.flip_a = static_cast<uint8_t>(flip_of(da));
  p.flip_b = static_cast<uint8_t>(flip_of(db));
  p.flip_y = static_cast<uint8_t>(flip_of(dy));
  return std::unique_ptr<CpuKernel>(std::make_unique<BinaryQ8>(function, p, context.isa));
}

template <int32_t kFunction>
Result<std::unique_ptr<CpuKernel>> make(const KernelContext& context) {
  HAI_TRY_STATUS(require_counts(context, 2, 1));
  const format::ProgramTensor& a = *context.inputs[0];
  const format::ProgramTensor& b = *context.inputs[1];
  const format::ProgramTensor& y = *context.outputs[0];
  if (!broadcasts_to(a.shape, b.shape, y.shape)) return context.refuse("operands do not broadcast to the result");
  if (kFunction == HAI_BINARY_prelu) HAI_TRY_STATUS(require_same_shape(context, a, y));
  if (y.dtype == DataType::kF32) {
    HAI_TRY_STATUS(require_dtype(context, a, {DataType::kF32}));
    HAI_TRY_STATUS(require_dtype(context, b, {DataType::kF32}));
    return std::unique_ptr<CpuKernel>(std::make_unique<BinaryF32>(kFunction, context.isa));
  }
  if (y.dtype == DataType::kF16) {
    if (kFunction != HAI_BINARY_add && kFunction != HAI_BINARY_sub && kFunction != HAI_BINARY_mul)
      return context.refuse("f16 has sums, differences and products");
    HAI_TRY_STATUS(require_dtype(context, a, {DataType::kF16}));
    HAI_TRY_STATUS(require_dtype(context, b, {DataType::kF16}));
    return std::unique_ptr<CpuKernel>(std::make_unique<BinaryHalf>(kFunction));
  }
  for (const format::ProgramTensor* tensor : {&a, &b, &y}) {
    HAI_TRY_STATUS(require_dtype(context, *tensor, {DataType::kI8, DataType::kU8, DataType::kI16}));
  }
  return make_integer(context, kFunction);
}

}  // namespace

void register_binary_exec(ExecRegistry& registry);
void register_binary_exec(ExecRegistry& registry) {
#define HAI_ADD(name, ...) registry.add(#name, make<HAI_BINARY_##name>);
  HAI_BINARY_TABLE(HAI_ADD)
#undef HAI_ADD
}

}  // namespace hai::cpu
