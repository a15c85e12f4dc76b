// Making kernels from a verified file, with little memory.
//
// Method: the constants of an instruction are read into one staging region, verified chunk by chunk (WeightReader),
// given to the kernel's make(), and forgotten. Instructions with more than 1 MiB of constants go first, the largest of
// them first of all: raw and packed bytes stand side by side only while little else is packed yet, so that the peak
// stays below "all weights packed" unless one layer holds more than half of them. The rest follow in the order of the
// file, where neighbours share the chunk that was read last. Not here: what kernels check of their operands (their
// make()), and what the program promises (verify_program).
#include "runtime/executable.h"

#include <algorithm>
#include <cstring>
#include <numeric>

#include "base/checked.h"
#include "base/utf8.h"
#include "devices/cpu/exec/kernel_place.h"
#include "runtime/memory_region.h"

namespace hai::runtime {
namespace {

using format::Instruction;
using format::kNoTensor;
using format::Program;
using format::ProgramTensor;
using format::TensorPlace;

constexpr int64_t kSlackBytes = 64;       // readable behind every tensor that the runtime owns
constexpr int64_t kLargeBytes = 1 << 20;  // constants of an instruction that are staged in a region of their own
constexpr int64_t kStagingAlignmentBytes = 64;

// Dimensions of a constant: verify_program has seen that they are plain numbers.
Dims static_dims(const ProgramTensor& tensor) { return resolve(tensor.shape, {}); }

TensorView view_of(const ProgramTensor& tensor, const std::byte* data) {
  return {tensor.dtype, static_dims(tensor), data, tensor.quantization ? &*tensor.quantization : nullptr};
}

}  // namespace

class Executable::Loader {
 public:
  Loader(Executable& target, const std::shared_ptr<const format::ModelReader>& model, const cpu::ExecRegistry& registry)
      : target_(target), where_(model->where()), weights_(model), registry_(registry) {}

  Status run() {
    const Program& program = target_.program_;
    target_.kernels_.resize(program.instructions.size());
    target_.retained_.resize(program.tensors.size());
    for (const size_t index : order()) {
      Status status = make_kernel(index);
      if (status) continue;
      const std::string place = cpu::place_of(program.instructions[index]);
      Error error = std::move(status).error();
      const bool said = error.where.starts_with(printable(place));  // by the kernel itself
      if (!said) error = with_where(std::move(error), place);
      return with_where(std::move(error), where_);
    }
    return {};
  }

 private:
  bool is_constant(uint32_t tensor) const {
    return tensor != kNoTensor && target_.program_.tensors[target_.root(tensor)].place == TensorPlace::kConstant;
  }
  int64_t bytes_of(uint32_t tensor) const {
    const ProgramTensor& entry = target_.program_.tensors[tensor];
    return bytes_for(entry.dtype, static_dims(entry).count());
  }
  int64_t staged_bytes(const Instruction& instruction) const {
    int64_t total = 0;
    for (const uint32_t tensor : instruction.inputs) {
      if (is_constant(tensor)) total += align_up(bytes_of(tensor) + kSlackBytes, kStagingAlignmentBytes);
    }
    return total;
  }

  std::vector<size_t> order() const;
  Status stage(const Instruction& instruction, std::vector<TensorView>& constants);
  Status make_kernel(size_t index);
  void retain(uint32_t tensor, const std::byte* bytes);

  Executable& target_;
  std::string where_;
  format::WeightReader weights_;
  const cpu::ExecRegistry& registry_;
  MemoryRegion staging_;
};

std::vector<size_t> Executable::Loader::order() const {
  const std::vector<Instruction>& instructions = target_.program_.instructions;
  std::vector<int64_t> bytes;
  bytes.reserve(instructions.size());
  for (const Instruction& instruction : instructions) {
    const int64_t staged = staged_bytes(instruction);
    bytes.push_back(staged > kLargeBytes ? staged : 0);
  }
  std::vector<size_t> order(instructions.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::sort(order.begin(), order.end(),
            [&](size_t a, size_t b) { return bytes[a] != bytes[b] ? bytes[a] > bytes[b] : a < b; });
  return order;
}

Status Executable::Loader::stage(const Instruction& instruction, std::vector<TensorView>& constants) {
  const int64_t wanted = staged_bytes(instruction);
  if (staging_.size_bytes() < wanted || staging_.size_bytes() > kLargeBytes) {
    staging_ = MemoryRegion();
    HAI_TRY(staging_, MemoryRegion::allocate(std::max(wanted, kLargeBytes), "weights while they are packed"));
  }
  std::byte* next = staging_.data();
  for (const uint32_t tensor : instruction.inputs) {
    if (!is_constant(tensor)) {
      constants.emplace_back();
      continue;
    }
    const int64_t size = bytes_of(tensor);
    const int64_t held = align_up(size + kSlackBytes, kStagingAlignmentBytes);
    HAI_TRY_STATUS(
        weights_.read(target_.program_.tensors[target_.root(tensor)].offset_bytes, {next, static_cast<size_t>(size)}));
    std::memset(next + size, 0, static_cast<size_t>(held - size));
    constants.push_back(view_of(target_.program_.tensors[tensor], next));
    next += held;
  }
  return {};
}

void Executable::Loader::retain(uint32_t tensor, const std::byte* bytes) {
  std::vector<Block>& blocks = target_.retained_[tensor];
  if (!blocks.empty()) return;
  const auto size = static_cast<size_t>(bytes_of(tensor));
  blocks.resize((size + static_cast<size_t>(kSlackBytes)) / sizeof(Block) + 1);
  std::memcpy(blocks.data(), bytes, size);
  target_.packed_bytes_ += static_cast<int64_t>(blocks.size() * sizeof(Block));
}

Status Executable::Loader::make_kernel(size_t index) {
  const Program& program = target_.program_;
  const Instruction& instruction = program.instructions[index];
  const cpu::MakeKernel make = registry_.find(instruction.kernel);
  if (make == nullptr) {
    return make_error(StatusCode::kUnsupported, "R002",
                      "this build has no {} kernel '{}'; update HAI or compile the model again", program.device,
                      instruction.kernel);
  }
  std::vector<TensorView> constants;
  HAI_TRY_STATUS(stage(instruction, constants));
  std::vector<const ProgramTensor*> inputs;
  std::vector<const ProgramTensor*> outputs;
  for (const uint32_t tensor : instruction.inputs) {
    inputs.push_back(tensor == kNoTensor ? nullptr : &program.tensors[tensor]);
  }
  for (const uint32_t tensor : instruction.outputs) outputs.push_back(&program.tensors[tensor]);
  const cpu::KernelContext context{instruction, inputs, outputs, constants, program.symbols, target_.isa_};
  HAI_TRY(target_.kernels_[index], target_.faults_ ? target_.faults_->make_kernel(context, make) : make(context));
  const cpu::CpuKernel& kernel = *target_.kernels_[index];
  target_.packed_bytes_ += kernel.packed_bytes();
  for (size_t i = 0; i < instruction.inputs.size(); ++i) {
    if (is_constant(instruction.inputs[i]) && kernel.needs_constant(i)) {
      retain(instruction.inputs[i], constants[i].data);
    }
  }
  return {};
}

Result<std::shared_ptr<const Executable>> Executable::make(const std::shared_ptr<const format::ModelReader>& model,
                                                           format::Program program, cpu::Isa isa,
                                                           const cpu::ExecRegistry& registry) {
  const std::shared_ptr<Executable> executable(new Executable);
  executable->program_ = std::move(program);
  executable->isa_ = isa;
  HAI_TRY_STATUS(Loader(*executable, model, registry).run());
  return std::shared_ptr<const Executable>(executable);
}

Result<std::shared_ptr<const Executable>> Executable::make_faulty(
    const std::shared_ptr<const format::ModelReader>& model, format::Program program, cpu::Isa isa,
    const cpu::ExecRegistry& registry, cpu::MakeFaultInjection inject, std::string_view faults) {
  const std::shared_ptr<Executable> executable(new Executable);
  executable->program_ = std::move(program);
  executable->isa_ = isa;
  HAI_TRY(executable->faults_, inject(faults, executable->program_));
  HAI_TRY_STATUS(Loader(*executable, model, registry).run());
  return std::shared_ptr<const Executable>(executable);
}

}  // namespace hai::runtime
