// Reading the tables of what the NPU takes: verdicts with reasons, and the words of the page.
//
// A rule says why it refuses from its own numbers, so that a table that is changed needs no text changed.
#include "devices/sd3403/lower/legality.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "devices/sd3403/lower/half.h"
#include "devices/sd3403/lower/segment_builder.h"

namespace hai::sd3403 {
namespace {

using ir::Graph;
using ir::Node;
using ir::ValueId;
using Kind = Rule::Kind;

std::vector<ValueId> values_of(const Node& node, int operand) {
  std::vector<ValueId> out;
  if (operand == kResult) {
    out = {node.outputs[0]};
  } else if (operand == kEveryResult) {
    out = node.outputs;
  } else if (operand == kEveryInput) {
    out = node.inputs;
  } else if (static_cast<size_t>(operand) < node.inputs.size()) {
    out = {node.inputs[static_cast<size_t>(operand)]};
  }
  std::erase(out, ir::kNone);
  return out;
}

std::vector<int64_t> numbers_of(const Node& node, std::string_view attribute) {
  const auto at = node.attributes.find(attribute);
  if (at == node.attributes.end()) return {};
  if (const auto* number = std::get_if<int64_t>(&at->second)) return {*number};
  return std::get<std::vector<int64_t>>(at->second);
}

std::string range_text(const Rule& rule) {
  if (rule.most == INT64_MAX) return fmt::format("at least {}", rule.least);
  if (rule.least == rule.most) return fmt::format("{}", rule.least);
  return fmt::format("{} to {}", rule.least, rule.most);
}

bool within(const Rule& rule, int64_t number) { return number >= rule.least && number <= rule.most; }

Status check_types(Types types, const Graph& graph, const Node& node, ValueId value) {
  switch (types) {
    case Types::kIntegers:
      return require_integers(graph, node, value);
    case Types::kBytes:
      HAI_TRY_STATUS(require_integers(graph, node, value));
      if (bit_width(graph.value(value).type.dtype) == 8) return {};
      return refuse(node, fmt::format("{} has 16 bits; those of 8 bits fit", graph.value(value).name));
    case Types::kHalves:
      return require_halves(graph, node, value);
    case Types::kElements:
      return require_elements(graph, node, value);
    case Types::kReals:
      return require_reals(graph, node, value);
  }
  return {};
}

Status check_value(const Rule& rule, const Graph& graph, const Node& node, ValueId id) {
  if (rule.kind == Kind::kTypes) return check_types(rule.types, graph, node, id);
  const ir::Value& value = graph.value(id);
  if (rule.kind == Kind::kConstant) {
    return value.is_constant() ? Status() : refuse(node, fmt::format("{} is no constant", value.name));
  }
  const Shape& shape = value.type.shape;
  const auto dimensions = static_cast<int64_t>(shape.size());
  if (rule.kind == Kind::kRank) {
    if (within(rule, dimensions)) return {};
    return refuse(node, fmt::format("{} has {} axes; it takes {}", value.name, dimensions, range_text(rule)));
  }
  if (rule.axis < shape.size() && !shape[rule.axis].is_symbolic() && within(rule, shape[rule.axis].value)) return {};
  return refuse(node, fmt::format("{} is {} along axis {}; it takes {}", value.name, to_string(shape, graph.symbols),
                                  rule.axis, range_text(rule)));
}

Status check_axes(const Rule& rule, const Graph& graph, const Node& node) {
  const auto dimensions = static_cast<int64_t>(graph.value(node.inputs[0]).type.shape.size());
  std::vector<int64_t> axes = numbers_of(node, rule.attribute);
  if (axes.empty()) axes = {rule.kind == Kind::kLastAxis ? -1 : rule.least};
  for (const int64_t given : axes) {
    const int64_t axis = given < 0 ? given + dimensions : given;
    if (rule.kind == Kind::kInnerAxes && axis == 0) return refuse(node, "it works along the batch");
    if (rule.kind == Kind::kLastAxis && axis != dimensions - 1)
      return refuse(node, fmt::format("it works along axis {}; the last one fits", given));
  }
  return {};
}

Status check_rule(const Rule& rule, const Graph& graph, const Node& node) {
  switch (rule.kind) {
    case Kind::kTypes:
    case Kind::kConstant:
    case Kind::kRank:
    case Kind::kSize:
      for (const ValueId value : values_of(node, rule.operand)) {
        HAI_TRY_STATUS(check_value(rule, graph, node, value));
      }
      return {};
    case Kind::kAttribute:
      for (const int64_t number : numbers_of(node, rule.attribute)) {
        if (within(rule, number)) continue;
        return refuse(node, fmt::format("{} of {}; it takes {}", rule.attribute, number, range_text(rule)));
      }
      return {};
    case Kind::kAttributeIs: {
      const std::string choice = node.string_attribute(rule.attribute, rule.text);
      if (choice == rule.text) return {};
      return refuse(node, fmt::format("{} \"{}\"; it has \"{}\"", rule.attribute, choice, rule.text));
    }
    case Kind::kInnerAxes:
    case Kind::kLastAxis:
      return check_axes(rule, graph, node);
    case Kind::kCheck:
      return rule.check(graph, node);
  }
  return {};
}

std::string_view types_text(Types types) {
  switch (types) {
    case Types::kIntegers:
      return "i8, u8 or i16 with one scale";
    case Types::kBytes:
      return "i8 or u8 with one scale";
    case Types::kHalves:
      return "f16";
    case Types::kElements:
      return "i8, u8 or i16 with one scale, or f16";
    case Types::kReals:
      return "f16 or f32";
  }
  return "?";
}

std::string operand_text(int operand, const OpSchema& schema) {
  if (operand == kEveryInput) return "every operand";
  if (operand == kEveryResult) return "every result";
  if (operand == kResult) return fmt::format("`{}`", schema.outputs[0].name);
  return fmt::format("`{}`", schema.inputs[static_cast<size_t>(operand)].name);
}

std::string describe_rule(const Rule& rule, const OpSchema& schema) {
  switch (rule.kind) {
    case Kind::kTypes:
      return fmt::format("{} {}", operand_text(rule.operand, schema), types_text(rule.types));
    case Kind::kConstant:
      return fmt::format("{} a constant", operand_text(rule.operand, schema));
    case Kind::kRank:
      return fmt::format("{} of {} axes", operand_text(rule.operand, schema), range_text(rule));
    case Kind::kSize:
      return fmt::format("{} {} along axis {}", operand_text(rule.operand, schema), range_text(rule), rule.axis);
    case Kind::kAttribute:
      return fmt::format("`{}` {}", rule.attribute, range_text(rule));
    case Kind::kAttributeIs:
      return fmt::format("`{}` \"{}\"", rule.attribute, rule.text);
    case Kind::kInnerAxes:
      return fmt::format("`{}` not the batch", rule.attribute);
    case Kind::kLastAxis:
      return fmt::format("`{}` the last", rule.attribute);
    case Kind::kCheck:
      return std::string(rule.text);
  }
  return "?";
}

}  // namespace

Rules join(std::initializer_list<Rules> parts) {
  Rules out;
  for (const Rules& part : parts) out.insert(out.end(), part.begin(), part.end());
  return out;
}

bool of_halves(const Graph& graph, const Node& node) { return is_half(graph.value(node.inputs[0]).type); }

Status check_legality(const Legality& legality, const Graph& graph, const Node& node) {
  for (const RuleTable& table : legality) {
    if (table.applies != nullptr && !table.applies(graph, node)) continue;
    for (const Rule& rule : table.rules) {
      HAI_TRY_STATUS(check_rule(rule, graph, node));
    }
    return {};
  }
  return refuse(node, "no form of it fits");
}

std::vector<std::string> describe(const Legality& legality, const OpSchema& schema) {
  std::vector<std::string> out;
  for (const RuleTable& table : legality) {
    std::vector<std::string> texts;
    for (const Rule& rule : table.rules) texts.push_back(describe_rule(rule, schema));
    out.push_back(fmt::format("{}{}{}", table.when, table.when.empty() ? "" : ": ", fmt::join(texts, "; ")));
  }
  return out;
}

}  // namespace hai::sd3403
