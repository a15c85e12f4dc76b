// Choosing how each Convolve runs, and sharing what is derived from weights.
//
// Method: what is derived is kept by the key of the cache bytes that it came from (processor_cache.h) and by the fields
// that shape it, so that tiles of one layer share it. Dense convolutions run on matrix-product kernels, depthwise ones
// on kernels over rows where every sum is exact in them; a chain that has depthwise members, and depthwise sums that
// are too large, run in plain loops; f16 has steps of its own.
#include "devices/sd3403/exec/convolve.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>

#include "base/checked.h"
#include "devices/sd3403/isa/access.h"

namespace hai::sd3403 {
namespace {

constexpr int64_t kMostPacked = int64_t{1} << 32;

}  // namespace

ConvolveMaker::ConvolveMaker(std::span<const Command> commands, cpu::Isa isa) : isa_(isa), plain_(commands.size()) {
  std::array<std::vector<size_t>, 2> open;
  std::array<bool, 2> plain{};
  for (size_t i = 0; i < commands.size(); ++i) {
    const auto* c = std::get_if<Convolve>(&commands[i].body);
    if (c == nullptr) continue;
    const size_t core = commands[i].core;
    if (c->first_sum != 0) {
      open[core].clear();
      plain[core] = false;
    }
    open[core].push_back(i);
    plain[core] = plain[core] || c->connection == kDepthwise;
    const bool alone = c->first_sum != 0 && c->last_sum != 0;
    if (c->last_sum == 0 || alone || !plain[core]) continue;
    for (const size_t number : open[core]) plain_[number] = true;
  }
}

Result<StepPointer> ConvolveMaker::make(size_t number, const Command& command, const WeightCache& cache) {
  const auto& c = std::get<Convolve>(command.body);
  if (c.input_type == kF16) return make_half(c, cache);
  const size_t core = command.core;
  if (c.first_sum != 0) {
    bounds_[core] = {};
    chain_[core].clear();
  }
  if (c.transform != kDirect) return make_transformed(c, cache, core);
  if (plain_[number]) return make_plain(c, cache, core);
  return c.connection == kDense ? make_dense(c, cache, core) : make_depthwise(c, cache, core);
}

Result<StepPointer> ConvolveMaker::make_dense(const Convolve& c, const WeightCache& cache, size_t core) {
  HAI_TRY(SharedWeights weights, panels_of(c, cache));
  HAI_TRY_STATUS(add_to_chain(c, *weights, dense_left_offset(c, isa_), core));
  HAI_TRY(SharedEpilogue epilogue, epilogue_of(c, cache, padded_channels(c, isa_), true, core));
  return make_dense_convolve(c, std::move(weights), std::move(epilogue), isa_);
}

// Sums of a chain add up tap by tap; the epilogue sees what the last command's table makes of them.
Result<StepPointer> ConvolveMaker::make_transformed(const Convolve& c, const WeightCache& cache, size_t core) {
  HAI_TRY(TapTable table, TapTable::make(c, cache));
  HAI_TRY(SharedWeights weights, weights_of(c, cache, Form::kTaps));
  HAI_TRY_STATUS(check_zero_point("input_zero_point", c.input_zero_point, c.input_type));
  chain_[core].insert(chain_[core].end(), {weights->number, c.input_type, c.input_zero_point});
  bounds_[core].reach.assign(static_cast<size_t>(c.output_channels), 0);  // tap sums have their own
  bounds_[core].correction = bounds_[core].reach;
  TapSums sums = c.first_sum != 0 ? TapSums() : *tap_sums_[core];
  HAI_TRY_STATUS(sums.add(weights->tap_sums));
  tap_sums_[core] = std::make_shared<const TapSums>(std::move(sums));
  SharedEpilogue epilogue;
  if (c.last_sum != 0) {
    chain_[core].push_back(c.transform);
    chain_[core].insert(chain_[core].end(), table.sum_shifts.begin(), table.sum_shifts.end());
    HAI_TRY(epilogue, epilogue_of(c, cache, align_up(padded_channels(c, isa_), kBlockChannels), false, core));
    HAI_TRY_STATUS(tap_sums_[core]->check(c, table, epilogue->rules().bias));
  }
  return make_winograd_convolve(c, std::move(weights), std::move(table), tap_sums_[core], std::move(epilogue), isa_);
}

Result<StepPointer> ConvolveMaker::make_depthwise(const Convolve& c, const WeightCache& cache, size_t core) {
  HAI_TRY(const SharedWeights weights, weights_of(c, cache, Form::kRows));
  HAI_TRY_STATUS(add_to_chain(c, *weights, 0, core));
  HAI_TRY(const SharedEpilogue epilogue,
          epilogue_of(c, cache, align_up(c.output_channels, kBlockChannels), false, core));
  HAI_TRY(StepPointer step, make_depthwise_convolve(c, weights, epilogue, isa_));
  if (step != nullptr) return step;
  bounds_[core] = {};
  chain_[core].clear();
  return make_plain(c, cache, core);
}

Result<StepPointer> ConvolveMaker::make_plain(const Convolve& c, const WeightCache& cache, size_t core) {
  HAI_TRY(SharedWeights weights, weights_of(c, cache, Form::kPlain));
  HAI_TRY_STATUS(add_to_chain(c, *weights, 0, core));
  return make_plain_convolve(c, std::move(weights), cache, bounds_[core]);
}

Result<StepPointer> ConvolveMaker::make_half(const Convolve& c, const WeightCache& cache) {
  HAI_TRY(SharedWeights weights, weights_of(c, cache, Form::kHalves));
  if (c.transform != kDirect) return make_half_winograd(c, std::move(weights), cache, isa_);
  return make_half_convolve(c, std::move(weights), cache, isa_);
}

// Panels of constants, or a tile that a WeightPack leaves: then what is known are bounds.
Result<SharedWeights> ConvolveMaker::panels_of(const Convolve& c, const WeightCache& cache) {
  const PackedTile* tile = cache.packed_at(c.weight_address, weight_bytes(c));
  const bool fits = tile != nullptr && c.weights == kWeightI8 && c.window_rows == 1 && c.window_columns == 1 &&
                    tile->inputs == c.input_channels && tile->outputs == c.output_channels;
  if (!fits) return weights_of(c, cache, Form::kPanels);  // which refuses packed bytes
  ConvolveWeights made;
  const int64_t reach = std::max(127 - c.weight_zero_point, c.weight_zero_point + 128);
  made.channels.assign(static_cast<size_t>(c.output_channels), {0, c.input_channels * reach});
  made.number = -1 - (c.input_channels * 256 + c.weight_zero_point + 128);
  made.largest = 128;
  made.tile = *tile;
  return std::make_shared<const ConvolveWeights>(std::move(made));
}

Result<SharedWeights> ConvolveMaker::weights_of(const Convolve& c, const WeightCache& cache, Form form) {
  const int64_t bytes = weight_bytes(c);
  HAI_TRY(const auto blocks, cache.read(c.weight_address, bytes));
  CacheKey key;
  cache.append_key(c.weight_address, bytes, key);
  key.insert(key.end(), {static_cast<int64_t>(form), c.weights, c.connection, is_wide(c.input_type) ? 1 : 0,
                         c.window_rows, c.window_columns, c.dilation_columns == 1 ? 1 : 0, depth_of(c),
                         c.output_channels, c.weight_zero_point, c.transform});
  SharedWeights& weights = weights_[key];
  if (weights != nullptr) return weights;
  ConvolveWeights made;
  made.number = static_cast<int64_t>(weights_.size());
  if (form == Form::kHalves) {
    HAI_TRY(made.packed, pack_halves(c, blocks, isa_));
  } else {
    made.values = expand_weights(c, blocks);
    made.channels = measure_weights(c, made.values);
    for (const int16_t value : made.values) made.largest = std::max<int64_t>(made.largest, std::abs(int{value}));
  }
  if (form == Form::kTaps) made.tap_sums = TapSums::of(c, made.values);
  if (form != Form::kPlain && form != Form::kHalves) {
    HAI_TRY(made.packed, form == Form::kPanels ? pack_panels(c, made.values, isa_)
                         : form == Form::kTaps ? pack_taps(c, made.values, isa_)
                                               : pack_rows(c, made.values));
    made.values = {};
  }
  packed_bytes_ += made.bytes();
  if (packed_bytes_ > kMostPacked) {
    return make_error(StatusCode::kResourceExhausted, "N071", "packed weights take more than {} bytes", kMostPacked);
  }
  weights = std::make_shared<const ConvolveWeights>(std::move(made));
  return weights;
}

Status ConvolveMaker::add_to_chain(const Convolve& c, const ConvolveWeights& weights, int64_t left_offset,
                                   size_t core) {
  chain_[core].insert(chain_[core].end(), {weights.number, c.input_type, c.input_zero_point});
  return bounds_[core].add(c, weights.channels, left_offset);
}

Result<SharedEpilogue> ConvolveMaker::epilogue_of(const Convolve& c, const WeightCache& cache, int64_t padded,
                                                  bool takes_bias, size_t core) {
  if (c.last_sum == 0) return SharedEpilogue();
  HAI_TRY(ConvolveRules rules, ConvolveRules::make(c, cache));
  CacheKey key = chain_[core];
  ConvolveRules::append_key(c, cache, key);
  SharedEpilogue& epilogue = epilogues_[key];
  if (epilogue != nullptr) return epilogue;
  HAI_TRY_STATUS(bounds_[core].check(c, rules.bias));
  epilogue = std::make_shared<const ConvolveEpilogue>(std::move(rules), bounds_[core], padded, takes_bias, isa_);
  packed_bytes_ += epilogue->bytes();
  return epilogue;
}

}  // namespace hai::sd3403
