// The reference device: nodes in topological order, each through its schema's reference().
//
// Symbols get their values from the inputs' shapes; every input that uses a symbol must agree, within the symbol's
// bounds. Intermediates are freed after their last reader unless the caller keeps them. Not planned, not fast: the
// judge of every device.
#include "ops/interpreter.h"

#include <fmt/format.h>

#include <algorithm>

#include "ops/op_schema.h"

namespace hai::ops {
namespace {

TensorView constant_view(const ir::Value& value) {
  return {value.type.dtype, resolve(value.type.shape, {}), value.constant->bytes().data(),
          value.type.quantization ? &*value.type.quantization : nullptr};
}

Status bind_symbols(const ir::Graph& graph, std::span<const Tensor> inputs, std::vector<int64_t>& values) {
  values.assign(graph.symbols.size(), -1);
  for (size_t i = 0; i < inputs.size(); ++i) {
    const ir::Value& value = graph.value(graph.inputs()[i]);
    for (size_t axis = 0; axis < value.type.shape.size(); ++axis) {
      const Dim& dim = value.type.shape[axis];
      if (!dim.is_symbolic() || dim.value == 0 || axis >= static_cast<size_t>(inputs[i].dims.rank)) continue;
      const int64_t size = inputs[i].dims.size[axis];
      const Symbol& symbol = graph.symbols[static_cast<size_t>(dim.symbol)];
      int64_t& bound = values[static_cast<size_t>(dim.symbol)];
      if (size % dim.value != 0 || (bound >= 0 && bound != size / dim.value) || size / dim.value < symbol.min ||
          size / dim.value > symbol.max) {
        return make_error(StatusCode::kInvalidArgument, "O050",
                          "input \"{}\" has shape {}: axis {} must be {} times {}, {} in [{}, {}] and the same in "
                          "every input",
                          value.name, to_string(inputs[i].dims), axis, dim.value, symbol.name, symbol.name, symbol.min,
                          symbol.max);
      }
      bound = size / dim.value;
    }
  }
  for (size_t s = 0; s < values.size(); ++s) {
    if (values[s] < 0) values[s] = graph.symbols[s].min;  // no input uses it
  }
  return {};
}

Status check_inputs(const ir::Graph& graph, std::span<const Tensor> inputs, std::span<const int64_t> symbol_values) {
  for (size_t i = 0; i < inputs.size(); ++i) {
    const ir::Value& value = graph.value(graph.inputs()[i]);
    const Dims wanted = resolve(value.type.shape, symbol_values);
    if (inputs[i].dtype == value.type.dtype && inputs[i].dims == wanted &&
        static_cast<int64_t>(inputs[i].storage.size()) == bytes_for(value.type.dtype, wanted.count())) {
      continue;
    }
    return make_error(StatusCode::kInvalidArgument, "O051", "input \"{}\" is {}{} of {} bytes, must be {}{}",
                      value.name, data_type_name(inputs[i].dtype), to_string(inputs[i].dims), inputs[i].storage.size(),
                      data_type_name(value.type.dtype), to_string(wanted));
  }
  return {};
}

// The state of one run.
struct Run {
  const ir::Graph& graph;
  std::vector<int64_t> symbol_values;
  std::map<ir::ValueId, Tensor> live;       // outputs of nodes
  std::map<ir::ValueId, TensorView> given;  // graph inputs and constants

  TensorView view_of(ir::ValueId id) {
    if (id == ir::kNone) return {};
    const auto it = live.find(id);
    if (it != live.end()) return it->second.view();
    const auto given_it = given.find(id);
    return given_it != given.end() ? given_it->second : constant_view(graph.value(id));
  }

  Status step(const ir::Node& node) {
    const OpSchema* schema = find_op_schema(node.op);
    if (schema == nullptr || schema->reference == nullptr) {
      return make_error(StatusCode::kUnsupported, "O052", "operator \"{}\" of node \"{}\" has no reference", node.op,
                        node.name);
    }
    std::vector<TensorView> inputs;
    for (const ir::ValueId id : node.inputs) inputs.push_back(view_of(id));
    const bool variadic = !schema->inputs.empty() && schema->inputs.back().variadic;
    if (!variadic) inputs.resize(std::max(inputs.size(), schema->inputs.size()));
    std::vector<MutableTensorView> outputs;
    for (const ir::ValueId id : node.outputs) {
      const ir::TensorType& type = graph.value(id).type;
      const auto [it, _] =
          live.insert_or_assign(id, Tensor::zeros(type.dtype, resolve(type.shape, symbol_values), type.quantization));
      outputs.push_back(it->second.mutable_view());
    }
    if (auto status = schema->reference(*schema, {inputs, outputs, node}); !status) {
      return with_where(status.error(), fmt::format("node \"{}\" ({})", node.name, node.op));
    }
    return {};
  }
};

}  // namespace

Tensor Tensor::zeros(DataType dtype, const Dims& dims, std::optional<Quantization> quantization) {
  Tensor tensor;
  tensor.dtype = dtype;
  tensor.dims = dims;
  tensor.storage.resize(static_cast<size_t>(bytes_for(dtype, dims.count())));
  tensor.quantization = std::move(quantization);
  return tensor;
}

TensorView Tensor::view() const { return {dtype, dims, storage.data(), quantization ? &*quantization : nullptr}; }
MutableTensorView Tensor::mutable_view() {
  return {dtype, dims, storage.data(), quantization ? &*quantization : nullptr};
}

Result<InterpretResult> interpret(const ir::Graph& graph, std::span<const Tensor> inputs,
                                  const InterpretOptions& options) {
  if (inputs.size() != graph.inputs().size()) {
    return make_error(StatusCode::kInvalidArgument, "O053", "{} inputs given, graph \"{}\" has {}", inputs.size(),
                      graph.name, graph.inputs().size());
  }
  Run run{graph, options.symbol_values, {}, {}};
  if (run.symbol_values.empty()) {
    HAI_TRY_STATUS(bind_symbols(graph, inputs, run.symbol_values));
  } else if (run.symbol_values.size() != graph.symbols.size()) {
    return make_error(StatusCode::kInvalidArgument, "O054", "{} symbol values given, the graph has {} symbols",
                      run.symbol_values.size(), graph.symbols.size());
  }
  HAI_TRY_STATUS(check_inputs(graph, inputs, run.symbol_values));
  for (size_t i = 0; i < inputs.size(); ++i) {
    const ir::ValueId id = graph.inputs()[i];
    TensorView view = inputs[i].view();
    view.quantization = graph.value(id).type.quantization ? &*graph.value(id).type.quantization : nullptr;
    run.given[id] = view;
  }
  HAI_TRY(const std::vector<ir::NodeId> order, graph.ordered());
  std::map<ir::ValueId, size_t> readers;
  for (const ir::NodeId id : order) {
    for (const ir::ValueId input : graph.node(id).inputs) ++readers[input];
  }
  for (const ir::ValueId output : graph.outputs()) ++readers[output];
  for (const ir::NodeId id : order) {
    HAI_TRY_STATUS(run.step(graph.node(id)));
    if (options.keep_all) continue;
    for (const ir::ValueId input : graph.node(id).inputs) {
      if (--readers[input] == 0) run.live.erase(input);
    }
  }
  InterpretResult result;
  for (const ir::ValueId id : graph.outputs()) {
    const auto it = run.live.find(id);
    if (it != run.live.end()) {
      result.outputs.push_back(it->second);
      continue;
    }
    const TensorView view = run.view_of(id);  // an input or constant that is an output as well
    Tensor copy = Tensor::zeros(view.dtype, view.dims, graph.value(id).type.quantization);
    std::copy_n(view.data, copy.storage.size(), copy.storage.begin());
    result.outputs.push_back(std::move(copy));
  }
  if (options.keep_all) result.all = std::move(run.live);
  return result;
}

}  // namespace hai::ops
