// The order of the passes, and the loop that runs, times, prints and verifies them.
//
// The canonical part stands before the quantizer's place, the fusing part behind it. simplify and fold_constants run
// more than once because the passes between them leave constants and no-ops behind on purpose (small passes compose).
// The graph is verified after every pass, so that a bug shows at the pass that made it; a verified graph is
// what every later step may rely on.
#include "compiler/pipeline.h"

#include <algorithm>
#include <chrono>

#include "ir/text.h"
#include "ops/build.h"
#include "ops/verify.h"

namespace hai::compiler {
namespace {

constexpr PipelineStep kCanonical[] = {
    {"fold_constants", passes::fold_constants},
    {"simplify", passes::simplify},
    {"merge_duplicates", passes::merge_duplicates},
    {"recognise_activations", passes::recognise_activations},
    {"recognise_layer_norm", passes::recognise_layer_norm},
    {"cancel_transposes", passes::cancel_transposes},
    {"fold_constants", passes::fold_constants},
    {"simplify", passes::simplify},
    {"join_constant_rows", passes::join_constant_rows},
    {"fold_pad", passes::fold_pad},
    {"fuse_quantization", passes::fuse_quantization, true},
    {"fold_constants", passes::fold_constants},
    {"fold_batch_norm", passes::fold_batch_norm},
    {"cancel_quantization", passes::cancel_quantization},
    {"merge_duplicates", passes::merge_duplicates},
    {"simplify", passes::simplify},
};

constexpr PipelineStep kFusing[] = {
    {"simplify", passes::simplify},
    {"merge_duplicates", passes::merge_duplicates},
    {"fuse_batch_norm_activation", passes::fuse_batch_norm_activation},
    {"fuse_conv_activation", passes::fuse_conv_activation},
    {"fuse_conv_residual", passes::fuse_conv_residual},
};

bool listed(const std::vector<std::string>& names, std::string_view name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

void print_at(const ir::Graph& graph, std::string_view when, std::string_view pass, const CompileOptions& options) {
  if (!options.print_sink || options.print_ir.empty()) return;
  const std::string place = fmt::format("{}:{}", when, pass);
  if (!listed(options.print_ir, place) && !listed(options.print_ir, fmt::format("{}:all", when))) return;
  ir::PrintOptions print_options;
  print_options.max_constant_bytes = options.print_max_constant_bytes;
  options.print_sink(place, ir::print(graph, print_options));
}

}  // namespace

std::span<const PipelineStep> canonical_steps() { return kCanonical; }
std::span<const PipelineStep> fusing_steps() { return kFusing; }

Status run_steps(ir::Graph& graph, std::span<const PipelineStep> steps, const CompileOptions& options,
                 std::vector<PassRecord>* records) {
  using Clock = std::chrono::steady_clock;
  for (const PipelineStep& step : steps) {
    if (!step.required && listed(options.disabled_passes, step.name)) continue;
    print_at(graph, "before", step.name, options);
    const Clock::time_point start = Clock::now();
    Result<passes::PassStats> stats = step.run(graph);
    if (!stats) return with_where(stats.error(), fmt::format("pass {}", step.name));
    if (stats->changes > 0) {
      if (auto status = ops::verify(graph); !status)
        return with_where(status.error(), fmt::format("after pass {}", step.name));
    }
    const auto time = std::chrono::duration_cast<std::chrono::microseconds>(Clock::now() - start);
    if (records != nullptr) {
      records->push_back(
          {std::string(step.name), stats->changes, static_cast<int64_t>(graph.live_node_count()), time.count()});
    }
    print_at(graph, "after", step.name, options);
  }
  return {};
}

Status canonicalise(ir::Graph& graph) { return run_steps(graph, kCanonical, {}, nullptr); }

std::vector<std::string> pass_names() {
  std::vector<std::string> names;
  for (const auto& steps : {canonical_steps(), fusing_steps()}) {
    for (const PipelineStep& step : steps) {
      if (!listed(names, step.name)) names.emplace_back(step.name);
    }
  }
  return names;
}

Status check_pass_names(const CompileOptions& options) {
  const std::vector<std::string> known = pass_names();
  std::string list;
  for (const std::string& name : known) list += (list.empty() ? "" : ", ") + name;
  for (const std::string& name : options.disabled_passes) {
    if (!listed(known, name)) {
      return make_error(StatusCode::kInvalidArgument, "K011", "there is no pass \"{}\"; passes are {}", name, list);
    }
    const auto is_required = [&](const PipelineStep& step) { return step.name == name && step.required; };
    if (std::any_of(std::begin(kCanonical), std::end(kCanonical), is_required)) {
      return make_error(StatusCode::kInvalidArgument, "K012",
                        "pass \"{}\" fixes where integers are rounded and cannot be switched off", name);
    }
  }
  for (const std::string& place : options.print_ir) {
    const size_t colon = place.find(':');
    const std::string when = place.substr(0, colon);
    const std::string name = colon == std::string::npos ? std::string() : place.substr(colon + 1);
    if ((when != "before" && when != "after") || (name != "all" && !listed(known, name))) {
      return make_error(
          StatusCode::kInvalidArgument, "K013",
          "\"{}\" is no place to print the graph at; use before:PASS or after:PASS, with PASS one of all, {}", place,
          list);
    }
  }
  return {};
}

}  // namespace hai::compiler
