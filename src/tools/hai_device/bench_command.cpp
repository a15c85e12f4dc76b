// `hai bench`: how long a model takes here: median, p90, p99 over runs, and the layers sorted by time.
//
// Method: whole runs are timed with profiling off; the layer table comes from a second series with profiling on, scaled
// to nothing: its sum may differ from the median by the cost of reading the clock. Inputs are fixed pseudo-random
// numbers in [-1, 1] (speed of dense kernels does not depend on values, denormals aside). Of a simulated device a third
// series models time and energy behind each run as well. Every figure is measured, on this machine, now.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <random>
#include <span>
#include <string_view>

#include "tools/hai_device/api_errors.h"
#include "tools/hai_device/device_commands.h"
#include "tools/hai_device/print.h"
#include "tools/hai_device/roofline.h"
#include "tools/hai_device/stopwatch.h"
#include "tools/hai_device/table.h"

namespace hai::tools {
namespace {

constexpr int kMaxRuns = 1'000'000;

void fill(api::Tensor& tensor, std::mt19937& random) {
  if (tensor.dtype() == HAI_F32) {
    std::uniform_real_distribution<float> uniform(-1.0F, 1.0F);
    std::generate_n(tensor.as<float>(), tensor.count<float>(), [&] { return uniform(random); });
  } else if (tensor.dtype() == HAI_I8 || tensor.dtype() == HAI_U8) {
    auto* bytes = static_cast<unsigned char*>(tensor.data());
    std::generate_n(bytes, tensor.size_bytes(), [&] { return static_cast<unsigned char>(random()); });
  }  // others stay zero: index inputs must be in range
}

double quantile(const std::vector<double>& sorted, double q) {
  const auto rank = static_cast<size_t>(std::ceil(q * static_cast<double>(sorted.size())));
  return sorted[std::clamp<size_t>(rank, 1, sorted.size()) - 1];
}

// Of a simulated device: what values, cycles and energy of one run take here, each a median.
struct SimulationTime {
  double values_ms = 0;
  double cycles_ms = 0;
  double energy_ms = 0;
  double all_ms = 0;  // median of their sums
};

struct Figures {
  std::vector<double> sorted_ms;
  std::optional<SimulationTime> simulation;
  std::vector<hai_layer_profile> layers;  // sorted by time, longest first
  std::vector<LayerWork> work;            // in the order of the program, where the roofline is asked for
  std::optional<MachineLimits> limits;
  hai_memory_info memory;
};

double median_of(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return quantile(values, 0.5);
}

// The three together, as often as plain runs: they share caches, so their parts by themselves would be too little.
Result<SimulationTime> measure_simulation(api::Session& session, const std::vector<hai_tensor>& inputs,
                                          const std::vector<hai_tensor>& outputs, const Simulation& simulation,
                                          int runs) {
  std::vector<double> values, cycles, energy, all;
  for (int i = 0; i < runs; ++i) {
    const Clock::time_point begin = Clock::now();
    HAI_TRY_STATUS(from_api(session.run_into(inputs, outputs)));
    values.push_back(milliseconds_since(begin));
    HAI_TRY(const ModellingTime modelling, simulation.measure());
    cycles.push_back(modelling.cycles_ms);
    energy.push_back(modelling.energy_ms);
    all.push_back(values.back() + modelling.cycles_ms + modelling.energy_ms);
  }
  return SimulationTime{median_of(std::move(values)), median_of(std::move(cycles)), median_of(std::move(energy)),
                        median_of(std::move(all))};
}

Result<Figures> measure(api::Session& session, const std::vector<hai_tensor>& inputs,
                        const std::vector<hai_tensor>& outputs, const BenchArguments& arguments) {
  Figures figures{};
  for (int i = 0; i < arguments.warmup; ++i) HAI_TRY_STATUS(from_api(session.run_into(inputs, outputs)));
  for (int i = 0; i < arguments.runs; ++i) {
    const Clock::time_point begin = Clock::now();
    HAI_TRY_STATUS(from_api(session.run_into(inputs, outputs)));
    figures.sorted_ms.push_back(milliseconds_since(begin));
  }
  std::sort(figures.sorted_ms.begin(), figures.sorted_ms.end());
  HAI_TRY_STATUS(from_api(session.set_profiling(true)));
  for (int i = 0; i < std::max(arguments.runs / 4, 5); ++i) HAI_TRY_STATUS(from_api(session.run_into(inputs, outputs)));
  HAI_TRY(figures.layers, from_api(session.profile()));
  for (const auto& layer : figures.layers) {
    figures.work.push_back({layer.name, layer.kernel, Arithmetic::kFloat, layer.macs, layer.bytes,
                            layer.calls == 0 ? 0 : static_cast<double>(layer.min_ns) / 1e6});
  }
  std::sort(figures.layers.begin(), figures.layers.end(), [](const auto& a, const auto& b) {
    return a.total_ns != b.total_ns ? a.total_ns > b.total_ns : std::string_view(a.name) < std::string_view(b.name);
  });
  HAI_TRY(figures.memory, from_api(session.memory()));
  return figures;
}

double layer_ms(const hai_layer_profile& layer) {
  return layer.calls == 0 ? 0 : static_cast<double>(layer.total_ns) / static_cast<double>(layer.calls) / 1e6;
}

void print_text(const api::Session& session, const Figures& figures, const BenchArguments& arguments) {
  int64_t macs = 0;
  double layers_ms = 0;
  for (const auto& layer : figures.layers) {
    macs += layer.macs;
    layers_ms += layer_ms(layer);
  }
  const double median = quantile(figures.sorted_ms, 0.5);
  print("{} on {} ({}), {} thread{}, batch {}: {} runs, measured\n", arguments.model, session.device(), session.isa(),
        session.thread_count(), session.thread_count() == 1 ? "" : "s", arguments.batch, arguments.runs);
  print("  median {}  p90 {}  p99 {}  least {}\n", format_milliseconds(median),
        format_milliseconds(quantile(figures.sorted_ms, 0.9)), format_milliseconds(quantile(figures.sorted_ms, 0.99)),
        format_milliseconds(figures.sorted_ms.front()));
  print("  {} MAC, {:.1f} GMAC/s; arena {} (at least {} for one sample), packed weights {}, scratch {}\n",
        format_count(macs), median > 0 ? static_cast<double>(macs) / median / 1e6 : 0.0,
        format_bytes(figures.memory.arena_bytes), format_bytes(figures.memory.arena_lower_bound_bytes),
        format_bytes(figures.memory.packed_weights_bytes), format_bytes(figures.memory.scratch_bytes));
  if (const auto& s = figures.simulation) {
    print(
        "  simulation of a run: median {}, of these values {}, cycles {}, energy {}; loading and packing are not in "
        "it\n",
        format_milliseconds(s->all_ms), format_milliseconds(s->values_ms), format_milliseconds(s->cycles_ms),
        format_milliseconds(s->energy_ms));
  }
  Table table({"ms", "share %", "GMAC/s", "GB/s", "kernel", "layer"});
  const size_t shown = arguments.top_layers > 0
                           ? std::min(figures.layers.size(), static_cast<size_t>(arguments.top_layers))
                           : figures.layers.size();
  for (const auto& layer : std::span(figures.layers).first(shown)) {
    const double ms = layer_ms(layer);
    table.add({fmt::format("{:.4f}", ms), fmt::format("{:.1f}", layers_ms > 0 ? 100 * ms / layers_ms : 0),
               fmt::format("{:.1f}", ms > 0 ? static_cast<double>(layer.macs) / ms / 1e6 : 0),
               fmt::format("{:.2f}", ms > 0 ? static_cast<double>(layer.bytes) / ms / 1e6 : 0), layer.kernel,
               layer.name});
  }
  if (figures.limits) {
    print_roofline(by_gap(figures.work, *figures.limits), *figures.limits, shown);
  } else {
    print("\n{}", table.to_string());
  }
  if (figures.layers.size() > shown)
    print("({} layers in all, {} ms; --layers 0 shows them)\n", figures.layers.size(),
          fmt::format("{:.3f}", layers_ms));
}

void print_json(const api::Session& session, const Figures& figures, const BenchArguments& arguments) {
  nlohmann::ordered_json document;
  document["model"] = arguments.model;
  document["device"] = session.device();
  document["isa"] = session.isa();
  document["threads"] = session.thread_count();
  document["batch"] = arguments.batch;
  document["runs"] = arguments.runs;
  document["kind"] = "measured";
  document["median_ms"] = quantile(figures.sorted_ms, 0.5);
  document["p10_ms"] = quantile(figures.sorted_ms, 0.1);
  document["p90_ms"] = quantile(figures.sorted_ms, 0.9);
  document["p99_ms"] = quantile(figures.sorted_ms, 0.99);
  document["min_ms"] = figures.sorted_ms.front();
  document["arena_bytes"] = figures.memory.arena_bytes;
  document["arena_lower_bound_bytes"] = figures.memory.arena_lower_bound_bytes;
  document["packed_weights_bytes"] = figures.memory.packed_weights_bytes;
  document["scratch_bytes"] = figures.memory.scratch_bytes;
  if (const auto& s = figures.simulation) {
    document["simulation"] = {{"median_ms", s->all_ms},
                              {"values_ms", s->values_ms},
                              {"cycles_ms", s->cycles_ms},
                              {"energy_ms", s->energy_ms}};
  }
  document["layers"] = nlohmann::ordered_json::array();
  for (const auto& layer : figures.layers) {
    document["layers"].push_back({{"name", layer.name},
                                  {"kernel", layer.kernel},
                                  {"ms", layer_ms(layer)},
                                  {"macs", layer.macs},
                                  {"bytes", layer.bytes}});
  }
  if (figures.limits) {
    document["roofline"] =
        nlohmann::ordered_json::parse(roofline_json(by_gap(figures.work, *figures.limits), *figures.limits));
  }
  fmt::print("{}\n", document.dump(2, ' ', false, nlohmann::json::error_handler_t::replace));
}

// The session is idle meanwhile. Only the CPU's kernels have limits of this kind.
Status add_roofline(const api::Session& session, const BenchArguments& arguments, Figures& figures) {
  if (std::string_view(session.device()) != "cpu") {
    return make_error(StatusCode::kUnsupported, "L144",
                      "--roofline compares with what this CPU can do, and {} runs on '{}'; leave it out",
                      arguments.model, session.device());
  }
  HAI_TRY(const std::vector<Arithmetic> arithmetic, arithmetic_of_layers(arguments.model, session.device()));
  for (size_t i = 0; i < std::min(arithmetic.size(), figures.work.size()); ++i) {
    figures.work[i].arithmetic = arithmetic[i];
  }
  for (const cpu::Isa isa : cpu::available_isas()) {
    if (cpu::isa_name(isa) == session.isa()) {
      HAI_TRY(figures.limits, measure_limits(isa, session.thread_count()));
    }
  }
  return {};
}

}  // namespace

Status bench_command(const BenchArguments& arguments) {
  if (arguments.runs < 1 || arguments.runs > kMaxRuns || arguments.warmup < 0 || arguments.warmup > kMaxRuns) {
    return make_error(StatusCode::kOutOfRange, "L030", "{} runs after {} warm-ups: runs must be 1..{}, warm-ups 0..{}",
                      arguments.runs, arguments.warmup, kMaxRuns, kMaxRuns);
  }
  HAI_TRY(const api::Model model, from_api(api::Model::load(arguments.model)));
  api::SessionOptions options;
  options.device = arguments.device;
  options.isa = arguments.isa;
  options.threads = arguments.threads;
  options.max_batch = arguments.batch;
  HAI_TRY(api::Session session, from_api(model.session(options)));
  std::mt19937 random(1);
  std::vector<api::Tensor> input_tensors;
  std::vector<hai_tensor> inputs;
  for (size_t i = 0; i < model.input_count(); ++i) {
    HAI_TRY(api::Tensor tensor, from_api(model.make_input(i, arguments.batch)));
    fill(tensor, random);
    input_tensors.push_back(std::move(tensor));
  }
  for (const api::Tensor& tensor : input_tensors) inputs.push_back(api::view(tensor));
  HAI_TRY(const std::vector<api::Tensor> output_tensors, from_api(session.run(inputs)));
  std::vector<hai_tensor> outputs;
  for (const api::Tensor& tensor : output_tensors) outputs.push_back(api::view(tensor));
  HAI_TRY(Figures figures, measure(session, inputs, outputs, arguments));
  if (arguments.simulation != nullptr && std::string_view(session.device()) == "sd3403") {
    HAI_TRY(const std::unique_ptr<Simulation> simulation, arguments.simulation(arguments.model, true));
    HAI_TRY_STATUS(from_api(session.set_profiling(false)));
    HAI_TRY(figures.simulation, measure_simulation(session, inputs, outputs, *simulation, arguments.runs));
  }
  if (arguments.roofline) HAI_TRY_STATUS(add_roofline(session, arguments, figures));
  if (arguments.json) {
    print_json(session, figures, arguments);
  } else {
    print_text(session, figures, arguments);
  }
  return {};
}

}  // namespace hai::tools
