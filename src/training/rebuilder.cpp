// Rebuilding INT8 after a training.
//
// Method: the observers' parameters are states that no run changes, set from the trainer's; their ranges begin as
// zeros. The model that comes out is the trainer's own with other bytes where the integers of trained layers lie, other
// scales in its integer program, and that program in the first place. It is verified like any file before it is
// written.
#include "training/rebuilder.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace hai::training {
namespace {

using format::ProgramTensor;

// A buffer for one tensor of a batch.
hai_tensor room_for(const ProgramTensor& tensor, int64_t batch, std::vector<std::byte>& bytes) {
  const Dims dims = resolve(tensor.shape, std::span(&batch, 1));
  bytes.resize(static_cast<size_t>(bytes_for(tensor.dtype, dims.count())));
  hai_tensor view = {};
  view.dtype = static_cast<int32_t>(tensor.dtype);
  view.rank = dims.rank;
  std::copy_n(dims.size.begin(), dims.rank, view.dims);
  view.data = bytes.data();
  view.size_bytes = bytes.size();
  return view;
}

Result<size_t> find_state(const runtime::Session& session, const std::string& name, DataType dtype) {
  const format::Program& program = session.program();
  for (size_t i = 0; i < program.states.size(); ++i) {
    const ProgramTensor& tensor = program.tensors[program.states[i].tensor];
    if (tensor.name == name && tensor.dtype == dtype && tensor.shape.empty()) return i;
  }
  return rebuild::malformed(name, "nothing observes it");
}

}  // namespace

void run_form(format::ModelFile& file, bool integer) {
  if (!file.standby || !file.rebuild || rebuild::runs_integers(*file.rebuild) == integer) return;
  std::swap(file.programs[0], *file.standby);
  rebuild::set_runs_integers(*file.rebuild, integer);
}

bool can_rebuild(const Trainer& trainer) { return trainer.session().model().file().has_rebuild(); }

Result<std::unique_ptr<Rebuilder>> Rebuilder::create(Trainer& trainer, SavedWeights weights) {
  const format::ModelReader& file = trainer.session().model().file();
  if (!file.has_rebuild()) {
    return with_where(
        make_error(StatusCode::kInvalidArgument, "E114",
                   "it holds nothing to rebuild INT8 from; compile the model with --quantize int8 --calibration "
                   "PICTURES beside --train (hai compile says why where that is not possible)"),
        file.where());
  }
  std::unique_ptr<Rebuilder> out(new Rebuilder);
  out->trainer_ = &trainer;
  out->weights_ = weights;
  HAI_TRY(const format::Program lines, file.rebuild());
  HAI_TRY(const format::Program first, file.program(file.devices()[0]));
  HAI_TRY(const format::Program standby, file.standby());
  auto decoded = rebuild::decode(lines, rebuild::runs_integers(lines) ? first : standby);
  if (!decoded) return with_where(std::move(decoded).error(), file.where());
  out->lines_ = std::move(*decoded);
  runtime::SessionOptions options;
  options.observers = true;
  options.isa = std::string(cpu::isa_name(trainer.session().isa()));
  options.threads = trainer.session().thread_count();
  HAI_TRY(out->observers_, runtime::Session::create(trainer.model(), options));
  for (const rebuild::RangeLine& line : out->lines_.ranges) {
    HAI_TRY(const size_t low, find_state(*out->observers_, rebuild::low_state(line.value), DataType::kF32));
    HAI_TRY(const size_t high, find_state(*out->observers_, rebuild::high_state(line.value), DataType::kF32));
    out->low_.push_back(low);
    out->high_.push_back(high);
  }
  if (auto status = out->take_parameters(); !status) return with_where(std::move(status).error(), file.where());
  return out;
}

Status Rebuilder::take_parameters() {
  const format::Program& program = observers_->program();
  if (program.inputs.size() != trainer_->feature_count()) {
    return rebuild::malformed(
        "", fmt::format("the observers take {} features, of {}", program.inputs.size(), trainer_->feature_count()));
  }
  for (size_t i = 0; i < program.states.size(); ++i) {
    if (!program.states[i].is_parameter) continue;
    const std::string& name = program.tensors[program.states[i].tensor].name;
    const auto state = trainer_->find_state(name);
    if (!state) continue;  // not trained by this program: what the file holds
    HAI_TRY(const std::span<const std::byte> from, trainer_->parameter(*state, weights_));
    const std::span<std::byte> to = observers_->state(i);
    if (from.size() != to.size()) {
      return rebuild::malformed(
          name, fmt::format("it has {} bytes there, and {} where it is trained", to.size(), from.size()));
    }
    std::copy(from.begin(), from.end(), to.begin());
  }
  return {};
}

Status Rebuilder::observe(std::span<const hai_tensor> inputs) {
  HAI_TRY(const int64_t batch, trainer_->features_session()->batch_of(inputs));
  features_.resize(trainer_->feature_count());
  std::vector<hai_tensor> features;
  for (size_t i = 0; i < features_.size(); ++i) features.push_back(room_for(trainer_->feature(i), batch, features_[i]));
  HAI_TRY_STATUS(trainer_->features(inputs, features));
  return observe_features(features);
}

Status Rebuilder::observe_features(std::span<const hai_tensor> features) {
  HAI_TRY(const int64_t batch, observers_->batch_of(features));
  answers_.resize(observers_->output_count());
  std::vector<hai_tensor> outputs;
  for (size_t i = 0; i < answers_.size(); ++i) outputs.push_back(room_for(observers_->output(i), batch, answers_[i]));
  HAI_TRY_STATUS(observers_->run(features, outputs));
  observed_ += batch;
  return {};
}

std::vector<rebuild::Observed> Rebuilder::seen() {
  std::vector<rebuild::Observed> out(low_.size());
  for (size_t i = 0; i < out.size(); ++i) {
    std::memcpy(&out[i].low, observers_->state(low_[i]).data(), sizeof(float));
    std::memcpy(&out[i].high, observers_->state(high_[i]).data(), sizeof(float));
  }
  return out;
}

Result<format::ModelFile> Rebuilder::rebuild() {
  if (observed_ == 0) {
    return make_error(StatusCode::kInvalidArgument, "E115",
                      "no sample was observed, so nothing says how large activations are; give some of those that were "
                      "trained on");
  }
  return rebuild_with(seen());
}

Result<format::ModelFile> Rebuilder::rebuild_with(std::span<const rebuild::Observed> seen) {
  if (seen.size() != lines_.ranges.size()) {
    return make_error(StatusCode::kInvalidArgument, "E116", "{} ranges were given for {}", seen.size(),
                      lines_.ranges.size());
  }
  HAI_TRY(format::ModelFile file, trainer_->trained_model(weights_));
  run_form(file, true);
  auto bytes = std::make_shared<std::vector<std::byte>>(file.weights[0].bytes.begin(), file.weights[0].bytes.end());
  HAI_TRY_STATUS(rebuild::run(lines_, seen, *bytes, file.programs[0]));
  file.weights = {{0, *bytes, bytes}};
  return file;
}

}  // namespace hai::training
