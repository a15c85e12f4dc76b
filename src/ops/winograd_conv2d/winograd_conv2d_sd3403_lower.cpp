// winograd_conv2d on the NPU: a Convolve that transforms its tiles.
//
// The taps of the weights take the place of the window, in the same blocks. Shifts become the table beside them: what
// inputs are shifted down by, and what sums are shifted up by above the least, which goes into the scales of the
// weights; f16 has none. Tiles begin at row 0 of the layer, so whatever cuts its rows does so at multiples of a tile.
#include "devices/sd3403/lower/half.h"
#include "devices/sd3403/lower/product.h"
#include "ops/winograd_conv2d/winograd_conv2d.h"
#include "types/winograd.h"

namespace hai::sd3403 {
namespace {

// The schema has proved that sums fit, and bounds shifts and pads.
Legality legality() {
  return {{"of f16", of_halves, half_product_rules()},
          {"of integers", nullptr, join({{takes(0, Types::kBytes)}, product_rules(), {takes(3, Types::kIntegers)}})}};
}

// The tap table of integers.
void set_shifts(const ops::WinogradAttributes& attributes, Constants& constants) {
  const auto taps = static_cast<int32_t>(attributes.input_shifts.size());
  int32_t sum_shifts[HAI_WINOGRAD_MAX_TAPS];
  const int32_t base =
      hai_winograd_exponents(taps, attributes.input_shifts.data(), attributes.weight_shifts.data(), sum_shifts);
  for (int32_t t = 0; t < taps; ++t) {
    constants.taps.push_back(static_cast<uint8_t>(attributes.input_shifts[static_cast<size_t>(t)]));
    constants.taps.push_back(static_cast<uint8_t>(sum_shifts[t]));
  }
  constants.weight_factor = hai_winograd_power(base);
}

Status lower(SegmentBuilder& builder) {
  const ir::Node& node = builder.node();
  const bool integer = is_integer(builder.type(node.inputs[0]).dtype);
  HAI_TRY(const ops::WinogradAttributes attributes, ops::winograd_attributes(node, integer));
  Layer layer;
  layer.macs = builder.macs();
  layer.row_unit = attributes.tile;
  if (integer) set_shifts(attributes, layer.constants);
  const Slice x = builder.operand(node.inputs[0]);
  layer.constants.window = (attributes.tile + 2) * (attributes.tile + 2);
  layer.constants.depth = x.channels;
  layer.constants.weights = centred_weights(builder.graph(), node, 0);
  Convolve c;
  c.transform = attributes.tile == 2 ? kWinograd2 : kWinograd4;
  c.window_rows = c.window_columns = 3;
  c.pad_left = attributes.pads[1];
  c.input_channels = x.channels;
  c.input_columns = x.columns;
  layer.body = c;
  layer.reads = {{x, {3, 1, 1, attributes.pads[0], {}, {}}}};
  HAI_TRY_STATUS(finish_product(builder, layer));
  auto& body = std::get<Convolve>(layer.body);
  body.output_channels = layer.writes.channels;
  body.output_columns = layer.writes.columns;
  builder.add(std::move(layer));
  return {};
}

}  // namespace

void register_winograd_conv2d_lower(LowerRegistry& registry);
void register_winograd_conv2d_lower(LowerRegistry& registry) { registry.add("winograd_conv2d", {legality(), lower}); }

}  // namespace hai::sd3403
