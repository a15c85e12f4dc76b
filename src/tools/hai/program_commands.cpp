// `hai disasm`, `hai asm` and `hai isa`: the NPU's programs as text and back, and the reference of its commands.
//
// A listing has a command a line with the layer that it belongs to as a comment; assembling it gives the same words.
#include <fmt/format.h>

#include <cstdio>
#include <filesystem>

#include "base/file.h"
#include "base/utf8.h"
#include "devices/sd3403/exec/npu_program.h"
#include "devices/sd3403/isa/assembly.h"
#include "format/model.h"
#include "tools/hai/commands.h"
#include "tools/hai_device/output_paths.h"
#include "tools/hai_device/print.h"

namespace hai::tools {
namespace {

constexpr int64_t kMostWordsBytes = int64_t{1} << 29;

void print_listing(const sd3403::NpuProgram& program) {
  print("# {}: {} commands, {} layers, {} bytes of constants, compiled for {}\n", printable(program.name),
        program.commands.size(), program.layer_names.size(), program.constants.size(), printable(program.machine.name));
  for (const sd3403::Command& command : program.commands) {
    print("{}  # {}\n", sd3403::disassemble(command), printable(program.layer_names[command.layer]));
  }
}

Status disassemble_model(const DisasmArguments& arguments) {
  HAI_TRY(const format::ModelFile model, format::read_model_file(arguments.input));
  std::span<const std::byte> weights;
  if (!model.weights.empty()) weights = model.weights[0].bytes;
  std::string names;
  bool found = false;
  bool for_npu = false;
  for (const format::Program& program : model.programs) {
    for_npu = for_npu || program.device == "sd3403";
    for (const format::Instruction& instruction : program.instructions) {
      if (instruction.kernel != "npu") continue;
      names += (names.empty() ? "" : ", ") + instruction.name;
      if (!arguments.segment.empty() && arguments.segment != instruction.name) continue;
      HAI_TRY(const sd3403::NpuProgram npu, sd3403::read_npu_program(program, instruction, weights));
      print_listing(npu);
      found = true;
    }
  }
  if (found) return {};
  if (names.empty() && for_npu) {
    return make_error(StatusCode::kNotFound, "L085",
                      "{} is compiled for sd3403, but all of its operators are on the CPU: there is no NPU program in "
                      "it. Compile the model with --quantize int8; `hai compile --verbose` says of each operator why",
                      arguments.input);
  }
  if (names.empty()) {
    return make_error(StatusCode::kNotFound, "L080",
                      "{} has no program for an NPU; compile the model with --device sd3403", arguments.input);
  }
  return make_error(StatusCode::kNotFound, "L081", "{} has no segment \"{}\"; it has {}", arguments.input,
                    arguments.segment, names);
}

}  // namespace

Status disasm_command(const DisasmArguments& arguments) {
  if (std::filesystem::path(arguments.input).extension() == ".hai") return disassemble_model(arguments);
  HAI_TRY(const std::string bytes, read_file(arguments.input, kMostWordsBytes));
  auto commands = sd3403::decode_words(std::as_bytes(std::span(bytes)));
  if (!commands) return with_where(commands.error(), arguments.input);
  for (const sd3403::Command& command : *commands) print("{}\n", sd3403::disassemble(command));
  return {};
}

Status asm_command(const AsmArguments& arguments) {
  HAI_TRY_STATUS(check_outputs({{"-o", arguments.output}}, {arguments.input}));
  HAI_TRY(const std::string text, read_file(arguments.input, static_cast<int64_t>(sd3403::kMaxAssemblyBytes)));
  auto commands = sd3403::assemble(text);
  if (!commands) return with_where(commands.error(), arguments.input);
  const std::vector<std::byte> words = sd3403::encode_words(*commands);
  HAI_TRY_STATUS(write_file_atomically(arguments.output, words));
  print("{}: {} commands, {} bytes\n", arguments.output, commands->size(), words.size());
  return {};
}

Status isa_command(bool json) {
  fmt::print("{}", json ? sd3403::reference_json() : sd3403::reference_markdown());
  return {};
}

}  // namespace hai::tools
