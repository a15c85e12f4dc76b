// Reading an instruction "npu".
//
// Names, operators and the machine's values are attributes for people and models of time, not for values: what is
// missing there is filled up, what has another kind is refused.
#include "devices/sd3403/exec/npu_program.h"

#include <fmt/format.h>

#include "devices/sd3403/machine/profiles.h"

namespace hai::sd3403 {
namespace {

Error refuse(const format::Instruction& instruction, std::string_view what) {
  return make_error(StatusCode::kCorrupt, "N090", "instruction \"{}\": {}", instruction.name, what);
}

Result<std::span<const std::byte>> operand(const format::Program& program, const format::Instruction& instruction,
                                           size_t index, std::span<const std::byte> weights) {
  if (index >= instruction.inputs.size() || instruction.inputs[index] >= program.tensors.size())
    return refuse(instruction, fmt::format("operand {} is missing", index));
  const format::ProgramTensor& tensor = program.tensors[instruction.inputs[index]];
  const bool fits = tensor.place == format::TensorPlace::kConstant && tensor.dtype == DataType::kU8 &&
                    tensor.shape.size() == 1 && !tensor.shape[0].is_symbolic() && tensor.offset_bytes >= 0 &&
                    tensor.shape[0].value >= 0 && tensor.offset_bytes <= static_cast<int64_t>(weights.size()) &&
                    tensor.shape[0].value <= static_cast<int64_t>(weights.size()) - tensor.offset_bytes;
  if (!fits) return refuse(instruction, fmt::format("operand {} is no constant of bytes inside the weights", index));
  return weights.subspan(static_cast<size_t>(tensor.offset_bytes), static_cast<size_t>(tensor.shape[0].value));
}

template <typename T>
Result<T> attribute(const format::Instruction& instruction, const std::string& name, T fallback) {
  const auto at = instruction.attributes.find(name);
  if (at == instruction.attributes.end()) return fallback;
  const T* value = std::get_if<T>(&at->second);
  if (value == nullptr) return refuse(instruction, fmt::format("attribute {} has another kind", name));
  return *value;
}

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    lines.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return lines;
}

}  // namespace

Result<Machine> read_machine(const format::Instruction& instruction) {
  HAI_TRY(const std::string name, attribute<std::string>(instruction, "machine", "sd3403"));
  Machine machine;
  // Operating points are the profile's; the program has the values that it was compiled for.
  if (auto known = find_machine(name)) machine = std::move(*known);
  machine.name = name;
  for (const MachineValueInfo& info : machine_values()) {
    HAI_TRY(machine.*info.value,
            attribute<double>(instruction, fmt::format("machine.{}", info.name), machine.*info.value));
  }
  HAI_TRY_STATUS(check_machine(machine));
  return machine;
}

Result<std::vector<std::string>> read_layer_names(const format::Instruction& instruction, size_t count) {
  HAI_TRY(const std::string text, attribute<std::string>(instruction, "layer_names", {}));
  std::vector<std::string> names = lines_of(text);
  for (size_t l = names.size(); l < count; ++l) names.push_back(fmt::format("layer {}", l));
  return names;
}

Result<NpuProgram> read_npu_program(const format::Program& program, const format::Instruction& instruction,
                                    std::span<const std::byte> weights) {
  NpuProgram out;
  out.name = instruction.name;
  HAI_TRY(const auto words, operand(program, instruction, 0, weights));
  HAI_TRY(out.constants, operand(program, instruction, 1, weights));
  auto commands = decode_words(words);
  if (!commands) return with_where(commands.error(), instruction.name);
  out.commands = std::move(*commands);
  HAI_TRY(out.machine, read_machine(instruction));
  size_t count = 0;
  for (const Command& command : out.commands) count = std::max(count, size_t{command.layer} + 1);
  HAI_TRY(out.layer_names, read_layer_names(instruction, count));
  HAI_TRY(const std::string ops, attribute<std::string>(instruction, "layer_ops", {}));
  HAI_TRY(out.layer_macs, attribute<std::vector<int64_t>>(instruction, "layer_macs", {}));
  out.layer_ops = lines_of(ops);
  out.layer_ops.resize(out.layer_names.size());
  out.layer_macs.resize(out.layer_names.size(), 0);
  return out;
}

}  // namespace hai::sd3403
