// Session: one caller's arena, scratch, threads and bound buffers for a model on one device.
//
// run() may be called from any thread, one call at a time; several sessions run in parallel, also on one model. After
// the first run with a batch, runs with that or a smaller one allocate nothing.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/thread_pool.h"
#include "hai/hai.h"
#include "runtime/memory_region.h"
#include "runtime/model.h"
#include "runtime/trace.h"
#include "types/tensor_view.h"

namespace hai::runtime {

struct SessionOptions {
  std::string device = {};  // empty: the first one the file has a program for
  std::string isa = {};     // empty: HAI_CPU, else the best
  int threads = 0;          // 0: one for each CPU this process may use
  int64_t max_batch = 0;
  bool profile = false;
  int trace_events = 0;
  bool training = false;   // runs the training program, on the CPU; `device` and `inject` are not used
  bool features = false;   // runs the frozen part of the training program; `device` and `inject` are not used
  bool observers = false;  // runs the observers of what is rebuilt; `device` and `inject` are not used
  std::optional<std::string> inject = {};  // faults that a simulated device shows, separated by ';'
};

struct LayerProfile {
  int64_t calls = 0;
  int64_t total_ns = 0;
  int64_t min_ns = 0;
};

class Session {
 public:
  static Result<std::unique_ptr<Session>> create(std::shared_ptr<Model> model, const SessionOptions& options);

  Status run(std::span<const hai_tensor> inputs, std::span<const hai_tensor> outputs);

  // The batch that these inputs have; checks their number, types and shapes.
  Result<int64_t> batch_of(std::span<const hai_tensor> inputs) const;
  size_t output_count() const { return program().outputs.size(); }
  const format::ProgramTensor& output(size_t index) const { return program().tensors[program().outputs[index]]; }
  Dims output_dims(size_t index, int64_t batch) const { return resolve(output(index).shape, std::span(&batch, 1)); }

  void set_profiling(bool enabled);
  std::span<const LayerProfile> profile() const { return profile_; }
  std::span<const TraceLabel> labels() const { return labels_; }
  std::string trace() const;
  // What a training program keeps from run to run; null bytes are none of it. Valid between runs, and as long as this.
  std::span<std::byte> state(size_t index);
  // Sets the states to what they are in the file.
  Status reset_states();

  // What became of the injected faults in the last run: a JSON array, empty without any.
  std::string fault_report() const;

  const format::Program& program() const { return executable_->program(); }
  const Model& model() const { return *model_; }
  const std::string& device() const { return program().device; }
  cpu::Isa isa() const { return executable_->isa(); }
  int thread_count() const { return threads_.thread_count(); }
  int64_t packed_bytes() const { return executable_->packed_bytes(); }
  int64_t arena_bytes() const { return arena_.size_bytes(); }
  int64_t scratch_bytes() const { return scratch_.size_bytes(); }
  int64_t capacity_batch() const { return capacity_batch_; }
  int64_t last_batch() const { return batch_; }

 private:
  // One operand of one instruction whose pointer the caller gives at each run.
  struct Binding {
    size_t view = 0;  // into input_views_ or output_views_
    uint32_t index = 0;
  };
  // The operands of one instruction inside the flat lists of views.
  struct Operands {
    size_t first_input = 0;
    size_t first_output = 0;
  };

  Session(std::shared_ptr<Model> model, std::shared_ptr<const Executable> executable, int threads, size_t trace_events);
  void make_views();
  void add_binding(uint32_t tensor, bool is_output_view, size_t view);
  void label_instructions();
  Status make_states();
  std::byte* state_address(uint32_t tensor) const;
  int64_t state_bytes(size_t index) const;
  Status reserve(int64_t batch);
  void place(int64_t batch);
  std::byte* arena_address(uint32_t tensor, int64_t batch) const;
  Status check_batch(int64_t batch) const;
  Status check_buffers(std::span<const hai_tensor> inputs, std::span<const hai_tensor> outputs, int64_t batch) const;
  void bind(std::span<const hai_tensor> inputs, std::span<const hai_tensor> outputs);
  void execute();
  void execute_timed();
  Status execute_with_faults(cpu::FaultInjection& faults);
  cpu::RunContext context_of(size_t instruction);

  std::shared_ptr<Model> model_;
  std::shared_ptr<const Executable> executable_;
  ThreadPool threads_;
  std::atomic<bool> busy_{false};

  MemoryRegion arena_;  // fixed region, then the per-sample region
  MemoryRegion scratch_;
  MemoryRegion states_;
  std::vector<int64_t> state_offset_bytes_;  // of each state
  int64_t capacity_batch_ = 0;               // that arena and scratch are made for
  int64_t batch_ = 0;                        // that the views are resolved for; 0: none yet

  std::vector<TensorView> input_views_;  // of all instructions, one after the other
  std::vector<MutableTensorView> output_views_;
  std::vector<Operands> operands_;
  // By what the caller binds and by the list of views that needs the pointer: inputs are only read; an output may also
  // be read by a later instruction.
  std::vector<Binding> inputs_read_;
  std::vector<Binding> outputs_read_;
  std::vector<Binding> outputs_written_;

  bool profiling_ = false;
  std::vector<LayerProfile> profile_;
  std::vector<TraceLabel> labels_;
  TraceRing trace_;
  int64_t number_;  // of this session in the process, for the trace
};

}  // namespace hai::runtime
