// Lowers a graph for the CPU device: each node through its registered lowering, then places for all tensors.
//
// Method: values get tensor numbers on first mention, inputs and outputs first. Views (alias) join the tensors of one
// buffer; a buffer that holds a graph output lives in the caller's memory, every other one is planned
// (passes/plan_memory.h) over the instructions between its first write and its last read. Where a view cannot share
// (an output of an input's or a constant's bytes, two outputs of one buffer) the node's own kernel copies.
// In-place sharing is offered for kernels that compute element i from element i alone (kElementWise below).
// It decides nothing about instruction sets, threads or scratch: that is exec's.
#include "devices/cpu/lower/lower.h"

#include <algorithm>
#include <limits>
#include <set>

#include "base/checked.h"
#include "devices/cpu/lower/lower_registry.h"
#include "ops/work.h"
#include "passes/execution_order.h"
#include "passes/plan_memory.h"

namespace hai::cpu {
namespace {

using format::ProgramTensor;
using format::TensorPlace;

// Kernels whose result may overwrite an operand of the same type: element i of the result depends on element i of that
// operand alone, and the kernel never reads an element again after it wrote there.
const std::set<std::string_view>& element_wise_kernels() {
  static const std::set<std::string_view> kElementWise = {
      "relu",       "relu6",    "clip",       "leaky_relu",  "elu",           "sigmoid", "silu", "hard_sigmoid",
      "hard_swish", "tanh",     "exp",        "log",         "sqrt",          "neg",     "abs",  "erf",
      "gelu",       "softplus", "mish",       "reciprocal",  "square",        "sin",     "cos",  "floor",
      "ceil",       "round",    "add",        "sub",         "mul",           "div",     "min",  "max",
      "pow",        "rescale",  "sgd_update", "adam_update", "guarded_update"};
  return kElementWise;
}

bool is_placed_by_us(const ProgramTensor& tensor) {
  return tensor.place == TensorPlace::kFixed || tensor.place == TensorPlace::kPerSample;
}

class Lowering final : public LowerContext {
 public:
  Lowering(const ir::Graph& graph, const AddWeights& add_weights, const LowerOptions& options)
      : graph_(graph),
        add_weights_(add_weights),
        registry_(options.registry != nullptr ? *options.registry : LowerRegistry::instance()) {
    program_.device = options.device;
    program_.symbols = graph.symbols;
    number_.assign(graph.value_slots(), format::kNoTensor);
    add_interface();
  }

  Result<format::Program> run(const LowerOptions& options) {
    HAI_TRY(const std::vector<ir::NodeId> order, passes::execution_order(graph_));
    HAI_TRY_STATUS(check_supported(order));
    for (const ir::NodeId id : order) {
      node_ = &graph_.node(id);
      const size_t first = program_.instructions.size();
      if (auto status = registry_.find(node_->op)->lower(*this); !status) {
        return with_where(status.error(), fmt::format("node \"{}\" ({})", node_->name, node_->op));
      }
      if (program_.instructions.size() > first)  // A node that stands for many says so itself.
        program_.instructions.back().macs = node_->int_attribute("macs", ops::macs_of(graph_, *node_));
    }
    settle_aliases();
    HAI_TRY_STATUS(check_state_writers());
    HAI_TRY_STATUS(place(options));
    return std::move(program_);
  }

  const ir::Graph& graph() const override { return graph_; }
  const ir::Node& node() const override { return *node_; }

  uint32_t tensor(ir::ValueId value) override {
    if (value == ir::kNone) return format::kNoTensor;
    if (number_[value] != format::kNoTensor) return number_[value];
    const ir::Value& source = graph_.value(value);
    if (!source.is_constant()) return add_value(value, TensorPlace::kFixed, 0);
    const uint32_t number = add_value(value, TensorPlace::kConstant, 0);
    program_.tensors[number].offset_bytes = add_weights_(source.constant->bytes(), source.constant);
    return number;
  }

  uint32_t add_constant(std::string name, DataType dtype, const Dims& dims, std::span<const std::byte> bytes) override {
    auto data = ir::ConstantData::copy_of(bytes);
    const uint32_t number = add_tensor({std::move(name), dtype, to_shape(dims), {}, TensorPlace::kConstant, 0, 0});
    program_.tensors[number].offset_bytes = add_weights_(data->bytes(), data);
    return number;
  }

  uint32_t add_intermediate(std::string name, DataType dtype, Shape shape,
                            std::optional<Quantization> quantization) override {
    return add_tensor({std::move(name), dtype, std::move(shape), std::move(quantization), TensorPlace::kFixed, 0, 0});
  }

  void alias(ir::ValueId output, ir::ValueId input) override {
    const uint32_t view = tensor(output);
    const uint32_t root = root_of(tensor(input));
    const bool is_output = program_.tensors[view].place == TensorPlace::kOutput;
    // The order of execution knows that readers of a reshaped state read the state; of other views it does not.
    const bool hides_state = program_.tensors[root].place == TensorPlace::kState && node_->op != "reshape";
    if (is_next_state_[view] || hides_state) {
      emit(node_->op, {tensor(input)}, {view}, node_->attributes);
      return;
    }
    if (is_output && (!is_placed_by_us(program_.tensors[root]) || holds_output_[root])) {
      emit(node_->op, {tensor(input)}, {view}, node_->attributes);
      return;
    }
    buffer_of_[view] = root;
    if (is_output) holds_output_[root] = true;
  }

  void emit(std::string kernel, std::vector<uint32_t> inputs, std::vector<uint32_t> outputs,
            format::Attributes attributes) override {
    std::string name = node_->name.empty() ? graph_.value(node_->outputs[0]).name : node_->name;
    program_.instructions.push_back(
        {std::move(kernel), std::move(name), std::move(inputs), std::move(outputs), std::move(attributes), 0});
  }

 private:
  uint32_t add_tensor(ProgramTensor tensor) {
    const auto number = static_cast<uint32_t>(program_.tensors.size());
    program_.tensors.push_back(std::move(tensor));
    buffer_of_.push_back(number);
    holds_output_.push_back(false);
    is_next_state_.push_back(false);
    return number;
  }

  // Inputs, outputs and states. A state's next value is an alias of the state: its maker writes in place.
  void add_interface() {
    std::vector<bool> input_is_state(graph_.inputs().size());
    std::vector<bool> output_is_state(graph_.outputs().size());
    for (const ir::State& state : graph_.states) {
      input_is_state[state.input] = true;
      if (state.output != ir::State::kKept) output_is_state[state.output] = true;
    }
    for (size_t i = 0; i < graph_.inputs().size(); ++i) {
      if (input_is_state[i]) continue;
      const auto index = static_cast<uint32_t>(program_.inputs.size());
      program_.inputs.push_back(add_value(graph_.inputs()[i], TensorPlace::kInput, index));
    }
    for (size_t i = 0; i < graph_.outputs().size(); ++i) {
      if (output_is_state[i]) continue;
      const auto index = static_cast<uint32_t>(program_.outputs.size());
      program_.outputs.push_back(add_value(graph_.outputs()[i], TensorPlace::kOutput, index));
    }
    for (const ir::State& state : graph_.states) {
      format::ProgramState entry;
      entry.tensor =
          add_value(graph_.inputs()[state.input], TensorPlace::kState, static_cast<uint32_t>(program_.states.size()));
      entry.is_parameter = state.is_parameter;
      if (state.initial) entry.offset_bytes = add_weights_(state.initial->bytes(), state.initial);
      program_.states.push_back(entry);
      if (state.output == ir::State::kKept) continue;
      const uint32_t next = add_value(graph_.outputs()[state.output], TensorPlace::kAlias, entry.tensor);
      buffer_of_[next] = entry.tensor;
      is_next_state_[next] = true;
    }
  }

  // A kernel that reads the old value while it writes the new one must do so element by element; others may not read
  // it. Kernels that make views cannot, since they write nothing.
  Status check_state_writers() const {
    for (const format::Instruction& instruction : program_.instructions) {
      for (const uint32_t output : instruction.outputs) {
        if (!is_next_state_[output] || element_wise_kernels().contains(instruction.kernel)) continue;
        const uint32_t state = buffer_of_[output];
        for (const uint32_t input : instruction.inputs) {
          if (input == format::kNoTensor || buffer_of_[input] != state) continue;
          return make_error(StatusCode::kUnsupported, "C203",
                            "node \"{}\" ({}) would write state \"{}\" while it reads it in another order",
                            instruction.name, instruction.kernel, program_.tensors[state].name);
        }
      }
    }
    return {};
  }

  uint32_t add_value(ir::ValueId value, TensorPlace place, uint32_t index) {
    const ir::Value& source = graph_.value(value);
    number_[value] =
        add_tensor({source.name, source.type.dtype, source.type.shape, source.type.quantization, place, index, 0});
    return number_[value];
  }

  Status check_supported(const std::vector<ir::NodeId>& order) const {
    std::optional<Error> first;
    int64_t others = 0;
    for (const ir::NodeId id : order) {
      const Status status = supported_by(registry_, graph_, graph_.node(id));
      if (status) continue;
      if (first) ++others;
      if (!first) first = status.error();
    }
    if (!first) return {};
    if (others > 0) first->message += fmt::format("; {} more node(s) cannot run on the CPU either", others);
    return *first;
  }

  uint32_t root_of(uint32_t number) const { return buffer_of_[number]; }  // alias() stores roots only

  // Gives every member of a buffer its place: the output tensor where there is one, else the root.
  void settle_aliases() {
    std::vector<uint32_t> home(program_.tensors.size());
    for (uint32_t i = 0; i < home.size(); ++i) home[i] = i;
    for (uint32_t i = 0; i < home.size(); ++i) {
      if (buffer_of_[i] != i && program_.tensors[i].place == TensorPlace::kOutput) home[buffer_of_[i]] = i;
    }
    for (uint32_t i = 0; i < home.size(); ++i) {
      const uint32_t target = home[buffer_of_[i]];
      if (target == i) continue;
      program_.tensors[i].place = TensorPlace::kAlias;
      program_.tensors[i].index = target;
    }
    for (uint32_t i = 0; i < home.size(); ++i) buffer_of_[i] = home[buffer_of_[i]];
  }

  // Fills region and size of a tensor's buffer; the shape's only symbol is the batch.
  static Result<passes::MemoryBuffer> buffer_for(const ProgramTensor& tensor) {
    const auto count = element_count(tensor.shape);
    const bool fits = count && count->value <= std::numeric_limits<int64_t>::max() / 64;
    if (!fits) {
      return make_error(StatusCode::kOutOfRange, "C202",
                        "tensor \"{}\" has more than 2^57 elements; use smaller inputs", tensor.name);
    }
    passes::MemoryBuffer buffer;
    buffer.size_bytes = bytes_for(tensor.dtype, count->value);
    buffer.region = count->is_symbolic() ? passes::MemoryRegion::kPerSample : passes::MemoryRegion::kFixed;
    buffer.first = -1;
    return buffer;
  }

  Status place(const LowerOptions& options) {
    std::vector<size_t> planned(program_.tensors.size(), SIZE_MAX);
    std::vector<uint32_t> tensors;
    std::vector<passes::MemoryBuffer> buffers;
    for (uint32_t i = 0; i < program_.tensors.size(); ++i) {
      if (!is_placed_by_us(program_.tensors[i])) continue;
      HAI_TRY(const passes::MemoryBuffer buffer, buffer_for(program_.tensors[i]));
      planned[i] = buffers.size();
      buffers.push_back(buffer);
      tensors.push_back(i);
    }
    set_lifetimes(planned, buffers);
    std::vector<passes::InPlaceHint> hints;
    if (options.share_buffers) hints = in_place_hints(planned);
    HAI_TRY(const passes::MemoryPlan plan, passes::plan_memory(buffers, hints));
    for (size_t b = 0; b < buffers.size(); ++b) {
      ProgramTensor& tensor = program_.tensors[tensors[b]];
      tensor.place =
          buffers[b].region == passes::MemoryRegion::kPerSample ? TensorPlace::kPerSample : TensorPlace::kFixed;
      tensor.offset_bytes = plan.offset_bytes[b];
    }
    program_.per_sample_bytes = plan.per_sample_bytes;
    program_.fixed_bytes = plan.fixed_bytes;
    program_.arena_lower_bound_bytes = plan.lower_bound_bytes;
    return {};
  }

  void set_lifetimes(const std::vector<size_t>& planned, std::vector<passes::MemoryBuffer>& buffers) const {
    const auto touch = [&](uint32_t number, int64_t step) {
      if (number == format::kNoTensor || planned[buffer_of_[number]] == SIZE_MAX) return;
      passes::MemoryBuffer& buffer = buffers[planned[buffer_of_[number]]];
      if (buffer.first < 0) buffer.first = step;
      buffer.last = std::max(buffer.last, step);
    };
    for (size_t step = 0; step < program_.instructions.size(); ++step) {
      const format::Instruction& instruction = program_.instructions[step];
      for (const uint32_t input : instruction.inputs) touch(input, static_cast<int64_t>(step));
      for (const uint32_t output : instruction.outputs) touch(output, static_cast<int64_t>(step));
    }
    for (passes::MemoryBuffer& buffer : buffers) buffer.first = std::max(buffer.first, int64_t{0});
  }

  std::vector<passes::InPlaceHint> in_place_hints(const std::vector<size_t>& planned) const {
    std::vector<passes::InPlaceHint> hints;
    for (const format::Instruction& instruction : program_.instructions) {
      if (!element_wise_kernels().contains(instruction.kernel) || instruction.outputs.size() != 1) continue;
      const uint32_t output = instruction.outputs[0];
      if (planned[buffer_of_[output]] == SIZE_MAX) continue;
      for (const uint32_t input : instruction.inputs) {
        if (input == format::kNoTensor || planned[buffer_of_[input]] == SIZE_MAX) continue;
        const ProgramTensor& from = program_.tensors[input];
        const ProgramTensor& to = program_.tensors[output];
        if (from.shape != to.shape || bit_width(from.dtype) != bit_width(to.dtype)) continue;
        hints.push_back({planned[buffer_of_[output]], planned[buffer_of_[input]]});
      }
    }
    return hints;
  }

  const ir::Graph& graph_;
  const AddWeights& add_weights_;
  const LowerRegistry& registry_;
  const ir::Node* node_ = nullptr;
  format::Program program_;
  std::vector<uint32_t> number_;     // of each value
  std::vector<uint32_t> buffer_of_;  // of each tensor: the tensor whose bytes it is
  std::vector<bool> is_next_state_;  // of each tensor: what a state holds after the run
  std::vector<bool> holds_output_;   // of each root: one of its views is a graph output
};

}  // namespace

Status supports(const ir::Graph& graph, const ir::Node& node) {
  return supported_by(LowerRegistry::instance(), graph, node);
}

Status supported_by(const LowerRegistry& registry, const ir::Graph& graph, const ir::Node& node) {
  const CpuLowering* lowering = registry.find(node.op);
  if (lowering == nullptr) {
    return make_error(StatusCode::kUnsupported, "C201",
                      "operator {} of node \"{}\" has no CPU kernel; `hai ops` lists what there is", node.op,
                      node.name);
  }
  const Status status = lowering->supports(graph, node);
  if (!status) return with_where(status.error(), fmt::format("node \"{}\" ({})", node.name, node.op));
  return {};
}

Result<format::Program> lower(const ir::Graph& graph, const AddWeights& add_weights, const LowerOptions& options) {
  return Lowering(graph, add_weights, options).run(options);
}

}  // namespace hai::cpu
