// Text and JSON of a timeline.
//
// JSON is written by hand, as traces are: the simulator is part of the runtime, which links no JSON library. Numbers
// are printed with a fixed number of digits, so that the same timeline gives the same bytes.
#include "devices/sd3403/exec/timeline_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>

#include "base/json_text.h"
#include "base/utf8.h"

namespace hai::sd3403 {
namespace {

constexpr std::string_view kStallNames[kStallCount] = {"issue", "activations", "weights", "stores", "arithmetic"};
constexpr std::string_view kProductNames[kProductKinds] = {"i8", "i16_by_i8", "i16", "f16"};

double core_cycles(const Timeline& timeline, int64_t core_ticks) {
  return static_cast<double>(core_ticks) / static_cast<double>(kTicksPerCycle * timeline.cores);
}
double cycles_of_ticks(int64_t ticks) { return static_cast<double>(ticks) / static_cast<double>(kTicksPerCycle); }
double kib(int64_t bytes) { return static_cast<double>(bytes) / 1024.0; }

// "812 weights": the largest part of a stall.
std::string_view main_stall(const LayerTime& layer) {
  if (layer.stall_ticks() == 0) return "";
  const auto largest = std::max_element(layer.stall_core_ticks.begin(), layer.stall_core_ticks.end());
  return kStallNames[static_cast<size_t>(largest - layer.stall_core_ticks.begin())];
}

std::string heading(const Timeline& timeline) {
  return fmt::format("modelled, profile {}, {} MHz at {:.2f} V", printable(timeline.machine.name),
                     timeline.machine.clock_mhz, timeline.machine.clock_volts);
}
std::string passes_text(const Timeline& timeline) {
  return timeline.passes == 1 ? "" : fmt::format("{} passes: ", timeline.passes);
}

// A name as its column can show it: printable, cut at a whole character.
std::string column_text(std::string_view name, size_t width) {
  std::string out = printable(name);
  if (out.size() <= width) return out;
  while (width > 0 && (static_cast<unsigned char>(out[width]) & 0xc0U) == 0x80U) --width;
  out.resize(width);
  return out;
}

void add_row(std::string& out, const Timeline& t, const LayerTime& layer, const LayerEnergy& energy,
             std::string_view name) {
  fmt::format_to(std::back_inserter(out),
                 "{:<28} {:>10.0f} {:>10.0f} {:>9.0f} {:<11} {:>9.0f} {:>5.1f}% {:>9.1f} {:>9.1f} {:>9.1f} {:>9.1f} "
                 "{:>9.2f} {:>9.2f}\n",
                 column_text(name, 28), t.cycles_of_layer(layer), core_cycles(t, layer.busy_core_ticks),
                 core_cycles(t, layer.stall_ticks()), main_stall(layer), cycles_of_ticks(layer.transfer_ticks),
                 100 * t.utilisation(layer), kib(layer.ddr_activation_bytes_read), kib(layer.ddr_weight_bytes_read),
                 kib(layer.ddr_bytes_written), kib(layer.sram_bytes_read + layer.sram_bytes_written),
                 energy.npu() * 1e-6, energy.ddr * 1e-6);
}

void add_frame_row(std::string& out, std::string_view name, const FrameEnergy& frame) {
  fmt::format_to(std::back_inserter(out), "{:<12} {:>9.4f} mJ a frame {:>8.3f} W {:>10.1f} fps/W (modelled)\n", name,
                 frame.joules * 1e3, frame.watts, frame.frames_a_joule);
}

void add_json_number(std::string& out, std::string_view name, double value, int digits) {
  fmt::format_to(std::back_inserter(out), ",\"{}\":{:.{}f}", name, value, digits);
}
void add_json_count(std::string& out, std::string_view name, int64_t value) {
  fmt::format_to(std::back_inserter(out), ",\"{}\":{}", name, value);
}

void add_json_layer(std::string& out, const Timeline& t, const LayerTime& layer, const LayerEnergy& energy) {
  add_json_number(out, "cycles", t.cycles_of_layer(layer), 3);
  add_json_number(out, "compute_cycles", core_cycles(t, layer.busy_core_ticks), 3);
  add_json_number(out, "dma_cycles", cycles_of_ticks(layer.transfer_ticks), 3);
  add_json_number(out, "decoder_cycles", cycles_of_ticks(layer.decode_ticks), 3);
  out += ",\"stall_cycles\":{";
  for (size_t i = 0; i < kStallCount; ++i) {
    fmt::format_to(std::back_inserter(out), "{}\"{}\":{:.3f}", i == 0 ? "" : ",", kStallNames[i],
                   core_cycles(t, layer.stall_core_ticks[i]));
  }
  out += "},\"products\":{";
  for (size_t i = 0; i < kProductKinds; ++i)
    fmt::format_to(std::back_inserter(out), "{}\"{}\":{}", i == 0 ? "" : ",", kProductNames[i], layer.products[i]);
  out += '}';
  add_json_number(out, "utilisation", t.utilisation(layer), 6);
  add_json_count(out, "commands", layer.commands);
  add_json_count(out, "values", layer.values);
  add_json_count(out, "ddr_activation_bytes_read", layer.ddr_activation_bytes_read);
  add_json_count(out, "ddr_weight_bytes_read", layer.ddr_weight_bytes_read);
  add_json_count(out, "ddr_bytes_written", layer.ddr_bytes_written);
  add_json_count(out, "ddr_bus_bytes", layer.ddr_bus_bytes);
  add_json_count(out, "sram_bytes_read", layer.sram_bytes_read);
  add_json_count(out, "sram_bytes_written", layer.sram_bytes_written);
  out += ",\"picojoules\":{";
  const std::pair<std::string_view, double> parts[] = {{"products", energy.products},  {"values", energy.values},
                                                       {"accumulators", energy.sums},  {"line_buffer", energy.line},
                                                       {"weight_cache", energy.cache}, {"scratchpad", energy.sram},
                                                       {"leakage", energy.leakage},    {"ddr", energy.ddr}};
  for (size_t i = 0; i < std::size(parts); ++i)
    fmt::format_to(std::back_inserter(out), "{}\"{}\":{:.0f}", i == 0 ? "" : ",", parts[i].first, parts[i].second);
  out += '}';
}

void add_json_frame(std::string& out, std::string_view name, const FrameEnergy& frame) {
  fmt::format_to(std::back_inserter(out),
                 ",\"{}\":{{\"joules_a_frame\":{:.9f},\"watts\":{:.6f},\"fps_per_watt\":{:.4f}}}", name, frame.joules,
                 frame.watts, frame.frames_a_joule);
}

}  // namespace

std::string_view stall_name(StallOn on) { return kStallNames[static_cast<size_t>(on)]; }

std::string layer_name(int64_t layer, std::span<const std::string> layer_names) {
  const bool named = layer >= 0 && layer < static_cast<int64_t>(layer_names.size());
  return named ? layer_names[static_cast<size_t>(layer)] : fmt::format("layer {}", layer);
}

std::string to_table(const Timeline& timeline, const Energy& energy, std::span<const std::string> layer_names) {
  std::string out = fmt::format("{}{}\n", heading(timeline),
                                timeline.passes == 1 ? "" : fmt::format("; sums over {} passes", timeline.passes));
  fmt::format_to(std::back_inserter(out),
                 "{:<28} {:>10} {:>10} {:>9} {:<11} {:>9} {:>6} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9}\n", "layer",
                 "cycles", "compute", "stall", "mostly on", "DMA", "MACs", "DDR in", "weights", "DDR out", "SRAM",
                 "NPU", "DRAM");
  fmt::format_to(std::back_inserter(out),
                 "{:<28} {:>10} {:>10} {:>9} {:<11} {:>9} {:>6} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9}\n", "", "",
                 "cycles", "cycles", "", "cycles", "used", "KiB", "KiB", "KiB", "KiB", "uJ", "uJ");
  for (size_t i = 0; i < timeline.layers.size(); ++i) {
    const LayerTime& layer = timeline.layers[i];
    add_row(out, timeline, layer, energy.layers[i], layer_name(layer.layer, layer_names));
  }
  add_row(out, timeline, timeline.total, energy.total, "total");
  const double share = timeline.end_ticks == 0
                           ? 0.0
                           : static_cast<double>(timeline.ddr_busy_ticks) / static_cast<double>(timeline.end_ticks);
  fmt::format_to(std::back_inserter(out),
                 "{}{} cycles, {:.3f} ms, {:.1f} fps as fast as it goes, DDR busy {:.1f}% ({})\n",
                 passes_text(timeline), timeline.cycles(), timeline.seconds() * 1e3, timeline.frames_a_second(),
                 100 * share, heading(timeline));
  fmt::format_to(std::back_inserter(out), "a frame every {:.3f} ms:\n", energy.period_seconds * 1e3);
  add_frame_row(out, "NPU", energy.npu);
  add_frame_row(out, "NPU + DRAM", energy.npu_and_ddr);
  add_frame_row(out, "SoC", energy.soc);
  return out;
}

std::string to_json(const Timeline& timeline, const Energy& energy, std::span<const std::string> layer_names) {
  std::string out = "{\"kind\":\"modelled\",\"profile\":";
  append_json_string(out, timeline.machine.name);
  add_json_number(out, "clock_mhz", timeline.machine.clock_mhz, 6);
  add_json_number(out, "volts", timeline.machine.clock_volts, 3);
  add_json_count(out, "passes", timeline.passes);
  add_json_count(out, "cycles", timeline.cycles());
  add_json_number(out, "seconds", timeline.seconds(), 12);
  add_json_number(out, "frames_a_second", timeline.frames_a_second(), 4);
  add_json_number(out, "ddr_busy_cycles", cycles_of_ticks(timeline.ddr_busy_ticks), 3);
  add_json_count(out, "cores", timeline.cores);
  add_json_number(out, "period_seconds", energy.period_seconds, 12);
  add_json_frame(out, "npu", energy.npu);
  add_json_frame(out, "npu_and_dram", energy.npu_and_ddr);
  add_json_frame(out, "soc", energy.soc);
  out += ",\"total\":{\"name\":\"total\"";
  add_json_layer(out, timeline, timeline.total, energy.total);
  out += "},\"layers\":[";
  for (size_t i = 0; i < timeline.layers.size(); ++i) {
    const LayerTime& layer = timeline.layers[i];
    out += i == 0 ? "\n{\"name\":" : ",\n{\"name\":";
    append_json_string(out, layer_name(layer.layer, layer_names));
    add_json_count(out, "layer", layer.layer);
    add_json_layer(out, timeline, layer, energy.layers[i]);
    out += '}';
  }
  out += "\n]}\n";
  return out;
}

}  // namespace hai::sd3403
