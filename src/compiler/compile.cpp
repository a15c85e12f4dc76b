// compile(): binds dimensions, runs the pipeline, lowers for the device, gathers graph, program and weights.
//
// The stored portable graph is the canonical one, before anything is fused: another device fuses in its own way, and
// every tensor that a tool may want to compare still has its name. Fusing changes no constant, so that graph and
// program share their weights byte for byte. Only the batch symbol (symbol 0) may stay free. Everything here is a
// function of graph and options; times go into the report only.
#include "compiler/compile.h"

#include <algorithm>
#include <charconv>
#include <chrono>
#include <nlohmann/json.hpp>
#include <set>

#include "base/checked.h"
#include "base/utf8.h"
#include "compiler/pipeline.h"
#include "compiler/portable_graph.h"
#include "compiler/rebuild.h"
#include "compiler/training.h"
#include "devices/cpu/lower/lower.h"
#include "ops/build.h"
#include "ops/verify.h"
#include "ops/work.h"

namespace hai::compiler {
namespace {

constexpr int64_t kLargestDim = int64_t{1} << 31;

std::optional<int64_t> parse_number(std::string_view text) {
  int64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return number;
}

// Which numbers replace symbols: bound[i] == 0 keeps symbol i free.
Result<std::vector<int64_t>> bindings(ir::Graph& graph, const CompileOptions& options) {
  for (const auto& [name, range] : options.dims) {
    const bool known = std::any_of(graph.symbols.begin(), graph.symbols.end(),
                                   [&](const Symbol& symbol) { return symbol.name == name; });
    if (!known) {
      std::string list;
      for (const Symbol& symbol : graph.symbols) list += (list.empty() ? "" : ", ") + symbol.name;
      return make_error(StatusCode::kNotFound, "K014", "the model has no dimension \"{}\"; {}", name,
                        list.empty() ? "all of its dimensions are fixed" : "free ones are " + list);
    }
    if (range.min < 1 || range.max < range.min || range.max > kLargestDim) {
      return make_error(StatusCode::kOutOfRange, "K015", "dimension {} = {}..{} must satisfy 1 <= min <= max <= {}",
                        name, range.min, range.max, kLargestDim);
    }
  }
  std::vector<int64_t> bound(graph.symbols.size(), 0);
  for (size_t i = 0; i < graph.symbols.size(); ++i) {
    Symbol& symbol = graph.symbols[i];
    const auto wanted = options.dims.find(symbol.name);
    const bool given = wanted != options.dims.end();
    if (given && wanted->second.min == wanted->second.max) {
      bound[i] = wanted->second.min;
    } else if (i > 0) {
      return make_error(StatusCode::kInvalidArgument, "K016",
                        "dimension {} of the model is free and only the batch may stay so; bind it, as in --dim {}=640",
                        symbol.name, symbol.name);
    } else if (given) {
      symbol.min = wanted->second.min;
      symbol.max = wanted->second.max;
    }
  }
  return bound;
}

Status bind_dims(ir::Graph& graph, const CompileOptions& options) {
  HAI_TRY(const std::vector<int64_t> bound, bindings(graph, options));
  if (std::all_of(bound.begin(), bound.end(), [](int64_t number) { return number == 0; })) return {};
  const bool batch_is_free = bound[0] == 0;
  for (ir::ValueId id = 0; id < graph.value_slots(); ++id) {
    if (!graph.value(id).alive) continue;
    for (Dim& dim : graph.value(id).type.shape) {
      if (!dim.is_symbolic()) continue;
      const int64_t number = bound[static_cast<size_t>(dim.symbol)];
      if (number == 0) continue;
      const auto product = checked_mul(dim.value, number);
      if (!product) {
        return make_error(StatusCode::kOutOfRange, "K017", "tensor \"{}\" overflows with dimension {} = {}",
                          graph.value(id).name, graph.symbols[static_cast<size_t>(dim.symbol)].name, number);
      }
      dim = Dim(*product);
    }
  }
  graph.symbols.resize(batch_is_free ? 1 : 0);
  if (auto status = ops::reinfer(graph); !status) return with_where(status.error(), "binding dimensions");
  return {};
}

// Programs write outputs and never bind them to inputs, constants or each other: such outputs become copies.
Status separate_outputs(ir::Graph& graph) {
  std::set<ir::ValueId> seen;
  for (size_t i = 0; i < graph.outputs().size(); ++i) {
    const ir::ValueId output = graph.outputs()[i];
    const bool made = graph.value(output).producer != ir::kNone;
    if (seen.insert(output).second && made) continue;
    std::vector<int64_t> shape(graph.value(output).type.shape.size(), 0);  // every dimension as it is
    ops::AppendOptions options;
    options.output_names = {graph.value(output).name};
    options.declared = {graph.value(output).type};
    HAI_TRY(const ir::ValueId copy,
            ops::append_value(graph, "reshape", {output}, {{"shape", std::move(shape)}}, std::move(options)));
    graph.set_output(i, copy);
    seen.insert(copy);
  }
  return {};
}

// A copied output has the name that the model gives it, also where an input has the same one.
void name_outputs(format::Program& program, const std::vector<std::string>& names) {
  for (size_t i = 0; i < names.size(); ++i) program.tensors[program.outputs[i]].name = names[i];
}

// A machine that is too small for a layer is not what the user meant.
void warn_of_large_layers(CompileReport& report) {
  int64_t count = 0;
  const std::string* first = nullptr;
  for (const PlacementRecord& place : report.placement) {
    if (!place.too_large) continue;
    if (count++ == 0) first = &place.reason;
  }
  if (count == 0) return;
  report.warnings.push_back(
      printable(fmt::format("{} too large for the NPU's memories, on the CPU instead{}: {}",
                            count == 1 ? "one operator is" : fmt::format("{} operators are", count),
                            count == 1 ? "" : " (--verbose names all); the first", *first)));
}

// Nor is a model of which the wanted device runs nothing, and only the figures would tell.
void warn_of_idle_npu(const ir::Graph& graph, std::span<const sd3403::Placement> placements, CompileReport& report) {
  const std::vector<PlacementRecord>& all = report.placement;
  const auto on_npu = [](const PlacementRecord& place) { return place.device == "npu"; };
  if (all.empty() || std::any_of(all.begin(), all.end(), on_npu)) return;
  const auto largest_at = std::max_element(
      all.begin(), all.end(), [](const PlacementRecord& a, const PlacementRecord& b) { return a.macs < b.macs; });
  const PlacementRecord& largest = *largest_at;
  const sd3403::Placement& placed = placements[static_cast<size_t>(largest_at - all.begin())];
  const ir::Node& node = graph.node(placed.node);
  const bool floats = graph.value(node.inputs[0]).type.dtype == DataType::kF32;
  report.warnings.push_back(printable(fmt::format(
      "nothing of the model runs on the NPU: all {} operators are on the CPU. The largest: {}. {} "
      "(--verbose says why of each)",
      all.size(), largest.reason.empty() ? largest.node + " only views what the CPU has" : largest.reason,
      floats ? "Activations must be integers or f16: --quantize int8 with --calibration PICTURES, or --quantize f16"
      : placed.fixed_batch ? "It runs one sample after the other: leave the batch free, or bind it to 1"
                           : "Change these operators in the source model, or compile for cpu")));
}

Status bind_whole(RebuildParts& rebuild, const CompileOptions& options) {
  for (ir::Graph* form : {&rebuild.graph(), &rebuild.marked()}) {
    HAI_TRY_STATUS(bind_dims(*form, options));
    HAI_TRY_STATUS(separate_outputs(*form));
  }
  return {};
}

void drop_rebuild(CompiledModel& model, const std::string& reason) {
  model.file.standby.reset();
  model.file.observers.reset();
  model.file.rebuild.reset();
  model.report.training.rebuilt_layers = 0;
  model.report.warnings.push_back(
      printable(fmt::format("INT8 is not rebuilt after a training, which then runs in f32: {}", reason)));
}

Status add_rebuild(RebuildParts& rebuild, const ir::Graph& graph, std::span<const ir::ValueId> changed,
                   const CompileOptions& options, WeightTable& weights, const std::vector<std::string>& output_names,
                   CompiledModel& model) {
  HAI_TRY(const std::string reason, rebuild.lower(graph, changed, options, weights, model.file));
  if (!reason.empty()) {
    drop_rebuild(model, reason);
    return {};
  }
  name_outputs(*model.file.standby, output_names);
  model.report.training.rebuilt_layers = static_cast<int64_t>(options.whole->lines.layers.size());
  return {};
}

Status check_rebuild(RebuildParts& rebuild, CompiledModel& model) {
  HAI_TRY(const std::string difference, rebuild.check(model.file));
  if (!difference.empty()) drop_rebuild(model, difference);
  return {};
}

// The program for the device, and what ran where.
Result<format::Program> lower_for(const ir::Graph& graph, const CompileOptions& options, WeightTable& weights,
                                  CompileReport& report) {
  const cpu::AddWeights add_weights = [&](std::span<const std::byte> bytes, std::shared_ptr<const void> owner) {
    return weights.add(bytes, std::move(owner));
  };
  if (options.device == "cpu") {
    HAI_TRY(format::Program program, cpu::lower(graph, add_weights));
    for (const format::Instruction& instruction : program.instructions) {
      report.placement.push_back({instruction.name, instruction.kernel, program.device, "", instruction.macs, false});
    }
    return program;
  }
  HAI_TRY(sd3403::Lowered lowered, sd3403::lower(graph, add_weights, options.sd3403));
  for (const sd3403::Placement& placed : lowered.placements) {
    const ir::Node& node = graph.node(placed.node);
    std::string name = node.name.empty() ? graph.value(node.outputs[0]).name : node.name;
    report.placement.push_back({std::move(name), node.op, placed.on_npu ? "npu" : "cpu", placed.reason,
                                ops::macs_of(graph, node), placed.too_large});
  }
  report.segments = std::move(lowered.segments);
  warn_of_large_layers(report);
  warn_of_idle_npu(graph, lowered.placements, report);
  return std::move(lowered.program);
}

// A JSON list of what is trained of the last layer, which a training may begin with.
Result<std::string> names_of_head(const ir::Graph& graph, std::span<const passes::Parameter> parameters) {
  HAI_TRY(const std::vector<passes::Parameter> head, passes::trainable_parameters(graph, "head"));
  nlohmann::json names = nlohmann::json::array();
  for (const passes::Parameter& of_head : head) {
    const auto same = [&](const passes::Parameter& trained) { return trained.value == of_head.value; };
    if (std::any_of(parameters.begin(), parameters.end(), same)) names.push_back(graph.value(of_head.value).name);
  }
  return names.empty() ? std::string() : names.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

// Where the classes of a map are, and whether the model answers probabilities or what becomes them; empty for other
// losses.
std::string segmentation_of(const ir::Graph& graph, const passes::TrainingOptions& training) {
  if (training.loss.kind != "dice_cross_entropy") return {};
  for (const ir::ValueId output : graph.outputs()) {
    const ir::Value& value = graph.value(output);
    if (!training.output.empty() && value.name != training.output) continue;
    const bool sigmoid = value.producer != ir::kNone && graph.node(value.producer).op == "sigmoid";
    const auto axis = passes::class_axis_of(training.loss, value.type);
    return axis ? fmt::format("class_axis={},answers={}", *axis, sigmoid ? "probabilities" : "logits") : std::string();
  }
  return {};
}

void fill_report(const format::Program& program, CompileReport& report) {
  for (const PlacementRecord& placed : report.placement) report.macs += placed.macs;
  report.arena_bytes = align_up(program.per_sample_bytes, 64) + program.fixed_bytes;
  report.arena_lower_bound_bytes = program.arena_lower_bound_bytes;
}

Result<std::pair<std::string, DimRange>> parse_dim(std::string_view text) {
  const size_t equals = text.find('=');
  const std::string_view name = text.substr(0, equals);
  std::optional<int64_t> low;
  std::optional<int64_t> high;
  if (equals != std::string_view::npos && !name.empty()) {
    const std::string_view range = text.substr(equals + 1);
    const size_t dots = range.find("..");
    low = parse_number(range.substr(0, dots));
    high = dots == std::string_view::npos ? low : parse_number(range.substr(dots + 2));
  }
  if (!low || !high || *low < 1 || *high < *low) {
    return make_error(StatusCode::kInvalidArgument, "K018",
                      "\"{}\" is no dimension; write height=640, or batch=1..16 to leave the batch free", text);
  }
  return std::pair<std::string, DimRange>(std::string(name), DimRange{*low, *high});
}

}  // namespace

Result<std::map<std::string, DimRange>> parse_dims(std::span<const std::string> texts) {
  std::map<std::string, DimRange> dims;
  for (const std::string& text : texts) {
    HAI_TRY(auto entry, parse_dim(text));
    const auto [at, fresh] = dims.insert(std::move(entry));
    if (fresh) continue;
    return make_error(StatusCode::kInvalidArgument, "K021",
                      "--dim {}: \"{}\" is given before as {}; give each dimension once", text, at->first,
                      to_string(at->second));
  }
  return dims;
}

Result<CompiledModel> compile(ir::Graph graph, const CompileOptions& options) {
  using Clock = std::chrono::steady_clock;
  const Clock::time_point start = Clock::now();
  HAI_TRY_STATUS(check_pass_names(options));
  if (options.device != "cpu" && options.device != "sd3403") {
    return make_error(StatusCode::kNotFound, "K019", "there is no device \"{}\"; devices are cpu, sd3403",
                      options.device);
  }
  CompiledModel model;
  HAI_TRY_STATUS(ops::verify(graph));
  HAI_TRY_STATUS(bind_dims(graph, options));
  std::vector<std::string> output_names;
  for (const ir::ValueId output : graph.outputs()) output_names.push_back(graph.value(output).name);
  HAI_TRY_STATUS(separate_outputs(graph));
  const bool rebuilds = options.training && options.whole && options.device == "cpu";
  if (options.whole && !rebuilds) drop_rebuild(model, "weights of " + options.device + " are packed by the compiler");
  const ConstantsByName constants = rebuilds ? constants_by_name(graph) : ConstantsByName();
  std::optional<RebuildParts> rebuild;
  const CompileOptions steps = options.training ? without_folding(options) : options;
  HAI_TRY_STATUS(run_steps(graph, canonical_steps(), steps, &model.report.passes));

  WeightTable weights;
  std::vector<passes::Parameter> parameters;
  std::string head;
  std::vector<ir::ValueId> changed;
  if (options.training) {
    graph.erase_dead();
    graph = graph.compact();
    HAI_TRY(parameters, choose_parameters(graph, *options.training));
    HAI_TRY(head, names_of_head(graph, parameters));
    changed = passes::changed_constants(graph, *options.training, parameters);
    restore_names(graph, changed);
    if (rebuilds) {
      rebuild.emplace(*options.whole, graph, constants);
      HAI_TRY_STATUS(bind_whole(*rebuild, options));
    }
    for (const ir::ValueId id : changed) {
      ir::Value& value = graph.value(id);
      value.constant = ir::ConstantData::copy_of(value.constant->bytes());  // other constants may share the memory
      weights.keep_apart(value.constant);
    }
  }
  format::ModelFile& file = model.file;
  file.name = graph.name;
  file.metadata = graph.metadata;
  file.preprocessing = options.preprocessing;
  file.quantization_report = options.quantization_report;
  if (!head.empty()) file.metadata["head_parameters"] = head;
  graph.erase_dead();
  HAI_TRY(file.graph, to_portable(graph, weights));
  name_outputs(*file.graph, output_names);
  if (options.training) {
    HAI_TRY(TrainingPrograms programs,
            compile_training(graph, *options.training, parameters, options, weights, model.report));
    file.features = std::move(programs.features);
    file.training = std::move(programs.step);
    if (std::string map = segmentation_of(graph, *options.training); !map.empty())
      file.metadata["segmentation"] = std::move(map);
    for (const format::ProgramTensor& tensor : file.training->tensors) {
      if (tensor.name != "target" || tensor.shape.empty()) continue;
      const std::string layout = passes::target_layout(options.training->loss, tensor.shape.back().value);
      if (!layout.empty()) file.metadata["target_layout"] = layout;
    }
    if (rebuild) HAI_TRY_STATUS(add_rebuild(*rebuild, graph, changed, options, weights, output_names, model));
  }
  HAI_TRY_STATUS(run_steps(graph, fusing_steps(), steps, &model.report.passes));
  graph.erase_dead();
  graph = graph.compact();
  HAI_TRY(format::Program program, lower_for(graph, options, weights, model.report));
  name_outputs(program, output_names);
  fill_report(program, model.report);
  file.programs.push_back(std::move(program));
  model.report.weights_bytes = weights.size_bytes();
  file.weights = weights.take();
  if (file.rebuild) HAI_TRY_STATUS(check_rebuild(*rebuild, model));
  HAI_TRY_STATUS(format::verify_model(file));
  model.report.time_us = std::chrono::duration_cast<std::chrono::microseconds>(Clock::now() - start).count();
  return model;
}

std::string to_string(const CompileReport& report) {
  std::string text = fmt::format("{:<24}{:>9}{:>9}{:>11}\n", "pass", "changes", "nodes", "ms");
  for (const PassRecord& pass : report.passes) {
    text += fmt::format("{:<24}{:>9}{:>9}{:>11.2f}\n", pass.name, pass.changes, pass.nodes_after,
                        static_cast<double>(pass.time_us) / 1000.0);
  }
  text += fmt::format("working memory {} bytes at batch 1, lower bound {}; weights {} bytes; {} MACs\n",
                      report.arena_bytes, report.arena_lower_bound_bytes, report.weights_bytes, report.macs);
  if (const TrainingReport& training = report.training; training.instructions > 0) {
    text += fmt::format(
        "training: {} parameters of {} bytes, states {} bytes, {} instructions; working memory {} bytes and {} a "
        "sample, lower bound at batch 1 {}; at the largest batch {} bytes in all, {} of them for the frozen part, "
        "which "
        "gives {} bytes of features a sample; {} activations made again\n",
        training.parameters, training.parameter_bytes, training.state_bytes, training.instructions,
        training.fixed_bytes, training.per_sample_bytes, training.lower_bound_bytes, training.memory_bytes,
        training.frozen_bytes, training.feature_bytes, training.recomputed);
  }
  std::map<std::string, std::pair<int64_t, int64_t>> by_device;  // layers, MACs
  for (const PlacementRecord& placed : report.placement) {
    ++by_device[placed.device].first;
    by_device[placed.device].second += placed.macs;
  }
  for (const auto& [device, sums] : by_device) {
    text += fmt::format("{}: {} layers, {} MACs\n", device, sums.first, sums.second);
  }
  for (const sd3403::SegmentReport& segment : report.segments) {
    text += fmt::format(
        "{}: {} layers in {} groups ({} with a recomputed halo) and {} stripes, {} commands, {} bytes of constants "
        "(weights and tables: {}, "
        "expanded {}); scratchpad {} bytes, lower bound {}; external memory at least {}\n",
        segment.name, segment.layers, segment.groups, segment.recomputed_groups, segment.stripes, segment.commands,
        segment.constant_bytes, segment.stream_bytes, segment.expanded_bytes, segment.sram_bytes,
        segment.sram_lower_bound_bytes, segment.external_lower_bound_bytes);
    for (const std::string& tensor : segment.spilled)
      text += fmt::format("  {} waits in external memory\n", printable(tensor));
  }
  for (const PlacementRecord& placed : report.placement) {
    if (!placed.reason.empty())
      text += fmt::format("  {} ({}) on {}: {}\n", printable(placed.node), placed.op, placed.device,
                          printable(placed.reason));
  }
  return text;
}

}  // namespace hai::compiler
