// What the pools have in common on the NPU.
#pragma once

#include "devices/sd3403/lower/segment_builder.h"
#include "ops/data_movement.h"
#include "types/pool_window.h"

namespace hai::sd3403 {

inline constexpr int64_t kMostWindow = 8191;  // rows, columns

// Of a picture, with windows that the fields of Pool hold.
Rules pool_rules();
// Fills what is not set: tiles, window, zero points, bounds, and the multipliers of a mean over `counts` elements.
void add_pool(SegmentBuilder& builder, Pool pool, const PoolWindow& window, DivisorBounds counts);

}  // namespace hai::sd3403
