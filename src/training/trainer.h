// Trainer: runs the training program of a model file, step by step, and writes the trained model.
//
// A thin layer over a session of the training program (runtime/session.h), which holds the states: parameters and what
// the optimizer keeps; and, where the step has a frozen part, over a session of that. Its results for a sample, the
// features, are the same in each step, so that callers may keep them and step from there: step() is features() and
// step_from_features(), to the bit. One caller at a time. Nothing is allocated after the first step with a batch, but
// what the caller asks for.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "format/model.h"
#include "runtime/session.h"
#include "training/sample_pieces.h"

namespace hai::training {

struct TrainerOptions {
  std::string isa = {};  // empty: HAI_CPU, else the best
  int threads = 0;       // 0: one for each CPU this process may use
  int64_t max_batch = 0;
  bool profile = false;  // times of the instructions, in session().profile()
};

// Which weights a model is written with: those of the last update, or their averages (--train ema=).
enum class SavedWeights : uint8_t { kLast, kAverage };

struct StepResult {
  double loss = 0;
  double gradient_norm = 0;
  // False: loss or gradients were not finite, or beyond 2^63, and no state was changed.
  bool applied = false;
};

class Trainer {
 public:
  // Errors: F073 the model has no training program; E010 its program is none that this version makes; those of
  // sessions.
  static Result<std::unique_ptr<Trainer>> create(std::shared_ptr<runtime::Model> model, const TrainerOptions& options);

  // One step. `inputs`: those of the model, then the target (of the prediction's type and shape: shares of classes for
  // cross-entropy). `predictions`: buffers for the model's outputs before the update, or none at all.
  Result<StepResult> step(std::span<const hai_tensor> inputs, double learning_rate,
                          std::span<const hai_tensor> predictions = {});

  // The frozen part; there is none where everything is trained.
  bool has_features() const { return features_session_ != nullptr; }
  size_t feature_count() const { return features_session_ ? features_session_->output_count() : 0; }
  const format::ProgramTensor& feature(size_t index) const { return features_session_->output(index); }
  // The features of a batch: `inputs` are those of the model. Precondition: has_features().
  Status features(std::span<const hai_tensor> inputs, std::span<const hai_tensor> features);
  // One step on features and the target.
  Result<StepResult> step_from_features(std::span<const hai_tensor> features_and_target, double learning_rate,
                                        std::span<const hai_tensor> predictions = {});

  int64_t steps() const { return steps_; }            // applied
  int64_t refused_steps() const { return refused_; }  // of numbers that were not finite
  // Inputs of a step: of the model, then the target.
  size_t input_count() const { return model_inputs_ + 1; }
  const format::ProgramTensor& input(size_t index) const {
    const format::Program& model = features_session_ ? features_session_->program() : session_->program();
    if (index < model_inputs_) return model.tensors[model.inputs[index]];
    return session_->program().tensors[session_->program().inputs[first_inputs_]];
  }
  size_t prediction_count() const { return session_->output_count() - 2; }
  const std::shared_ptr<runtime::Model>& model() const { return model_; }
  const runtime::Session& session() const { return *session_; }
  const runtime::Session* features_session() const { return features_session_.get(); }

  size_t state_count() const { return session_->program().states.size(); }
  const format::ProgramTensor& state_tensor(size_t index) const {
    return session_->program().tensors[session_->program().states[index].tensor];
  }
  bool is_parameter(size_t index) const { return session_->program().states[index].is_parameter; }
  std::span<std::byte> state(size_t index) { return session_->state(index); }
  // The next step is number 1 again; states stay.
  void restart_steps() { steps_ = refused_ = 0; }
  // What the optimizer keeps (moments, sums of gradients) is zero again, and the next step number 1, as at the start of
  // a training; parameters, statistics and averages stay.
  void forget_optimizer();
  // Back to what the file holds, and to step 0.
  Status reset();
  // Parameters as they are in a model file that this trainer wrote once. Error E117 for any other file.
  Status take_parameters(const std::shared_ptr<const format::ModelReader>& file);
  // What the states held once, one after the other in their order, and the counts of then. Error E014, and nothing is
  // changed, where that is not what this trainer has.
  Status restore(std::span<const std::byte> states, int64_t steps, int64_t refused_steps);
  int64_t states_bytes();  // of all of them together

  // Writes the model with the parameters as they are now: portable graph, programs and training program all read them.
  // The optimizer's moments are not part of a model. `metadata` is added to the file's. An existing file is replaced as
  // a whole or not at all.
  // Error E016: averages are asked for and there are none.
  Status save(const std::string& path, const std::map<std::string, std::string>& metadata = {},
              SavedWeights weights = SavedWeights::kLast);
  // A parameter's bytes as save() writes them; of running statistics there are no averages. Error E016. Precondition:
  // is_parameter(index).
  Result<std::span<const std::byte>> parameter(size_t index, SavedWeights weights);
  // What save() writes, in memory. It runs the trained part in f32; see rebuilder.h for INT8.
  Result<format::ModelFile> trained_model(SavedWeights weights = SavedWeights::kLast);
  bool has_averages() const;
  // A state by its name.
  std::optional<size_t> find_state(std::string_view name) const;

 private:
  Trainer() = default;
  Status check_program() const;
  static hai_tensor room_for(const runtime::Session& session, size_t output, int64_t batch,
                             std::vector<std::byte>& bytes);
  Status reserve(int64_t batch);

  std::shared_ptr<runtime::Model> model_;
  std::unique_ptr<runtime::Session> session_;
  std::unique_ptr<runtime::Session> features_session_;
  SamplePieces feature_pieces_{0};
  size_t model_inputs_ = 0;
  size_t first_inputs_ = 0;  // of the training program before the target: of the model, or features
  bool takes_step_ = false;
  int64_t steps_ = 0;
  int64_t refused_ = 0;

  // Of the step at hand.
  float learning_rate_ = 0;
  int64_t step_number_ = 0;
  float loss_ = 0;
  float norm_ = 0;
  std::vector<hai_tensor> inputs_;
  std::vector<hai_tensor> outputs_;
  std::vector<std::vector<std::byte>> own_predictions_;  // where the caller has no use for them
  std::vector<std::vector<std::byte>> own_features_;
  std::vector<hai_tensor> features_and_target_;
};

}  // namespace hai::training
