// What is left of a model file when no training is to come.
//
// Packs the constants of the programs that are left, in the order of their old places; equal places stay equal, so that
// programs share constants as they did. No byte is copied.
#include "training/inference_model.h"

#include <algorithm>
#include <map>

#include "base/checked.h"

namespace hai::training {

format::ModelFile inference_model(const format::ModelFile& file) {
  format::ModelFile out;
  out.name = file.name;
  out.programs = file.programs;
  out.preprocessing = file.preprocessing;
  out.metadata = file.metadata;
  struct Place {
    int64_t size_bytes = 0;
    int64_t offset_bytes = 0;
  };
  std::map<int64_t, Place> places;  // by the old offset
  const auto each_constant = [&](const auto& use) {
    for (format::Program& program : out.programs) {
      for (format::ProgramTensor& tensor : program.tensors) {
        if (tensor.place == format::TensorPlace::kConstant) use(tensor);
      }
    }
  };
  each_constant([&](const format::ProgramTensor& tensor) {
    const int64_t bytes = bytes_for(tensor.dtype, resolve(tensor.shape, {}).count());
    int64_t& size = places[tensor.offset_bytes].size_bytes;
    size = std::max(size, bytes);
  });
  int64_t end = 0;
  for (auto& [offset, place] : places) {
    place.offset_bytes = end;
    if (place.size_bytes > 0) {
      const format::WeightPiece& piece = file.weights[0];
      const auto from = static_cast<size_t>(offset - piece.offset_bytes);
      out.weights.push_back({end, piece.bytes.subspan(from, static_cast<size_t>(place.size_bytes)), piece.owner});
    }
    end = align_up(end + place.size_bytes, format::kWeightAlignmentBytes);
  }
  each_constant([&](format::ProgramTensor& tensor) { tensor.offset_bytes = places[tensor.offset_bytes].offset_bytes; });
  return out;
}

}  // namespace hai::training
