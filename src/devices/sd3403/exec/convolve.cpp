// Choosing how each Convolve runs, and sharing what is derived from weights.
//
// Method: what is derived is kept by the key of the cache bytes that it came from (processor_cache.h) and by the fields
// that shape it, so that tiles of one layer share it.
#include "devices/sd3403/exec/convolve.h"

#include <fmt/format.h>

#include "devices/sd3403/isa/access.h"

namespace hai::sd3403 {

Result<StepPointer> ConvolveMaker::make(const Command& command, const StepSources& sources) {
  const auto& c = std::get<Convolve>(command.body);
  if (c.input_type == kF16) {
    return make_error(StatusCode::kUnsupported, "N071", "this build has no convolutions of f16: compile for integers");
  }
  const int64_t bytes = weight_bytes(c);
  HAI_TRY(const auto blocks, sources.cache.read(c.weight_address, bytes));
  CacheKey key;
  sources.cache.append_key(c.weight_address, bytes, key);
  key.insert(key.end(), {c.weights, c.connection, c.window_rows, c.window_columns, depth_of(c), c.output_channels});
  std::shared_ptr<const PlainWeights>& weights = plain_[key];
  if (weights == nullptr) {
    PlainWeights made{expand_weights(c, blocks), {}};
    made.channels = measure_weights(c, made.values);
    packed_bytes_ += static_cast<int64_t>(made.values.size() * sizeof(int16_t));
    weights = std::make_shared<const PlainWeights>(std::move(made));
  }
  SumBounds& bounds = open_[command.core];
  if (c.first_sum != 0) bounds = {};
  HAI_TRY_STATUS(bounds.add(c, weights->channels, 0));
  return make_plain_convolve(c, weights, sources.cache, bounds);
}

}  // namespace hai::sd3403
