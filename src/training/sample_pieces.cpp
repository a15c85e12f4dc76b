// A piece is a part of every tensor of the caller: so many samples on.
//
// What is too small for its samples is refused by the session, as in a run of all of them.
#include "training/sample_pieces.h"

#include <algorithm>

namespace hai::training {
namespace {

using format::Program;
using format::ProgramTensor;

hai_tensor piece_of(const ProgramTensor& wanted, const hai_tensor& whole, int64_t first, int64_t count) {
  hai_tensor out = whole;
  const int64_t one = 1;
  const int64_t sample = bytes_for(wanted.dtype, resolve(wanted.shape, std::span(&one, 1)).count());
  const auto skipped = static_cast<size_t>(first * sample);
  out.dims[0] = wanted.shape[0].value * count;
  out.size_bytes = whole.size_bytes > skipped ? whole.size_bytes - skipped : 0;
  if (whole.data != nullptr) out.data = static_cast<std::byte*>(whole.data) + skipped;
  return out;
}

}  // namespace

Status SamplePieces::run(runtime::Session& session, std::span<const hai_tensor> inputs,
                         std::span<const hai_tensor> outputs) {
  HAI_TRY(const int64_t batch, session.batch_of(inputs));
  if (piece_ == 0 || batch <= piece_ || outputs.size() != session.output_count()) return session.run(inputs, outputs);
  const Program& program = session.program();
  inputs_.resize(inputs.size());
  outputs_.resize(outputs.size());
  for (int64_t first = 0; first < batch; first += piece_) {
    const int64_t count = std::min(piece_, batch - first);
    for (size_t i = 0; i < inputs.size(); ++i)
      inputs_[i] = piece_of(program.tensors[program.inputs[i]], inputs[i], first, count);
    for (size_t i = 0; i < outputs.size(); ++i) outputs_[i] = piece_of(session.output(i), outputs[i], first, count);
    HAI_TRY_STATUS(session.run(inputs_, outputs_));
  }
  return {};
}

}  // namespace hai::training
