// Nodes against schemas, types against limits, and the whole-graph check that follows every pass.
//
// Order of the checks: operands and attributes first, so that infer() may rely on them; then inference; then the limits
// of what came out (hostile models reach this: products are checked, never wrapped).
#include "ops/verify.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/checked.h"
#include "ops/build.h"

namespace hai::ops {
namespace {

// Elements of one tensor at the symbols' upper bounds: bytes then fit 63 bits with room for sums over a model.
constexpr int64_t kMaxElements = int64_t{1} << 48;

std::string_view kind_name(AttributeKind kind) {
  constexpr std::string_view kNames[] = {"an integer", "a float", "a string", "a list of integers", "a list of floats"};
  return kNames[static_cast<size_t>(kind)];
}

std::string place_of(const ir::Node& node) {
  return node.name.empty() ? fmt::format("operator {}", node.op) : fmt::format("node \"{}\" ({})", node.name, node.op);
}

Status check_operands(const OpSchema& schema, const ir::Node& node) {
  const bool variadic = !schema.inputs.empty() && schema.inputs.back().variadic;
  size_t required = 0;
  for (size_t i = 0; i < schema.inputs.size(); ++i) {
    if (!schema.inputs[i].optional) required = i + 1;
  }
  if (node.inputs.size() < required || (!variadic && node.inputs.size() > schema.inputs.size())) {
    return make_error(StatusCode::kInvalidArgument, "O001", "{} operands given, {} takes {}{}{}", node.inputs.size(),
                      schema.name, required, variadic ? " or more" : "",
                      !variadic && schema.inputs.size() != required ? fmt::format(" to {}", schema.inputs.size()) : "");
  }
  for (size_t i = 0; i < node.inputs.size(); ++i) {
    const OperandSpec& spec = schema.inputs[std::min(i, schema.inputs.size() - 1)];
    if (node.inputs[i] == ir::kNone && !spec.optional) {
      return make_error(StatusCode::kInvalidArgument, "O002", "operand {} (\"{}\") is missing and not optional", i,
                        spec.name);
    }
  }
  return {};
}

Status check_attributes(const OpSchema& schema, const ir::Node& node) {
  for (const auto& [name, value] : node.attributes) {
    const auto spec = std::find_if(schema.attributes.begin(), schema.attributes.end(),
                                   [&key = name](const AttributeSpec& candidate) { return candidate.name == key; });
    if (spec == schema.attributes.end()) {
      std::string known;
      for (const AttributeSpec& candidate : schema.attributes) {
        known += known.empty() ? "" : ", ";
        known += candidate.name;
      }
      return make_error(StatusCode::kInvalidArgument, "O003", "attribute \"{}\" is not one of {} ({})", name,
                        schema.name, known.empty() ? "it has none" : known);
    }
    if (value.index() != static_cast<size_t>(spec->kind)) {
      return make_error(StatusCode::kInvalidArgument, "O004", "attribute \"{}\" must be {}", name,
                        kind_name(spec->kind));
    }
    const auto* number = std::get_if<double>(&value);
    const auto* list = std::get_if<std::vector<double>>(&value);
    if ((number != nullptr && std::isnan(*number)) ||
        (list != nullptr && std::any_of(list->begin(), list->end(), [](double x) { return std::isnan(x); }))) {
      return make_error(StatusCode::kInvalidArgument, "O005", "attribute \"{}\" is not a number (NaN)", name);
    }
  }
  for (const AttributeSpec& spec : schema.attributes) {
    if (spec.required && !node.has_attribute(spec.name)) {
      return make_error(StatusCode::kInvalidArgument, "O006", "attribute \"{}\" is required: {}", spec.name, spec.doc);
    }
  }
  return {};
}

Status check_quantization(const ir::TensorType& type) {
  const Quantization& quantization = *type.quantization;
  if (!is_integer(type.dtype)) {
    return make_error(StatusCode::kInvalidArgument, "O030", "type {} carries a quantization; only integers do",
                      data_type_name(type.dtype));
  }
  if (quantization.scales.empty() || quantization.scales.size() != quantization.zero_points.size()) {
    return make_error(StatusCode::kInvalidArgument, "O031", "quantization has {} scales and {} zero points",
                      quantization.scales.size(), quantization.zero_points.size());
  }
  for (size_t i = 0; i < quantization.scales.size(); ++i) {
    const float scale = quantization.scales[i];
    const int64_t zero_point = quantization.zero_points[i];
    const bool narrow = bit_width(type.dtype) <= 32;
    if (!(scale > 0.0F) || !std::isfinite(scale)) {
      return make_error(StatusCode::kInvalidArgument, "O032", "scale {} must be finite and greater than 0", scale);
    }
    if (narrow && (zero_point < integer_min(type.dtype) || zero_point > integer_max(type.dtype))) {
      return make_error(StatusCode::kOutOfRange, "O033", "zero point {} is outside the range of {}", zero_point,
                        data_type_name(type.dtype));
    }
  }
  return {};
}

}  // namespace

Status check_node(const OpSchema& schema, const ir::Node& node) {
  HAI_TRY_STATUS(check_operands(schema, node));
  return check_attributes(schema, node);
}

Status check_type(const ir::TensorType& type, std::span<const Symbol> symbols) {
  if (type.shape.size() > static_cast<size_t>(kMaxRank)) {
    return make_error(StatusCode::kUnsupported, "O034", "shape {} has rank {}, the limit is {}",
                      to_string(type.shape, symbols), type.shape.size(), kMaxRank);
  }
  int64_t count = 1;
  bool empty = false;
  bool overflow = false;
  int32_t symbol = -1;
  for (const Dim& dim : type.shape) {
    if (dim.value < 0 || (dim.is_symbolic() && static_cast<size_t>(dim.symbol) >= symbols.size())) {
      return make_error(StatusCode::kInvalidArgument, "O035", "shape {} has a negative size or an unknown symbol",
                        to_string(type.shape, symbols));
    }
    if (dim.is_symbolic() && symbol >= 0) {
      return make_error(StatusCode::kUnsupported, "O036",
                        "shape {} has symbols on two axes; bind one to a number (--dim name=value)",
                        to_string(type.shape, symbols));
    }
    if (dim.is_symbolic()) symbol = dim.symbol;
    const int64_t factor = dim.is_symbolic() ? symbols[static_cast<size_t>(dim.symbol)].max : 1;
    const auto size = checked_mul(dim.value, factor);
    const auto product = size ? checked_mul(count, *size) : std::nullopt;
    empty = empty || dim.value == 0;
    overflow = overflow || !product || *product > kMaxElements;
    count = overflow ? 1 : *product;
  }
  if (overflow && !empty) {
    return make_error(StatusCode::kOutOfRange, "O037", "shape {} has more than 2^48 elements",
                      to_string(type.shape, symbols));
  }
  return type.quantization ? check_quantization(type) : Status{};
}

Result<std::vector<ir::TensorType>> infer_types(const ir::Graph& graph, const ir::Node& node,
                                                std::span<const std::optional<ir::TensorType>> declared) {
  const OpSchema* schema = find_op_schema(node.op);
  if (schema == nullptr) {
    return with_where(make_error(StatusCode::kUnsupported, "O007",
                                 "there is no operator \"{}\"; `hai ops` lists those there are", node.op),
                      place_of(node));
  }
  if (auto status = check_node(*schema, node); !status) return with_where(status.error(), place_of(node));
  std::vector<const ir::TensorType*> inputs;
  std::vector<const ir::ConstantData*> constants;
  for (const ir::ValueId id : node.inputs) {
    inputs.push_back(id == ir::kNone ? nullptr : &graph.value(id).type);
    constants.push_back(id == ir::kNone ? nullptr : graph.value(id).constant.get());
  }
  // Trailing optional operands may be left off: infer sees them as absent.
  const bool variadic = !schema->inputs.empty() && schema->inputs.back().variadic;
  if (!variadic) {
    inputs.resize(schema->inputs.size(), nullptr);
    constants.resize(schema->inputs.size(), nullptr);
  }
  auto types = schema->infer(*schema, {inputs, constants, declared, node, graph.symbols});
  if (!types) return with_where(types.error(), place_of(node));
  for (const ir::TensorType& type : *types) {
    if (auto status = check_type(type, graph.symbols); !status) return with_where(status.error(), place_of(node));
  }
  return types;
}

namespace {

std::string describe_type(const ir::TensorType& type, std::span<const Symbol> symbols) {
  std::string text(data_type_name(type.dtype));
  text += to_string(type.shape, symbols);
  if (type.quantization && type.quantization->per_tensor() && !type.quantization->scales.empty()) {
    text += fmt::format(" quant({}, {})", type.quantization->scales[0], type.quantization->zero_points[0]);
  } else if (type.quantization) {
    text += fmt::format(" quant(axis {})", type.quantization->axis);
  }
  return text;
}

}  // namespace

Status verify(const ir::Graph& graph) {
  HAI_TRY_STATUS(ir::verify_structure(graph));
  for (ir::ValueId id = 0; id < graph.value_slots(); ++id) {
    const ir::Value& value = graph.value(id);
    if (!value.alive) continue;
    if (auto status = check_type(value.type, graph.symbols); !status) {
      return with_where(status.error(), fmt::format("value \"{}\"", value.name));
    }
  }
  HAI_TRY(const std::vector<ir::NodeId> order, graph.ordered());
  for (const ir::NodeId id : order) {
    const ir::Node& node = graph.node(id);
    HAI_TRY(const std::vector<ir::TensorType> types, infer_node(graph, id));
    if (types.size() != node.outputs.size()) {
      return with_where(make_error(StatusCode::kInvalidArgument, "O008", "has {} outputs, inference gives {}",
                                   node.outputs.size(), types.size()),
                        place_of(node));
    }
    for (size_t i = 0; i < types.size(); ++i) {
      const ir::Value& value = graph.value(node.outputs[i]);
      if (value.type == types[i]) continue;
      return with_where(
          make_error(StatusCode::kInvalidArgument, "O009", "output \"{}\" is {}, inference gives {}", value.name,
                     describe_type(value.type, graph.symbols), describe_type(types[i], graph.symbols)),
          place_of(node));
    }
  }
  return {};
}

}  // namespace hai::ops
