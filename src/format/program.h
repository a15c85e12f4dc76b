// Program: what a device's lowering makes and its exec runs, in memory. The .hai file carries it as FlatBuffers
// (program.fbs); this is the decoded form that both sides share, so that neither sees the other.
//
// A program is a list of instructions over numbered tensors. A tensor is an input, an output, a constant (bytes in the
// weights section) or an intermediate in the arena. Instructions name a kernel of the device ("conv2d"), tensors and
// attributes. Exec checks everything again when it loads: a program may come from a hostile file.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/result.h"
#include "types/data_type.h"
#include "types/quantization.h"
#include "types/shape.h"

namespace hai::format {

using Attribute = std::variant<int64_t, double, std::string, std::vector<int64_t>, std::vector<double>>;
using Attributes = std::map<std::string, Attribute, std::less<>>;

inline constexpr uint32_t kNoTensor = 0xffffffffU;  // an absent optional operand

enum class TensorPlace : uint8_t {
  kInput = 0,      // bound by the caller at each run: `index` is the position among the inputs
  kOutput = 1,     // likewise among the outputs
  kConstant = 2,   // `offset_bytes` in the weights section
  kPerSample = 3,  // arena, per-sample region: offset(N) = N * offset_bytes
  kFixed = 4,      // arena, fixed region: offset_bytes, whatever the batch
  kAlias = 5,      // same bytes as tensor `index` (views); chains are resolved by the lowering
  kValue = 6,      // no place yet: a value of the portable graph, which is stored in the same form with device "graph"
  kState = 7,      // memory of the session that outlives a run: `index` is the position among the program's states
};

struct ProgramTensor {
  std::string name;
  DataType dtype = DataType::kF32;
  Shape shape;
  std::optional<Quantization> quantization;
  TensorPlace place = TensorPlace::kFixed;
  uint32_t index = 0;
  int64_t offset_bytes = 0;
  bool operator==(const ProgramTensor&) const = default;
};

struct Instruction {
  std::string kernel;  // exec's registry key
  std::string name;    // the layer it belongs to, for tables and traces
  std::vector<uint32_t> inputs;
  std::vector<uint32_t> outputs;
  Attributes attributes;
  int64_t macs = 0;  // per sample, for tables
  bool operator==(const Instruction&) const = default;
};

// What a training program changes and keeps from run to run: a parameter, a moment of the optimizer, running
// statistics. One instruction writes it, in place, after the last one that reads what was there before; the tensor that
// stands for the new value is an alias of `tensor`.
struct ProgramState {
  static constexpr int64_t kZeros = -1;

  uint32_t tensor = 0;            // at place kState, of static shape
  int64_t offset_bytes = kZeros;  // of the first value in the weights section (aligned to 64), or kZeros
  bool is_parameter = false;      // of the model: the bytes at offset_bytes are its constant
  bool operator==(const ProgramState&) const = default;
};

struct Program {
  std::string device;  // "cpu"
  std::vector<Symbol> symbols;
  std::vector<ProgramTensor> tensors;
  std::vector<Instruction> instructions;
  std::vector<uint32_t> inputs;  // tensor numbers, in the order of the model's inputs
  std::vector<uint32_t> outputs;
  std::vector<ProgramState> states;  // of a training program; none in others
  int64_t per_sample_bytes = 0;      // arena(N) = align64(N * per_sample_bytes) + fixed_bytes
  int64_t fixed_bytes = 0;
  int64_t arena_lower_bound_bytes = 0;  // at batch 1: the largest sum of live tensors at any instruction
  bool operator==(const Program&) const = default;
};

// Checks every number against every other: tensor numbers, places, alignment (64), ranges within the arena and
// `weights_bytes`, overflow at the largest batch, ranks, quantization lengths, inputs and outputs. What a kernel
// requires of its operands is exec's own check.
Status verify_program(const Program& program, int64_t weights_bytes);

}  // namespace hai::format
