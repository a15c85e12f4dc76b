// Which programs may be cut: every tensor that is computed has the samples as its slowest dimension, and no instruction
// works along that dimension. Others run as a whole.
//
// A piece is as large as its activations stay in a cache that two threads share; one sample at least.
#include "format/sample_pieces.h"

#include <algorithm>

namespace hai::format {
namespace {

constexpr int64_t kPieceBytes = int64_t{8} << 20;  // of activations that live at a time

bool samples_first(const ProgramTensor& tensor) {
  const Shape& shape = tensor.shape;
  return !shape.empty() && shape[0].is_symbolic() && is_static(Shape(shape.begin() + 1, shape.end())) &&
         bit_width(tensor.dtype) % 8 == 0;
}

// An attribute that names the first of `rank` dimensions.
bool names_first(const Instruction& instruction, int64_t rank) {
  for (const char* key : {"axis", "axes"}) {
    const auto found = instruction.attributes.find(key);
    if (found == instruction.attributes.end()) continue;
    const auto first = [&](int64_t axis) { return axis == 0 || axis == -rank; };
    if (const auto* axis = std::get_if<int64_t>(&found->second); axis != nullptr && first(*axis)) return true;
    const auto* axes = std::get_if<std::vector<int64_t>>(&found->second);
    if (axes != nullptr && std::any_of(axes->begin(), axes->end(), first)) return true;
  }
  return false;
}

}  // namespace

int64_t samples_a_piece(const Program& program) {
  if (program.symbols.empty() || program.symbols[0].min != 1) return 0;
  const auto fits = [&](uint32_t tensor) { return samples_first(program.tensors[tensor]); };
  if (!std::all_of(program.inputs.begin(), program.inputs.end(), fits)) return 0;
  for (const Instruction& instruction : program.instructions) {
    if (!std::all_of(instruction.outputs.begin(), instruction.outputs.end(), fits)) return 0;
    for (const uint32_t input : instruction.inputs) {
      if (input == kNoTensor || !samples_first(program.tensors[input])) continue;
      if (names_first(instruction, static_cast<int64_t>(program.tensors[input].shape.size()))) return 0;
    }
  }
  return std::max<int64_t>(1, kPieceBytes / std::max<int64_t>(1, program.per_sample_bytes));
}

}  // namespace hai::format
