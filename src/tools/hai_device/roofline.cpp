// The roofline of a model's layers: limits from measured peaks, and tables of the gap.
//
// A layer's arithmetic is that of its first operand: products of bytes, of 16-bit integers, or of floats (halves are
// widened). Layers without multiply-accumulates are limited by their bytes alone. The measured time of a layer is its
// least: beside other work its average says more about the others. What is not here: work that a kernel does beyond
// the multiply-accumulates (requantization, activations), which is why no layer reaches its limit.
#include "tools/hai_device/roofline.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/file.h"
#include "base/thread_pool.h"
#include "format/model_reader.h"
#include "tools/hai_device/print.h"
#include "tools/hai_device/table.h"

namespace hai::tools {
namespace {

constexpr double kMsPerSecond = 1e3;

double share_percent(const LayerLimit& layer) {
  return layer.work.measured_ms > 0 ? 100 * layer.limit_ms / layer.work.measured_ms : 0;
}

const char* bound_of(const LayerLimit& layer) { return layer.memory_ms > layer.compute_ms ? "memory" : "arithmetic"; }

}  // namespace

double macs_per_second(const MachineLimits& limits, Arithmetic arithmetic) {
  if (arithmetic == Arithmetic::kFloat) return limits.used.f32_macs_per_s;
  return arithmetic == Arithmetic::kInt8 ? limits.used.i8_macs_per_s : limits.used.i8_macs_per_s / 2;
}

double bytes_per_second(const MachineLimits& limits, int64_t bytes) {
  double found = limits.bandwidths.front().bytes_per_s;
  for (const cpu::ReadBandwidth& level : limits.bandwidths) {
    if (level.bytes <= bytes) found = level.bytes_per_s;
  }
  return found;
}

LayerLimit limit_of(LayerWork work, const MachineLimits& limits) {
  LayerLimit out;
  out.compute_ms = kMsPerSecond * static_cast<double>(work.macs) / macs_per_second(limits, work.arithmetic);
  out.memory_ms = kMsPerSecond * static_cast<double>(work.bytes) / bytes_per_second(limits, work.bytes);
  out.limit_ms = std::max(out.compute_ms, out.memory_ms);
  out.gap_ms = std::max(0.0, work.measured_ms - out.limit_ms);
  out.work = std::move(work);
  return out;
}

std::vector<LayerLimit> by_gap(std::vector<LayerWork> layers, const MachineLimits& limits) {
  std::vector<LayerLimit> out;
  for (LayerWork& layer : layers) out.push_back(limit_of(std::move(layer), limits));
  std::sort(out.begin(), out.end(), [](const LayerLimit& a, const LayerLimit& b) {
    return a.gap_ms != b.gap_ms ? a.gap_ms > b.gap_ms : a.work.name < b.work.name;
  });
  return out;
}

Result<MachineLimits> measure_limits(cpu::Isa used, int threads) {
  ThreadPool pool(threads);
  MachineLimits out;
  for (const cpu::Isa isa : cpu::available_isas()) {
    out.peaks.push_back(cpu::measure_arithmetic_peak(isa, pool));
    if (isa == used) out.used = out.peaks.back();
  }
  HAI_TRY(out.bandwidths, cpu::measure_read_bandwidths(used, pool));
  return out;
}

Result<std::vector<Arithmetic>> arithmetic_of_layers(const std::string& model, const std::string& device) {
  HAI_TRY(auto source, open_file(model));
  HAI_TRY(const auto reader, format::ModelReader::open(std::move(source), model));
  HAI_TRY(const format::Program program, reader->program(device));
  std::vector<Arithmetic> out;
  for (const format::Instruction& instruction : program.instructions) {
    const bool known = !instruction.inputs.empty() && instruction.inputs.front() != format::kNoTensor;
    const DataType type = known ? program.tensors[instruction.inputs.front()].dtype : DataType::kF32;
    out.push_back(type == DataType::kI8 || type == DataType::kU8 ? Arithmetic::kInt8
                  : type == DataType::kI16                       ? Arithmetic::kInt16
                                                                 : Arithmetic::kFloat);
  }
  return out;
}

void print_roofline(const std::vector<LayerLimit>& layers, const MachineLimits& limits, size_t shown) {
  Table peaks({"instruction set", "f32 GMAC/s", "INT8 GMAC/s"});
  for (const cpu::ArithmeticPeak& peak : limits.peaks) {
    peaks.add({std::string(isa_name(peak.isa)) + (peak.isa == limits.used.isa ? " (used)" : ""),
               fmt::format("{:.1f}", peak.f32_macs_per_s / 1e9), fmt::format("{:.1f}", peak.i8_macs_per_s / 1e9)});
  }
  print("\nThis machine, measured now:\n{}", peaks.to_string());
  Table reads({"working set", "GB/s"});
  for (const cpu::ReadBandwidth& level : limits.bandwidths) {
    reads.add({fmt::format("{} KiB", level.bytes / 1024), fmt::format("{:.1f}", level.bytes_per_s / 1e9)});
  }
  print("\n{}", reads.to_string());
  double measured = 0;
  double limit = 0;
  for (const LayerLimit& layer : layers) {
    measured += layer.work.measured_ms;
    limit += layer.limit_ms;
  }
  print("\nlayers take {} at least, their limit is {} ({:.1f} % of it reached)\n", format_milliseconds(measured),
        format_milliseconds(limit), measured > 0 ? 100 * limit / measured : 0);
  Table table({"gap ms", "ms", "limit ms", "reached %", "bound", "MMAC", "MB", "kernel", "layer"});
  for (size_t i = 0; i < std::min(shown, layers.size()); ++i) {
    const LayerLimit& layer = layers[i];
    table.add({fmt::format("{:.4f}", layer.gap_ms), fmt::format("{:.4f}", layer.work.measured_ms),
               fmt::format("{:.4f}", layer.limit_ms), fmt::format("{:.1f}", share_percent(layer)), bound_of(layer),
               fmt::format("{:.2f}", static_cast<double>(layer.work.macs) / 1e6),
               fmt::format("{:.3f}", static_cast<double>(layer.work.bytes) / 1e6), layer.work.kernel, layer.work.name});
  }
  print("\n{}", table.to_string());
}

std::string roofline_json(const std::vector<LayerLimit>& layers, const MachineLimits& limits) {
  nlohmann::ordered_json out;
  out["isa"] = isa_name(limits.used.isa);
  out["peaks"] = nlohmann::ordered_json::array();
  for (const cpu::ArithmeticPeak& peak : limits.peaks) {
    out["peaks"].push_back({{"isa", isa_name(peak.isa)},
                            {"f32_gmacs_per_s", peak.f32_macs_per_s / 1e9},
                            {"i8_gmacs_per_s", peak.i8_macs_per_s / 1e9}});
  }
  out["read_bandwidths"] = nlohmann::ordered_json::array();
  for (const cpu::ReadBandwidth& level : limits.bandwidths) {
    out["read_bandwidths"].push_back(
        {{"working_set_bytes", level.bytes}, {"gigabytes_per_s", level.bytes_per_s / 1e9}});
  }
  out["layers"] = nlohmann::ordered_json::array();
  for (const LayerLimit& layer : layers) {
    out["layers"].push_back({{"name", layer.work.name},
                             {"kernel", layer.work.kernel},
                             {"macs", layer.work.macs},
                             {"bytes", layer.work.bytes},
                             {"measured_ms", layer.work.measured_ms},
                             {"compute_ms", layer.compute_ms},
                             {"memory_ms", layer.memory_ms},
                             {"limit_ms", layer.limit_ms},
                             {"gap_ms", layer.gap_ms},
                             {"bound", bound_of(layer)}});
  }
  return out.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace hai::tools
