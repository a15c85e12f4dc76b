// The order of the passes: the only place that names it.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "compiler/compile.h"
#include "ir/graph.h"
#include "passes/passes.h"

namespace hai::compiler {

struct PipelineStep {
  std::string_view name;
  Result<passes::PassStats> (*run)(ir::Graph&);
  // Fixes rounding points: leaving it out would change integer results, so it cannot be switched off.
  bool required = false;
};

// Brings a graph into the form that the quantizer and the fusing steps expect: constants folded, NHWC, batch norms
// folded, activations recognised, imported quantization turned into integer operators.
std::span<const PipelineStep> canonical_steps();
// Joins operators so that a device touches memory less often. Never changes an integer.
std::span<const PipelineStep> fusing_steps();

// Runs steps in order and verifies the graph after each; an error names the pass. Of `options` it reads
// disabled_passes, print_ir, print_sink and print_max_constant_bytes. `records` may be null.
Status run_steps(ir::Graph& graph, std::span<const PipelineStep> steps, const CompileOptions& options,
                 std::vector<PassRecord>* records);

// Error K011 when an option names a pass that does not exist or cannot be switched off.
Status check_pass_names(const CompileOptions& options);

}  // namespace hai::compiler
