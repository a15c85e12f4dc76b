// ir::Graph for Python: what the graph builder, the importers' front ends and the tests use.
//
// Method: values are plain integers (ir::ValueId); operators are appended through ops::append, so that every check and
// every inferred type is the same as for any other front end. Invariant: an error leaves the graph as it was.
#include <nanobind/stl/pair.h>

#include <cmath>
#include <cstring>

#include "base/utf8.h"
#include "binding.h"
#include "ir/graph.h"
#include "ir/text.h"
#include "ops/build.h"
#include "ops/interpreter.h"

namespace hai::python {
namespace {

// A dimension as Python writes it: 224, "N", or (8, "N").
using PythonDim = std::variant<int64_t, std::string, std::pair<int64_t, std::string>>;
using PythonAttribute = std::variant<int64_t, double, std::string, std::vector<int64_t>, std::vector<double>>;

int32_t symbol_index(ir::Graph& graph, const std::string& name) {
  for (size_t i = 0; i < graph.symbols.size(); ++i) {
    if (graph.symbols[i].name == name) return static_cast<int32_t>(i);
  }
  throw ErrorException(
      make_error(StatusCode::kNotFound, "Y001",
                 "dimension \"{}\" is not a symbol of this graph; declare it with symbol(name, min, max)", name));
}

Shape shape_from(ir::Graph& graph, const std::vector<PythonDim>& dims) {
  Shape shape;
  for (const PythonDim& dim : dims) {
    if (const auto* number = std::get_if<int64_t>(&dim)) {
      shape.emplace_back(*number);
    } else if (const auto* name = std::get_if<std::string>(&dim)) {
      shape.emplace_back(1, symbol_index(graph, *name));
    } else {
      const auto& [factor, symbol] = std::get<std::pair<int64_t, std::string>>(dim);
      shape.emplace_back(factor, symbol_index(graph, symbol));
    }
  }
  return shape;
}

std::vector<PythonDim> dims_of(const ir::Graph& graph, const Shape& shape) {
  std::vector<PythonDim> dims;
  for (const Dim& dim : shape) {
    if (!dim.is_symbolic()) {
      dims.emplace_back(dim.value);
    } else if (dim.value == 1) {
      dims.emplace_back(graph.symbols[static_cast<size_t>(dim.symbol)].name);
    } else {
      dims.emplace_back(std::pair(dim.value, graph.symbols[static_cast<size_t>(dim.symbol)].name));
    }
  }
  return dims;
}

DataType dtype_from(const std::string& name) {
  const auto dtype = data_type_from_name(name);
  if (!dtype)
    throw ErrorException(make_error(
        StatusCode::kInvalidArgument, "Y002",
        "unknown element type \"{}\"; HAI knows f64 f32 f16 bf16 i64 i32 i16 i8 i4 u64 u32 u16 u8 u4 bool", name));
  return *dtype;
}

// How an integer tensor stands for real numbers: (scales, zero points, axis), axis -1 for one scale of the tensor.
using PythonQuantization = std::tuple<std::vector<float>, std::vector<int32_t>, int32_t>;
using PythonDeclared = std::pair<std::string, std::optional<PythonQuantization>>;

// Checked here, since inference reads scales of operands; the shape is unknown (null) for declared outputs.
std::optional<Quantization> quantization_from(const std::optional<PythonQuantization>& given, DataType dtype,
                                              const Shape* shape) {
  if (!given) return std::nullopt;
  const auto& [scales, zero_points, axis] = *given;
  const auto fail = [&](std::string_view what) {
    throw ErrorException(make_error(StatusCode::kInvalidArgument, "Y017",
                                    "quantization of a {} tensor with {} scales, {} zero points, axis {}: {}",
                                    data_type_name(dtype), scales.size(), zero_points.size(), axis, what));
  };
  if (!is_integer(dtype)) fail("only integer tensors have one");
  if (scales.empty() || scales.size() != zero_points.size()) fail("it needs as many zero points as scales");
  const bool per_tensor = axis < 0;
  if (per_tensor ? scales.size() != 1 : shape == nullptr) fail("one scale, or an axis of a constant");
  if (!per_tensor) {
    const auto index = static_cast<size_t>(axis);
    if (index >= shape->size() || (*shape)[index].is_symbolic() ||
        (*shape)[index].value != static_cast<int64_t>(scales.size()))
      fail("one scale for each entry of the axis");
  }
  const bool narrow = bit_width(dtype) <= 32;
  const int64_t low = narrow ? std::max<int64_t>(integer_min(dtype), INT32_MIN) : INT32_MIN;
  const int64_t high = narrow ? std::min<int64_t>(integer_max(dtype), INT32_MAX) : INT32_MAX;
  for (const float scale : scales) {
    if (!std::isfinite(scale) || scale <= 0.0F) fail("scales are finite and greater than 0");
  }
  for (const int32_t zero_point : zero_points) {
    if (zero_point < low || zero_point > high) fail("a zero point is no value of the element type");
  }
  return Quantization{scales, zero_points, per_tensor ? -1 : axis, 0};
}

std::optional<PythonQuantization> quantization_of(const ir::TensorType& type) {
  if (!type.quantization || type.quantization->block != 0) return std::nullopt;
  return PythonQuantization(type.quantization->scales, type.quantization->zero_points, type.quantization->axis);
}

void check_value(const ir::Graph& graph, uint32_t value) {
  if (value >= graph.value_slots() || !graph.value(value).alive) {
    throw ErrorException(make_error(StatusCode::kInvalidArgument, "Y003", "{} is not a value of this graph", value));
  }
}

// Names are text. Python's strings can hold surrogates, which stand for bytes that are none (text_caster.h).
void require_text(const std::string& name) {
  if (is_utf8(name)) return;
  throw ErrorException(make_error(StatusCode::kInvalidArgument, "Y019",
                                  "the name \"{}\" is not UTF-8 (Python shows such bytes as surrogates); rename it",
                                  name));
}

uint32_t add_input(ir::Graph& graph, const std::string& name, const std::string& dtype,
                   const std::vector<PythonDim>& dims, const std::optional<PythonQuantization>& quantization) {
  require_text(name);
  Shape shape = shape_from(graph, dims);
  if (shape.size() > static_cast<size_t>(kMaxRank) || !element_count(shape)) {
    throw ErrorException(make_error(
        StatusCode::kOutOfRange, "Y004",
        "input \"{}\" of shape {}: at most {} dimensions, none negative, one symbol, and fewer than 2^63 elements",
        name, to_string(shape, graph.symbols), kMaxRank));
  }
  const DataType type = dtype_from(dtype);
  auto converted = quantization_from(quantization, type, &shape);
  return graph.add_input(name, {type, std::move(shape), std::move(converted)});
}

uint32_t add_constant(ir::Graph& graph, const std::string& name, const std::string& dtype_name,
                      const std::vector<int64_t>& dims, const ConstBytes& bytes,
                      const std::optional<PythonQuantization>& quantization) {
  require_text(name);
  const DataType dtype = dtype_from(dtype_name);
  const Shape shape = to_shape(dims);
  const auto count = element_count(shape);
  if (shape.size() > static_cast<size_t>(kMaxRank) || !count ||
      bytes_for(dtype, count->value) != static_cast<int64_t>(bytes.size())) {
    throw ErrorException(make_error(StatusCode::kInvalidArgument, "Y005",
                                    "constant \"{}\": {} bytes do not make a {} tensor of shape {}", name, bytes.size(),
                                    dtype_name, to_string(shape, {})));
  }
  return graph.add_constant(name, {dtype, shape, quantization_from(quantization, dtype, &shape)},
                            ir::ConstantData::copy_of(std::as_bytes(std::span(bytes.data(), bytes.size()))));
}

std::vector<uint32_t> append(ir::Graph& graph, const std::string& op,
                             const std::vector<std::optional<uint32_t>>& inputs,
                             const std::map<std::string, PythonAttribute>& attributes, const std::string& name,
                             size_t output_count, const std::vector<std::optional<PythonDeclared>>& declared,
                             const std::vector<std::string>& output_names) {
  require_text(name);
  for (const std::string& output : output_names) require_text(output);
  std::vector<ir::ValueId> values;
  for (const auto& input : inputs) {
    if (input) check_value(graph, *input);
    values.push_back(input.value_or(ir::kNone));
  }
  ir::Attributes converted(attributes.begin(), attributes.end());
  ops::AppendOptions options;
  options.node_name = name;
  options.output_count = output_count;
  options.output_names = output_names;
  if (output_names.empty() && !name.empty()) options.output_names = {name};
  for (const auto& output : declared) {
    options.declared.emplace_back();
    if (!output) continue;
    const DataType dtype = dtype_from(output->first);
    options.declared.back() = ir::TensorType{dtype, {}, quantization_from(output->second, dtype, nullptr)};
  }
  const ir::NodeId node =
      value_or_raise(ops::append(graph, op, std::move(values), std::move(converted), std::move(options)));
  return graph.node(node).outputs;
}

// Reference run on byte views: {name: bytes} is Python's business; order is the graph's.
std::vector<std::tuple<std::string, std::vector<int64_t>, nb::bytes>> interpret(
    const ir::Graph& graph, const std::vector<ConstBytes>& inputs, const std::vector<std::vector<int64_t>>& shapes) {
  std::vector<ops::Tensor> tensors;
  for (size_t i = 0; i < inputs.size() && i < graph.inputs().size() && i < shapes.size(); ++i) {
    if (shapes[i].size() > static_cast<size_t>(kMaxRank))
      throw ErrorException(make_error(StatusCode::kOutOfRange, "Y006", "input {} has {} dimensions, the limit is {}", i,
                                      shapes[i].size(), kMaxRank));
    ops::Tensor tensor;
    tensor.dtype = graph.value(graph.inputs()[i]).type.dtype;
    tensor.dims = Dims(shapes[i]);
    const auto bytes = std::as_bytes(std::span(inputs[i].data(), inputs[i].size()));
    tensor.storage.assign(bytes.begin(), bytes.end());
    tensor.quantization = graph.value(graph.inputs()[i]).type.quantization;
    tensors.push_back(std::move(tensor));
  }
  ops::InterpretResult result;
  {
    const nb::gil_scoped_release release;
    result = value_or_raise(ops::interpret(graph, tensors));
  }
  std::vector<std::tuple<std::string, std::vector<int64_t>, nb::bytes>> out;
  for (const ops::Tensor& tensor : result.outputs) {
    const auto dims = tensor.dims.view();
    out.emplace_back(data_type_name(tensor.dtype), std::vector<int64_t>(dims.begin(), dims.end()),
                     nb::bytes(tensor.storage.data(), tensor.storage.size()));
  }
  return out;
}

std::vector<std::tuple<std::string, std::string, std::vector<PythonDim>>> describe(
    const ir::Graph& graph, const std::vector<ir::ValueId>& values) {
  std::vector<std::tuple<std::string, std::string, std::vector<PythonDim>>> out;
  for (const ir::ValueId id : values) {
    const ir::Value& value = graph.value(id);
    out.emplace_back(value.name, data_type_name(value.type.dtype), dims_of(graph, value.type.shape));
  }
  return out;
}

bool is_quantized(const ir::Graph& graph) {
  for (ir::ValueId id = 0; id < graph.value_slots(); ++id) {
    if (graph.value(id).alive && graph.value(id).type.quantization) return true;
  }
  return false;
}

// Live nodes in topological order, as a front end reads them back: (op, name, inputs, outputs, attributes).
using PythonNode = std::tuple<std::string, std::string, std::vector<std::optional<uint32_t>>, std::vector<uint32_t>,
                              std::map<std::string, PythonAttribute>>;

std::vector<PythonNode> nodes_of(const ir::Graph& graph) {
  std::vector<PythonNode> out;
  for (const ir::NodeId id : value_or_raise(graph.ordered())) {
    const ir::Node& node = graph.node(id);
    std::vector<std::optional<uint32_t>> inputs;
    for (const ir::ValueId input : node.inputs)
      inputs.push_back(input == ir::kNone ? std::nullopt : std::optional(input));
    std::map<std::string, PythonAttribute> attributes;
    for (const auto& [key, value] : node.attributes) {
      std::visit([&, name = key](const auto& v) { attributes.emplace(name, v); }, value);
    }
    out.emplace_back(node.op, node.name, std::move(inputs), node.outputs, std::move(attributes));
  }
  return out;
}

// Bytes of a constant, or None for any other value.
nb::object constant_bytes(const ir::Graph& graph, uint32_t value) {
  check_value(graph, value);
  const auto& constant = graph.value(value).constant;
  if (!constant) return nb::none();
  return nb::bytes(constant->bytes().data(), constant->bytes().size());
}

}  // namespace

void bind_graph(nb::module_& module) {
  nb::class_<ir::Graph>(module, "Graph", "A graph of HAI's core operators.")
      .def(
          "__init__",
          [](ir::Graph* graph, const std::string& name) {
            new (graph) ir::Graph();
            graph->name = escape_invalid_utf8(name);  // for people alone, and often a file's
          },
          nb::arg("name"))
      .def("copy", [](const ir::Graph& graph) { return ir::Graph(graph); })
      .def(
          "symbol",
          [](ir::Graph& graph, const std::string& name, int64_t min, int64_t max) {
            if (min < 1 || max < min)
              throw ErrorException(make_error(StatusCode::kOutOfRange, "Y007",
                                              "symbol \"{}\" with bounds {}..{}: they must satisfy 1 <= min <= max",
                                              name, min, max));
            require_text(name);
            graph.symbols.push_back({name, min, max});
          },
          nb::arg("name"), nb::arg("min"), nb::arg("max"))
      .def("add_input", &add_input, nb::arg("name"), nb::arg("dtype"), nb::arg("shape"),
           nb::arg("quantization") = nb::none())
      .def("add_constant", &add_constant, nb::arg("name"), nb::arg("dtype"), nb::arg("shape"), nb::arg("data"),
           nb::arg("quantization") = nb::none())
      .def("append", &append, nb::arg("op"), nb::arg("inputs"), nb::arg("attributes"), nb::arg("name"),
           nb::arg("output_count"), nb::arg("declared") = std::vector<std::optional<PythonDeclared>>(),
           nb::arg("output_names") = std::vector<std::string>())
      .def(
          "add_output",
          [](ir::Graph& graph, uint32_t value, const std::string& name) {
            check_value(graph, value);
            require_text(name);
            if (!name.empty()) graph.rename_value(value, name);
            graph.add_output(value);
          },
          nb::arg("value"), nb::arg("name"))
      .def(
          "value_type",
          [](const ir::Graph& graph, uint32_t value) {
            check_value(graph, value);
            return std::pair(std::string(data_type_name(graph.value(value).type.dtype)),
                             dims_of(graph, graph.value(value).type.shape));
          },
          nb::arg("value"))
      .def(
          "quantization",
          [](const ir::Graph& graph, uint32_t value) {
            check_value(graph, value);
            return quantization_of(graph.value(value).type);
          },
          nb::arg("value"), "(scales, zero points, axis or -1) of an integer tensor that stands for real numbers.")
      .def("input_ids", [](const ir::Graph& graph) { return graph.inputs(); })
      .def("output_ids", [](const ir::Graph& graph) { return graph.outputs(); })
      .def("inputs", [](const ir::Graph& graph) { return describe(graph, graph.inputs()); })
      .def("outputs", [](const ir::Graph& graph) { return describe(graph, graph.outputs()); })
      .def(
          "set_metadata",
          [](ir::Graph& graph, const std::string& key, const std::string& value) {
            graph.metadata[escape_invalid_utf8(key)] = escape_invalid_utf8(value);
          },
          nb::arg("key"), nb::arg("value"))
      .def("metadata", [](const ir::Graph& graph) { return graph.metadata; })
      .def("node_count", &ir::Graph::live_node_count)
      .def("nodes", &nodes_of, "Live nodes in topological order: (op, name, inputs, outputs, attributes).")
      .def("constant_bytes", &constant_bytes, nb::arg("value"))
      .def("is_quantized", &is_quantized)
      .def("verify", [](const ir::Graph& graph) { raise_if_error(ops::verify(graph)); })
      .def(
          "text",
          [](const ir::Graph& graph, int64_t max_constant_bytes) { return ir::print(graph, {max_constant_bytes}); },
          nb::arg("max_constant_bytes"))
      .def("interpret", &interpret, nb::arg("inputs"), nb::arg("shapes"), "Runs the exact, slow reference.");
  module.def("parse_graph", [](const std::string& text) { return value_or_raise(ir::parse(text)); }, nb::arg("text"));
}

}  // namespace hai::python
