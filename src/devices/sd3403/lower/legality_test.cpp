// The tables of what the NPU takes: every kind of rule accepts and refuses with its reason, and every table of every
// operator speaks of operands and attributes that its schema has.
#include "devices/sd3403/lower/legality.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "devices/sd3403/lower/segment_builder.h"
#include "ir/text.h"

namespace hai::sd3403 {
namespace {

ir::Graph graph_of(const std::string& body) {
  auto graph = ir::parse("graph \"g\" (N in 1..8) {\n" + body + "}\n");
  EXPECT_TRUE(graph) << graph.error().to_string() << "\n" << body;
  return std::move(graph).value();
}

// A node over x, of a type, with attributes; the verdict of one rule.
std::string verdict(const Rule& rule, const std::string& type, const std::string& attributes = "") {
  const ir::Graph graph = graph_of("  input %x: " + type + "\n  const %w: i8[2] = hex\"0102\"\n  %y: " + type +
                                   " = f(%x, %w) {k = 1" + attributes + "}\n  output %y\n");
  const Status status = check_legality({{.rules = {rule}}}, graph, graph.node(0));
  return status ? "" : status.error().message;
}

constexpr const char* kBytesType = "i8[N, 4, 5, 6] quant(0.5, 0)";
constexpr const char* kWordsType = "i16[N, 4, 5, 6] quant(0.5, 0)";
constexpr const char* kHalfType = "f16[N, 4, 5, 6]";
constexpr const char* kFloatType = "f32[N, 4, 5, 6]";

TEST(Legality, Types) {
  struct Case {
    Types types;
    std::vector<const char*> takes, refuses;
  };
  const std::vector<Case> cases = {
      {Types::kIntegers, {kBytesType, kWordsType}, {kHalfType, kFloatType, "i8[N, 4]", "i32[N, 4] quant(0.5, 0)"}},
      {Types::kBytes, {kBytesType, "u8[N, 4] quant(0.5, 3)"}, {kWordsType, kHalfType, kFloatType}},
      {Types::kHalves, {kHalfType}, {kBytesType, kFloatType}},
      {Types::kElements, {kBytesType, kWordsType, kHalfType}, {kFloatType}},
      {Types::kReals, {kHalfType, kFloatType}, {kBytesType, "bool[N, 4]"}},
  };
  for (const Case& one : cases) {
    for (const int operand : {0, kResult, kEveryResult}) {
      for (const char* type : one.takes) EXPECT_EQ(verdict(takes(operand, one.types), type), "") << type;
      for (const char* type : one.refuses) EXPECT_NE(verdict(takes(operand, one.types), type), "") << type;
    }
  }
  EXPECT_NE(verdict(takes(0, Types::kHalves), "f16[3, 4]").find("no batch of single samples"), std::string::npos);
  EXPECT_NE(verdict(takes(0, Types::kHalves), "f16[N, 9000, 4, 4]").find("is larger than"), std::string::npos);
  EXPECT_EQ(verdict(takes(2, Types::kHalves), kBytesType), "");  // no such operand here
}

TEST(Legality, NumbersSayTheirRange) {
  EXPECT_EQ(verdict(constant(1), kHalfType), "");
  EXPECT_NE(verdict(constant(0), kHalfType).find("x is no constant"), std::string::npos);
  EXPECT_EQ(verdict(rank(0, 2, 4), kHalfType), "");
  EXPECT_NE(verdict(rank(0, 2, 3), kHalfType).find("x has 4 axes; it takes 2 to 3"), std::string::npos);
  EXPECT_EQ(verdict(size(0, 2, 5), kHalfType), "");
  EXPECT_NE(verdict(size(0, 2, 4), kHalfType).find("along axis 2; it takes 1 to 4"), std::string::npos);
  EXPECT_NE(verdict(size(0, 0, 4), kHalfType), "") << "a size that depends on the batch";
  EXPECT_NE(verdict(size(0, 4, 4), kHalfType), "") << "no such axis";
  EXPECT_EQ(verdict(attribute_between("strides", 1, 63), kHalfType), "");
  EXPECT_EQ(verdict(attribute_between("strides", 1, 63), kHalfType, ", strides = [1, 63]"), "");
  EXPECT_NE(verdict(attribute_between("strides", 1, 63), kHalfType, ", strides = [1, 64]")
                .find("strides of 64; it takes 1 to 63"),
            std::string::npos);
  EXPECT_NE(verdict(attribute_between("strides", 1), kHalfType, ", strides = 0").find("it takes at least 1"),
            std::string::npos);
  EXPECT_EQ(verdict(attribute_is("mode", "a"), kHalfType), "");
  EXPECT_EQ(verdict(attribute_is("mode", "a"), kHalfType, ", mode = \"a\""), "");
  EXPECT_NE(verdict(attribute_is("mode", "a"), kHalfType, ", mode = \"b\"").find("mode \"b\"; it has \"a\""),
            std::string::npos);
}

TEST(Legality, Axes) {
  EXPECT_NE(verdict(inner_axes("axis", 0), kHalfType), "") << "the batch where nothing is said";
  EXPECT_EQ(verdict(inner_axes("axis", -1), kHalfType), "");
  EXPECT_EQ(verdict(inner_axes("axis", 0), kHalfType, ", axis = -3"), "");
  EXPECT_NE(verdict(inner_axes("axis", 0), kHalfType, ", axis = -4").find("along the batch"), std::string::npos);
  EXPECT_NE(verdict(inner_axes("axes", 0), kHalfType, ", axes = [1, 0]"), "");
  EXPECT_EQ(verdict(last_axis("axis"), kHalfType), "");
  EXPECT_EQ(verdict(last_axis("axis"), kHalfType, ", axis = 3"), "");
  EXPECT_NE(verdict(last_axis("axis"), kHalfType, ", axis = 2").find("axis 2; the last one fits"), std::string::npos);
}

TEST(Legality, TheFirstTableThatAppliesDecides) {
  const ir::Graph graph =
      graph_of(std::string("  input %x: ") + kHalfType + "\n  %y: " + kHalfType + " = f(%x)\n  output %y\n");
  const Legality never = {{"of f16", of_halves, {rank(0, 1, 1)}}, {"of integers", nullptr, {}}};
  EXPECT_FALSE(check_legality(never, graph, graph.node(0)));
  const Legality empty = {{"of f16", of_halves, {}}, {"of integers", nullptr, {rank(0, 1, 1)}}};
  EXPECT_TRUE(check_legality(empty, graph, graph.node(0)));
}

TEST(Legality, TablesSpeakOfWhatSchemasHave) {
  size_t tables = 0;
  for (const OpSchema* schema : all_op_schemas()) {
    const NpuLowering* lowering = LowerRegistry::instance().find(schema->name);
    if (lowering == nullptr) continue;
    EXPECT_FALSE(lowering->legality.empty()) << schema->name;
    EXPECT_EQ(lowering->legality.back().applies, nullptr) << schema->name << ": a node that no table is for";
    for (const RuleTable& table : lowering->legality) {
      ++tables;
      EXPECT_FALSE(table.rules.empty()) << schema->name;
      for (const Rule& rule : table.rules) {
        if (rule.kind == Rule::Kind::kCheck) {
          EXPECT_NE(rule.check, nullptr) << schema->name;
          EXPECT_FALSE(rule.text.empty()) << schema->name;
        }
        EXPECT_LT(rule.operand, static_cast<int>(schema->inputs.size())) << schema->name;
        EXPECT_LE(rule.least, rule.most) << schema->name;
        if (rule.attribute.empty()) continue;
        const auto found = std::find_if(schema->attributes.begin(), schema->attributes.end(),
                                        [&](const AttributeSpec& spec) { return spec.name == rule.attribute; });
        ASSERT_NE(found, schema->attributes.end()) << schema->name << " " << rule.attribute;
        const bool text = rule.kind == Rule::Kind::kAttributeIs;
        EXPECT_EQ(found->kind == AttributeKind::kString, text) << schema->name << " " << rule.attribute;
        EXPECT_NE(found->kind, AttributeKind::kFloats) << schema->name << " " << rule.attribute;
      }
    }
    for (const std::string& line : describe(lowering->legality, *schema)) EXPECT_GT(line.size(), 8U) << schema->name;
  }
  EXPECT_GT(tables, 20U);
}

}  // namespace
}  // namespace hai::sd3403
