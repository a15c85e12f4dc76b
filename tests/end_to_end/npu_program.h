// For tests: the commands of the NPU in a compiled model.
#pragma once

#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <vector>

#include "devices/sd3403/isa/race_check.h"
#include "format/model.h"

namespace hai::testing {

// One instruction "npu" of a program.
struct NpuProgram {
  std::string name;
  std::vector<sd3403::Command> commands;
  std::string layer_ops;  // one a line
};

inline std::vector<NpuProgram> npu_programs(const format::ModelFile& file) {
  std::vector<NpuProgram> out;
  for (const format::Program& program : file.programs) {
    for (const format::Instruction& instruction : program.instructions) {
      if (instruction.kernel != "npu") continue;
      NpuProgram npu{instruction.name, {}, std::get<std::string>(instruction.attributes.at("layer_ops"))};
      const format::ProgramTensor& tensor = program.tensors[instruction.inputs[0]];
      const int64_t bytes = element_count(tensor.shape)->value;
      for (const format::WeightPiece& piece : file.weights) {
        if (piece.offset_bytes != tensor.offset_bytes) continue;
        for (int64_t at = 0; at < bytes; at += static_cast<int64_t>(sd3403::kWordBytes)) {
          sd3403::CommandWord word;
          std::memcpy(word.data(), piece.bytes.data() + at, sd3403::kWordBytes);
          npu.commands.push_back(*sd3403::decode(word));
        }
      }
      EXPECT_FALSE(npu.commands.empty()) << "no bytes for the commands of " << npu.name;
      out.push_back(std::move(npu));
    }
  }
  return out;
}

// The first race in any of the programs, or nothing.
inline std::string race_in(const std::vector<NpuProgram>& programs) {
  for (const NpuProgram& program : programs) {
    if (const auto race = sd3403::find_race(program.commands)) return program.name + ": " + race->text;
  }
  return {};
}

}  // namespace hai::testing
