// ImportContext: operands, attributes, emission with immediate folding, reshapes and transposes.
//
// Method: emit() computes a node on the spot, through the operator's own reference, when all its operands are constants
// (never dequantize: a quantized weight keeps its integers). Reshapes of constants share their bytes, transposes of
// constants move them once, and one that only moves axes of size 1 (the weights of a depthwise or 1x1 convolution) is a
// reshape. Invariant: every value it makes has the type that ops::append inferred.
#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <numeric>

#include "base/checked.h"
#include "importers/onnx/import_registry.h"
#include "ops/build.h"
#include "ops/interpreter.h"
#include "ops/reference.h"

namespace hai::onnx_import {
namespace {

constexpr int64_t kMaxFoldedBytes = int64_t{1} << 26;     // one folded constant; a larger one is computed at run time
constexpr int64_t kMaxAllFoldedBytes = int64_t{1} << 29;  // all of them: a hostile file can ask for many

std::vector<int64_t> numbers_of(const Shape& shape) {
  std::vector<int64_t> out;
  for (const Dim& dim : shape) out.push_back(dim.value);
  return out;
}

// Copies `source` of shape `dims` (and `element_bytes` an element) so that axis i of the result is axis permutation[i].
template <typename Element>
void permute(const std::byte* source, std::byte* target, const std::vector<int64_t>& dims,
             const std::vector<int64_t>& permutation) {
  const size_t rank = dims.size();
  std::vector<int64_t> strides(rank, 1);
  for (size_t i = rank - 1; i > 0; --i) strides[i - 1] = strides[i] * dims[i];
  std::vector<int64_t> out_dims(rank);
  std::vector<int64_t> out_strides(rank);
  for (size_t i = 0; i < rank; ++i) {
    out_dims[i] = dims[static_cast<size_t>(permutation[i])];
    out_strides[i] = strides[static_cast<size_t>(permutation[i])];
  }
  const auto* from = reinterpret_cast<const Element*>(source);
  auto* to = reinterpret_cast<Element*>(target);
  const int64_t inner = out_dims[rank - 1];
  const int64_t inner_stride = out_strides[rank - 1];
  std::vector<int64_t> index(rank, 0);
  const int64_t rows = std::accumulate(out_dims.begin(), out_dims.end() - 1, int64_t{1}, std::multiplies<>());
  int64_t base = 0;
  for (int64_t row = 0; row < rows; ++row) {
    for (int64_t i = 0; i < inner; ++i) *to++ = from[base + i * inner_stride];
    for (size_t axis = rank - 1; axis-- > 0;) {
      base += out_strides[axis];
      if (++index[axis] < out_dims[axis]) break;
      base -= index[axis] * out_strides[axis];
      index[axis] = 0;
    }
  }
}

// The axes longer than one keep their order: the bytes stay as they are.
bool keeps_order(const Shape& shape, const std::vector<int64_t>& permutation) {
  int64_t last = -1;
  for (const int64_t axis : permutation) {
    if (shape[static_cast<size_t>(axis)] == Dim(1)) continue;
    if (axis < last) return false;
    last = axis;
  }
  return true;
}

bool is_identity(const std::vector<int64_t>& permutation) {
  for (size_t i = 0; i < permutation.size(); ++i) {
    if (permutation[i] != static_cast<int64_t>(i)) return false;
  }
  return true;
}

std::optional<Quantization> permuted(const std::optional<Quantization>& quantization,
                                     const std::vector<int64_t>& permutation) {
  if (!quantization || quantization->per_tensor()) return quantization;
  Quantization out = *quantization;
  out.axis =
      static_cast<int32_t>(std::find(permutation.begin(), permutation.end(), quantization->axis) - permutation.begin());
  return out;
}

}  // namespace

void ImportRegistry::add(std::string_view op_type, Converter converter, std::string_view domain) {
  const std::string key = (domain.empty() ? std::string() : std::string(domain) + ".") + std::string(op_type);
  const bool added = converters_.emplace(key, std::move(converter)).second;
  HAI_CHECK(added);
}

const Converter* ImportRegistry::find(std::string_view domain, std::string_view op_type) const {
  const std::string key = (domain.empty() ? std::string() : std::string(domain) + ".") + std::string(op_type);
  const auto it = converters_.find(key);
  return it == converters_.end() ? nullptr : &it->second;
}

std::vector<std::string> ImportRegistry::names() const {
  std::vector<std::string> names;
  for (const auto& [name, _] : converters_) names.push_back(name);
  return names;
}

ImportedValue* ImportScope::find(const std::string& name) {
  for (ImportScope* scope = this; scope != nullptr; scope = scope->parent) {
    const auto it = scope->values.find(name);
    if (it != scope->values.end()) return &it->second;
  }
  return nullptr;
}

ImportContext::ImportContext(ImportState& state, ImportScope& scope, const OnnxNode& node)
    : state_(state), scope_(scope), node_(node) {
  const auto it = state.model.opsets.find(node.domain);
  if (it != state.model.opsets.end()) opset_ = it->second;
}

Error ImportContext::unsupported(std::string_view what) const {
  const bool advises = what.find("export") != std::string_view::npos;
  return make_error(StatusCode::kUnsupported, "X040", "node \"{}\" ({}): {}{}", node_.label(), node_.op_type, what,
                    advises ? "" : "; export the model without it, or with another opset, or replace the node");
}

// What the operator's own checks say, with the node in front where they do not name it.
Error ImportContext::placed(Error error) const {
  if (error.where.rfind("node ", 0) == 0) return error;
  return with_where(std::move(error), fmt::format("node \"{}\" ({})", node_.label(), node_.op_type));
}

Error ImportContext::invalid(std::string_view what) const {
  return make_error(StatusCode::kCorrupt, "X041", "node \"{}\" ({}): {}", node_.label(), node_.op_type, what);
}

// --- operands ---

Result<ir::ValueId> ImportContext::materialise(ImportedValue& value, const std::string& name) {
  if (value.id != ir::kNone) return value.id;
  if (value.initializer != nullptr) {
    const OnnxTensor& tensor = *value.initializer;
    value.id = state_.graph.add_constant(name, {tensor.dtype, to_shape(tensor.dims), {}}, tensor.data);
    return value.id;
  }
  const KnownInts& known = *value.known;
  if (!known.is_numeric()) {
    return unsupported(
        fmt::format("its operand \"{}\" is a shape that hangs on the free dimension {} and is used as data, "
                    "which is not supported; bind it with --dim {}=<number>",
                    name, to_string(known.values, state_.graph.symbols), state_.graph.symbols[0].name));
  }
  const size_t width = static_cast<size_t>(bit_width(known.dtype)) / 8;
  auto data = ir::ConstantData::allocate(known.values.size() * width);
  for (size_t i = 0; i < known.values.size(); ++i) {  // little-endian: the low bytes come first
    std::memcpy(data->mutable_bytes().data() + i * width, &known.values[i].value, width);
  }
  value.id = state_.graph.add_constant(name, {known.dtype, to_shape(known.dims), {}}, std::move(data));
  return value.id;
}

Result<ir::ValueId> ImportContext::input(size_t i) {
  if (!has_input(i)) return invalid(fmt::format("operand {} is missing", i));
  ImportedValue* value = scope_.find(node_.inputs[i]);
  if (value == nullptr) return invalid(fmt::format("operand \"{}\" is not written by anything", node_.inputs[i]));
  return materialise(*value, node_.inputs[i]);
}

Result<ir::ValueId> ImportContext::optional_input(size_t i) {
  if (!has_input(i)) return ir::ValueId{ir::kNone};
  return input(i);
}

Result<std::optional<KnownInts>> ImportContext::known(size_t i) {
  using Known = std::optional<KnownInts>;
  if (!has_input(i)) return Known();
  ImportedValue* value = scope_.find(node_.inputs[i]);
  if (value == nullptr) return invalid(fmt::format("operand \"{}\" is not written by anything", node_.inputs[i]));
  if (value->known) return value->known;
  const OnnxTensor* tensor = value->initializer;
  OnnxTensor folded;
  if (tensor == nullptr && value->id != ir::kNone && state_.graph.value(value->id).is_constant()) {
    const ir::Value& constant = state_.graph.value(value->id);
    if (constant.type.quantization) return Known();
    folded = {constant.type.dtype, numbers_of(constant.type.shape), constant.constant};
    tensor = &folded;
  }
  if (tensor == nullptr || (!is_integer(tensor->dtype) && tensor->dtype != DataType::kBool)) return Known();
  const int64_t count = element_count(to_shape(tensor->dims))->value;
  if (count > kMaxKnownInts || bit_width(tensor->dtype) < 8) return Known();
  KnownInts out{tensor->dtype, tensor->dims, {}};
  const size_t width = static_cast<size_t>(bit_width(tensor->dtype)) / 8;
  for (size_t element = 0; element < static_cast<size_t>(count); ++element) {
    int64_t number = 0;
    std::memcpy(&number, tensor->data->bytes().data() + element * width, width);
    if (is_signed_integer(tensor->dtype) && width < 8) {
      const int shift = 64 - 8 * static_cast<int>(width);
      number = static_cast<int64_t>(static_cast<uint64_t>(number) << shift) >> shift;
    }
    out.values.emplace_back(number);
  }
  value->known = out;
  return Known(std::move(out));
}

Result<std::vector<Dim>> ImportContext::known_dims(size_t i, std::string_view what) {
  HAI_TRY(std::optional<KnownInts> found, known(i));
  if (!found) {
    return unsupported(
        fmt::format("{} (operand {}) must be constant integers known at import, but they are computed from "
                    "data; export the model with fixed shapes",
                    what, i));
  }
  return std::move(found->values);
}

Result<std::vector<int64_t>> ImportContext::numbers(size_t i, std::string_view what) {
  HAI_TRY(const std::vector<Dim> dims, known_dims(i, what));
  if (!is_static(dims)) {
    return unsupported(
        fmt::format("{} (operand {}) is {}, which hangs on a free dimension; bind it with --dim {}=<number>", what, i,
                    to_string(dims, state_.graph.symbols), state_.graph.symbols[0].name));
  }
  return numbers_of(dims);
}

Result<std::vector<double>> ImportContext::reals(size_t i, std::string_view what) {
  HAI_TRY(ir::ValueId id, input(i));
  // Quantizing exporters dequantize even such a number. That stays an operator for the sake of weights; here it is
  // computed.
  const ir::NodeId producer = state_.graph.value(id).producer;
  if (producer != ir::kNone && state_.graph.node(producer).op == "dequantize" &&
      state_.graph.value(state_.graph.node(producer).inputs[0]).is_constant()) {
    const ir::Node dequantize = state_.graph.node(producer);
    const std::string name = state_.graph.value(id).name;
    HAI_TRY(const std::vector<ir::ValueId> known, fold(dequantize.op, dequantize.inputs, dequantize.attributes, 1, {}));
    id = known[0];
    state_.graph.rename_value(id, name + ".known");
  }
  const ir::Value& value = state_.graph.value(id);
  const int64_t count = element_count(value.type.shape)->value;
  if (!value.is_constant()) {
    return unsupported(fmt::format("{} (operand {}) must be constant, but is computed from data", what, i));
  }
  const std::byte* bytes = value.constant->bytes().data();
  std::vector<double> out(static_cast<size_t>(count));
  const auto read = [&](auto zero) {
    using Element = decltype(zero);
    for (size_t k = 0; k < out.size(); ++k) {
      Element element;
      std::memcpy(&element, bytes + k * sizeof(Element), sizeof(Element));
      out[k] = static_cast<double>(element);
    }
  };
  switch (value.type.dtype) {
    case DataType::kF32:
      read(0.0F);
      break;
    case DataType::kF64:
      read(0.0);
      break;
    default: {
      HAI_TRY(const std::vector<int64_t> integers, numbers(i, what));
      std::transform(integers.begin(), integers.end(), out.begin(),
                     [](int64_t number) { return static_cast<double>(number); });
    }
  }
  return out;
}

// --- attributes ---

template <typename T>
const T* ImportContext::attribute(std::string_view key, std::string_view kind) {
  const auto it = node_.attributes.find(key);
  if (it == node_.attributes.end()) return nullptr;
  const T* value = std::get_if<T>(&it->second);
  if (value == nullptr && attribute_error_) {
    attribute_error_ = invalid(fmt::format("attribute \"{}\" is not {}", key, kind));
  }
  return value;
}

int64_t ImportContext::int_attribute(std::string_view key, int64_t fallback) {
  const auto* value = attribute<int64_t>(key, "an integer");
  return value != nullptr ? *value : fallback;
}

double ImportContext::float_attribute(std::string_view key, double fallback) {
  const auto* value = attribute<float>(key, "a float");
  return value != nullptr ? static_cast<double>(*value) : fallback;
}

std::string ImportContext::string_attribute(std::string_view key, std::string_view fallback) {
  const auto* value = attribute<std::string>(key, "a string");
  return value != nullptr ? *value : std::string(fallback);
}

std::vector<int64_t> ImportContext::ints_attribute(std::string_view key, const std::vector<int64_t>& fallback) {
  const auto* value = attribute<std::vector<int64_t>>(key, "a list of integers");
  return value != nullptr ? *value : fallback;
}

std::vector<double> ImportContext::floats_attribute(std::string_view key, const std::vector<double>& fallback) {
  const auto* value = attribute<std::vector<float>>(key, "a list of floats");
  return value != nullptr ? std::vector<double>(value->begin(), value->end()) : fallback;
}

const OnnxTensor* ImportContext::tensor_attribute(std::string_view key) {
  return attribute<OnnxTensor>(key, "a tensor");
}

std::shared_ptr<OnnxGraph> ImportContext::graph_attribute(std::string_view key) {
  const auto* value = attribute<std::shared_ptr<OnnxGraph>>(key, "a graph");
  return value != nullptr ? *value : nullptr;
}

Result<int64_t> ImportContext::axis(int64_t raw, size_t rank) const {
  const auto limit = static_cast<int64_t>(rank);
  if (raw < -limit || raw >= limit) {
    return invalid(fmt::format("axis {} is outside of a tensor of {} dimensions", raw, limit));
  }
  return raw < 0 ? raw + limit : raw;
}

Result<std::vector<int64_t>> ImportContext::axes(std::vector<int64_t> raw, size_t rank) const {
  for (int64_t& one : raw) {
    HAI_TRY(one, axis(one, rank));
  }
  std::sort(raw.begin(), raw.end());
  if (std::adjacent_find(raw.begin(), raw.end()) != raw.end()) return invalid("an axis is given twice");
  return raw;
}

// --- emitting ---

Result<std::vector<ir::ValueId>> ImportContext::fold(std::string_view op, const std::vector<ir::ValueId>& inputs,
                                                     const ir::Attributes& attributes, size_t output_count,
                                                     const std::optional<ir::TensorType>& declared) {
  ir::Graph scratch;
  std::vector<ir::ValueId> operands;
  for (const ir::ValueId id : inputs) {
    if (id == ir::kNone) {
      operands.push_back(ir::kNone);
      continue;
    }
    const ir::Value& value = state_.graph.value(id);
    operands.push_back(scratch.add_constant(value.name, value.type, value.constant));
  }
  ops::AppendOptions options;
  options.output_count = output_count;
  if (declared) options.declared = {declared};
  HAI_TRY(const ir::NodeId id, ops::append(scratch, op, std::move(operands), attributes, std::move(options)));
  const std::vector<ir::ValueId> outputs = scratch.node(id).outputs;
  for (const ir::ValueId output : outputs) {
    const auto count = element_count(scratch.value(output).type.shape);
    const int64_t size = count ? bytes_for(scratch.value(output).type.dtype, count->value) : INT64_MAX;
    if (!count || count->value > kMaxFoldedBytes || size > kMaxFoldedBytes ||
        state_.folded_bytes + size > kMaxAllFoldedBytes) {
      return invalid(fmt::format("computing this constant needs {} bytes", size));
    }
    state_.folded_bytes += size;
    scratch.add_output(output);
  }
  HAI_TRY(ops::InterpretResult result, ops::interpret(scratch, {}));
  std::vector<ir::ValueId> made;
  for (size_t i = 0; i < outputs.size(); ++i) {
    made.push_back(state_.graph.add_constant(i < node_.outputs.size() ? node_.outputs[i] : std::string(),
                                             scratch.value(outputs[i]).type,
                                             ir::ConstantData::copy_of(result.outputs[i].storage)));
  }
  return made;
}

Result<std::vector<ir::ValueId>> ImportContext::emit_many(std::string_view op, std::vector<ir::ValueId> inputs,
                                                          ir::Attributes attributes, size_t output_count) {
  const bool all_constant = std::all_of(inputs.begin(), inputs.end(), [&](ir::ValueId id) {
    return id == ir::kNone || state_.graph.value(id).is_constant();
  });
  if (all_constant && !inputs.empty() && op != "dequantize") {
    auto folded = fold(op, inputs, attributes, output_count, {});
    if (folded) return folded;
  }
  ops::AppendOptions options;
  options.node_name = node_.label();
  options.output_count = output_count;
  auto id = ops::append(state_.graph, op, std::move(inputs), std::move(attributes), std::move(options));
  if (!id) return placed(id.error());
  return state_.graph.node(*id).outputs;
}

Result<ir::ValueId> ImportContext::emit(std::string_view op, std::vector<ir::ValueId> inputs, ir::Attributes attributes,
                                        std::optional<ir::TensorType> declared) {
  if (!declared) {
    HAI_TRY(const std::vector<ir::ValueId> outputs, emit_many(op, std::move(inputs), std::move(attributes), 1));
    return outputs[0];
  }
  const bool all_constant = std::all_of(inputs.begin(), inputs.end(), [&](ir::ValueId id) {
    return id == ir::kNone || state_.graph.value(id).is_constant();
  });
  if (all_constant) {
    auto folded = fold(op, inputs, attributes, 1, declared);
    if (folded) return (*folded)[0];
  }
  ops::AppendOptions options;
  options.node_name = node_.label();
  options.declared = {std::move(declared)};
  auto id = ops::append_value(state_.graph, op, std::move(inputs), std::move(attributes), std::move(options));
  if (!id) return placed(id.error());
  return id;
}

ir::ValueId ImportContext::constant(const OnnxTensor& tensor) {
  return state_.graph.add_constant(node_.label(), {tensor.dtype, to_shape(tensor.dims), {}}, tensor.data);
}

ir::ValueId ImportContext::constant_f32(std::vector<float> values, std::vector<int64_t> dims) {
  return ops::add_constant_f32(state_.graph, node_.label() + ".constant", dims, values);
}

ir::ValueId ImportContext::scalar_like(ir::ValueId like, double value) {
  const DataType dtype = type(like).dtype;
  auto data = ir::ConstantData::allocate(static_cast<size_t>(bytes_for(dtype, 1)));
  ops::store_f64({dtype, {}, data->mutable_bytes().data()}, 0, value);
  return state_.graph.add_constant(node_.label() + ".constant", {dtype, {}, {}}, std::move(data));
}

Result<ir::ValueId> ImportContext::reshape(ir::ValueId x, const Shape& target) {
  const ir::Value& value = state_.graph.value(x);
  const Shape from = value.type.shape;
  if (from == target) return x;
  const auto have = element_count(from);
  const auto want = element_count(target);
  if (!have || !want || *have != *want) {
    return invalid(fmt::format("cannot reshape {} to {}: the number of elements differs",
                               to_string(from, state_.graph.symbols), to_string(target, state_.graph.symbols)));
  }
  if (value.is_constant() && (!value.type.quantization || value.type.quantization->per_tensor())) {
    return state_.graph.add_constant(value.name, {value.type.dtype, target, value.type.quantization}, value.constant);
  }
  std::vector<int64_t> sizes;
  bool inferred = false;
  for (size_t i = 0; i < target.size(); ++i) {
    if (i < from.size() && from[i] == target[i]) {
      sizes.push_back(0);
    } else if (!target[i].is_symbolic() && target[i].value > 0) {
      sizes.push_back(target[i].value);
    } else if (!inferred && target[i].is_symbolic()) {
      sizes.push_back(-1);
      inferred = true;
    } else {
      return unsupported(fmt::format("cannot reshape {} to {}", to_string(from, state_.graph.symbols),
                                     to_string(target, state_.graph.symbols)));
    }
  }
  return emit("reshape", {x}, {{"shape", std::move(sizes)}});
}

Result<ir::ValueId> ImportContext::transpose(ir::ValueId x, const std::vector<int64_t>& permutation) {
  const Shape from = shape(x);
  std::vector<int64_t> sorted = permutation;
  std::sort(sorted.begin(), sorted.end());
  if (permutation.size() != from.size() || !is_identity(sorted)) {
    return invalid(fmt::format("the permutation does not fit a tensor of {} dimensions", from.size()));
  }
  if (is_identity(permutation)) return x;
  const ir::Value value = state_.graph.value(x);  // a copy: adding to the graph moves values
  const int width = bit_width(value.type.dtype);
  if (value.is_constant() && width >= 8) {
    ir::TensorType type{value.type.dtype, {}, permuted(value.type.quantization, permutation)};
    for (const int64_t axis : permutation) type.shape.push_back(from[static_cast<size_t>(axis)]);
    if (keeps_order(from, permutation) || value.constant->bytes().empty()) {
      return state_.graph.add_constant(value.name, std::move(type), value.constant);
    }
    auto data = ir::ConstantData::allocate(value.constant->bytes().size());
    const std::byte* source = value.constant->bytes().data();
    std::byte* target = data->mutable_bytes().data();
    const auto dims = numbers_of(from);
    if (width == 8) permute<uint8_t>(source, target, dims, permutation);
    if (width == 16) permute<uint16_t>(source, target, dims, permutation);
    if (width == 32) permute<uint32_t>(source, target, dims, permutation);
    if (width == 64) permute<uint64_t>(source, target, dims, permutation);
    return state_.graph.add_constant(value.name, std::move(type), std::move(data));
  }
  if (value.producer != ir::kNone) {
    const ir::Node& producer = state_.graph.node(value.producer);
    if (producer.op == "dequantize" && state_.graph.value(producer.inputs[0]).is_constant()) {
      HAI_TRY(const ir::ValueId integers, transpose(producer.inputs[0], permutation));
      return emit("dequantize", {integers});
    }
    if (producer.op == "transpose") {  // two in a row: often each other's inverse
      const std::vector<int64_t> first = producer.ints_attribute("permutation");
      std::vector<int64_t> both;
      for (const int64_t axis : permutation) both.push_back(first[static_cast<size_t>(axis)]);
      if (is_identity(both)) return producer.inputs[0];
    }
  }
  return emit("transpose", {x}, {{"permutation", permutation}});
}

Result<ir::ValueId> ImportContext::channels_last(ir::ValueId x) {
  std::vector<int64_t> permutation(rank(x));
  std::iota(permutation.begin(), permutation.end(), 0);
  if (permutation.size() > 2) std::rotate(permutation.begin() + 1, permutation.begin() + 2, permutation.end());
  return transpose(x, permutation);
}

Result<ir::ValueId> ImportContext::channels_first(ir::ValueId x) {
  std::vector<int64_t> permutation(rank(x));
  std::iota(permutation.begin(), permutation.end(), 0);
  if (permutation.size() > 2) std::rotate(permutation.begin() + 1, permutation.end() - 1, permutation.end());
  return transpose(x, permutation);
}

// --- results ---

Status ImportContext::set_output(size_t i, ir::ValueId id) {
  if (!output_used(i)) return {};
  const std::string& name = node_.outputs[i];
  // A value that this node made takes the model's name for it; one that is passed through keeps its own.
  ir::Value& value = state_.graph.value(id);
  const bool made_here = value.producer != ir::kNone && state_.graph.node(value.producer).name == node_.label();
  if (made_here && value.name != name && !state_.graph.find_value(name)) state_.graph.rename_value(id, name);
  scope_.values[name] = {id, {}, nullptr};
  return {};
}

Status ImportContext::set_output_known(size_t i, KnownInts found) {
  if (output_used(i)) scope_.values[node_.outputs[i]] = {ir::kNone, std::move(found), nullptr};
  return {};
}

}  // namespace hai::onnx_import
