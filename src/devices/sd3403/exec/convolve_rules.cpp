// Reading a Convolve's tables, and its rounding points one value at a time.
//
// Tables lie in the weight cache and may hold anything: multipliers must be usable and zero points of their type, so
// that every instruction set rounds alike; a function's entries are taken as they are.
#include "devices/sd3403/exec/convolve_rules.h"
#include "devices/sd3403/isa/curve.h"

#include <fmt/format.h>

#include <algorithm>

#include "devices/sd3403/exec/processor_step.h"

namespace hai::sd3403 {
namespace {

hai_output_range range_of(int64_t zero_point, int64_t least, int64_t greatest) {
  return {static_cast<int32_t>(zero_point), static_cast<int32_t>(least), static_cast<int32_t>(greatest)};
}

int64_t function_bytes(const Convolve& c) {
  return c.function == kCurve ? curve_bytes(c.function_entries) : 2 * c.function_entries;
}

bool rounds_twice(const Convolve& c) { return c.function != kNoFunction || c.adds_residual != 0; }

}  // namespace

Result<ConvolveRules> ConvolveRules::make(const Convolve& c, const WeightCache& cache) {
  ConvolveRules out;
  out.wide = has_wide_sums(c);
  out.transformed = c.transform != kDirect;
  out.output_type = c.output_type;
  const int64_t entry = channel_entry_bytes(has_wide_sums(c));
  HAI_TRY(const auto channels, cache.read(c.channel_table, entry * c.output_channels));
  for (int64_t o = 0; o < c.output_channels; ++o) {
    const std::byte* at = channels.data() + o * entry;
    int64_t bias = 0;
    int32_t narrow_bias = 0;
    float multiplier = 0.0F;
    std::memcpy(&narrow_bias, at, sizeof narrow_bias);
    if (out.wide) {
      std::memcpy(&bias, at, sizeof bias);
    } else {
      bias = narrow_bias;
    }
    std::memcpy(&multiplier, at + (out.wide ? 8 : 4), sizeof multiplier);
    HAI_TRY_STATUS(check_multiplier(fmt::format("the multiplier of channel {}", o), multiplier));
    out.bias.push_back(bias);
    out.multiplier.push_back(multiplier);
  }
  if (c.output_type == kF32) return out;
  out.last = range_of(c.zero_point, c.least, c.greatest);
  out.first = rounds_twice(c) ? range_of(c.sum_zero_point, c.sum_least, c.sum_greatest) : out.last;
  if (c.function != kNoFunction) {
    HAI_TRY(const auto entries, cache.read(c.function_table, function_bytes(c)));
    if (c.function == kCurve) {
      out.table = expand_curve(entries, c.function_entries);
    } else {
      out.table.resize(static_cast<size_t>(c.function_entries));
      std::memcpy(out.table.data(), entries.data(), entries.size());
    }
    out.table_first = static_cast<int32_t>(c.function_first);
  }
  if (c.adds_residual == 0) return out;
  out.adds_residual = true;
  out.residual_type = c.residual_type;
  out.residual_zero_point = static_cast<int32_t>(c.residual_zero_point);
  out.addend_zero_point = static_cast<int32_t>(c.addend_zero_point);
  out.residual_multiplier = real_of(c.residual_multiplier);
  out.addend_multiplier = real_of(c.addend_multiplier);
  HAI_TRY_STATUS(check_zero_point("residual_zero_point", c.residual_zero_point, c.residual_type));
  HAI_TRY_STATUS(check_multiplier("residual_multiplier", out.residual_multiplier));
  HAI_TRY_STATUS(check_multiplier("addend_multiplier", out.addend_multiplier));
  if (c.function == kNoFunction && c.addend_zero_point != c.sum_zero_point) {
    return make_error(StatusCode::kInvalidArgument, "N069",
                      "addend_zero_point is {} and sum_zero_point {}: without a function they are one",
                      c.addend_zero_point, c.sum_zero_point);
  }
  return out;
}

void ConvolveRules::append_key(const Convolve& c, const WeightCache& cache, CacheKey& key) {
  cache.append_key(c.channel_table, channel_entry_bytes(has_wide_sums(c)) * c.output_channels, key);
  if (c.function != kNoFunction) cache.append_key(c.function_table, function_bytes(c), key);
  key.insert(key.end(),
             {c.input_type, c.output_type, c.zero_point, c.least, c.greatest, c.function, c.function_first,
              c.function_entries, c.sum_zero_point, c.sum_least, c.sum_greatest, c.adds_residual, c.residual_type,
              c.residual_zero_point, c.residual_multiplier, c.addend_zero_point, c.addend_multiplier, c.transform});
}

int32_t ConvolveRules::integer(int64_t sum, float channel_multiplier, int32_t residual) const {
  int32_t q = wide ? hai_requantize_i64(sum, channel_multiplier, first)
                   : hai_requantize_i32(static_cast<int32_t>(sum), channel_multiplier, first);
  return behind(q, residual);
}

int32_t ConvolveRules::behind(int32_t q, int32_t residual) const {
  if (!table.empty()) q = table[static_cast<size_t>(std::clamp(q, table_first, last_entry()) - table_first)];
  if (!adds_residual) return q;
  return hai_add(q, residual, addend_zero_point, residual_zero_point, addend_multiplier, residual_multiplier, last);
}

float ConvolveRules::real(int64_t sum, float channel_multiplier) const {
  return wide ? static_cast<float>(static_cast<double>(sum) * static_cast<double>(channel_multiplier))
              : static_cast<float>(static_cast<int32_t>(sum)) * channel_multiplier;
}

}  // namespace hai::sd3403
