// Running a program: shapes and pointers are resolved once per batch, then a run is a loop over kernels.
//
// Method: every operand of every instruction is a view in one of two flat lists. place() fills in dimensions and arena
// addresses for a batch, bind() the pointers of the caller's buffers, execute() calls the kernels. None of them
// allocates. The arena begins with the fixed region, whose addresses so stay the same for every batch; the per-sample
// region behind it holds offset(N) = N * offset(1).
// Invariants: kernels see only what verify_program and their own make() have checked; the caller's buffers are checked
// here, before anything is touched.
#include "runtime/session.h"

#include <sched.h>

#include <algorithm>
#include <chrono>

#include "base/checked.h"
#include "devices/cpu/exec/isa.h"
#include "runtime/devices.h"

namespace hai::runtime {
namespace {

using format::Instruction;
using format::kNoTensor;
using format::Program;
using format::ProgramTensor;
using format::TensorPlace;

constexpr int kMaxThreads = 1024;
constexpr int kMaxTraceEvents = 1 << 24;
constexpr int64_t kTailBytes = 64;  // readable behind the last tensor of the arena

int64_t now_ns() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

int available_threads() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (::sched_getaffinity(0, sizeof(set), &set) != 0) return 1;
  return std::clamp(CPU_COUNT(&set), 1, kMaxThreads);
}

Result<cpu::Isa> isa_named(const std::string& name) {
  if (name.empty()) return cpu::selected_isa();
  std::string available;
  for (const cpu::Isa isa : cpu::available_isas()) {
    if (cpu::isa_name(isa) == name) return isa;
    available += fmt::format("{}{}", available.empty() ? "" : ", ", cpu::isa_name(isa));
  }
  return make_error(StatusCode::kInvalidArgument, "R010", "instruction set '{}' is not one of this machine: {}", name,
                    available);
}

Status check_options(const SessionOptions& options) {
  if (options.threads < 0 || options.threads > kMaxThreads) {
    return make_error(StatusCode::kOutOfRange, "R011", "{} threads: 1..{} can be asked for, 0 takes one per CPU",
                      options.threads, kMaxThreads);
  }
  if (options.trace_events < 0 || options.trace_events > kMaxTraceEvents) {
    return make_error(StatusCode::kOutOfRange, "R012", "a trace of {} events: 0..{} can be asked for",
                      options.trace_events, kMaxTraceEvents);
  }
  return {};
}

// The device to run on: the one that is wanted, or the first that the file has a program for. A file without any
// program gets its own error when the program is read.
Result<std::string> choose_device(const std::string& wanted, const std::vector<std::string>& in_file) {
  const std::vector<Device> known = devices();
  const auto runs = [&](const std::string& device) {
    return std::any_of(known.begin(), known.end(), [&](const Device& one) { return one.name == device; });
  };
  if (wanted.empty()) {
    const auto first = std::find_if(in_file.begin(), in_file.end(), runs);
    if (first != in_file.end()) return *first;
    if (in_file.empty()) return std::string("cpu");
  }
  if (runs(wanted)) return wanted;
  return unknown_device(wanted.empty() ? in_file.front() : wanted);
}

Result<std::shared_ptr<const Executable>> executable_for(Model& model, const SessionOptions& options, cpu::Isa isa) {
  if (options.training) return model.training_executable(isa);
  if (options.features) return model.features_executable(isa);
  if (options.observers) return model.observers_executable(isa);
  HAI_TRY(const std::string device, choose_device(options.device, model.file().devices()));
  return options.inject ? model.faulty_executable(device, isa, *options.inject) : model.executable(device, isa);
}

std::string shape_text(const hai_tensor& tensor) {
  return to_string(Dims(std::span<const int64_t>(tensor.dims, static_cast<size_t>(tensor.rank))));
}

// Byte ranges of two tensors share something.
bool overlap(const hai_tensor& a, int64_t a_bytes, const hai_tensor& b, int64_t b_bytes) {
  if (a_bytes == 0 || b_bytes == 0) return false;
  const auto a_begin = reinterpret_cast<uintptr_t>(a.data);
  const auto b_begin = reinterpret_cast<uintptr_t>(b.data);
  return a_begin < b_begin + static_cast<uintptr_t>(b_bytes) && b_begin < a_begin + static_cast<uintptr_t>(a_bytes);
}

Status check_memory(const ProgramTensor& wanted, const hai_tensor& tensor, int64_t bytes, std::string_view role) {
  if (tensor.size_bytes < static_cast<size_t>(bytes) || (tensor.data == nullptr && bytes > 0)) {
    return make_error(StatusCode::kInvalidArgument, "R020", "{} '{}' needs {} bytes; the buffer has {}", role,
                      wanted.name, bytes, tensor.data == nullptr ? 0 : tensor.size_bytes);
  }
  const auto alignment = static_cast<uintptr_t>(std::max(1, bit_width(wanted.dtype) / 8));
  if (reinterpret_cast<uintptr_t>(tensor.data) % alignment != 0) {
    return make_error(StatusCode::kInvalidArgument, "R021", "{} '{}' must be aligned to its elements of {} bytes", role,
                      wanted.name, alignment);
  }
  return {};
}

Status check_kind(const ProgramTensor& wanted, const hai_tensor& tensor, std::string_view role) {
  if (tensor.dtype != static_cast<int32_t>(wanted.dtype)) {
    return make_error(StatusCode::kInvalidArgument, "R022", "{} '{}' is {}, and {} was given; convert it to {}", role,
                      wanted.name, data_type_name(wanted.dtype), hai_dtype_name(tensor.dtype),
                      data_type_name(wanted.dtype));
  }
  if (tensor.rank < 0 || static_cast<size_t>(tensor.rank) != wanted.shape.size()) {
    return make_error(StatusCode::kInvalidArgument, "R023", "{} '{}' has {} dimensions; {} were given", role,
                      wanted.name, wanted.shape.size(), tensor.rank);
  }
  return {};
}

}  // namespace

Result<std::unique_ptr<Session>> Session::create(std::shared_ptr<Model> model, const SessionOptions& options) {
  HAI_TRY_STATUS(check_options(options));
  HAI_TRY(const cpu::Isa isa, isa_named(options.isa));
  HAI_TRY(auto executable, executable_for(*model, options, isa));
  const int threads = options.threads == 0 ? available_threads() : options.threads;
  std::unique_ptr<Session> session(
      new Session(std::move(model), std::move(executable), threads, static_cast<size_t>(options.trace_events)));
  const Program& program = session->program();
  HAI_TRY_STATUS(session->make_states());
  const int64_t least = program.symbols.empty() ? 1 : program.symbols[0].min;
  if (options.max_batch != 0) HAI_TRY_STATUS(session->check_batch(options.max_batch));
  HAI_TRY_STATUS(session->reserve(options.max_batch == 0 ? least : options.max_batch));
  session->set_profiling(options.profile);
  return session;
}

Session::Session(std::shared_ptr<Model> model, std::shared_ptr<const Executable> executable, int threads,
                 size_t trace_events)
    : model_(std::move(model)), executable_(std::move(executable)), threads_(threads), trace_(trace_events) {
  static std::atomic<int64_t> count{0};
  number_ = ++count;
  make_views();
  label_instructions();
}

void Session::make_views() {
  const Program& program = this->program();
  const auto quantization_of = [](const ProgramTensor& tensor) {
    return tensor.quantization ? &*tensor.quantization : nullptr;
  };
  for (const Instruction& instruction : program.instructions) {
    operands_.push_back({input_views_.size(), output_views_.size()});
    for (const uint32_t number : instruction.inputs) {
      TensorView view;
      if (number != kNoTensor) {
        const ProgramTensor& tensor = program.tensors[number];
        view = {tensor.dtype, {}, executable_->constant(number), quantization_of(tensor)};
        add_binding(number, false, input_views_.size());
      }
      input_views_.push_back(view);
    }
    for (const uint32_t number : instruction.outputs) {
      const ProgramTensor& tensor = program.tensors[number];
      add_binding(number, true, output_views_.size());
      output_views_.push_back({tensor.dtype, {}, nullptr, quantization_of(tensor)});
    }
  }
}

void Session::add_binding(uint32_t tensor, bool is_output_view, size_t view) {
  const ProgramTensor& root = program().tensors[executable_->root(tensor)];
  if (root.place == TensorPlace::kInput) inputs_read_.push_back({view, root.index});
  if (root.place == TensorPlace::kOutput)
    (is_output_view ? outputs_written_ : outputs_read_).push_back({view, root.index});
}

int64_t Session::state_bytes(size_t index) const {
  const ProgramTensor& tensor = program().tensors[program().states[index].tensor];
  return bytes_for(tensor.dtype, resolve(tensor.shape, {}).count());
}

std::span<std::byte> Session::state(size_t index) {
  return {states_.data() + state_offset_bytes_[index], static_cast<size_t>(state_bytes(index))};
}

std::byte* Session::state_address(uint32_t tensor) const {
  const ProgramTensor& root = program().tensors[executable_->root(tensor)];
  return root.place == TensorPlace::kState ? states_.data() + state_offset_bytes_[root.index] : nullptr;
}

// Places the states, sets them to their first values, and points the views at them: they stay where they are.
Status Session::make_states() {
  const Program& program = this->program();
  if (program.states.empty()) return {};
  int64_t total = 0;
  for (size_t i = 0; i < program.states.size(); ++i) {
    state_offset_bytes_.push_back(total);
    const auto end = checked_add(total, align_up(state_bytes(i), 64) + kTailBytes);
    if (!end) return make_error(StatusCode::kResourceExhausted, "R016", "the states pass 2^63 bytes");
    total = *end;
  }
  HAI_TRY(states_, MemoryRegion::allocate(total, "the states of training"));
  for (size_t i = 0; i < program.instructions.size(); ++i) {
    const Instruction& instruction = program.instructions[i];
    for (size_t k = 0; k < instruction.inputs.size(); ++k) {
      if (instruction.inputs[k] == kNoTensor) continue;
      if (const std::byte* at = state_address(instruction.inputs[k]))
        input_views_[operands_[i].first_input + k].data = at;
    }
    for (size_t k = 0; k < instruction.outputs.size(); ++k) {
      if (std::byte* at = state_address(instruction.outputs[k])) output_views_[operands_[i].first_output + k].data = at;
    }
  }
  return reset_states();
}

Status Session::reset_states() {
  format::WeightReader weights(model_->shared_file());
  for (size_t i = 0; i < program().states.size(); ++i) {
    const std::span<std::byte> bytes = state(i);
    const int64_t offset = program().states[i].offset_bytes;
    if (offset == format::ProgramState::kZeros) {
      std::fill(bytes.begin(), bytes.end(), std::byte{0});
    } else {
      HAI_TRY_STATUS(weights.read(offset, bytes));
    }
  }
  return {};
}

void Session::label_instructions() {
  const Program& program = this->program();
  const int64_t one = 1;
  for (const Instruction& instruction : program.instructions) {
    TraceLabel label{instruction.name, instruction.kernel, instruction.macs, 0, 0};
    const auto count = [&](uint32_t number) {
      if (number == kNoTensor) return;
      const ProgramTensor& tensor = program.tensors[number];
      const int64_t bytes = bytes_for(tensor.dtype, resolve(tensor.shape, std::span(&one, 1)).count());
      (is_static(tensor.shape) ? label.bytes_fixed : label.bytes_per_sample) += bytes;
    };
    std::for_each(instruction.inputs.begin(), instruction.inputs.end(), count);
    std::for_each(instruction.outputs.begin(), instruction.outputs.end(), count);
    labels_.push_back(std::move(label));
  }
  profile_.resize(program.instructions.size());
}

Status Session::check_batch(int64_t batch) const {
  const Program& program = this->program();
  const int64_t min = program.symbols.empty() ? 1 : program.symbols[0].min;
  const int64_t max = program.symbols.empty() ? 1 : program.symbols[0].max;
  if (batch >= min && batch <= max) return {};
  return make_error(StatusCode::kOutOfRange, "R014", "batch {} is outside {}..{}, which the model was compiled for{}",
                    batch, min, max, program.symbols.empty() ? " (its batch is fixed)" : "");
}

// Makes arena and scratch for this batch unless they are large enough.
Status Session::reserve(int64_t batch) {
  if (batch <= capacity_batch_) return {};
  const Program& program = this->program();
  capacity_batch_ = 0;
  batch_ = 0;
  arena_ = MemoryRegion();
  scratch_ = MemoryRegion();
  const auto samples = checked_mul(program.per_sample_bytes, batch);
  const auto total = samples ? checked_add(*samples, align_up(program.fixed_bytes, 64) + kTailBytes) : std::nullopt;
  if (!total) {
    return make_error(StatusCode::kResourceExhausted, "R015", "the arena for batch {} passes 2^63 bytes", batch);
  }
  int64_t scratch = 0;
  for (size_t i = 0; i < program.instructions.size(); ++i) {
    scratch = std::max(scratch, executable_->kernel(i).scratch_bytes(batch, threads_.thread_count()));
  }
  HAI_TRY(arena_, MemoryRegion::allocate(*total, fmt::format("the arena at batch {}", batch)));
  HAI_TRY(scratch_, MemoryRegion::allocate(scratch, "scratch"));
  capacity_batch_ = batch;
  return {};
}

std::byte* Session::arena_address(uint32_t tensor, int64_t batch) const {
  const ProgramTensor& root = program().tensors[executable_->root(tensor)];
  if (root.place == TensorPlace::kFixed) return arena_.data() + root.offset_bytes;
  if (root.place == TensorPlace::kPerSample) {
    return arena_.data() + align_up(program().fixed_bytes, 64) + root.offset_bytes * batch;
  }
  return nullptr;
}

// Resolves dimensions and arena addresses.
void Session::place(int64_t batch) {
  const Program& program = this->program();
  const std::span<const int64_t> symbols(&batch, 1);
  for (size_t i = 0; i < program.instructions.size(); ++i) {
    const Instruction& instruction = program.instructions[i];
    for (size_t k = 0; k < instruction.inputs.size(); ++k) {
      const uint32_t tensor = instruction.inputs[k];
      if (tensor == kNoTensor) continue;
      TensorView& view = input_views_[operands_[i].first_input + k];
      view.dims = resolve(program.tensors[tensor].shape, symbols);
      if (const std::byte* address = arena_address(tensor, batch)) view.data = address;
    }
    for (size_t k = 0; k < instruction.outputs.size(); ++k) {
      const uint32_t tensor = instruction.outputs[k];
      MutableTensorView& view = output_views_[operands_[i].first_output + k];
      view.dims = resolve(program.tensors[tensor].shape, symbols);
      if (std::byte* address = arena_address(tensor, batch)) view.data = address;
    }
  }
  batch_ = batch;
}

Result<int64_t> Session::batch_of(std::span<const hai_tensor> inputs) const {
  const Program& program = this->program();
  if (inputs.size() != program.inputs.size()) {
    return make_error(StatusCode::kInvalidArgument, "R024", "the model has {} inputs; {} were given",
                      program.inputs.size(), inputs.size());
  }
  int64_t batch = 0;
  for (size_t i = 0; i < inputs.size(); ++i) {
    const ProgramTensor& wanted = program.tensors[program.inputs[i]];
    HAI_TRY_STATUS(check_kind(wanted, inputs[i], "input"));
    for (size_t d = 0; d < wanted.shape.size(); ++d) {
      const Dim& dim = wanted.shape[d];
      const int64_t given = inputs[i].dims[d];
      bool fits = given == dim.value;
      if (dim.is_symbolic()) {
        fits = dim.value > 0 && given > 0 && given % dim.value == 0 && (batch == 0 || given / dim.value == batch);
        if (fits) batch = given / dim.value;
      }
      if (!fits) {
        return make_error(StatusCode::kInvalidArgument, "R025", "input '{}' has shape {}{}; {} was given", wanted.name,
                          to_string(wanted.shape, program.symbols),
                          batch > 0 ? fmt::format(" with {} = {}", program.symbols[0].name, batch) : std::string(),
                          shape_text(inputs[i]));
      }
    }
  }
  // No input depends on the batch: one sample, or the least that is allowed.
  if (batch == 0) batch = program.symbols.empty() ? 1 : program.symbols[0].min;
  HAI_TRY_STATUS(check_batch(batch));
  return batch;
}

Status Session::check_buffers(std::span<const hai_tensor> inputs, std::span<const hai_tensor> outputs,
                              int64_t batch) const {
  const Program& program = this->program();
  const std::span<const int64_t> symbols(&batch, 1);
  const auto bytes_of = [&](const ProgramTensor& tensor) {
    return bytes_for(tensor.dtype, resolve(tensor.shape, symbols).count());
  };
  if (outputs.size() != program.outputs.size()) {
    return make_error(StatusCode::kInvalidArgument, "R026", "the model has {} outputs; {} were given",
                      program.outputs.size(), outputs.size());
  }
  for (size_t i = 0; i < inputs.size(); ++i) {
    const ProgramTensor& wanted = program.tensors[program.inputs[i]];
    HAI_TRY_STATUS(check_memory(wanted, inputs[i], bytes_of(wanted), "input"));
  }
  for (size_t i = 0; i < outputs.size(); ++i) {
    const ProgramTensor& wanted = program.tensors[program.outputs[i]];
    HAI_TRY_STATUS(check_kind(wanted, outputs[i], "output"));
    const Dims dims = resolve(wanted.shape, symbols);
    if (!std::equal(dims.size.begin(), dims.size.begin() + dims.rank, outputs[i].dims)) {
      return make_error(StatusCode::kInvalidArgument, "R027", "output '{}' has shape {}; {} was given", wanted.name,
                        to_string(dims), shape_text(outputs[i]));
    }
    const int64_t bytes = bytes_of(wanted);
    HAI_TRY_STATUS(check_memory(wanted, outputs[i], bytes, "output"));
    const auto check_apart = [&](const hai_tensor& other, const ProgramTensor& tensor) -> Status {
      if (!overlap(outputs[i], bytes, other, bytes_of(tensor))) return {};
      return make_error(StatusCode::kInvalidArgument, "R028", "the buffers of '{}' and '{}' overlap", wanted.name,
                        tensor.name);
    };
    for (size_t k = 0; k < inputs.size(); ++k) {
      HAI_TRY_STATUS(check_apart(inputs[k], program.tensors[program.inputs[k]]));
    }
    for (size_t k = 0; k < i; ++k) {
      HAI_TRY_STATUS(check_apart(outputs[k], program.tensors[program.outputs[k]]));
    }
  }
  return {};
}

void Session::bind(std::span<const hai_tensor> inputs, std::span<const hai_tensor> outputs) {
  const auto data = [](const hai_tensor& tensor) { return static_cast<std::byte*>(tensor.data); };
  for (const Binding& binding : inputs_read_) input_views_[binding.view].data = data(inputs[binding.index]);
  for (const Binding& binding : outputs_read_) input_views_[binding.view].data = data(outputs[binding.index]);
  for (const Binding& binding : outputs_written_) output_views_[binding.view].data = data(outputs[binding.index]);
}

cpu::RunContext Session::context_of(size_t instruction) {
  const Instruction& entry = program().instructions[instruction];
  return {std::span(input_views_).subspan(operands_[instruction].first_input, entry.inputs.size()),
          std::span<const MutableTensorView>(output_views_)
              .subspan(operands_[instruction].first_output, entry.outputs.size()),
          scratch_.data(), threads_, batch_};
}

void Session::execute() {
  for (size_t i = 0; i < operands_.size(); ++i) executable_->kernel(i).run(context_of(i));
}

void Session::execute_timed() {
  const auto batch = static_cast<int32_t>(batch_);
  const int64_t begin = now_ns();
  int64_t start = begin;
  for (size_t i = 0; i < operands_.size(); ++i) {
    executable_->kernel(i).run(context_of(i));
    const int64_t end = now_ns();
    const int64_t taken = end - start;
    LayerProfile& layer = profile_[i];
    layer.min_ns = layer.calls == 0 ? taken : std::min(layer.min_ns, taken);
    layer.total_ns += taken;
    ++layer.calls;
    if (trace_.enabled()) trace_.add({static_cast<uint32_t>(i), batch, start, taken});
    start = end;
  }
  if (trace_.enabled()) trace_.add({TraceEvent::kWholeRun, batch, begin, start - begin});
}

// Untimed: the machine that would take the time is not the one that runs this.
Status Session::execute_with_faults(cpu::FaultInjection& faults) {
  faults.begin_run();
  for (size_t i = 0; i < operands_.size(); ++i) {
    executable_->kernel(i).run(context_of(i));
    HAI_TRY_STATUS(faults.status());
  }
  return {};
}

std::string Session::fault_report() const {
  return executable_->faults() == nullptr ? "[]" : executable_->faults()->report();
}

Status Session::run(std::span<const hai_tensor> inputs, std::span<const hai_tensor> outputs) {
  if (busy_.exchange(true, std::memory_order_acquire)) {
    return make_error(StatusCode::kInvalidArgument, "R029",
                      "this session is running already; a session does one run at a time, make one per thread");
  }
  struct Release {
    std::atomic<bool>& flag;
    ~Release() { flag.store(false, std::memory_order_release); }
  } const release{busy_};
  HAI_TRY(const int64_t batch, batch_of(inputs));
  HAI_TRY_STATUS(check_buffers(inputs, outputs, batch));
  HAI_TRY_STATUS(reserve(batch));
  if (batch != batch_) place(batch);
  bind(inputs, outputs);
  const ScopedFloatEnvironment environment;
  if (cpu::FaultInjection* faults = executable_->faults()) return execute_with_faults(*faults);
  if (profiling_ || trace_.enabled()) {
    execute_timed();
  } else {
    execute();
  }
  return {};
}

void Session::set_profiling(bool enabled) {
  profiling_ = enabled;
  std::fill(profile_.begin(), profile_.end(), LayerProfile{});
}

std::string Session::trace() const {
  return trace_json(trace_, labels_, fmt::format("{} session {}", device(), number_), number_,
                    fmt::format("{} {}", device(), cpu::isa_name(isa())));
}

}  // namespace hai::runtime
