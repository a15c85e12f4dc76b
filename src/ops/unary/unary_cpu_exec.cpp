// Unary functions on the CPU: vector loops in f32; tables of 256 or 65,536 entries for integers.
//
// Tables are made once from f64 with basic operations only (types/unary_functions.h), so they equal the reference bit
// for bit. In place is fine: every element depends on itself alone.
#include "devices/cpu/exec/kernel_checks.h"
#include "devices/cpu/exec/kernel_dispatch.h"
#include "devices/cpu/exec/parallel_chunks.h"
#include "types/unary_functions.h"

namespace hai::cpu {
namespace {

HAI_KERNEL_FAMILY(hai_unary_f32, void, (int32_t, const float*, float*, int64_t, float, float));
HAI_KERNEL_FAMILY(hai_lookup_u8, void, (const uint8_t*, const uint8_t*, uint8_t*, int64_t));

class UnaryF32 final : public CpuKernel {
 public:
  UnaryF32(int32_t function, float alpha, float beta, Isa isa)
      : function_(function), alpha_(alpha), beta_(beta), kernel_(hai_unary_f32_for(isa)) {}
  void run(const RunContext& context) const override {
    const auto* x = data_of<float>(context.inputs[0]);
    auto* y = data_of<float>(context.outputs[0]);
    for_chunks(context.threads, context.outputs[0].count(), kElementChunk, [&](int64_t begin, int64_t end) {
      kernel_(function_, x + begin, y + begin, end - begin, alpha_, beta_);
    });
  }

 private:
  int32_t function_;
  float alpha_;
  float beta_;
  hai_unary_f32_function kernel_;
};

class Table8 final : public CpuKernel {
 public:
  explicit Table8(Isa isa) : kernel_(hai_lookup_u8_for(isa)) {}
  std::span<uint8_t, 256> table() { return table_; }
  void run(const RunContext& context) const override {
    const auto* x = data_of<uint8_t>(context.inputs[0]);
    auto* y = data_of<uint8_t>(context.outputs[0]);
    for_chunks(context.threads, context.outputs[0].count(), 4 * kElementChunk,
               [&](int64_t begin, int64_t end) { kernel_(table_, x + begin, y + begin, end - begin); });
  }
  int64_t packed_bytes() const override { return sizeof table_; }

 private:
  hai_lookup_u8_function kernel_;
  alignas(64) uint8_t table_[256] = {};
};

// A 16-bit operand: every stored integer has its entry; the result is written in the width of the output.
template <typename Output>
class Table16 final : public CpuKernel {
 public:
  explicit Table16(std::vector<Output> table) : table_(std::move(table)) {}
  void run(const RunContext& context) const override {
    const auto* x = data_of<uint16_t>(context.inputs[0]);
    auto* y = data_of<Output>(context.outputs[0]);
    for_chunks(context.threads, context.outputs[0].count(), kElementChunk, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) y[i] = table_[x[i]];
    });
  }
  int64_t packed_bytes() const override { return static_cast<int64_t>(table_.size() * sizeof(Output)); }

 private:
  std::vector<Output> table_;
};

// An 8-bit operand with a 16-bit result.
class Table8To16 final : public CpuKernel {
 public:
  explicit Table8To16(std::vector<int16_t> table) : table_(std::move(table)) {}
  void run(const RunContext& context) const override {
    const auto* x = data_of<uint8_t>(context.inputs[0]);
    auto* y = data_of<int16_t>(context.outputs[0]);
    const int64_t count = context.outputs[0].count();
    for (int64_t i = 0; i < count; ++i) y[i] = table_[x[i]];
  }
  int64_t packed_bytes() const override { return static_cast<int64_t>(table_.size() * sizeof(int16_t)); }

 private:
  std::vector<int16_t> table_;
};

struct Parameters {
  int32_t function;
  double alpha;
  double beta;
};

template <typename Output>
std::vector<Output> wide_table(const Parameters& f, DataType x_type, Affine x, float s_y, hai_output_range range) {
  const auto entries = int64_t{1} << bit_width(x_type);
  std::vector<Output> table(static_cast<size_t>(entries));
  for (int64_t q = integer_min(x_type); q <= integer_max(x_type); ++q) {
    const int32_t y =
        unary_integer(f.function, f.alpha, f.beta, static_cast<int32_t>(q), x.scale, x.zero_point, s_y, range);
    table[static_cast<size_t>(q & (entries - 1))] = static_cast<Output>(y);
  }
  return table;
}

Result<std::unique_ptr<CpuKernel>> make_integer(const KernelContext& context, const Parameters& f) {
  const format::ProgramTensor& x = *context.inputs[0];
  const format::ProgramTensor& y = *context.outputs[0];
  HAI_TRY(const Affine affine_x, affine_of(context, x));
  HAI_TRY(const Affine affine_y, affine_of(context, y));
  HAI_TRY(const hai_output_range range, output_range_of(context, y));
  const bool wide_x = bit_width(x.dtype) == 16;
  const bool wide_y = bit_width(y.dtype) == 16;
  if (!wide_x && !wide_y) {
    auto kernel = std::make_unique<Table8>(context.isa);
    unary_table8(f.function, f.alpha, f.beta, x.dtype == DataType::kI8, affine_x.scale, affine_x.zero_point,
                 affine_y.scale, range, kernel->table());
    return std::unique_ptr<CpuKernel>(std::move(kernel));
  }
  if (wide_x && !wide_y) {
    return std::unique_ptr<CpuKernel>(
        std::make_unique<Table16<uint8_t>>(wide_table<uint8_t>(f, x.dtype, affine_x, affine_y.scale, range)));
  }
  auto table = wide_table<int16_t>(f, x.dtype, affine_x, affine_y.scale, range);
  if (wide_x) return std::unique_ptr<CpuKernel>(std::make_unique<Table16<int16_t>>(std::move(table)));
  return std::unique_ptr<CpuKernel>(std::make_unique<Table8To16>(std::move(table)));
}

Result<std::unique_ptr<CpuKernel>> make(const KernelContext& context) {
  HAI_TRY_STATUS(require_counts(context, 1, 1));
  const format::ProgramTensor& x = *context.inputs[0];
  const format::ProgramTensor& y = *context.outputs[0];
  HAI_TRY_STATUS(require_same_shape(context, x, y));
  const auto function = find_unary_function(context.instruction.kernel);
  if (!function) return context.refuse("no such unary function");
  const UnaryFunction& row = unary_functions()[static_cast<size_t>(*function)];
  HAI_TRY(const double alpha, context.float_attribute("alpha", row.alpha));
  HAI_TRY(const double beta, context.float_attribute("beta", row.beta));
  if (x.dtype != DataType::kF32) {
    HAI_TRY_STATUS(require_dtype(context, x, {DataType::kI8, DataType::kU8, DataType::kI16}));
    HAI_TRY_STATUS(require_dtype(context, y, {DataType::kI8, DataType::kU8, DataType::kI16}));
    return make_integer(context, {*function, alpha, beta});
  }
  HAI_TRY_STATUS(require_dtype(context, y, {DataType::kF32}));
  return std::unique_ptr<CpuKernel>(
      std::make_unique<UnaryF32>(*function, static_cast<float>(alpha), static_cast<float>(beta), context.isa));
}

}  // namespace

void register_unary_exec(ExecRegistry& registry);
void register_unary_exec(ExecRegistry& registry) {
  for (const UnaryFunction& function : unary_functions()) registry.add(std::string(function.name), make);
}

}  // namespace hai::cpu
