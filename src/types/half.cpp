// Tables of f16 functions, and the steps behind a sum.
//
// A table has 65,536 entries of two bytes and takes milliseconds to make, so that layers of one function share it.
#include "types/half.h"

#include <bit>
#include <map>
#include <mutex>
#include <tuple>

namespace hai {
namespace {

constexpr uint32_t kHalves = 65536;

}  // namespace

std::shared_ptr<const HalfTable> half_table(const Activation& activation) {
  using Key = std::tuple<int32_t, uint64_t, uint64_t, uint64_t, uint64_t>;
  static std::mutex mutex;
  static std::map<Key, std::weak_ptr<const HalfTable>> tables;
  const auto bits = [](double value) { return std::bit_cast<uint64_t>(value); };
  const Key key{activation.function, bits(activation.alpha), bits(activation.beta), bits(activation.lo),
                bits(activation.hi)};
  const std::lock_guard lock(mutex);
  std::weak_ptr<const HalfTable>& known = tables[key];
  if (auto table = known.lock()) return table;
  HalfTable made(kHalves);
  for (uint32_t i = 0; i < kHalves; ++i) {
    const auto x = static_cast<double>(hai_f16_to_f32(static_cast<uint16_t>(i)));
    made[i] = x != x ? uint16_t{0x7e00} : hai_f64_to_f16(apply_activation(activation, x));
  }
  auto table = std::make_shared<const HalfTable>(std::move(made));
  known = table;
  return table;
}

HalfBounds half_bounds(const Activation& clamp) {
  return {hai_f16_to_f32(hai_f64_to_f16(clamp.lo)), hai_f16_to_f32(hai_f64_to_f16(clamp.hi))};
}

HalfEpilogue::HalfEpilogue(const Activation& activation, const Activation& residual_activation) {
  if (activation.is_clamp()) {
    first = half_bounds(activation);
  } else {
    function = half_table(activation);
  }
  last = half_bounds(residual_activation);
}

void HalfEpilogue::run(const float* sums, const uint16_t* residual, uint16_t* out, int64_t count) const {
  const bool bounded = !first.none() || !last.none();
  for (int64_t i = 0; i < count; ++i) {
    uint16_t half = half_of(sums[i]);
    if (function == nullptr && residual == nullptr && !bounded) {
      out[i] = half;
      continue;
    }
    half = half_of(first.apply(hai_f16_to_f32(half)));
    if (function != nullptr) half = (*function)[half];
    // The sum of two f16, rounded to f32 and then to f16, is the sum rounded once: f32 has twice the bits and two more.
    float value = hai_f16_to_f32(half);
    if (residual != nullptr) value = hai_f16_to_f32(half_of(value + hai_f16_to_f32(residual[i])));
    out[i] = half_of(last.apply(value));
  }
}

void widen_halves(const uint16_t* from, float* to, int64_t count) {
  for (int64_t i = 0; i < count; ++i) to[i] = hai_f16_to_f32(from[i]);
}

}  // namespace hai
