// compile(): a graph becomes a model file: portable graph, program of a device, weights.
//
// The same graph and options give the same model, byte for byte once written. Thread-safe: no state of its own.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "compiler/whole_model.h"
#include "devices/sd3403/lower/lower.h"
#include "format/model.h"
#include "ir/graph.h"
#include "passes/training_graph.h"
#include "types/dim_range.h"

namespace hai::compiler {

// By name, from "batch=1..16", "height=640", as on the command line. Errors: K018 no such text, K021 a name twice.
Result<std::map<std::string, DimRange>> parse_dims(std::span<const std::string> texts);

struct CompileOptions {
  std::string device = "cpu";   // or "sd3403"
  sd3403::LowerOptions sd3403;  // machine and choices of that device
  // By symbol name; a range is for the batch symbol only. The batch symbol keeps the graph's own range when it is not
  // named here; every other symbol must be bound to a number.
  std::map<std::string, DimRange> dims;
  std::vector<std::string> disabled_passes;  // names of pass_names(); those that fix rounding points cannot be named
  // "before:<pass>" or "after:<pass>", also "before:all" and "after:all"; `print_sink` receives place and text.
  std::vector<std::string> print_ir;
  std::function<void(std::string_view place, std::string_view text)> print_sink;
  int64_t print_max_constant_bytes = 64;  // larger constants are elided in what is printed
  std::optional<format::Preprocessing> preprocessing;
  std::string quantization_report;  // JSON
  // Also compile a step of training (compiler/training.h): what is trained for the CPU, the frozen part for the device;
  // batch norms are then not folded.
  std::optional<passes::TrainingOptions> training;
  // With `training`: the same model in INT8 (quantizer::Quantized::whole), stored with what it takes to make it again
  // from what was trained. Where that is not possible a warning says why.
  std::shared_ptr<const WholeModel> whole;
};

struct PassRecord {
  std::string name;
  int64_t changes = 0;
  int64_t nodes_after = 0;
  int64_t time_us = 0;
};
struct PlacementRecord {
  std::string node;  // in the source model
  std::string op;
  std::string device;
  std::string reason;      // why not on the wanted device; empty when it is
  int64_t macs = 0;        // per sample
  bool too_large = false;  // that is why: the model runs elsewhere than was meant
};
// Of the training program; all zero without one.
struct TrainingReport {
  int64_t parameters = 0;
  int64_t parameter_bytes = 0;
  int64_t state_bytes = 0;  // parameters and what the optimizer keeps
  int64_t instructions = 0;
  int64_t fixed_bytes = 0;  // of the arena: gradients of parameters and what does not depend on the batch
  int64_t per_sample_bytes = 0;
  int64_t lower_bound_bytes = 0;  // of the arena at batch 1
  int64_t memory_bytes = 0;       // states and arena at the largest batch
  int64_t frozen_bytes = 0;       // of these, the arena of the frozen part
  int64_t frozen_macs = 0;        // per sample; of a frozen part that was compiled for an NPU, as the next
  int64_t frozen_npu_macs = 0;    // of these, on the NPU
  int64_t feature_bytes = 0;      // what the frozen part gives for a sample; 0: no part of its own
  int64_t rebuilt_layers = 0;     // whose integers a device makes again; 0: INT8 is not rebuilt
  int64_t recomputed = 0;         // forward nodes that the backward part does again
};
struct CompileReport {
  // What is probably not meant: layers too large for the NPU, nothing on the NPU at all. A sentence each.
  std::vector<std::string> warnings;
  std::vector<PassRecord> passes;
  std::vector<PlacementRecord> placement;
  std::vector<sd3403::SegmentReport> segments;  // of the NPU
  int64_t arena_bytes = 0;                      // at batch 1
  int64_t arena_lower_bound_bytes = 0;          // at batch 1
  int64_t weights_bytes = 0;
  int64_t macs = 0;     // per sample
  int64_t time_us = 0;  // the whole compile
  TrainingReport training;
};
// The report as a person reads it: passes, memory, placement.
std::string to_string(const CompileReport& report);

struct CompiledModel {
  format::ModelFile file;
  CompileReport report;
};

Result<CompiledModel> compile(ir::Graph graph, const CompileOptions& options = {});

// Brings a float graph into the form that the quantizer starts from: constants and batch norms folded, NHWC,
// activations recognised, nothing fused. compile() runs the same passes again.
Status canonicalise(ir::Graph& graph);

// The same for a graph of which the parameters that `trainable` names (passes/trainable_parameters.h) will be trained:
// what a training reaches keeps its batch norms and its constants, as compile() leaves them with options.training.
Status canonicalise_for_training(ir::Graph& graph, std::string_view trainable);

// Names for CompileOptions::disabled_passes and print_ir, in the order of their first run.
std::vector<std::string> pass_names();

}  // namespace hai::compiler
