// verify_program: every number of a program against every other, before anything is allocated or run.
//
// What holds afterwards, and what the runtime and the kernels build on: all tensor and symbol numbers are in range; all
// sizes and offsets fit into 64 bits at the largest batch and into their region or section; aliases lead in one step to
// a tensor of the same bytes; every tensor is written exactly once and before it is read, a state by the last
// instruction that reads what it held before; tensors of the arena that live at the same time do not overlap (an
// instruction may write its output over an input that ends there, from the same offset). Liveness is swept once, with
// an ordered map of live ranges per region: n log n, whatever a hostile file holds. Not here: what a kernel requires of
// operands and attributes (its make() checks that).
#include <algorithm>
#include <cmath>
#include <set>

#include "base/checked.h"
#include "base/utf8.h"
#include "format/program.h"

namespace hai::format {
namespace {

constexpr size_t kMaxTensors = 1 << 20;
constexpr size_t kMaxInstructions = 1 << 20;
constexpr size_t kMaxInterface = 4096;  // inputs, outputs
constexpr size_t kMaxSymbols = 64;
constexpr int64_t kMaxSymbolValue = int64_t{1} << 31;
constexpr int64_t kMaxTensorBytes = int64_t{1} << 46;
constexpr int64_t kArenaAlignment = 64;

Error broken(const ProgramTensor& tensor, size_t number, const std::string& what) {
  return make_error(StatusCode::kCorrupt, "F030", "tensor {} '{}': {}", number, tensor.name, what);
}

Error broken(const Instruction& instruction, size_t number, const std::string& what) {
  return make_error(StatusCode::kCorrupt, "F031", "instruction {} '{}' ({}): {}", number, instruction.name,
                    instruction.kernel, what);
}

Error broken_program(const std::string& what) {
  return make_error(StatusCode::kCorrupt, "F032", "the program: {}", what);
}

// Elements that one scale value covers: how many scales a tensor of this shape must have. std::nullopt: not per axis of
// this shape.
std::optional<int64_t> expected_scales(const ProgramTensor& tensor) {
  const Quantization& quantization = *tensor.quantization;
  if (quantization.per_tensor()) return 1;
  if (quantization.axis >= static_cast<int32_t>(tensor.shape.size())) return std::nullopt;
  const Dim& dim = tensor.shape[static_cast<size_t>(quantization.axis)];
  if (dim.is_symbolic()) return std::nullopt;
  if (quantization.block == 0) return dim.value;
  const auto count = element_count(tensor.shape);
  if (!count || count->is_symbolic() || dim.value == 0) return std::nullopt;
  return checked_mul(count->value / dim.value, ceil_div(dim.value, std::min(quantization.block, dim.value)));
}

Status check_quantization(const ProgramTensor& tensor, size_t number) {
  const Quantization& quantization = *tensor.quantization;
  if (!is_integer(tensor.dtype)) return broken(tensor, number, "a tensor that is no integer has a quantization");
  if (quantization.axis < -1 || quantization.block < 0 || (quantization.per_tensor() && quantization.block != 0)) {
    return broken(
        tensor, number,
        fmt::format("quantization axis {} and block {} do not fit together", quantization.axis, quantization.block));
  }
  const auto expected = expected_scales(tensor);
  if (!expected || static_cast<size_t>(*expected) != quantization.scales.size() ||
      quantization.scales.size() != quantization.zero_points.size()) {
    return broken(tensor, number,
                  fmt::format("{} scales and {} zero points do not fit quantization axis {}",
                              quantization.scales.size(), quantization.zero_points.size(), quantization.axis));
  }
  if (!std::all_of(quantization.scales.begin(), quantization.scales.end(),
                   [](float scale) { return std::isfinite(scale) && scale > 0; })) {
    return broken(tensor, number, "a scale is not a positive finite number");
  }
  const bool wide = bit_width(tensor.dtype) > 32;
  const int64_t lo = wide ? 0 : integer_min(tensor.dtype);
  const int64_t hi = wide ? 0 : integer_max(tensor.dtype);
  if (!std::all_of(quantization.zero_points.begin(), quantization.zero_points.end(),
                   [lo, hi](int32_t zero) { return zero >= lo && zero <= hi; })) {
    return broken(tensor, number, fmt::format("a zero point is outside [{}, {}]", lo, hi));
  }
  return {};
}

class ProgramVerifier {
 public:
  ProgramVerifier(const Program& program, int64_t weights_bytes)
      : program_(program), weights_bytes_(weights_bytes), portable_(program.device == "graph") {}

  Status run() {
    HAI_TRY_STATUS(check_totals());
    HAI_TRY_STATUS(check_texts());
    HAI_TRY_STATUS(check_symbols());
    bytes_.reserve(program_.tensors.size());
    for (size_t i = 0; i < program_.tensors.size(); ++i) {
      HAI_TRY_STATUS(check_type(program_.tensors[i], i));
    }
    for (size_t i = 0; i < program_.tensors.size(); ++i) {
      HAI_TRY_STATUS(check_place(program_.tensors[i], i));
    }
    HAI_TRY_STATUS(check_interface());
    HAI_TRY_STATUS(check_states());
    for (size_t i = 0; i < program_.instructions.size(); ++i) {
      HAI_TRY_STATUS(check_instruction(program_.instructions[i], i));
    }
    return check_flow();
  }

 private:
  // Bytes of a tensor at batch 1, and whether they scale with the batch.
  struct Bytes {
    int64_t one = 0;
    bool scales = false;
    bool operator==(const Bytes&) const = default;
  };

  Status check_totals() const;
  Status check_texts() const;
  Status check_symbols() const;
  Status check_type(const ProgramTensor& tensor, size_t number);
  Status check_place(const ProgramTensor& tensor, size_t number) const;
  Status check_arena_place(const ProgramTensor& tensor, size_t number) const;
  Status check_state_place(const ProgramTensor& tensor, size_t number) const;
  Status check_interface() const;
  Status check_states() const;
  Status check_instruction(const Instruction& instruction, size_t number) const;
  Status check_flow();
  Status check_reads(const Instruction& instruction, size_t number);
  Status check_writes(const Instruction& instruction, size_t number);
  Status occupy(const Instruction& instruction, size_t number, uint32_t tensor);
  void release_dead(const Instruction& instruction, size_t number);

  // The tensor whose bytes these are.
  uint32_t root(uint32_t tensor) const {
    const ProgramTensor& entry = program_.tensors[tensor];
    return entry.place == TensorPlace::kAlias ? entry.index : tensor;
  }
  static bool in_arena(const ProgramTensor& tensor) {
    return tensor.place == TensorPlace::kPerSample || tensor.place == TensorPlace::kFixed;
  }

  const Program& program_;
  int64_t weights_bytes_;
  bool portable_;
  std::vector<Bytes> bytes_;

  // Flow: by root tensor.
  std::vector<int64_t> last_read_;
  std::vector<bool> written_;
  struct LiveRange {
    int64_t end = 0;
    uint32_t tensor = 0;
  };
  std::map<int64_t, LiveRange> live_[2];  // by offset; per sample, fixed
  std::set<uint32_t> changed_;            // states that have their next value
  std::set<uint32_t> written_here_;       // roots that the instruction at hand has written
};

Status ProgramVerifier::check_totals() const {
  if (program_.device.empty() || program_.device.size() > 31) {
    return broken_program(fmt::format("a device name of {} characters", program_.device.size()));
  }
  if (program_.tensors.size() > kMaxTensors || program_.instructions.size() > kMaxInstructions ||
      program_.symbols.size() > kMaxSymbols || program_.inputs.size() > kMaxInterface ||
      program_.outputs.size() > kMaxInterface) {
    return make_error(
        StatusCode::kOutOfRange, "F033",
        "{} tensors, {} instructions, {} symbols, {} inputs, {} outputs: the limits are {}, {}, {}, {}, {}",
        program_.tensors.size(), program_.instructions.size(), program_.symbols.size(), program_.inputs.size(),
        program_.outputs.size(), kMaxTensors, kMaxInstructions, kMaxSymbols, kMaxInterface, kMaxInterface);
  }
  if (program_.per_sample_bytes < 0 || program_.fixed_bytes < 0 || program_.arena_lower_bound_bytes < 0 ||
      program_.per_sample_bytes > kMaxTensorBytes || program_.fixed_bytes > kMaxTensorBytes) {
    return broken_program(fmt::format("arena sizes {} per sample and {} fixed are out of range",
                                      program_.per_sample_bytes, program_.fixed_bytes));
  }
  return {};
}

// Every text: readers hand them out as such, and text is UTF-8 in all of them.
Status ProgramVerifier::check_texts() const {
  if (!is_utf8(program_.device))
    return broken_program(fmt::format("its device's name '{}' is not UTF-8", program_.device));
  for (const Symbol& symbol : program_.symbols) {
    if (!is_utf8(symbol.name)) return broken_program(fmt::format("symbol name '{}' is not UTF-8", symbol.name));
  }
  for (size_t i = 0; i < program_.tensors.size(); ++i) {
    if (!is_utf8(program_.tensors[i].name)) return broken(program_.tensors[i], i, "its name is not UTF-8");
  }
  for (size_t i = 0; i < program_.instructions.size(); ++i) {
    const Instruction& instruction = program_.instructions[i];
    if (!is_utf8(instruction.name) || !is_utf8(instruction.kernel))
      return broken(instruction, i, "its name is not UTF-8");
    for (const auto& [key, value] : instruction.attributes) {
      const auto* text = std::get_if<std::string>(&value);
      if (!is_utf8(key) || (text != nullptr && !is_utf8(*text)))
        return broken(instruction, i, fmt::format("its attribute '{}' ('{}') is not UTF-8", key, text ? *text : ""));
    }
  }
  return {};
}

Status ProgramVerifier::check_symbols() const {
  std::set<std::string_view> names;
  for (const Symbol& symbol : program_.symbols) {
    if (symbol.name.empty() || !names.insert(symbol.name).second) {
      return broken_program(fmt::format("symbol name '{}' is empty or appears twice", symbol.name));
    }
    if (symbol.min < 1 || symbol.max < symbol.min || symbol.max > kMaxSymbolValue) {
      return broken_program(fmt::format("symbol '{}' has bounds {}..{}; 1 <= min <= max <= {} is valid", symbol.name,
                                        symbol.min, symbol.max, kMaxSymbolValue));
    }
  }
  if (!portable_ && program_.symbols.size() > 1) {
    return broken_program(
        fmt::format("{} free symbols; only the batch may be free in a device's program", program_.symbols.size()));
  }
  return {};
}

Status ProgramVerifier::check_type(const ProgramTensor& tensor, size_t number) {
  if (tensor.shape.size() > static_cast<size_t>(kMaxRank)) {
    return broken(tensor, number, fmt::format("rank {} is above the limit of {}", tensor.shape.size(), kMaxRank));
  }
  int64_t largest = 1;  // the value of the symbols at their largest
  bool scales = false;
  for (const Dim& dim : tensor.shape) {
    if (dim.value < 0 || dim.symbol < -1 || dim.symbol >= static_cast<int32_t>(program_.symbols.size())) {
      return broken(tensor, number, fmt::format("dimension {} of symbol {} is out of range", dim.value, dim.symbol));
    }
    if (dim.is_symbolic()) {
      if (scales && !portable_) return broken(tensor, number, "two dimensions depend on the batch");
      scales = true;
      const auto product = checked_mul(largest, program_.symbols[static_cast<size_t>(dim.symbol)].max);
      if (!product) return broken(tensor, number, "its size overflows at the largest symbols");
      largest = *product;
    }
  }
  int64_t elements = 1;
  for (const Dim& dim : tensor.shape) {
    const auto product = checked_mul(elements, dim.value);
    if (!product) return broken(tensor, number, "its number of elements overflows");
    elements = *product;
  }
  const auto bits = checked_mul(elements, static_cast<int64_t>(bit_width(tensor.dtype)));
  const auto largest_bits = bits ? checked_mul(*bits, largest) : std::nullopt;
  if (!largest_bits || *largest_bits / 8 > kMaxTensorBytes) {
    return broken(tensor, number, fmt::format("it is larger than the limit of {} bytes", kMaxTensorBytes));
  }
  bytes_.push_back({bytes_for(tensor.dtype, elements), scales});
  if (tensor.quantization) return check_quantization(tensor, number);
  return {};
}

Status ProgramVerifier::check_arena_place(const ProgramTensor& tensor, size_t number) const {
  const bool fixed = tensor.place == TensorPlace::kFixed;
  if (fixed && bytes_[number].scales) {
    return broken(tensor, number, "it depends on the batch and lies in the fixed region");
  }
  const int64_t region = fixed ? program_.fixed_bytes : program_.per_sample_bytes;
  if (tensor.offset_bytes < 0 || tensor.offset_bytes % kArenaAlignment != 0 || tensor.offset_bytes > region ||
      bytes_[number].one > region - tensor.offset_bytes) {
    return broken(tensor, number,
                  fmt::format("{} bytes at {} do not fit into the {} bytes of their region", bytes_[number].one,
                              tensor.offset_bytes, region));
  }
  return {};
}

Status ProgramVerifier::check_place(const ProgramTensor& tensor, size_t number) const {
  switch (tensor.place) {
    case TensorPlace::kInput:
      if (tensor.index >= program_.inputs.size() || program_.inputs[tensor.index] != number) {
        return broken(tensor, number, fmt::format("it says it is input {} and is not", tensor.index));
      }
      return {};
    case TensorPlace::kOutput:
      if (portable_ || tensor.index >= program_.outputs.size() || program_.outputs[tensor.index] != number) {
        return broken(tensor, number, fmt::format("it says it is output {} and is not", tensor.index));
      }
      return {};
    case TensorPlace::kConstant:
      if (bytes_[number].scales) return broken(tensor, number, "a constant depends on a symbol");
      if (tensor.offset_bytes < 0 || tensor.offset_bytes % kArenaAlignment != 0 ||
          tensor.offset_bytes > weights_bytes_ || bytes_[number].one > weights_bytes_ - tensor.offset_bytes) {
        return broken(tensor, number,
                      fmt::format("{} bytes at {} do not lie in the {} bytes of weights", bytes_[number].one,
                                  tensor.offset_bytes, weights_bytes_));
      }
      return {};
    case TensorPlace::kPerSample:
    case TensorPlace::kFixed:
      if (portable_) break;
      return check_arena_place(tensor, number);
    case TensorPlace::kAlias: {
      if (portable_) break;
      if (tensor.index >= program_.tensors.size() || program_.tensors[tensor.index].place == TensorPlace::kAlias ||
          program_.tensors[tensor.index].place == TensorPlace::kValue || bytes_[tensor.index] != bytes_[number]) {
        return broken(tensor, number, fmt::format("it cannot stand for the bytes of tensor {}", tensor.index));
      }
      return {};
    }
    case TensorPlace::kValue:
      if (!portable_) break;
      return {};
    case TensorPlace::kState:
      if (portable_) break;
      return check_state_place(tensor, number);
  }
  return broken(tensor, number,
                fmt::format("a program of '{}' cannot have place {}", program_.device, static_cast<int>(tensor.place)));
}

Status ProgramVerifier::check_state_place(const ProgramTensor& tensor, size_t number) const {
  if (tensor.index >= program_.states.size() || program_.states[tensor.index].tensor != number) {
    return broken(tensor, number, fmt::format("it says it is state {} and is not", tensor.index));
  }
  if (bytes_[number].scales) return broken(tensor, number, "a state depends on the batch");
  const ProgramState& state = program_.states[tensor.index];
  if (state.offset_bytes == ProgramState::kZeros && !state.is_parameter) return {};
  if (state.offset_bytes < 0 || state.offset_bytes % kArenaAlignment != 0 || state.offset_bytes > weights_bytes_ ||
      bytes_[number].one > weights_bytes_ - state.offset_bytes) {
    return broken(tensor, number,
                  fmt::format("its first {} bytes at {} do not lie in the {} bytes of weights", bytes_[number].one,
                              state.offset_bytes, weights_bytes_));
  }
  return {};
}

// Names are how checkpoints and updates call them.
Status ProgramVerifier::check_states() const {
  std::set<std::string_view> names;
  for (size_t i = 0; i < program_.states.size(); ++i) {
    const uint32_t number = program_.states[i].tensor;
    if (number >= program_.tensors.size()) return broken_program(fmt::format("state {} is no tensor", i));
    const ProgramTensor& tensor = program_.tensors[number];
    if (tensor.place != TensorPlace::kState || tensor.index != i) {
      return broken(tensor, number, fmt::format("it is state {} and says otherwise", i));
    }
    if (tensor.name.empty() || !names.insert(tensor.name).second) {
      return broken(tensor, number, "a state's name is empty or appears twice");
    }
  }
  return {};
}

Status ProgramVerifier::check_interface() const {
  std::set<std::string_view> names;
  for (size_t i = 0; i < program_.inputs.size(); ++i) {
    const uint32_t number = program_.inputs[i];
    if (number >= program_.tensors.size()) return broken_program(fmt::format("input {} is no tensor", i));
    const ProgramTensor& tensor = program_.tensors[number];
    if (tensor.place != TensorPlace::kInput || tensor.index != i) {
      return broken(tensor, number, fmt::format("it is input {} and says otherwise", i));
    }
    if (tensor.name.empty() || !names.insert(tensor.name).second) {
      return broken(tensor, number, "an input's name is empty or appears twice");
    }
  }
  for (size_t i = 0; i < program_.outputs.size(); ++i) {
    const uint32_t number = program_.outputs[i];
    if (number >= program_.tensors.size()) return broken_program(fmt::format("output {} is no tensor", i));
    const ProgramTensor& tensor = program_.tensors[number];
    if (!portable_ && (tensor.place != TensorPlace::kOutput || tensor.index != i)) {
      return broken(tensor, number, fmt::format("it is output {} and says otherwise", i));
    }
    if (tensor.name.empty()) return broken(tensor, number, "an output has no name");
  }
  return {};
}

Status ProgramVerifier::check_instruction(const Instruction& instruction, size_t number) const {
  if (instruction.kernel.empty()) return broken(instruction, number, "it names no kernel");
  if (instruction.outputs.empty()) return broken(instruction, number, "it writes nothing");
  if (instruction.macs < 0) return broken(instruction, number, "its MACs are negative");
  for (const uint32_t tensor : instruction.inputs) {
    if (tensor != kNoTensor && tensor >= program_.tensors.size()) {
      return broken(instruction, number, fmt::format("it reads tensor {} of {}", tensor, program_.tensors.size()));
    }
  }
  for (const uint32_t tensor : instruction.outputs) {
    if (tensor >= program_.tensors.size()) {
      return broken(instruction, number, fmt::format("it writes tensor {} of {}", tensor, program_.tensors.size()));
    }
    const TensorPlace place = program_.tensors[root(tensor)].place;
    if (place == TensorPlace::kConstant || place == TensorPlace::kInput) {
      return broken(instruction, number, fmt::format("it writes tensor {}, which is an input or a constant", tensor));
    }
  }
  return {};
}

Status ProgramVerifier::check_reads(const Instruction& instruction, size_t number) {
  for (const uint32_t tensor : instruction.inputs) {
    if (tensor == kNoTensor) continue;
    if (!written_[root(tensor)]) {
      return broken(instruction, number, fmt::format("it reads tensor {} before anything wrote it", tensor));
    }
    if (changed_.contains(tensor)) {
      return broken(instruction, number, fmt::format("it reads state {}, which has its next value already", tensor));
    }
  }
  return {};
}

// Enters the bytes of `tensor` among the live ones of its region.
Status ProgramVerifier::occupy(const Instruction& instruction, size_t number, uint32_t tensor) {
  const ProgramTensor& entry = program_.tensors[tensor];
  auto& live = live_[entry.place == TensorPlace::kFixed ? 1 : 0];
  const int64_t begin = entry.offset_bytes;
  const int64_t end = begin + bytes_[tensor].one;
  if (begin == end) return {};
  auto next = live.lower_bound(begin);
  if (next != live.begin() && std::prev(next)->second.end > begin) --next;
  while (next != live.end() && next->first < end) {
    // In place: the input ends at this instruction, and starts where the output starts.
    const bool in_place = next->first == begin && last_read_[next->second.tensor] == static_cast<int64_t>(number) &&
                          !written_here_.contains(next->second.tensor);
    if (!in_place) {
      return broken(instruction, number,
                    fmt::format("tensor {} overwrites tensor {}, which is still needed", tensor, next->second.tensor));
    }
    next = live.erase(next);
  }
  live.emplace(begin, LiveRange{end, tensor});
  return {};
}

Status ProgramVerifier::check_writes(const Instruction& instruction, size_t number) {
  written_here_.clear();
  for (const uint32_t output : instruction.outputs) {
    const uint32_t tensor = root(output);
    if (program_.tensors[tensor].place == TensorPlace::kState) {
      // The tensor with the state's number stands for what was there before the run, an alias for what comes after.
      if (output == tensor || !changed_.insert(tensor).second) {
        return broken(instruction, number, fmt::format("it writes state {} a second time or not as an alias", output));
      }
      continue;
    }
    if (written_[tensor]) {
      return broken(instruction, number, fmt::format("it writes tensor {}, which was written before", output));
    }
    written_[tensor] = true;
    if (in_arena(program_.tensors[tensor])) HAI_TRY_STATUS(occupy(instruction, number, tensor));
    written_here_.insert(tensor);
  }
  return {};
}

// Takes out what this instruction read or wrote and nobody reads later.
void ProgramVerifier::release_dead(const Instruction& instruction, size_t number) {
  const auto release = [&](uint32_t tensor) {
    const ProgramTensor& entry = program_.tensors[tensor];
    if (!in_arena(entry) || last_read_[tensor] > static_cast<int64_t>(number)) return;
    auto& live = live_[entry.place == TensorPlace::kFixed ? 1 : 0];
    const auto found = live.find(entry.offset_bytes);
    if (found != live.end() && found->second.tensor == tensor) live.erase(found);
  };
  for (const uint32_t tensor : instruction.inputs) {
    if (tensor != kNoTensor) release(root(tensor));
  }
  for (const uint32_t tensor : instruction.outputs) release(root(tensor));
}

Status ProgramVerifier::check_flow() {
  const size_t tensors = program_.tensors.size();
  last_read_.assign(tensors, -1);
  written_.assign(tensors, false);
  for (size_t i = 0; i < tensors; ++i) {
    const TensorPlace place = program_.tensors[i].place;
    written_[i] = place == TensorPlace::kInput || place == TensorPlace::kConstant || place == TensorPlace::kState;
  }
  for (size_t i = 0; i < program_.instructions.size(); ++i) {
    for (const uint32_t tensor : program_.instructions[i].inputs) {
      if (tensor != kNoTensor) last_read_[root(tensor)] = static_cast<int64_t>(i);
    }
  }
  for (size_t i = 0; i < program_.instructions.size(); ++i) {
    const Instruction& instruction = program_.instructions[i];
    HAI_TRY_STATUS(check_reads(instruction, i));
    HAI_TRY_STATUS(check_writes(instruction, i));
    release_dead(instruction, i);
  }
  for (size_t i = 0; i < program_.outputs.size(); ++i) {
    if (!written_[root(program_.outputs[i])]) {
      return broken_program(
          fmt::format("nothing writes output {} '{}'", i, program_.tensors[program_.outputs[i]].name));
    }
  }
  return {};
}

}  // namespace

Status verify_program(const Program& program, int64_t weights_bytes) {
  return ProgramVerifier(program, weights_bytes).run();
}

}  // namespace hai::format
