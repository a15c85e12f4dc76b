// What the NPU takes of an operator, as tables of rules: the partition reads them for its verdict, `hai ops --markdown`
// for the page of operators.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "ir/graph.h"
#include "ops/op_schema.h"

namespace hai::sd3403 {

// Of an operand or result that is no constant and has the shape of single samples within the fields of commands.
enum class Types : uint8_t {
  kIntegers,  // i8, u8, i16 with one scale
  kBytes,     // those of 8 bits
  kHalves,    // f16
  kElements,  // kIntegers or kHalves
  kReals,     // f16 or f32
};

// Which operand a rule is about; an optional one that is absent passes.
inline constexpr int kResult = -1;  // the first
inline constexpr int kEveryInput = -2;
inline constexpr int kEveryResult = -3;

struct Rule {
  enum class Kind : uint8_t {
    kTypes,        // the operand is of `types`
    kConstant,     // the operand is a constant
    kRank,         // its rank is `least` to `most`
    kSize,         // its size along `axis` is
    kAttribute,    // so is each number of the attribute, if given
    kAttributeIs,  // the attribute is `text`, which is also its default
    kInnerAxes,    // no axis in the attribute is the batch; absent it is axis `least`
    kLastAxis,     // the axis in the attribute is the last; absent it is
    kCheck,        // what `text` says, decided by `check`
  };
  using Check = Status (*)(const ir::Graph& graph, const ir::Node& node);

  Kind kind = Kind::kCheck;
  int operand = 0;
  Types types = Types::kElements;
  std::string_view attribute = {};
  std::string_view text = {};
  size_t axis = 0;
  int64_t least = 0;
  int64_t most = INT64_MAX;
  Check check = nullptr;
};

constexpr Rule takes(int operand, Types types) {
  return {.kind = Rule::Kind::kTypes, .operand = operand, .types = types};
}
constexpr Rule constant(int operand) { return {.kind = Rule::Kind::kConstant, .operand = operand}; }
constexpr Rule rank(int operand, int64_t least, int64_t most) {
  return {.kind = Rule::Kind::kRank, .operand = operand, .least = least, .most = most};
}
constexpr Rule size(int operand, size_t axis, int64_t most) {
  return {.kind = Rule::Kind::kSize, .operand = operand, .axis = axis, .least = 1, .most = most};
}
constexpr Rule attribute_between(std::string_view name, int64_t least, int64_t most = INT64_MAX) {
  return {.kind = Rule::Kind::kAttribute, .attribute = name, .least = least, .most = most};
}
constexpr Rule attribute_is(std::string_view name, std::string_view choice) {
  return {.kind = Rule::Kind::kAttributeIs, .attribute = name, .text = choice};
}
constexpr Rule inner_axes(std::string_view name, int64_t fallback) {
  return {.kind = Rule::Kind::kInnerAxes, .attribute = name, .least = fallback};
}
constexpr Rule last_axis(std::string_view name) { return {.kind = Rule::Kind::kLastAxis, .attribute = name}; }
// For what concerns several things at once. `text` reads as the end of "the NPU takes it with ...".
constexpr Rule checked(std::string_view text, Rule::Check check) {
  return {.kind = Rule::Kind::kCheck, .text = text, .check = check};
}

using Rules = std::vector<Rule>;
Rules join(std::initializer_list<Rules> parts);

struct RuleTable {
  std::string_view when = {};                                               // "of f16"; empty where it is the only one
  bool (*applies)(const ir::Graph& graph, const ir::Node& node) = nullptr;  // null: always
  Rules rules = {};
};
// The first table that applies decides.
using Legality = std::vector<RuleTable>;

// That the first operand is f16.
bool of_halves(const ir::Graph& graph, const ir::Node& node);

// Ok, or the first rule that is broken: N100 with its reason, N101 where the batch is the reason.
Status check_legality(const Legality& legality, const ir::Graph& graph, const ir::Node& node);

// A line a table: "`x` i8, u8 or i16 with one scale; `strides` 1 to 63".
std::vector<std::string> describe(const Legality& legality, const OpSchema& schema);

}  // namespace hai::sd3403
