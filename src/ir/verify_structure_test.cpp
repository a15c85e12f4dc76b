// The structural verifier finds each way of breaking a graph that the building interface lets through.
#include <gtest/gtest.h>

#include <functional>
#include <limits>

#include "ir/text.h"

namespace hai::ir {
namespace {

Graph small_graph() {
  auto graph = parse(R"(graph "g" (N in 1..16) {
  input %x: f32[N, 4]
  const %w: i8[4, 2] quant(axis 1, scales [0.5, 0.25], zero_points [0, 0]) = hex"0102030405060708"
  %y: f32[N, 2] = matmul(%x, %w)
  %z: f32[N, 2] = add(%y, %y)
  output %z
})");
  EXPECT_TRUE(graph) << graph.error().to_string();
  return std::move(graph).value();
}

struct Damage {
  const char* name;
  std::function<void(Graph&)> apply;
};

TEST(VerifyStructure, FindsEachDamage) {
  const std::vector<Damage> damages = {
      {"symbol bounds", [](Graph& g) { g.symbols[0].max = 0; }},
      {"symbol without a name", [](Graph& g) { g.symbols[0].name.clear(); }},
      {"symbols of one name", [](Graph& g) { g.symbols.push_back(g.symbols[0]); }},
      {"name changed behind the graph's back", [](Graph& g) { g.value(0).name = "other"; }},
      {"name of another value", [](Graph& g) { g.value(0).name = "y"; }},
      {"negative dimension", [](Graph& g) { g.value(2).type.shape[1] = Dim(-2); }},
      {"unknown symbol", [](Graph& g) { g.value(2).type.shape[0] = Dim(1, 7); }},
      {"two symbolic dimensions", [](Graph& g) { g.value(2).type.shape[1] = Dim(1, 0); }},
      {"too many elements", [](Graph& g) { g.value(2).type.shape = {Dim(int64_t{1} << 32), Dim(int64_t{1} << 31)}; }},
      {"too many bytes", [](Graph& g) { g.value(2).type.shape = {Dim(int64_t{1} << 59), Dim(2)}; }},
      {"too many bytes at the largest batch", [](Graph& g) { g.value(2).type.shape = {Dim(int64_t{1} << 55, 0)}; }},
      {"rank", [](Graph& g) { g.value(2).type.shape.assign(9, Dim(1)); }},
      {"element type", [](Graph& g) { g.value(2).type.dtype = static_cast<DataType>(99); }},
      {"quantized float", [](Graph& g) { g.value(2).type.quantization = per_tensor_quantization(1.0F, 0); }},
      {"scales missing", [](Graph& g) { g.value(1).type.quantization->scales.pop_back(); }},
      {"zero points missing", [](Graph& g) { g.value(1).type.quantization->zero_points.clear(); }},
      {"scale infinite",
       [](Graph& g) { g.value(1).type.quantization->scales[0] = std::numeric_limits<float>::infinity(); }},
      {"scale negative", [](Graph& g) { g.value(1).type.quantization->scales[1] = -0.5F; }},
      {"zero point", [](Graph& g) { g.value(1).type.quantization->zero_points[1] = -129; }},
      {"axis", [](Graph& g) { g.value(1).type.quantization->axis = 2; }},
      {"block", [](Graph& g) { g.value(1).type.quantization->block = -1; }},
      {"constant of another size", [](Graph& g) { g.value(1).type.shape[0] = Dim(5); }},
      {"constant lost", [](Graph& g) { g.value(1).constant.reset(); }},
      {"constant with a producer", [](Graph& g) { g.value(1).producer = 0; }},
      {"input that is a constant", [](Graph& g) { g.value(0).constant = g.value(1).constant; }},
      {"producer does not exist", [](Graph& g) { g.value(2).producer = 99; }},
      {"producer writes something else", [](Graph& g) { g.value(2).producer = 1; }},
      {"producer's output number", [](Graph& g) { g.value(2).producer_output = 3; }},
      {"dead value read", [](Graph& g) { g.value(2).alive = false; }},
      {"dead node", [](Graph& g) { g.node(0).alive = false; }},
      {"dead output", [](Graph& g) { g.value(3).alive = false; }},
      {"operand out of range", [](Graph& g) { g.node(0).inputs[0] = 99; }},
      {"operand changed without its use", [](Graph& g) { g.node(1).inputs[0] = 0; }},
      {"use lost", [](Graph& g) { g.value(2).uses.pop_back(); }},
      {"use twice", [](Graph& g) { g.value(2).uses[1] = g.value(2).uses[0]; }},
      {"use of nothing", [](Graph& g) { g.value(0).uses[0].node = 99; }},
      {"no operator", [](Graph& g) { g.node(0).op.clear(); }},
      {"output out of range", [](Graph& g) { g.node(0).outputs[0] = 99; }},
      {"cycle", [](Graph& g) { g.set_input(0, 0, 3); }},
  };
  ASSERT_TRUE(verify_structure(small_graph()));
  for (const Damage& damage : damages) {
    Graph graph = small_graph();
    damage.apply(graph);
    const Status status = verify_structure(graph);
    EXPECT_FALSE(status) << damage.name;
  }
}

TEST(VerifyStructure, FindsEachDamageOfStates) {
  const auto graph = parse(R"(graph "g" (N in 1..16) {
  input %x: f32[N, 2]
  input %w: f32[2]
  input %m: f32[2]
  %y: f32[N, 2] = mul(%x, %w)
  %next: f32[2] = add(%w, %m)
  output %y
  output %next
  output %next
  state %w -> output 1 parameter = hex"0000803f00000040"
  state %m -> output 2 = zeros
})");
  ASSERT_TRUE(graph) << graph.error().to_string();
  const std::vector<Damage> damages = {
      {"no such input", [](Graph& g) { g.states[0].input = 3; }},
      {"input of two", [](Graph& g) { g.states[0].input = 2; }},
      {"symbolic shape", [](Graph& g) { g.states[1] = {0, State::kKept, nullptr, false}; }},
      {"no such output", [](Graph& g) { g.states[0].output = 3; }},
      {"output of two", [](Graph& g) { g.states[0].output = 2; }},
      {"output of another type", [](Graph& g) { g.states[0].output = 0; }},
      {"first value too short", [](Graph& g) { g.states[0].initial = ConstantData::allocate(4); }},
  };
  for (const Damage& damage : damages) {
    Graph damaged = *graph;
    damage.apply(damaged);
    EXPECT_FALSE(verify_structure(damaged)) << damage.name;
  }
}

TEST(VerifyStructure, ACycleStillPrints) {
  Graph graph = small_graph();
  graph.set_input(0, 0, 3);
  EXPECT_NE(print(graph).find("matmul(%z, %w)"), std::string::npos);
}

TEST(VerifyStructure, BlockwiseQuantizationCountsBlocks) {
  Graph graph;
  TensorType type{DataType::kI8, {Dim(5), Dim(2)}, Quantization{{1, 1, 1, 1, 1, 1}, {0, 0, 0, 0, 0, 0}, 0, 2}};
  graph.add_input("x", type);
  EXPECT_TRUE(verify_structure(graph));  // ceil(5 / 2) = 3 blocks, times 2
  graph.value(0).type.quantization->block = 3;
  EXPECT_FALSE(verify_structure(graph));
}

}  // namespace
}  // namespace hai::ir
