// Executable: a model's program for one device, made ready for one instruction set of this machine: kernels with their
// packed weights. A program of the sd3403 has kernels of the cpu and the NPU's, which simulates it.
//
// Immutable, shared by all sessions of the model on that instruction set. Making it is where weights are read: the
// constants of one instruction at a time, verified, packed by its kernel and dropped.
#pragma once

#include <memory>
#include <vector>

#include "base/result.h"
#include "devices/cpu/exec/exec_registry.h"
#include "devices/cpu/exec/fault_injection.h"
#include "format/model_reader.h"
#include "format/program.h"

namespace hai::runtime {

class Executable {
 public:
  // `program`: of that model.
  static Result<std::shared_ptr<const Executable>> make(const std::shared_ptr<const format::ModelReader>& model,
                                                        format::Program program, cpu::Isa isa,
                                                        const cpu::ExecRegistry& registry);
  // One of a single session, whose device shows these faults.
  static Result<std::shared_ptr<const Executable>> make_faulty(const std::shared_ptr<const format::ModelReader>& model,
                                                               format::Program program, cpu::Isa isa,
                                                               const cpu::ExecRegistry& registry,
                                                               cpu::MakeFaultInjection inject, std::string_view faults);

  const format::Program& program() const { return program_; }
  cpu::Isa isa() const { return isa_; }
  const cpu::CpuKernel& kernel(size_t instruction) const { return *kernels_[instruction]; }
  // Bytes of a constant that a kernel reads at each run; null for every other.
  const std::byte* constant(uint32_t tensor) const {
    return retained_[tensor].empty() ? nullptr : retained_[tensor].front().bytes;
  }
  // Null but for make_faulty().
  cpu::FaultInjection* faults() const { return faults_.get(); }
  // Held for as long as this lives: packed weights, tables, retained constants.
  int64_t packed_bytes() const { return packed_bytes_; }
  // The tensor whose bytes these are: itself, or what it is an alias of.
  uint32_t root(uint32_t tensor) const {
    const format::ProgramTensor& entry = program_.tensors[tensor];
    return entry.place == format::TensorPlace::kAlias ? entry.index : tensor;
  }

 private:
  class Loader;
  Executable() = default;

  format::Program program_;
  cpu::Isa isa_ = cpu::Isa::kScalar;
  std::vector<std::unique_ptr<cpu::CpuKernel>> kernels_;  // one per instruction
  struct alignas(64) Block {
    std::byte bytes[64];
  };
  std::vector<std::vector<Block>> retained_;  // by tensor, mostly empty
  int64_t packed_bytes_ = 0;
  std::shared_ptr<cpu::FaultInjection> faults_;
};

}  // namespace hai::runtime
