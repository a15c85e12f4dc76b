// The run side of the CPU device: kernels by name, made once per model, run by any number of sessions.
//
// A CpuKernel is immutable after `make`: it checks its operands, packs its weights and prepares tables and multipliers
// (all that is derived from weights can be made again by making the kernel again). run() does not allocate, does not
// throw and cannot fail: whatever could go wrong was refused by make(). Sessions give buffers, scratch and threads.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/thread_pool.h"
#include "devices/cpu/exec/isa.h"
#include "format/program.h"
#include "types/tensor_view.h"

namespace hai::cpu {

// What make() sees. Operand i of the instruction is `inputs[i]`; an absent optional one is null. Constants have data in
// `constants[i]`; it is only valid during make(): a kernel that needs the bytes later packs or copies them.
struct KernelContext {
  const format::Instruction& instruction;
  std::span<const format::ProgramTensor* const> inputs;
  std::span<const format::ProgramTensor* const> outputs;
  std::span<const TensorView> constants;  // data == nullptr when input i is not a constant
  std::span<const Symbol> symbols;
  Isa isa;

  // Attribute access that turns a missing or mistyped one into an error (files are hostile).
  Result<int64_t> int_attribute(std::string_view key, int64_t fallback, int64_t min, int64_t max) const;
  Result<double> float_attribute(std::string_view key, double fallback) const;
  Result<std::string> string_attribute(std::string_view key, std::string_view fallback) const;
  Result<std::vector<int64_t>> ints_attribute(std::string_view key, size_t expected_count, int64_t min,
                                              int64_t max) const;  // required
  Result<std::vector<int64_t>> ints_attribute_or(std::string_view key, std::vector<int64_t> fallback, int64_t min,
                                                 int64_t max) const;
  Result<std::vector<double>> floats_attribute_or(std::string_view key, std::vector<double> fallback) const;
  // An error "C0xx" naming kernel, layer and `what`.
  Error refuse(std::string_view what) const;
};

struct RunContext {
  std::span<const TensorView> inputs;  // constants that were not retained by the model have data == nullptr
  std::span<const MutableTensorView> outputs;
  std::byte* scratch;  // scratch_bytes(...) bytes, 64-byte aligned; contents undefined
  ThreadPool& threads;
  int64_t batch;  // value of the batch symbol (1 when there is none)
};

class CpuKernel {
 public:
  virtual ~CpuKernel() = default;
  // For the largest batch in the session and its thread count.
  virtual int64_t scratch_bytes(int64_t batch, int thread_count) const {
    (void)batch;
    (void)thread_count;
    return 0;
  }
  virtual void run(const RunContext& context) const = 0;
  // Bytes held by packed weights, tables and copies, for the memory table.
  virtual int64_t packed_bytes() const { return 0; }
  // True when run() reads constant input i from RunContext (the model then keeps the raw bytes resident).
  virtual bool needs_constant(size_t input) const {
    (void)input;
    return false;
  }
};

using MakeKernel = Result<std::unique_ptr<CpuKernel>> (*)(const KernelContext& context);

class ExecRegistry {
 public:
  void add(std::string kernel, MakeKernel make);
  MakeKernel find(std::string_view kernel) const;  // null when unknown
  std::vector<std::string_view> names() const;
  static const ExecRegistry& instance();  // filled from the generated table, once

 private:
  std::map<std::string, MakeKernel, std::less<>> makers_;
};

// The CPU's kernels, those that only training runs among them where their room (devices/cpu/train) is linked.
void register_cpu_kernels(ExecRegistry& registry);

// Provided by the generated tables.
void register_all_exec(ExecRegistry& registry);
void register_all_train_exec(ExecRegistry& registry);

}  // namespace hai::cpu
