// The instruction around a program: operands and attributes that are missing, of another kind or absurd are refused.
#include "devices/sd3403/exec/npu_kernel.h"

#include <gtest/gtest.h>

#include "devices/sd3403/exec/processor_test_model.h"

namespace hai::sd3403 {
namespace {

using testing::Bytes;

// An instruction that can be damaged; as it is, it has one End a queue and moves nothing.
struct Operands {
  Operands() {
    const CommandWord word = encode({0, 0, 0, End{1}}).value();
    std::memcpy(commands.data(), word.data(), kWordBytes);
    instruction.kernel = "npu";
    instruction.name = "layers 1 to 9";
    instruction.attributes = {{"sram_bytes", int64_t{1} << 16},
                              {"cache_bytes", int64_t{1} << 13},
                              {"accumulator_bytes", int64_t{1} << 12},
                              {"scratch_bytes", int64_t{64}},
                              {"machine.clock_mhz", 1000.0}};
    for (format::ProgramTensor& tensor : tensors) tensor.dtype = DataType::kU8;
    tensors[0].shape = {static_cast<int64_t>(kWordBytes)};
    tensors[1].shape = {64};
    tensors[2].dtype = DataType::kI16;
    tensors[2].shape = {Dim(1, 0), 5, 7};
    tensors[3].shape = {Dim(2, 0), 5};
  }

  Result<std::unique_ptr<cpu::CpuKernel>> make() const {
    std::vector<const format::ProgramTensor*> inputs;
    std::vector<TensorView> views;
    for (size_t i = 0; i < input_count; ++i) {
      inputs.push_back(i == missing ? nullptr : &tensors[std::min<size_t>(i, 2)]);
      views.emplace_back();
    }
    if (input_count > 0) views[0] = {tensors[0].dtype, {tensors[0].shape[0].value}, commands.data(), nullptr};
    if (input_count > 1 && constant)
      views[1] = {tensors[1].dtype, {tensors[1].shape[0].value}, constants.data(), nullptr};
    const format::ProgramTensor* outputs[] = {&tensors[3]};
    const std::vector<Symbol> symbols = {{"N", 1, 4}};
    cpu::ExecRegistry registry;
    register_exec(registry);
    EXPECT_EQ(registry.names(), (std::vector<std::string_view>{"npu"}));
    return registry.find("npu")({instruction, inputs, outputs, views, symbols, cpu::Isa::kScalar});
  }

  format::Instruction instruction;
  format::ProgramTensor tensors[4];
  Bytes commands = Bytes(4 * kWordBytes);
  Bytes constants = Bytes(64);
  size_t input_count = 3;
  size_t missing = SIZE_MAX;
  bool constant = true;
};

template <typename Damage>
void expect_refused(std::string_view id, Damage damage) {
  Operands operands;
  damage(operands);
  const auto kernel = operands.make();
  ASSERT_FALSE(kernel.has_value()) << "accepted where " << id << " was due";
  EXPECT_EQ(kernel.error().id, id) << kernel.error().to_string();
  EXPECT_NE(kernel.error().to_string().find("layers 1 to 9"), std::string::npos) << kernel.error().to_string();
}

TEST(NpuKernel, TakesASoundInstruction) {
  const auto kernel = Operands().make();
  ASSERT_TRUE(kernel.has_value()) << kernel.error().to_string();
  EXPECT_FALSE((*kernel)->needs_constant(0));
  EXPECT_FALSE((*kernel)->needs_constant(1));
  EXPECT_TRUE((*kernel)->needs_constant(2));
}

TEST(NpuKernel, RefusesOperands) {
  expect_refused("C012", [](Operands& o) { o.input_count = 1; });
  expect_refused("C012", [](Operands& o) { o.input_count = 0; });
  expect_refused("C012", [](Operands& o) { o.input_count = 64; });
  expect_refused("C012", [](Operands& o) { o.missing = 0; });
  expect_refused("C012", [](Operands& o) { o.missing = 1; });
  expect_refused("C012", [](Operands& o) { o.missing = 2; });
  expect_refused("C012", [](Operands& o) { o.constant = false; });
  expect_refused("C012", [](Operands& o) { o.tensors[0].dtype = DataType::kI8; });
  expect_refused("C012", [](Operands& o) { o.tensors[1].dtype = DataType::kF32; });
  expect_refused("N006", [](Operands& o) { o.tensors[0].shape = {127}; });
  expect_refused("C012", [](Operands& o) { o.tensors[2].dtype = DataType::kI4; });
  expect_refused("C012", [](Operands& o) { o.tensors[2].shape = {3, Dim(1, 0)}; });
  expect_refused("C012", [](Operands& o) { o.tensors[3].shape = {int64_t{1} << 40, int64_t{1} << 40}; });
}

TEST(NpuKernel, RefusesAttributes) {
  for (const char* name : {"sram_bytes", "cache_bytes", "accumulator_bytes", "scratch_bytes"}) {
    expect_refused("C010", [&](Operands& o) { o.instruction.attributes[name] = std::string("many"); });
    expect_refused("C010", [&](Operands& o) { o.instruction.attributes[name] = 65536.0; });
    expect_refused("C011", [&](Operands& o) { o.instruction.attributes[name] = int64_t{-1}; });
    expect_refused("C011", [&](Operands& o) { o.instruction.attributes[name] = INT64_MAX; });
    expect_refused("C012", [&](Operands& o) { o.instruction.attributes.erase(name); });
  }
}

TEST(NpuKernel, RefusesWords) {
  expect_refused("N004", [](Operands& o) { o.commands[0] = std::byte{0xff}; });
  expect_refused("N005", [](Operands& o) { o.commands[kWordBytes - 1] = std::byte{1}; });
  expect_refused("N022", [](Operands& o) {
    std::memcpy(o.commands.data() + kWordBytes, o.commands.data(), kWordBytes);
    o.tensors[0].shape = {static_cast<int64_t>(2 * kWordBytes)};
  });
  Operands none;
  none.tensors[0].shape = {0};
  EXPECT_TRUE(none.make().has_value());  // a program without commands does nothing
}

}  // namespace
}  // namespace hai::sd3403
