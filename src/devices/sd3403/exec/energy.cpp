// Energy from counts.
//
// Dynamic energy of the NPU goes with the square of the supply, leakage with the supply itself; external memory has a
// supply of its own. Idle lanes cost nothing, padding is counted as products. Not here: clock tree and control other
// than in the leakage, DRAM's background power other than in the constant of the SoC.
#include "devices/sd3403/exec/energy.h"

#include <algorithm>

namespace hai::sd3403 {
namespace {

LayerEnergy energy_of_layer(const Machine& m, const LayerTime& layer, double seconds) {
  const double supply = m.clock_volts / m.energy_volts;
  const double dynamic = supply * supply;
  const auto times = [](int64_t count, double picojoules) { return static_cast<double>(count) * picojoules; };
  const std::array<double, kProductKinds> product = {m.product_i8_picojoules, m.product_i16_by_i8_picojoules,
                                                     m.product_i16_picojoules, m.product_f16_picojoules};
  LayerEnergy out;
  out.layer = layer.layer;
  for (size_t i = 0; i < kProductKinds; ++i) out.products += times(layer.products[i], product[i]) * dynamic;
  out.values = (times(layer.values, m.value_picojoules) + times(layer.adds, m.add_picojoules)) * dynamic;
  out.sums = times(layer.sum_bytes, m.sum_byte_picojoules) * dynamic;
  out.line = times(layer.line_bytes, m.line_byte_picojoules) * dynamic;
  out.cache = times(layer.cache_bytes, m.cache_byte_picojoules) * dynamic;
  out.sram = times(layer.sram_bytes_read + layer.sram_bytes_written, m.sram_byte_picojoules) * dynamic;
  out.leakage = m.leakage_watts * supply * seconds * 1e12;
  out.ddr = times(layer.ddr_bus_bytes, m.ddr_byte_picojoules);
  return out;
}

FrameEnergy frame_energy(double picojoules, double period_seconds) {
  const double joules = picojoules * 1e-12;
  return {joules, period_seconds > 0 ? joules / period_seconds : 0.0, joules > 0 ? 1.0 / joules : 0.0};
}

}  // namespace

Energy energy_of(const Timeline& timeline, double period_seconds) {
  const Machine& m = timeline.machine;
  const double cycle_seconds = 1.0 / (m.clock_mhz * 1e6);
  Energy out;
  for (const LayerTime& layer : timeline.layers)
    out.layers.push_back(energy_of_layer(m, layer, timeline.cycles_of_layer(layer) * cycle_seconds));
  const auto frames = static_cast<double>(timeline.passes);
  out.period_seconds = std::max(period_seconds, timeline.seconds() / frames);
  out.frames_a_second = out.period_seconds > 0 ? 1.0 / out.period_seconds : 0.0;
  out.total = energy_of_layer(m, timeline.total, out.period_seconds * frames);
  out.npu = frame_energy(out.total.npu() / frames, out.period_seconds);
  out.npu_and_ddr = frame_energy(out.total.npu_and_ddr() / frames, out.period_seconds);
  const double constant = m.soc_constant_watts * out.period_seconds * 1e12;
  out.soc = frame_energy(out.total.npu_and_ddr() / frames + constant, out.period_seconds);
  return out;
}

}  // namespace hai::sd3403
