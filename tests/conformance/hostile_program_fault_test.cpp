// Programs that nobody's compiler made: every sample's instruction, with one or two things changed, offered to its
// kernel.
//
// A maker may refuse, with an error that has an id; or accept, and then a run must stay within its tensors. Changes:
// attributes missing, of another kind, of another length, at the limits of their type; element types, shapes, scales
// and zero points of operands; operands left out. Tensors have exactly the bytes of the changed program, with guards on
// both sides; the sanitizer builds run this too and see what guards cannot. Values are not checked: a changed program
// means something else.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "cpu_node.h"
#include "devices/cpu/exec/isa.h"
#include "ops/build.h"
#include "ops/op_schema.h"
#include "ops/sample_inputs.h"

namespace hai::conformance {
namespace {

constexpr int64_t kMostBytes = int64_t{1} << 19;  // larger tensors are made but not run
constexpr size_t kGuard = 64;
constexpr std::byte kGarbage{0xa5};

struct Random {
  uint64_t state;
  uint64_t next() {
    state = state * 6364136223846793005ULL + 1442695040888963407ULL;
    return state >> 33;
  }
  size_t below(size_t bound) { return static_cast<size_t>(next() % bound); }
};

// One instruction with copies of its tensors, free to change.
struct Case {
  format::Instruction instruction;
  std::vector<format::ProgramTensor> tensors;  // operands, then results
  std::vector<bool> present;
  size_t inputs = 0;
  std::vector<Symbol> symbols;
};

int64_t hostile_number(Random& random, int64_t value) {
  constexpr int64_t kNumbers[] = {0,
                                  1,
                                  2,
                                  3,
                                  7,
                                  -1,
                                  -2,
                                  255,
                                  int64_t{1} << 31,
                                  int64_t{1} << 53,
                                  int64_t{1} << 62,
                                  std::numeric_limits<int64_t>::max(),
                                  std::numeric_limits<int64_t>::min()};
  switch (random.below(4)) {
    case 0:
      return value == std::numeric_limits<int64_t>::max() ? value : value + 1;
    case 1:
      return value == std::numeric_limits<int64_t>::min() ? value : value - 1;
    default:
      return kNumbers[random.below(std::size(kNumbers))];
  }
}

double hostile_float(Random& random) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  constexpr double kFloats[] = {0.0, -1.0, 0.5, 1e-300, 1e300, kInfinity, -kInfinity, 1e9};
  return kFloats[random.below(std::size(kFloats))];
}

template <typename T, typename Change>
void change_list(Random& random, std::vector<T>& list, Change&& change) {
  switch (random.below(4)) {
    case 0:
      if (!list.empty()) list.pop_back();
      break;
    case 1:
      list.push_back(T{});
      break;
    default:
      if (!list.empty()) change(list[random.below(list.size())]);
  }
}

std::string change_attribute(Random& random, Case& program) {
  auto& attributes = program.instruction.attributes;
  if (attributes.empty()) return "";
  auto it = attributes.begin();
  std::advance(it, static_cast<std::ptrdiff_t>(random.below(attributes.size())));
  std::string name = it->first;
  if (random.below(8) == 0) {
    attributes.erase(it);
    return "no " + name;
  }
  if (random.below(8) == 0) {
    it->second = std::string("?");
    return name + " = \"?\"";
  }
  if (auto* number = std::get_if<int64_t>(&it->second)) *number = hostile_number(random, *number);
  if (auto* number = std::get_if<double>(&it->second)) *number = hostile_float(random);
  if (auto* list = std::get_if<std::vector<int64_t>>(&it->second)) {
    change_list(random, *list, [&](int64_t& value) { value = hostile_number(random, value); });
    return fmt::format("{} = [{}]", name, fmt::join(*list, ", "));
  }
  if (auto* list = std::get_if<std::vector<double>>(&it->second)) {
    change_list(random, *list, [&](double& value) { value = hostile_float(random); });
  }
  return name;
}

std::string change_quantization(Random& random, format::ProgramTensor& tensor) {
  if (!tensor.quantization) {
    tensor.quantization = per_tensor_quantization(0.1F, 1);
    return "a scale given";
  }
  Quantization& quantization = *tensor.quantization;
  constexpr float kScales[] = {1e-38F, 1e38F, 0.0F, -1.0F, 1e-12F, 3.0F};
  switch (random.below(5)) {
    case 0:
      tensor.quantization.reset();
      return "no scale";
    case 1:
      quantization.scales.assign(quantization.scales.size(), kScales[random.below(std::size(kScales))]);
      return "another scale";
    case 2:
      quantization.zero_points.assign(quantization.zero_points.size(), random.below(2) == 0 ? 100000 : -3);
      return "another zero point";
    case 3:
      quantization.axis = static_cast<int32_t>(random.below(6)) - 1;
      return "another scale axis";
    default:
      quantization.scales.push_back(0.5F);
      if (random.below(2) == 0) quantization.zero_points.push_back(0);
      return "one scale more";
  }
}

std::string change_tensor(Random& random, Case& program) {
  const size_t which = random.below(program.tensors.size());
  format::ProgramTensor& tensor = program.tensors[which];
  const std::string name = fmt::format("tensor {}: ", which);
  switch (random.below(6)) {
    case 0:
      program.present[which] = false;
      return name + "absent";
    case 1:
      tensor.dtype = static_cast<DataType>(random.below(kDataTypeCount));
      return name + std::string(data_type_name(tensor.dtype));
    case 2:
      return name + change_quantization(random, tensor);
    case 3:
      if (random.below(2) == 0 || tensor.shape.empty()) {
        tensor.shape.insert(tensor.shape.begin(), Dim(1));
      } else {
        tensor.shape.erase(tensor.shape.begin() + static_cast<std::ptrdiff_t>(random.below(tensor.shape.size())));
      }
      return name + "rank " + std::to_string(tensor.shape.size());
    default:
      if (!tensor.shape.empty()) {
        Dim& dim = tensor.shape[random.below(tensor.shape.size())];
        constexpr int64_t kSizes[] = {0, 1, 2, 5, int64_t{1} << 20, int64_t{1} << 40};
        dim.value = random.below(2) == 0 ? std::max<int64_t>(0, dim.value + (random.below(2) == 0 ? 1 : -1))
                                         : kSizes[random.below(std::size(kSizes))];
      }
      return name + to_string(tensor.shape, program.symbols);
  }
}

// A tensor of a run: guards on both sides, alignment as a session gives.
struct Memory {
  AlignedBytes bytes;
  MutableTensorView view;
};

Memory allocate(const format::ProgramTensor& tensor, std::span<const int64_t> symbols) {
  Memory memory;
  memory.view = {tensor.dtype, resolve(tensor.shape, symbols), nullptr,
                 tensor.quantization ? &*tensor.quantization : nullptr};
  const auto used = static_cast<size_t>(memory.view.size_bytes());
  memory.bytes.assign(used + 2 * kGuard, kGarbage);
  memory.view.data = memory.bytes.data() + kGuard;
  return memory;
}

bool guards_hold(const Memory& memory) {
  const auto used = static_cast<size_t>(memory.view.size_bytes());
  const auto whole = [&](size_t begin) {
    return std::all_of(memory.bytes.begin() + static_cast<std::ptrdiff_t>(begin),
                       memory.bytes.begin() + static_cast<std::ptrdiff_t>(begin + kGuard),
                       [](std::byte byte) { return byte == kGarbage; });
  };
  return whole(0) && whole(kGuard + used);
}

// What format::verify_program refuses before a kernel sees it.
bool passes_the_verifier(const Case& program) {
  for (const format::ProgramTensor& tensor : program.tensors) {
    const auto count = element_count(tensor.shape);
    if (tensor.shape.size() > static_cast<size_t>(kMaxRank) || !count || count->value > (int64_t{1} << 48))
      return false;
    if (!tensor.quantization) continue;
    const Quantization& quantization = *tensor.quantization;
    if (!is_integer(tensor.dtype) || quantization.scales.size() != quantization.zero_points.size()) return false;
    if (quantization.per_tensor() && quantization.scales.size() != 1) return false;
  }
  return true;
}

bool small_enough(const Case& program, std::span<const int64_t> symbols) {
  return std::all_of(program.tensors.begin(), program.tensors.end(), [&](const format::ProgramTensor& tensor) {
    return bytes_for(tensor.dtype, resolve(tensor.shape, symbols).count()) <= kMostBytes;
  });
}

void offer(const Case& program, const std::vector<bool>& constant, cpu::Isa isa, ThreadPool& threads,
           const std::string& what) {
  if (!passes_the_verifier(program)) return;
  const std::vector<int64_t> symbols(program.symbols.size(), 1);
  std::vector<Memory> memory(program.tensors.size());
  const bool runs = small_enough(program, symbols);
  std::vector<const format::ProgramTensor*> operands;
  std::vector<TensorView> constants;
  for (size_t i = 0; i < program.tensors.size(); ++i) {
    operands.push_back(program.present[i] ? &program.tensors[i] : nullptr);
    if (runs) memory[i] = allocate(program.tensors[i], symbols);
    if (i >= program.inputs) continue;
    const bool given = constant[i] && program.present[i];
    if (given && !runs) return;  // the bytes of a constant are part of the file
    constants.push_back(given ? hai::as_const(memory[i].view) : TensorView{});
  }
  const std::span all(operands);
  const cpu::KernelContext context{program.instruction, all.first(program.inputs), all.subspan(program.inputs),
                                   constants,           program.symbols,           isa};
  const auto kernel = cpu::ExecRegistry::instance().find(program.instruction.kernel)(context);
  if (!kernel) {
    EXPECT_EQ(kernel.error().id.substr(0, 1), "C") << what << ": " << kernel.error().to_string();
    EXPECT_FALSE(kernel.error().message.empty()) << what;
    return;
  }
  if (!runs) return;
  std::vector<TensorView> inputs;
  std::vector<MutableTensorView> outputs;
  for (size_t i = 0; i < program.tensors.size(); ++i) {
    if (i >= program.inputs) {
      outputs.push_back(memory[i].view);
    } else {
      inputs.push_back(program.present[i] ? hai::as_const(memory[i].view) : TensorView{});
      if (constant[i] && !(*kernel)->needs_constant(i)) inputs.back().data = nullptr;
    }
  }
  const int64_t scratch_bytes = (*kernel)->scratch_bytes(1, threads.thread_count());
  ASSERT_GE(scratch_bytes, 0) << what;
  if (scratch_bytes > 64 * kMostBytes) return;
  AlignedBytes scratch(static_cast<size_t>(scratch_bytes) + kGuard, kGarbage);
  (*kernel)->run({inputs, outputs, scratch.data(), threads, 1});
  for (size_t i = 0; i < memory.size(); ++i) {
    ASSERT_TRUE(guards_hold(memory[i])) << what << ": tensor " << i << " was written outside";
  }
  ASSERT_TRUE(std::all_of(scratch.end() - kGuard, scratch.end(), [](std::byte byte) { return byte == kGarbage; }))
      << what << ": scratch was written past its end";
}

void attack(const OpSchema& schema, const Sample& sample, ThreadPool& threads, Random& random) {
  const auto built = ops::build_sample(schema, sample);
  ASSERT_TRUE(built);
  const cpu::CpuLowering* lowering = cpu::LowerRegistry::instance().find(schema.name);
  if (lowering == nullptr || !lowering->supports(built->graph, built->graph.node(0))) return;
  CollectingContext lowered(built->graph);
  ASSERT_TRUE(lowered.lower_all());
  for (const format::Instruction& instruction : lowered.instructions) {
    Case original{instruction, {}, {}, instruction.inputs.size(), built->graph.symbols};
    std::vector<bool> constant;
    for (const auto& list : {instruction.inputs, instruction.outputs}) {
      for (const uint32_t number : list) {
        original.present.push_back(number != format::kNoTensor);
        original.tensors.push_back(original.present.back() ? lowered.tensors[number] : format::ProgramTensor{});
        constant.push_back(original.tensors.back().place == format::TensorPlace::kConstant);
      }
    }
    const std::vector<int64_t> symbols(original.symbols.size(), 1);
    if (!small_enough(original, symbols)) continue;
    const auto isas = cpu::available_isas();
    for (int round = 0; round < 60; ++round) {
      Case changed = original;
      std::string what = fmt::format("{}/{} round {}:", schema.name, sample.name, round);
      const size_t changes = 1 + random.below(2);
      for (size_t i = 0; i < changes; ++i) {
        what += " " + (random.below(2) == 0 ? change_attribute(random, changed) : change_tensor(random, changed)) + ";";
      }
      offer(changed, constant, isas[random.below(isas.size())], threads, what);
      if (testing::Test::HasFatalFailure()) return;
    }
  }
}

class HostileProgram : public testing::TestWithParam<const OpSchema*> {};

TEST_P(HostileProgram, IsRefusedOrStaysWithinItsTensors) {
  const OpSchema& schema = *GetParam();
  ThreadPool threads(2);
  Random random{20240229};
  for (const Sample& sample : schema.samples(schema)) {
    if (!sample.op.empty() && sample.op != schema.name) continue;
    attack(schema, sample, threads, random);
    if (HasFatalFailure()) return;
  }
}

INSTANTIATE_TEST_SUITE_P(Ops, HostileProgram, testing::ValuesIn(all_op_schemas().begin(), all_op_schemas().end()),
                         [](const testing::TestParamInfo<const OpSchema*>& param) { return param.param->name; });

}  // namespace
}  // namespace hai::conformance
