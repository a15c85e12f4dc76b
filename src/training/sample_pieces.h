// SamplePieces: runs a program on a few samples at a time, where samples keep apart (format/sample_pieces.h).
//
// Results have the bits of one run with all samples, since no kernel's sums depend on the batch.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/result.h"
#include "runtime/session.h"

namespace hai::training {

class SamplePieces {
 public:
  // `piece`: of format::samples_a_piece.
  explicit SamplePieces(int64_t piece) : piece_(piece) {}
  // session.run(inputs, outputs) in pieces. A failure may leave the outputs half written.
  Status run(runtime::Session& session, std::span<const hai_tensor> inputs, std::span<const hai_tensor> outputs);

 private:
  int64_t piece_;
  std::vector<hai_tensor> inputs_, outputs_;
};

}  // namespace hai::training
