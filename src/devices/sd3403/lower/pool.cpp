// Pools as layers: windows, padding, and one multiplier for each count of elements that a mean may see.
//
// The multipliers are made from the two scales in f64 as the CPU makes them, so that the machine divides nothing.
#include "devices/sd3403/lower/pool.h"

#include "devices/sd3403/lower/half.h"
#include "types/arithmetic.h"

namespace hai::sd3403 {

Rules pool_rules() {
  return {rank(0, 4, 4), attribute_between("kernel", 1, kMostWindow), attribute_between("strides", 1, 63),
          attribute_between("pads", 0, 63)};
}

void add_pool(SegmentBuilder& builder, Pool pool, const PoolWindow& window, DivisorBounds counts) {
  const ir::Node& node = builder.node();
  const ir::TensorType& x = builder.type(node.inputs[0]);
  const ir::TensorType& y = builder.type(node.outputs[0]);
  Layer layer;
  const Slice from = builder.operand(node.inputs[0]);
  layer.writes = builder.result(node.outputs[0]);
  pool.input_columns = from.columns;
  pool.channels = from.channels;
  pool.input_zero_point = zero_point_of(x);
  pool.pad_left = window.pads[1];
  pool.window_rows = window.kernel[0];
  pool.window_columns = window.kernel[1];
  pool.stride_rows = window.strides[0];
  pool.stride_columns = window.strides[1];
  pool.output_columns = layer.writes.columns;
  pool.zero_point = zero_point_of(y);
  pool.least = integer_min(y.dtype);
  pool.greatest = integer_max(y.dtype);
  if (pool.pooling == kAverage && !is_half(y)) {
    pool.multiplier_first = counts.least;
    pool.multiplier_entries = counts.largest - counts.least + 1;
    for (int64_t count = counts.least; count <= counts.largest; ++count) {
      layer.constants.averages.push_back(hai_multiplier_average(scale_of(x), scale_of(y), count));
    }
  }
  layer.body = pool;
  layer.reads = {{from, {window.kernel[0], window.strides[0], 1, window.pads[0], {}, {}}}};
  builder.add(std::move(layer));
}

}  // namespace hai::sd3403
