// pad on the CPU: output row by output row, where a row runs along the last padded axis and an element of it is the
// block of everything behind that axis. Inside a row: border, one memcpy of the row of x, border.
//
// The axes before are mapped one by one to the place in x, or to "outside" (constant mode: the whole row is border).
// An integer output with another scale is rescaled where it is copied.
#include <algorithm>
#include <cstring>

#include "devices/cpu/exec/operand_checks.h"
#include "devices/cpu/exec/parallel_range.h"
#include "types/float_format.h"

namespace hai::cpu {
namespace {

enum class Mode : uint8_t { kConstant, kReflect, kEdge };

// The index of x that output position `at` shows, -1 outside.
int64_t source_index(Mode mode, int64_t at, int64_t size) {
  if (at >= 0 && at < size) return at;
  switch (mode) {
    case Mode::kReflect:
      return at < 0 ? -at : 2 * (size - 1) - at;
    case Mode::kEdge:
      return at < 0 ? 0 : size - 1;
    default:
      return -1;
  }
}

struct PadPlan {
  Mode mode = Mode::kConstant;
  Dims before;
  int last = 0;  // the last padded axis
  int64_t element_bytes = 1;
  uint64_t value = 0;  // the bits of one border element
  std::optional<Rescale> rescale;
  DataType dtype = DataType::kF32;
  Isa isa = Isa::kScalar;
};

class PadKernel final : public CpuKernel {
 public:
  explicit PadKernel(const PadPlan& plan) : plan_(plan) {}

  bool needs_constant(size_t) const override { return true; }

  void run(const RunContext& context) const override {
    const Dims& in = context.inputs[0].dims;
    const Dims& out = context.outputs[0].dims;
    if (out.count() == 0) return;
    int64_t rows = 1;
    for (int i = 0; i < plan_.last; ++i) rows *= out[i];
    int64_t block_bytes = plan_.element_bytes;
    for (int i = plan_.last + 1; i < out.rank; ++i) block_bytes *= out[i];
    const int64_t row_bytes = block_bytes * out[plan_.last];
    parallel_range(context.threads, rows, row_bytes, [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) {
        const int64_t from = source_row(in, out, row);
        std::byte* y = context.outputs[0].data + row * row_bytes;
        if (from < 0) {
          fill(y, row_bytes);
        } else {
          run_row(context.inputs[0].data + from * block_bytes * in[plan_.last], in[plan_.last], out[plan_.last],
                  block_bytes, y);
        }
      }
    });
  }

 private:
  // Row of x that output row `row` shows, -1 for a border row.
  int64_t source_row(const Dims& in, const Dims& out, int64_t row) const {
    int64_t from = 0;
    int64_t stride = 1;
    for (int i = plan_.last - 1; i >= 0; --i) {
      const int64_t at = source_index(plan_.mode, row % out[i] - plan_.before[i], in[i]);
      if (at < 0) return -1;
      from += at * stride;
      row /= out[i];
      stride *= in[i];
    }
    return from;
  }

  void run_row(const std::byte* x, int64_t in_size, int64_t out_size, int64_t block_bytes, std::byte* y) const {
    const int64_t before = plan_.before[plan_.last];
    const int64_t after = out_size - before - in_size;
    std::byte* const tail = y + (before + in_size) * block_bytes;
    copy(y + before * block_bytes, x, in_size * block_bytes);
    if (plan_.mode == Mode::kConstant) {
      fill(y, before * block_bytes);
      fill(tail, after * block_bytes);
      return;
    }
    for (int64_t i = 0; i < before; ++i) {
      copy(y + i * block_bytes, x + source_index(plan_.mode, i - before, in_size) * block_bytes, block_bytes);
    }
    for (int64_t i = 0; i < after; ++i) {
      copy(tail + i * block_bytes, x + source_index(plan_.mode, in_size + i, in_size) * block_bytes, block_bytes);
    }
  }

  void copy(std::byte* y, const std::byte* x, int64_t bytes) const {
    if (!plan_.rescale) {
      std::memcpy(y, x, static_cast<size_t>(bytes));
    } else {
      rescale_elements(*plan_.rescale, plan_.dtype, plan_.isa, x, y, bytes / plan_.element_bytes);
    }
  }

  template <typename T>
  void fill_as(std::byte* y, int64_t bytes) const {
    const T value = static_cast<T>(plan_.value);
    for (int64_t i = 0; i < bytes; i += static_cast<int64_t>(sizeof(T))) std::memcpy(y + i, &value, sizeof(T));
  }

  void fill(std::byte* y, int64_t bytes) const {
    if (plan_.value == 0 || plan_.element_bytes == 1) {
      std::memset(y, static_cast<int>(plan_.value), static_cast<size_t>(bytes));
    } else if (plan_.element_bytes == 2) {
      fill_as<uint16_t>(y, bytes);
    } else if (plan_.element_bytes == 4) {
      fill_as<uint32_t>(y, bytes);
    } else {
      fill_as<uint64_t>(y, bytes);
    }
  }

  PadPlan plan_;
};

// The bits of a border element: the real value in the type (and scale) of the output.
Result<uint64_t> border_bits(const KernelContext& context, const format::ProgramTensor& y, double value) {
  switch (y.dtype) {
    case DataType::kF64:
      return hai_f64_bits{value}.bits;
    case DataType::kF32:
      return uint64_t{hai_f32_bits{static_cast<float>(value)}.bits};
    case DataType::kF16:
      return uint64_t{hai_f64_to_f16(value)};
    case DataType::kBF16:
      return uint64_t{hai_f64_to_bf16(value)};
    default:
      break;
  }
  const uint64_t mask = bit_width(y.dtype) >= 64 ? ~uint64_t{0} : (uint64_t{1} << bit_width(y.dtype)) - 1;
  if (y.quantization) {
    HAI_TRY_STATUS(check_quantized(context, y));
    const double units = value / static_cast<double>(scale_of(y));
    return static_cast<uint64_t>(int64_t{hai_store_f64(units, full_range(y))}) & mask;
  }
  if (value != static_cast<double>(static_cast<int32_t>(std::clamp(value, -2147483648.0, 2147483647.0)))) {
    return context.refuse("the value of an integer border must be an integer of 32 bits");
  }
  return static_cast<uint64_t>(static_cast<int64_t>(value)) & mask;
}

Result<std::unique_ptr<CpuKernel>> make_pad(const KernelContext& context) {
  HAI_TRY_STATUS(check_operand_counts(context, 1, 1, 1, 1));
  const format::ProgramTensor& x = *context.inputs[0];
  const format::ProgramTensor& y = *context.outputs[0];
  HAI_TRY(const std::vector<int64_t> pads, context.ints_attribute("pads", 2 * x.shape.size(), 0, kMaxElements));
  HAI_TRY(const std::string mode, context.string_attribute("mode", "constant"));
  HAI_TRY(const double value, context.float_attribute("value", 0.0));
  HAI_TRY_STATUS(check_output_shape(context, 0, shape_rules::pad(x.shape, pads, mode)));
  PadPlan plan;
  HAI_TRY(plan.rescale, check_rescale(context, x, y));
  HAI_TRY(plan.element_bytes, check_element_bytes(context, y));
  plan.mode = mode == "reflect" ? Mode::kReflect : mode == "edge" ? Mode::kEdge : Mode::kConstant;
  if (plan.mode == Mode::kConstant) {
    HAI_TRY(plan.value, border_bits(context, y, value));
  }
  if (x.shape.empty()) return context.refuse("a scalar has nothing to pad");
  plan.before = Dims(std::span<const int64_t>(pads).first(x.shape.size()));
  for (size_t i = 0; i < x.shape.size(); ++i) {
    if (pads[i] != 0 || pads[i + x.shape.size()] != 0) plan.last = static_cast<int>(i);
  }
  plan.dtype = y.dtype;
  plan.isa = context.isa;
  return std::unique_ptr<CpuKernel>(new PadKernel(plan));
}

}  // namespace

void register_pad_exec(ExecRegistry& registry) { registry.add("pad", make_pad); }

}  // namespace hai::cpu
