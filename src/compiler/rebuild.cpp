// Compiling a whole model in INT8 beside one that is trained, and finding out what of it follows from the training.
//
// Method: the two forms of the whole model (whole_model.h) are lowered alike. Tensors and rounding points that have a
// range's mark in the marked program have that range in the other; layers' constants are found by name. Whether these
// are all is then not believed but shown: the lines, run on the marked program with the true parameters and ranges,
// must give the program and the bytes that the compiler made. Otherwise the file has no rebuild, and the report says
// why.
#include "compiler/rebuild.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <set>
#include <utility>

#include "compiler/pipeline.h"
#include "compiler/training.h"
#include "devices/cpu/lower/lower.h"
#include "passes/observer_graph.h"
#include "passes/split_frozen.h"

namespace hai::compiler {
namespace {

using format::Program;
using format::ProgramTensor;
using format::TensorPlace;
using rebuild::LayerLine;
using rebuild::Lines;
using rebuild::Parameter;

// All parameters that the lines read.
template <typename Use>
void for_each_parameter(Lines& lines, const Use& use) {
  for (LayerLine& line : lines.layers) {
    use(line.weights);
    for (Parameter& bias : line.bias) use(bias);
    for (rebuild::Stage& stage : line.stages) {
      for (Parameter& constant : stage.constants) use(constant);
    }
  }
}

Status fuse(ir::Graph& graph, const CompileOptions& options) {
  const CompileOptions steps = without_folding(options);
  HAI_TRY_STATUS(run_steps(graph, canonical_steps(), steps, nullptr));
  HAI_TRY_STATUS(run_steps(graph, fusing_steps(), steps, nullptr));
  graph.erase_dead();
  graph = graph.compact();
  return {};
}

std::optional<uint32_t> find_constant(const Program& program, const std::string& name) {
  for (size_t i = 0; i < program.tensors.size(); ++i) {
    if (program.tensors[i].place == TensorPlace::kConstant && program.tensors[i].name == name)
      return static_cast<uint32_t>(i);
  }
  return std::nullopt;
}

bool same_structure(const Program& a, const Program& b) {
  if (a.tensors.size() != b.tensors.size() || a.instructions.size() != b.instructions.size()) return false;
  for (size_t i = 0; i < a.tensors.size(); ++i) {
    if (a.tensors[i].name != b.tensors[i].name || a.tensors[i].dtype != b.tensors[i].dtype ||
        a.tensors[i].shape != b.tensors[i].shape || a.tensors[i].place != b.tensors[i].place)
      return false;
  }
  for (size_t i = 0; i < a.instructions.size(); ++i) {
    if (a.instructions[i].kernel != b.instructions[i].kernel) return false;
  }
  return true;
}

}  // namespace

ConstantsByName constants_by_name(const ir::Graph& graph) {
  ConstantsByName out;
  for (ir::ValueId id = 0; id < graph.value_slots(); ++id) {
    const ir::Value& value = graph.value(id);
    if (value.alive && value.is_constant()) out.emplace(value.name, value.constant);
  }
  return out;
}

RebuildParts::RebuildParts(const WholeModel& whole, const ir::Graph& graph, const ConstantsByName& before)
    : whole_(whole), graph_(whole.graph), marked_(whole.marked), lines_(whole.lines) {
  for_each_parameter(lines_, [&](const Parameter& parameter) {
    const auto data = before.find(parameter.name);
    std::optional<ir::ValueId> found;
    for (ir::ValueId id = 0; id < graph.value_slots() && data != before.end(); ++id) {
      const ir::Value& value = graph.value(id);
      if (!value.alive || value.constant != data->second) continue;
      if (!found || value.name == parameter.name) found = id;
    }
    if (found) {
      parameters_[parameter.name] = *found;
    } else {
      missing_ = parameter.name;
    }
  });
}

// Shapes and offsets of the parameters. Precondition: changed constants are kept apart.
std::string RebuildParts::place_parameters(const ir::Graph& graph, WeightTable& weights) {
  if (!missing_.empty()) return fmt::format("constant \"{}\" of the trained part is not one of its own", missing_);
  for_each_parameter(lines_, [&](Parameter& parameter) {
    const ir::Value& value = graph.value(parameters_.at(parameter.name));
    parameter.name = value.name;
    parameter.shape = value.type.shape;
    parameter.offset_bytes = weights.add(value.constant->bytes(), value.constant);
  });
  return {};
}

// A parameter of the integer graph is the one that is trained.
void RebuildParts::share_constants(const ir::Graph& graph, std::span<const ir::ValueId> changed, WeightTable& weights) {
  for (const ir::ValueId id : changed) {
    const ir::Value& trained = graph.value(id);
    shared_.push_back(trained.constant->bytes().data());
    const auto found = graph_.find_value(trained.name);
    if (!found || !graph_.value(*found).is_constant() || graph_.value(*found).type != trained.type) continue;
    graph_.value(*found).constant = trained.constant;
  }
  for (const std::vector<std::string>* names : {&whole_.weights, &whole_.biases}) {
    for (const std::string& name : *names) {
      const auto found = graph_.find_value(name);
      if (!found) continue;
      ir::Value& value = graph_.value(*found);
      value.constant = ir::ConstantData::copy_of(value.constant->bytes());
      weights.keep_apart(value.constant);
    }
  }
}

// Something that is trained and that no line reads: the model was quantized for the training of other layers.
std::string RebuildParts::find_uncovered(const ir::Graph& graph, std::span<const ir::ValueId> changed) const {
  std::set<ir::ValueId> covered;
  for (const auto& [name, id] : parameters_) covered.insert(id);
  for (const ir::ValueId id : changed) {
    const auto found = graph_.find_value(graph.value(id).name);
    const bool direct = found && graph_.value(*found).constant == graph.value(id).constant;
    if (covered.contains(id) || direct) continue;
    return fmt::format(
        "\"{}\" is trained, and nothing says how the integers follow from it; quantize the model with "
        "the same trainable as it is compiled with",
        graph.value(id).name);
  }
  return {};
}

std::string RebuildParts::find_sites(const Program& integer) {
  for (size_t i = 0; i < whole_.marks.size(); ++i) {
    const WholeModel::Mark& mark = whole_.marks[i];
    rebuild::RangeLine& line = lines_.ranges[i];
    for (uint32_t number = 0; number < marked_program_.tensors.size(); ++number) {
      const ProgramTensor& tensor = marked_program_.tensors[number];
      if (!tensor.quantization || !tensor.quantization->per_tensor() || tensor.place == TensorPlace::kConstant)
        continue;
      const float scale = tensor.quantization->scales[0];
      if (tensor.dtype == DataType::kI8 && scale == mark.narrow) line.narrow_tensors.push_back(number);
      if (tensor.dtype == DataType::kI16 && scale == mark.wide) line.wide_tensors.push_back(number);
    }
    for (uint32_t number = 0; number < marked_program_.instructions.size(); ++number) {
      const format::Attributes& attributes = marked_program_.instructions[number].attributes;
      for (const bool before_residual : {false, true}) {
        const auto found = attributes.find(before_residual ? "pre_residual_scale" : "conv_scale");
        if (found == attributes.end()) continue;
        const double* scale = std::get_if<double>(&found->second);
        const bool narrow = scale != nullptr && *scale == static_cast<double>(mark.narrow);
        const bool wide = scale != nullptr && *scale == static_cast<double>(mark.wide);
        if (narrow || wide) line.points.push_back({number, before_residual, wide});
      }
    }
  }
  for (size_t i = 0; i < lines_.layers.size(); ++i) {
    const auto weights = find_constant(integer, whole_.weights[i]);
    const auto bias = find_constant(integer, whole_.biases[i]);
    if (!weights || !bias)
      return fmt::format("layer \"{}\" has no weights and bias of its own in the program", lines_.layers[i].name);
    lines_.layers[i].weight_tensor = *weights;
    lines_.layers[i].bias_tensor = *bias;
  }
  return {};
}

// Constants that no line writes must not depend on the training.
std::string RebuildParts::compare_constants(const Program& integer) const {
  std::set<uint32_t> written;
  for (const LayerLine& line : lines_.layers) written.insert({line.weight_tensor, line.bias_tensor});
  for (uint32_t number = 0; number < integer.tensors.size(); ++number) {
    const ProgramTensor& tensor = integer.tensors[number];
    if (tensor.place != TensorPlace::kConstant || written.contains(number)) continue;
    const std::span<const std::byte> bytes = bytes_.at(tensor.offset_bytes);
    if (std::find(shared_.begin(), shared_.end(), bytes.data()) != shared_.end()) continue;
    const std::span<const std::byte> marked = marked_bytes_.at(marked_program_.tensors[number].offset_bytes);
    if (std::equal(bytes.begin(), bytes.end(), marked.begin(), marked.end())) continue;
    return fmt::format(
        "constant \"{}\" of the integer program follows from what is trained, and no function makes it "
        "again",
        tensor.name);
  }
  return {};
}

Result<std::string> RebuildParts::lower_observers(const ir::Graph& graph, std::span<const ir::ValueId> changed,
                                                  const CompileOptions& options, WeightTable& weights,
                                                  format::ModelFile& file) {
  ir::Graph observers = graph;
  std::vector<std::string> values;
  std::vector<std::string> low;
  std::vector<std::string> high;
  for (const rebuild::RangeLine& line : lines_.ranges) {
    const auto value = observers.find_value(line.value);
    if (!value || observers.value(*value).type.dtype != DataType::kF32)
      return fmt::format("\"{}\" of the trained part is no value that can be observed", line.value);
    values.push_back(line.value);
    low.push_back(rebuild::low_state(line.value));
    high.push_back(rebuild::high_state(line.value));
  }
  HAI_TRY_STATUS(passes::make_observer_graph(observers, changed, values, low, high));
  HAI_TRY(std::optional<passes::SplitStep> split, passes::split_frozen(observers, graph.inputs().size()));
  if (!split || !file.features) return std::string("nothing of the model is frozen");
  observers = std::move(split->rest);
  for (size_t i = 0; i < file.features->outputs.size(); ++i) {
    const std::string& feature = file.features->tensors[file.features->outputs[i]].name;
    if (i >= observers.inputs().size() || observers.value(observers.inputs()[i]).name != feature)
      return fmt::format("the observers do not read feature \"{}\"", feature);
  }
  HAI_TRY_STATUS(run_steps(observers, fusing_steps(), without_folding(options), nullptr));
  observers.erase_dead();
  observers = observers.compact();
  HAI_TRY(file.observers, cpu::lower(observers, [&](std::span<const std::byte> bytes, std::shared_ptr<const void> of) {
            return weights.add(bytes, std::move(of));
          }));
  return std::string();
}

Result<std::string> RebuildParts::lower(const ir::Graph& graph, std::span<const ir::ValueId> changed,
                                        const CompileOptions& options, WeightTable& weights, format::ModelFile& file) {
  if (std::string reason = place_parameters(graph, weights); !reason.empty()) return reason;
  share_constants(graph, changed, weights);
  if (std::string reason = find_uncovered(graph, changed); !reason.empty()) return reason;
  HAI_TRY_STATUS(fuse(graph_, options));
  HAI_TRY_STATUS(fuse(marked_, options));
  HAI_TRY(Program integer, cpu::lower(graph_, [&](std::span<const std::byte> bytes, std::shared_ptr<const void> owner) {
            const int64_t offset = weights.add(bytes, std::move(owner));
            bytes_[offset] = bytes;
            return offset;
          }));
  HAI_TRY(marked_program_,
          cpu::lower(marked_, [&](std::span<const std::byte> bytes, std::shared_ptr<const void> owner) {
            const auto offset = static_cast<int64_t>(marked_bytes_.size()) * format::kWeightAlignmentBytes;
            marked_bytes_[offset] = bytes;
            marked_owners_.push_back(std::move(owner));
            return offset;
          }));
  if (!same_structure(integer, marked_program_)) return std::string("its integer program depends on the ranges");
  if (std::string reason = find_sites(integer); !reason.empty()) return reason;
  if (std::string reason = compare_constants(integer); !reason.empty()) return reason;
  HAI_TRY(std::string reason, lower_observers(graph, changed, options, weights, file));
  if (!reason.empty()) return reason;
  file.standby = std::move(integer);
  file.rebuild = rebuild::encode(lines_);
  return std::string();
}

Result<std::string> RebuildParts::check(const format::ModelFile& file) {
  const Program& integer = *file.standby;
  HAI_TRY(const Lines lines, rebuild::decode(*file.rebuild, integer));
  std::vector<std::byte> wanted(static_cast<size_t>(file.weights_bytes()));
  for (const format::WeightPiece& piece : file.weights)
    std::copy(piece.bytes.begin(), piece.bytes.end(), wanted.begin() + piece.offset_bytes);
  std::vector<std::byte> made = wanted;
  Program program = marked_program_;
  for (size_t i = 0; i < program.tensors.size(); ++i) {
    if (program.tensors[i].place == TensorPlace::kConstant)
      program.tensors[i].offset_bytes = integer.tensors[i].offset_bytes;
  }
  for (size_t i = 0; i < program.outputs.size(); ++i)
    program.tensors[program.outputs[i]].name = integer.tensors[integer.outputs[i]].name;
  for (const LayerLine& line : lines.layers) {
    for (const uint32_t number : {line.weight_tensor, line.bias_tensor}) {
      const ProgramTensor& tensor = integer.tensors[number];
      std::memset(made.data() + tensor.offset_bytes, 0,
                  static_cast<size_t>(bytes_for(tensor.dtype, element_count(tensor.shape)->value)));
    }
  }
  if (const Status status = rebuild::run(lines, whole_.seen, made, program); !status) return status.error().to_string();
  for (size_t i = 0; i < program.tensors.size(); ++i) {
    if (program.tensors[i] != integer.tensors[i])
      return fmt::format("tensor \"{}\" is made in another way", integer.tensors[i].name);
  }
  for (size_t i = 0; i < program.instructions.size(); ++i) {
    if (program.instructions[i] != integer.instructions[i])
      return fmt::format("instruction \"{}\" is made in another way", integer.instructions[i].name);
  }
  for (const LayerLine& line : lines.layers) {
    for (const uint32_t number : {line.weight_tensor, line.bias_tensor}) {
      const ProgramTensor& tensor = integer.tensors[number];
      const auto bytes = static_cast<size_t>(bytes_for(tensor.dtype, element_count(tensor.shape)->value));
      if (std::memcmp(made.data() + tensor.offset_bytes, wanted.data() + tensor.offset_bytes, bytes) != 0)
        return fmt::format("the bytes of \"{}\" are made in another way", tensor.name);
    }
  }
  return program == integer ? std::string() : std::string("its integer program is made in another way");
}

}  // namespace hai::compiler
