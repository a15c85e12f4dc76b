// Look-up tables: 256 entries of a byte run in the vector kernel hai_lookup_u8, other widths in a plain loop.
//
// Tables are made once, from the same C arithmetic as the reference, so every instruction set gives the same integers.
// In place is fine: each element depends on itself alone.
#include "devices/cpu/exec/table_kernel.h"

#include "devices/cpu/exec/kernel_dispatch.h"
#include "devices/cpu/exec/parallel_chunks.h"

namespace hai::cpu {
namespace {

HAI_DOT_KERNEL_FAMILY(hai_lookup_u8, void, (const uint8_t*, const uint8_t*, uint8_t*, int64_t));

class ByteTable final : public CpuKernel {
 public:
  ByteTable(const std::function<int32_t(int32_t)>& entry, bool x_signed, Isa isa) : kernel_(hai_lookup_u8_for(isa)) {
    for (int32_t byte = 0; byte < 256; ++byte) {
      table_[byte] = static_cast<uint8_t>(entry(x_signed && byte >= 128 ? byte - 256 : byte));
    }
  }
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

template <typename X, typename Y>
class WideTable final : public CpuKernel {
 public:
  WideTable(const std::function<int32_t(int32_t)>& entry, DataType x_type) : table_(size_t{1} << bit_width(x_type)) {
    for (int64_t q = integer_min(x_type); q <= integer_max(x_type); ++q) {
      table_[static_cast<X>(q)] = static_cast<Y>(entry(static_cast<int32_t>(q)));
    }
  }
  void run(const RunContext& context) const override {
    const auto* x = data_of<X>(context.inputs[0]);
    auto* y = data_of<Y>(context.outputs[0]);
    for_chunks(context.threads, context.outputs[0].count(), kElementChunk, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) y[i] = table_[x[i]];
    });
  }
  int64_t packed_bytes() const override { return static_cast<int64_t>(table_.size() * sizeof(Y)); }

 private:
  std::vector<Y> table_;  // indexed by the bits of x
};

}  // namespace

std::unique_ptr<CpuKernel> make_table_kernel(const KernelContext& context,
                                             const std::function<int32_t(int32_t q)>& entry) {
  const DataType x = context.inputs[0]->dtype;
  const bool wide_x = bit_width(x) == 16;
  const bool wide_y = bit_width(context.outputs[0]->dtype) == 16;
  if (wide_x && wide_y) return std::make_unique<WideTable<uint16_t, uint16_t>>(entry, x);
  if (wide_x) return std::make_unique<WideTable<uint16_t, uint8_t>>(entry, x);
  if (wide_y) return std::make_unique<WideTable<uint8_t, uint16_t>>(entry, x);
  return std::make_unique<ByteTable>(entry, x == DataType::kI8, context.isa);
}

}  // namespace hai::cpu
