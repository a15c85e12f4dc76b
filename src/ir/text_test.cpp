// The text form: random graphs print and parse back to equal graphs; hostile text gives errors with line and column.
#include "ir/text.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>

namespace hai::ir {
namespace {

class RandomGraph {
 public:
  explicit RandomGraph(uint64_t seed) : random_(seed) {}

  Graph make() {
    Graph graph;
    graph.name = name();
    if (chance(70)) graph.symbols = {{"N", 1, 16}};
    if (chance(20)) graph.symbols.push_back({"odd name", 2, 1 << 20});
    for (int64_t i = below(3); i > 0; --i) graph.metadata[name()] = name();
    std::vector<ValueId> values;
    for (int64_t i = 1 + below(3); i > 0; --i) values.push_back(graph.add_input(name(), type(graph, true)));
    for (int64_t i = below(4); i > 0; --i) {
      const TensorType constant_type = type(graph, false);
      auto data = ConstantData::allocate(
          static_cast<size_t>(bytes_for(constant_type.dtype, element_count(constant_type.shape)->value)));
      for (std::byte& byte : data->mutable_bytes()) byte = static_cast<std::byte>(below(256));
      values.push_back(graph.add_constant(name(), constant_type, data));
    }
    for (int64_t i = below(13); i > 0; --i) add_random_node(graph, values);
    for (int64_t i = 1 + below(3); i > 0; --i) graph.add_output(pick(values));
    if (chance(50)) add_random_states(graph);
    return graph;
  }

 private:
  // States of the inputs that have static shapes, and outputs for those which a run changes.
  void add_random_states(Graph& graph) {
    for (size_t i = 0; i < graph.inputs().size(); ++i) {
      const ValueId input = graph.inputs()[i];
      const TensorType& held = graph.value(input).type;
      const auto count = element_count(held.shape);
      if (count->is_symbolic()) continue;
      State state{i, State::kKept, nullptr, chance(50)};
      if (chance(50)) {
        state.output = graph.outputs().size();
        graph.add_output(input);
      }
      if (chance(50)) {
        auto data = ConstantData::allocate(static_cast<size_t>(bytes_for(held.dtype, count->value)));
        for (std::byte& byte : data->mutable_bytes()) byte = static_cast<std::byte>(below(256));
        state.initial = std::move(data);
      }
      graph.states.push_back(std::move(state));
    }
  }

  int64_t below(int64_t limit) { return std::uniform_int_distribution<int64_t>(0, limit - 1)(random_); }
  bool chance(int percent) { return below(100) < percent; }
  ValueId pick(const std::vector<ValueId>& values) {
    return values[static_cast<size_t>(below(static_cast<int64_t>(values.size())))];
  }

  std::string name() {
    static const char* const kNames[] = {"x",     "conv",      "/features/0/Conv_output_0",
                                         "a.b-c", "a b",       "quote\"back\\slash",
                                         "7",     "tab\tline", "\xc3\xa4\x01",
                                         "end:",  "none",      "a::b"};
    return kNames[below(12)] + (chance(50) ? std::to_string(below(100)) : std::string());
  }

  double real() {
    switch (below(6)) {
      case 0:
        return static_cast<double>(below(1000));
      case 1:
        return -std::numeric_limits<double>::infinity();
      case 2:
        return std::ldexp(1.0 + static_cast<double>(below(1 << 20)) / 1048576.0, static_cast<int>(below(200)) - 100);
      case 3:
        return -0.0;
      case 4:
        return std::numeric_limits<double>::denorm_min();
      default:
        return 0.1;
    }
  }

  float scale() { return static_cast<float>(std::ldexp(1.0 + static_cast<double>(below(1 << 20)) / 1048576.0, -7)); }

  TensorType type(const Graph& graph, bool may_be_symbolic) {
    TensorType out;
    out.dtype = static_cast<DataType>(below(kDataTypeCount));
    for (int64_t i = below(5); i > 0; --i) out.shape.emplace_back(below(5));
    const auto symbols = static_cast<int64_t>(graph.symbols.size());
    if (may_be_symbolic && symbols > 0 && !out.shape.empty() && chance(60)) {
      out.shape[0] = Dim(1 + below(3), static_cast<int32_t>(below(symbols)));
    }
    if (!is_integer(out.dtype) || chance(40)) return out;
    const auto axis = out.shape.size() - 1;
    if (out.shape.empty() || out.shape[axis].is_symbolic() || out.shape[axis].value == 0 || chance(50)) {
      out.quantization = per_tensor_quantization(scale(), static_cast<int32_t>(below(8)));
    } else {
      Quantization quantization;
      quantization.axis = static_cast<int32_t>(axis);
      for (int64_t i = 0; i < out.shape[axis].value; ++i) {
        quantization.scales.push_back(scale());
        quantization.zero_points.push_back(0);
      }
      out.quantization = quantization;
    }
    return out;
  }

  void add_random_node(Graph& graph, std::vector<ValueId>& values) {
    std::vector<ValueId> inputs;
    for (int64_t i = below(4); i > 0; --i) inputs.push_back(chance(15) ? kNone : pick(values));
    Attributes attributes;
    for (int64_t i = below(4); i > 0; --i) {
      const std::string key = chance(80) ? "key_" + std::to_string(below(9)) : name();
      switch (below(7)) {
        case 0:
          attributes[key] = below(INT64_MAX) - (INT64_MAX / 2);
          break;
        case 1:
          attributes[key] = real();
          break;
        case 2:
          attributes[key] = name();
          break;
        case 3:
          attributes[key] = std::vector<int64_t>{1, INT64_MIN, below(9)};
          break;
        case 4:
          attributes[key] = std::vector<double>{real(), 2.0, real()};
          break;
        case 5:
          attributes[key] = std::vector<double>{};
          break;
        default:
          attributes[key] = std::vector<int64_t>{};
      }
    }
    std::vector<TensorType> types;
    std::vector<std::string> names;
    for (int64_t i = below(3); i >= 0; --i) {
      types.push_back(type(graph, true));
      names.push_back(name());
    }
    const NodeId id = graph.add_node(chance(90) ? "conv2d" : "odd op", std::move(inputs), std::move(types),
                                     std::move(attributes), chance(50) ? name() : "", std::move(names));
    for (const ValueId output : graph.node(id).outputs) values.push_back(output);
  }

  std::mt19937_64 random_;
};

void expect_equal(const Graph& a, const Graph& b) {
  EXPECT_EQ(a.name, b.name);
  EXPECT_EQ(a.symbols, b.symbols);
  EXPECT_EQ(a.metadata, b.metadata);
  EXPECT_EQ(a.inputs(), b.inputs());
  EXPECT_EQ(a.outputs(), b.outputs());
  ASSERT_EQ(a.states.size(), b.states.size());
  for (size_t i = 0; i < a.states.size(); ++i) {
    const State& left = a.states[i];
    const State& right = b.states[i];
    EXPECT_EQ(left.input, right.input);
    EXPECT_EQ(left.output, right.output);
    EXPECT_EQ(left.is_parameter, right.is_parameter);
    ASSERT_EQ(left.initial == nullptr, right.initial == nullptr);
    if (left.initial) {
      const auto x = left.initial->bytes();
      const auto y = right.initial->bytes();
      EXPECT_TRUE(std::equal(x.begin(), x.end(), y.begin(), y.end()));
    }
  }
  ASSERT_EQ(a.value_slots(), b.value_slots());
  ASSERT_EQ(a.node_slots(), b.node_slots());
  for (ValueId id = 0; id < a.value_slots(); ++id) {
    const Value& left = a.value(id);
    const Value& right = b.value(id);
    EXPECT_EQ(left.name, right.name);
    EXPECT_TRUE(left.type == right.type) << left.name;
    EXPECT_EQ(left.producer, right.producer);
    EXPECT_EQ(left.uses, right.uses);
    ASSERT_EQ(left.is_constant(), right.is_constant());
    if (left.is_constant()) {
      const auto x = left.constant->bytes();
      const auto y = right.constant->bytes();
      EXPECT_TRUE(std::equal(x.begin(), x.end(), y.begin(), y.end()));
    }
  }
  for (NodeId id = 0; id < a.node_slots(); ++id) {
    EXPECT_EQ(a.node(id).op, b.node(id).op);
    EXPECT_EQ(a.node(id).name, b.node(id).name);
    EXPECT_EQ(a.node(id).inputs, b.node(id).inputs);
    EXPECT_EQ(a.node(id).outputs, b.node(id).outputs);
    EXPECT_TRUE(a.node(id).attributes == b.node(id).attributes) << a.node(id).op;
  }
}

TEST(Text, RandomGraphsParseBackEqual) {
  for (uint64_t seed = 1; seed <= 400; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    const Graph graph = RandomGraph(seed).make();
    ASSERT_TRUE(verify_structure(graph));
    const std::string text = print(graph);
    auto parsed = parse(text);
    ASSERT_TRUE(parsed) << parsed.error().to_string() << "\n" << text;
    expect_equal(graph.compact(), *parsed);
    EXPECT_EQ(text, print(*parsed));
    if (HasFailure()) FAIL() << text;
  }
}

constexpr const char* kSmall = R"(graph "mobilenet" (N in 1..16) {
  metadata "producer" = "a \"test\""
  input %image: f32[N, 4, 4, 3]
  input %moment: f32[1]
  input %anchor: i8[2]
  const %w: i8[2, 1, 1, 3] quant(axis 0, scales [0.01, 0.02], zero_points [0, 0]) = hex"01ff03040506"
  const %lone: f32[] = hex"0000803f"
  %y: i8[N, 4, 4, 2] quant(0.02, -3) = conv2d(%image, %w, none) {floats = floats [], strides = [1, 1], tail = -inf} @ "features.0.0"
  %a: f32[8*N, 4], %b: f32[] = split(%y) {axis = 1, mode = "x", ratio = 2.0}
  output %y
  output %image
  output %moment
  state %moment -> output 2 parameter = zeros
  state %anchor -> kept = hex"0102"
}
)";

TEST(Text, TheFormIsAsDocumented) {
  auto graph = parse(kSmall);
  ASSERT_TRUE(graph) << graph.error().to_string();
  EXPECT_EQ(print(*graph), kSmall);
  EXPECT_EQ(graph->value(*graph->find_value("y")).type.quantization->zero_points[0], -3);
  EXPECT_EQ(graph->value(*graph->find_value("a")).type.shape[0], Dim(8, 0));
  const NodeId conv = graph->value(*graph->find_value("y")).producer;
  EXPECT_EQ(graph->node(conv).name, "features.0.0");
  EXPECT_EQ(graph->node(conv).inputs[2], kNone);
}

TEST(Text, ElidedConstantsPrintButDoNotParse) {
  auto graph = parse(kSmall);
  ASSERT_TRUE(graph);
  const std::string text = print(*graph, {.max_constant_bytes = 4});
  EXPECT_NE(text.find("elided 6 fnv1a:"), std::string::npos) << text;
  EXPECT_NE(text.find("hex\"0000803f\""), std::string::npos);
  const auto parsed = parse(text);
  ASSERT_FALSE(parsed);
  EXPECT_NE(parsed.error().message.find("line 6, column"), std::string::npos) << parsed.error().message;
}

TEST(Text, EveryTruncationIsAnErrorWithAPlace) {
  const std::string text = kSmall;
  for (size_t length = 0; length + 2 < text.size(); ++length) {
    const auto parsed = parse(std::string_view(text).substr(0, length));
    ASSERT_FALSE(parsed) << "length " << length;
    EXPECT_NE(parsed.error().message.find("line "), std::string::npos) << parsed.error().message;
    EXPECT_NE(parsed.error().message.find("column "), std::string::npos) << parsed.error().message;
  }
}

TEST(Text, FlippedBitsGiveAnErrorOrAValidGraph) {
  const std::string text = kSmall;
  for (size_t at = 0; at < text.size(); ++at) {
    for (int bit = 0; bit < 8; ++bit) {
      std::string hostile = text;
      hostile[at] = static_cast<char>(static_cast<unsigned char>(hostile[at]) ^ (1U << bit));
      const auto parsed = parse(hostile);
      if (parsed) {
        const auto again = parse(print(*parsed));
        ASSERT_TRUE(again) << again.error().to_string() << "\n" << hostile;
      } else {
        EXPECT_FALSE(parsed.error().message.empty());
      }
    }
  }
}

struct Hostile {
  const char* name;
  std::string text;
};

TEST(Text, HostileTextIsRefused) {
  const std::string open = "graph \"g\" (N in 1..16) {\n input %x: f32[N, 3]\n ";
  const std::vector<Hostile> cases = {
      {"empty", ""},
      {"nesting in attributes", open + "%y: f32[] = f(%x) {a = " + std::string(100000, '[')},
      {"nesting of braces", "graph \"g\" " + std::string(100000, '{')},
      {"nesting of operands", open + "%y: f32[] = f" + std::string(100000, '(')},
      {"huge dimension", open + "input %z: f32[99999999999999999999]\n}"},
      {"product past 2^63", open + "input %z: f32[4294967296, 4294967296]\n}"},
      {"product past 2^63 at the largest batch", open + "input %z: f32[N, 1152921504606846975]\n}"},
      {"two symbolic dimensions", open + "input %z: f32[N, N]\n}"},
      {"negative dimension", open + "input %z: f32[-1]\n}"},
      {"rank 9", open + "input %z: f32[1,1,1,1,1,1,1,1,1]\n}"},
      {"unknown symbol", open + "input %z: f32[M]\n}"},
      {"unknown type", open + "input %z: f33[1]\n}"},
      {"duplicate name", open + "input %x: f32[1]\n}"},
      {"duplicate output", open + "%a: f32[1], %a: f32[1] = f(%x)\n}"},
      {"reads itself", open + "%a: f32[1] = f(%a)\n}"},
      {"undeclared", open + "output %nothing\n}"},
      {"output none", open + "output none\n}"},
      {"huge integer", open + "%a: f32[1] = f(%x) {k = 9223372036854775808}\n}"},
      {"huge float", open + "%a: f32[1] = f(%x) {k = 1e999}\n}"},
      {"attribute twice", open + "%a: f32[1] = f(%x) {k = 1, k = 2}\n}"},
      {"constant too short", open + "const %c: f32[2] = hex\"00000000\"\n}"},
      {"constant too long", open + "const %c: f32[1] = hex\"0000000000\"\n}"},
      {"constant of a lying size", open + "const %c: f32[1000000000000] = hex\"00\"\n}"},
      {"symbolic constant", open + "const %c: f32[N] = hex\"00000000\"\n}"},
      {"scale zero", open + "input %q: i8[1] quant(0.0, 0)\n}"},
      {"scale out of range", open + "input %q: i8[1] quant(1e39, 0)\n}"},
      {"scale not a number", open + "input %q: i8[1] quant(nan, 0)\n}"},
      {"zero point out of range", open + "input %q: i8[1] quant(1.0, 128)\n}"},
      {"quantized float", open + "input %q: f32[1] quant(1.0, 0)\n}"},
      {"scales do not fit", open + "input %q: i8[3] quant(axis 0, scales [1.0], zero_points [0])\n}"},
      {"block of nothing", open + "input %q: i8[3] quant(axis 0, block 0, scales [1.0], zero_points [0])\n}"},
      {"symbol with bounds reversed", "graph \"g\" (N in 5..2) { }"},
      {"symbol twice", "graph \"g\" (N in 1..2, N in 1..2) { }"},
      {"state of a node's value", open + "%y: f32[1] = f(%x)\n output %y\n state %y -> output 0 = zeros\n}"},
      {"state of nothing", open + "state none -> kept = zeros\n}"},
      {"state of a symbolic shape", open + "state %x -> kept = zeros\n}"},
      {"state that becomes nothing", open + "input %s: f32[1]\n state %s -> output 0 = zeros\n}"},
      {"state that becomes a negative output", open + "input %s: f32[1]\n state %s -> output -1 = zeros\n}"},
      {"state of a lying size", open + "input %s: f32[1000000000000]\n state %s -> kept = hex\"00\"\n}"},
      {"state without a first value", open + "input %s: f32[1]\n state %s -> kept\n}"},
      {"text after the end", "graph \"g\" { }\n}"},
  };
  for (const Hostile& hostile : cases) {
    const auto parsed = parse(hostile.text);
    ASSERT_FALSE(parsed) << hostile.name;
    EXPECT_FALSE(parsed.error().message.empty()) << hostile.name;
  }
}

TEST(Text, ErrorsNameLineAndColumn) {
  const auto parsed = parse("graph \"g\" {\n  input %x: f32[1]\n  output %y\n}\n");
  ASSERT_FALSE(parsed);
  EXPECT_EQ(parsed.error().to_string(),
            "line 3, column 10: value %y is not declared above; nodes stand after what they read [HAI-I011]");
}

}  // namespace
}  // namespace hai::ir
