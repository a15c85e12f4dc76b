// The interface of a training program (passes/training_graph.h), bound: the caller's inputs and target, the learning
// rate, the number of the step; predictions, loss and norm. The program itself refuses a step that is not finite, so
// what is left here is to see that it did.
//
// A trained model is the file that it came from with other bytes where the parameters lie: graph, programs and training
// program have one place for each.
#include "training/trainer.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "format/sample_pieces.h"
#include "training/rebuilder.h"
#include "types/optimizer_step.h"

namespace hai::training {
namespace {

using format::Program;
using format::ProgramTensor;

constexpr const char* kAverageOf = "/ema";

hai_tensor scalar(int32_t dtype, void* data, size_t bytes) {
  hai_tensor tensor = {};
  tensor.dtype = dtype;
  tensor.data = data;
  tensor.size_bytes = bytes;
  return tensor;
}

bool is_scalar(const ProgramTensor& tensor, std::string_view name, DataType dtype) {
  return tensor.name == name && tensor.dtype == dtype && tensor.shape.empty();
}

}  // namespace

Result<std::unique_ptr<Trainer>> Trainer::create(std::shared_ptr<runtime::Model> model, const TrainerOptions& options) {
  std::unique_ptr<Trainer> trainer(new Trainer);
  runtime::SessionOptions session;
  session.training = true;
  session.isa = options.isa;
  session.threads = options.threads;
  session.max_batch = options.max_batch;
  session.profile = options.profile;
  HAI_TRY(trainer->session_, runtime::Session::create(model, session));
  if (model->file().has_features()) {
    session.training = false;
    session.features = true;
    session.max_batch = 0;
    HAI_TRY(trainer->features_session_, runtime::Session::create(model, session));
    trainer->feature_pieces_ = SamplePieces(format::samples_a_piece(trainer->features_session_->program()));
  }
  trainer->model_ = std::move(model);
  const Program& program = trainer->session_->program();
  trainer->takes_step_ = !program.inputs.empty() && program.tensors[program.inputs.back()].dtype == DataType::kI64;
  const size_t numbers = trainer->takes_step_ ? 3 : 2;  // target, learning rate, perhaps the step
  trainer->first_inputs_ = program.inputs.size() < numbers ? 0 : program.inputs.size() - numbers;
  trainer->model_inputs_ =
      trainer->features_session_ ? trainer->features_session_->program().inputs.size() : trainer->first_inputs_;
  if (auto status = trainer->check_program(); !status)
    return with_where(std::move(status).error(), trainer->model_->file().where());
  trainer->inputs_.resize(program.inputs.size());
  trainer->outputs_.resize(program.outputs.size());
  return trainer;
}

Status Trainer::check_program() const {
  const Program& program = session_->program();
  const auto input = [&](size_t back) -> const ProgramTensor& {
    return program.tensors[program.inputs[program.inputs.size() - back]];
  };
  const auto output = [&](size_t back) -> const ProgramTensor& {
    return program.tensors[program.outputs[program.outputs.size() - back]];
  };
  const size_t rate = takes_step_ ? 2 : 1;
  const bool known = program.inputs.size() > rate + 1 && program.outputs.size() > 2 &&
                     (!takes_step_ || is_scalar(input(1), "step", DataType::kI64)) &&
                     is_scalar(input(rate), "learning_rate", DataType::kF32) &&
                     is_scalar(output(2), "loss", DataType::kF32) &&
                     is_scalar(output(1), "gradient_norm", DataType::kF32) &&
                     (!features_session_ || features_session_->output_count() == first_inputs_);
  if (known) return {};
  return make_error(StatusCode::kUnsupported, "E010",
                    "its training program takes or gives other numbers than learning_rate, step, loss and "
                    "gradient_norm; compile the model with this version");
}

hai_tensor Trainer::room_for(const runtime::Session& session, size_t output, int64_t batch,
                             std::vector<std::byte>& bytes) {
  const ProgramTensor& tensor = session.output(output);
  const Dims dims = session.output_dims(output, batch);
  const auto size = static_cast<size_t>(bytes_for(tensor.dtype, dims.count()));
  if (bytes.size() < size) bytes.resize(size);
  hai_tensor view = scalar(static_cast<int32_t>(tensor.dtype), bytes.data(), size);
  view.rank = dims.rank;
  std::copy(dims.size.begin(), dims.size.begin() + dims.rank, view.dims);
  return view;
}

// Buffers for predictions that the caller does not want.
Status Trainer::reserve(int64_t batch) {
  own_predictions_.resize(prediction_count());
  for (size_t i = 0; i < own_predictions_.size(); ++i) outputs_[i] = room_for(*session_, i, batch, own_predictions_[i]);
  return {};
}

Status Trainer::features(std::span<const hai_tensor> inputs, std::span<const hai_tensor> features) {
  return feature_pieces_.run(*features_session_, inputs, features);
}

Result<StepResult> Trainer::step(std::span<const hai_tensor> inputs, double learning_rate,
                                 std::span<const hai_tensor> predictions) {
  if (inputs.size() != input_count()) {
    return make_error(StatusCode::kInvalidArgument, "E011",
                      "a step takes {} tensors, {} of the model and the target; {} were given", input_count(),
                      model_inputs_, inputs.size());
  }
  if (!features_session_) return step_from_features(inputs, learning_rate, predictions);
  const std::span<const hai_tensor> of_model = inputs.first(model_inputs_);
  HAI_TRY(const int64_t batch, features_session_->batch_of(of_model));
  own_features_.resize(first_inputs_);
  features_and_target_.resize(first_inputs_ + 1);
  for (size_t i = 0; i < first_inputs_; ++i)
    features_and_target_[i] = room_for(*features_session_, i, batch, own_features_[i]);
  features_and_target_[first_inputs_] = inputs.back();
  HAI_TRY_STATUS(features(of_model, std::span(features_and_target_).first(first_inputs_)));
  return step_from_features(features_and_target_, learning_rate, predictions);
}

Result<StepResult> Trainer::step_from_features(std::span<const hai_tensor> inputs, double learning_rate,
                                               std::span<const hai_tensor> predictions) {
  if (inputs.size() != first_inputs_ + 1) {
    return make_error(StatusCode::kInvalidArgument, "E015",
                      "a step from features takes {} tensors, {} features and the target; {} were given",
                      first_inputs_ + 1, first_inputs_, inputs.size());
  }
  if (!predictions.empty() && predictions.size() != prediction_count()) {
    return make_error(StatusCode::kInvalidArgument, "E012", "the model has {} outputs; buffers for {} were given",
                      prediction_count(), predictions.size());
  }
  // Beyond f32 it would be infinite there, and so would the parameters.
  if (!(learning_rate >= 0) || learning_rate > std::numeric_limits<float>::max()) {
    return make_error(StatusCode::kOutOfRange, "E013", "the learning rate is {}: it must be a number from 0 to {:g}",
                      learning_rate, std::numeric_limits<float>::max());
  }
  learning_rate_ = static_cast<float>(learning_rate);
  step_number_ = steps_ + 1;
  std::copy(inputs.begin(), inputs.end(), inputs_.begin());
  inputs_[inputs.size()] = scalar(HAI_F32, &learning_rate_, sizeof(learning_rate_));
  if (takes_step_) inputs_[inputs.size() + 1] = scalar(HAI_I64, &step_number_, sizeof(step_number_));
  HAI_TRY(const int64_t batch, session_->batch_of(inputs_));
  if (predictions.empty()) {
    HAI_TRY_STATUS(reserve(batch));
  } else {
    std::copy(predictions.begin(), predictions.end(), outputs_.begin());
  }
  outputs_[prediction_count()] = scalar(HAI_F32, &loss_, sizeof(loss_));
  outputs_[prediction_count() + 1] = scalar(HAI_F32, &norm_, sizeof(norm_));
  HAI_TRY_STATUS(session_->run(inputs_, outputs_));
  const bool applied = hai_step_is_sound(norm_) != 0;
  ++(applied ? steps_ : refused_);
  return StepResult{loss_, norm_, applied};
}

Status Trainer::reset() {
  steps_ = refused_ = 0;
  return session_->reset_states();
}

void Trainer::forget_optimizer() {
  for (size_t i = 0; i < state_count(); ++i) {
    const std::string_view name = state_tensor(i).name;
    const size_t slash = name.rfind('/');
    if (is_parameter(i) || slash == std::string_view::npos) continue;
    const std::string_view kind = name.substr(slash + 1);
    if (kind == "m" || kind == "v" || kind == "momentum" || kind == "sum") std::ranges::fill(state(i), std::byte{0});
  }
  steps_ = 0;
}

Status Trainer::take_parameters(const std::shared_ptr<const format::ModelReader>& file) {
  HAI_TRY(const Program other, file->training());
  if (!(other == session_->program())) {
    return with_where(make_error(StatusCode::kInvalidArgument, "E117",
                                 "its training program is another one than that of {}, so its parameters are not taken",
                                 model_->file().where()),
                      file->where());
  }
  format::WeightReader reader(file);
  for (size_t i = 0; i < state_count(); ++i) {
    if (is_parameter(i)) HAI_TRY_STATUS(reader.read(session_->program().states[i].offset_bytes, state(i)));
  }
  return {};
}

int64_t Trainer::states_bytes() {
  int64_t bytes = 0;
  for (size_t i = 0; i < state_count(); ++i) bytes += static_cast<int64_t>(state(i).size());
  return bytes;
}

Status Trainer::restore(std::span<const std::byte> states, int64_t steps, int64_t refused_steps) {
  if (static_cast<int64_t>(states.size()) != states_bytes() || steps < 0 || refused_steps < 0) {
    return make_error(StatusCode::kInvalidArgument, "E014",
                      "{} bytes of states after {} applied and {} refused steps were given; this training has {} bytes",
                      states.size(), steps, refused_steps, states_bytes());
  }
  for (size_t i = 0; i < state_count(); ++i) {
    const std::span<std::byte> to = state(i);
    std::copy_n(states.begin(), to.size(), to.begin());
    states = states.subspan(to.size());
  }
  steps_ = steps;
  refused_ = refused_steps;
  return {};
}

std::optional<size_t> Trainer::find_state(std::string_view name) const {
  for (size_t i = 0; i < state_count(); ++i) {
    if (state_tensor(i).name == name) return i;
  }
  return std::nullopt;
}

bool Trainer::has_averages() const {
  for (size_t i = 0; i < state_count(); ++i) {
    if (is_parameter(i) && find_state(state_tensor(i).name + kAverageOf)) return true;
  }
  return false;
}

Result<std::span<const std::byte>> Trainer::parameter(size_t index, SavedWeights weights) {
  if (weights == SavedWeights::kLast) return std::span<const std::byte>(state(index));
  if (!has_averages()) {
    return make_error(StatusCode::kInvalidArgument, "E016",
                      "this training keeps no averages of the weights; compile the model with --train ema=0.99");
  }
  // Running statistics have no average: they are averages themselves.
  const auto kept = find_state(state_tensor(index).name + kAverageOf);
  return std::span<const std::byte>(state(kept.value_or(index)));
}

Result<format::ModelFile> Trainer::trained_model(SavedWeights weights) {
  HAI_TRY(format::ModelFile file, format::read_whole_model(model_->shared_file()));
  auto bytes = std::make_shared<std::vector<std::byte>>(static_cast<size_t>(file.weights_bytes()));
  for (const format::WeightPiece& piece : file.weights)
    std::copy(piece.bytes.begin(), piece.bytes.end(), bytes->begin() + piece.offset_bytes);
  for (size_t i = 0; i < state_count(); ++i) {
    if (!is_parameter(i)) continue;
    HAI_TRY(const std::span<const std::byte> from, parameter(i, weights));
    std::copy(from.begin(), from.end(), bytes->begin() + session_->program().states[i].offset_bytes);
  }
  file.weights = {{0, *bytes, bytes}};
  run_form(file, false);  // its integers are those of other parameters
  file.metadata["trained_steps"] = std::to_string(steps_);
  return file;
}

Status Trainer::save(const std::string& path, const std::map<std::string, std::string>& metadata,
                     SavedWeights weights) {
  HAI_TRY(format::ModelFile file, trained_model(weights));
  for (const auto& [key, value] : metadata) file.metadata[key] = value;
  HAI_TRY_STATUS(format::write_model_file(path, file));
  return {};
}

}  // namespace hai::training
