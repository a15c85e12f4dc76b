// NpuProgram: an instruction "npu" read for those who do not run it: timing, disassembly, tables.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "devices/sd3403/isa/command.h"
#include "devices/sd3403/machine/machine.h"
#include "format/program.h"

namespace hai::sd3403 {

struct NpuProgram {
  std::string name;
  std::vector<Command> commands;
  std::span<const std::byte> constants;  // image 0, of whoever gave it
  Machine machine;                       // that it was compiled for
  // By the numbers in the commands; a layer without a name is "layer <number>".
  std::vector<std::string> layer_names;
  std::vector<std::string> layer_ops;
  std::vector<int64_t> layer_macs;
};

// `weights` is the model's weights section and outlives the result. Errors: N090 operands or attributes that an
// instruction "npu" does not have, those of decode_words() and check_machine().
Result<NpuProgram> read_npu_program(const format::Program& program, const format::Instruction& instruction,
                                    std::span<const std::byte> weights);

// The machine that an instruction "npu" was compiled for. Errors: N090, those of check_machine().
Result<Machine> read_machine(const format::Instruction& instruction);
// Names by number; "layer 7" where there is none, up to `count`. Error: N090.
Result<std::vector<std::string>> read_layer_names(const format::Instruction& instruction, size_t count);

}  // namespace hai::sd3403
