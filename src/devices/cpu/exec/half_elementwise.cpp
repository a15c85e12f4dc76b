// Plain loops over f16 elements.
//
// Sums of up to 8,192 f16 are exact in f64, so that their order matters for larger windows only; there it is rows, then
// columns.
#include "devices/cpu/exec/half_elementwise.h"

#include "devices/cpu/exec/parallel_chunks.h"

namespace hai::cpu {
namespace {

class HalfFunction final : public CpuKernel {
 public:
  explicit HalfFunction(std::shared_ptr<const HalfTable> table) : table_(std::move(table)) {}
  int64_t packed_bytes() const override { return static_cast<int64_t>(table_->size()) * 2; }
  void run(const RunContext& context) const override {
    const auto* x = data_of<uint16_t>(context.inputs[0]);
    auto* y = data_of<uint16_t>(context.outputs[0]);
    for_chunks(context.threads, context.outputs[0].count(), kElementChunk, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) y[i] = (*table_)[x[i]];
    });
  }

 private:
  std::shared_ptr<const HalfTable> table_;
};

}  // namespace

std::unique_ptr<CpuKernel> make_half_function(std::shared_ptr<const HalfTable> table) {
  return std::make_unique<HalfFunction>(std::move(table));
}

void max_of_halves(const uint16_t* x, int64_t row_stride, int64_t column_stride, int64_t rows, int64_t columns,
                   int64_t channels, uint16_t* y) {
  for (int64_t c = 0; c < channels; ++c) {
    uint16_t best = 0xfc00;  // minus infinity
    bool any = false;
    for (int64_t row = 0; row < rows; ++row) {
      for (int64_t column = 0; column < columns; ++column) {
        const uint16_t half = x[row * row_stride + column * column_stride + c];
        const float value = hai_f16_to_f32(half);
        if (value != value || (any && !(value > hai_f16_to_f32(best)))) continue;
        best = half;
        any = true;
      }
    }
    y[c] = best;
  }
}

void mean_of_halves(const uint16_t* x, int64_t row_stride, int64_t column_stride, int64_t rows, int64_t columns,
                    int64_t channels, int64_t divisor, uint16_t* y) {
  for (int64_t c = 0; c < channels; ++c) {
    double sum = 0.0;
    for (int64_t row = 0; row < rows; ++row) {
      for (int64_t column = 0; column < columns; ++column) {
        sum += static_cast<double>(hai_f16_to_f32(x[row * row_stride + column * column_stride + c]));
      }
    }
    y[c] = hai_f64_to_f16(sum / static_cast<double>(divisor));
  }
}

}  // namespace hai::cpu
