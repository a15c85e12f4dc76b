// The C interface of training (include/hai/hai_train.h) over Trainer and checkpoints; it only translates.
//
// A validation runs the training program for its loss with a learning rate of 0 and puts the states back as they were,
// and the inference program of the model as it would be saved for the answers; that session is kept until the next
// step.
#include <algorithm>
#include <cstring>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/file.h"
#include "format/model.h"
#include "hai/hai_train.h"
#include "runtime/c_api_guard.h"
#include "runtime/session.h"
#include "training/checkpoint.h"
#include "training/trainer.h"

using hai::make_error;
using hai::Result;
using hai::Status;
using hai::StatusCode;
using hai::format::ProgramTensor;
using hai::runtime::copy_versioned;
using hai::runtime::guarded;
using hai::runtime::Model;
using hai::runtime::require;
using hai::runtime::Session;
using hai::training::StepResult;
using hai::training::Trainer;

struct hai_trainer {
  std::unique_ptr<Trainer> trainer;
  std::vector<std::vector<hai_dim>> dims;
  std::vector<hai_tensor_info> inputs;
  std::vector<hai_tensor> bound;
  int64_t batch = 0;
  std::unique_ptr<Session> answers;  // of the model as it is now; null: a step was taken since
  std::vector<std::vector<std::byte>> outputs;
};

namespace {

// Memory that is its own.
class OwnedSource final : public hai::ByteSource {
 public:
  explicit OwnedSource(std::vector<std::byte> bytes) : bytes_(std::move(bytes)), view_(hai::memory_source(bytes_)) {}
  int64_t size_bytes() const override { return view_->size_bytes(); }
  Status read_at(int64_t offset_bytes, std::span<std::byte> out) const override {
    return view_->read_at(offset_bytes, out);
  }

 private:
  std::vector<std::byte> bytes_;
  std::shared_ptr<const hai::ByteSource> view_;
};

void describe_inputs(hai_trainer& handle) {
  const size_t count = handle.trainer->input_count();
  for (size_t i = 0; i < count; ++i) {
    std::vector<hai_dim> dims;
    for (const hai::Dim& dim : handle.trainer->input(i).shape) dims.push_back({dim.value, dim.symbol});
    handle.dims.push_back(std::move(dims));
  }
  for (size_t i = 0; i < count; ++i) {
    const ProgramTensor& tensor = handle.trainer->input(i);
    hai_tensor_info info{};
    info.name = tensor.name.c_str();
    info.dtype = static_cast<int32_t>(tensor.dtype);
    info.rank = static_cast<int32_t>(handle.dims[i].size());
    info.dims = handle.dims[i].data();
    info.quantization_axis = -1;
    handle.inputs.push_back(info);
  }
}

// The batch that the tensors agree on.
Result<int64_t> batch_of(const Trainer& trainer, std::span<const hai_tensor> tensors) {
  int64_t batch = 0;
  for (size_t i = 0; i < tensors.size(); ++i) {
    const ProgramTensor& wanted = trainer.input(i);
    const hai_tensor& given = tensors[i];
    const auto refuse = [&](std::string_view what) {
      return make_error(StatusCode::kInvalidArgument, "E090",
                        "tensor {} of the batch, \"{}\": {}; it is {} {}, with the batch of the others", i, wanted.name,
                        what, hai::data_type_name(wanted.dtype),
                        hai::to_string(wanted.shape, trainer.session().program().symbols));
    };
    if (given.dtype != static_cast<int32_t>(wanted.dtype)) return refuse("another type was given");
    if (given.rank != static_cast<int32_t>(wanted.shape.size())) return refuse("another rank was given");
    if (given.data == nullptr) return refuse("its data is NULL");
    int64_t count = 1;
    for (size_t k = 0; k < wanted.shape.size(); ++k) {
      const hai::Dim& dim = wanted.shape[k];
      const int64_t size = given.dims[k];
      if (size < 1 || size % dim.value != 0 || (!dim.is_symbolic() && size != dim.value))
        return refuse("a dimension is another one");
      if (dim.is_symbolic() && batch != 0 && size / dim.value != batch) return refuse("its batch is another one");
      if (dim.is_symbolic()) batch = size / dim.value;
      if (count > (int64_t{1} << 48) / size) return refuse("it is too large");
      count *= size;
    }
    if (given.size_bytes < static_cast<size_t>(hai::bytes_for(wanted.dtype, count)))
      return refuse("its memory is too small");
  }
  return batch == 0 ? 1 : batch;
}

Status require_bound(const hai_trainer* trainer) {
  HAI_TRY_STATUS(require(trainer, "trainer"));
  if (!trainer->bound.empty()) return {};
  return make_error(StatusCode::kInvalidArgument, "E091", "no batch is bound; call hai_train_bind first");
}

// A result of the caller's version; null: not wanted.
Status give(hai_train_result* to, hai_train_result from) {
  if (to == nullptr) return {};
  hai_train_result known = HAI_TRAIN_RESULT_INIT;
  HAI_TRY_STATUS(copy_versioned(known, to, "hai_train_result"));
  const size_t size = std::min(to->struct_size, sizeof(from));
  from.struct_size = to->struct_size;
  std::memcpy(to, &from, size);
  return {};
}

Result<std::shared_ptr<Model>> model_now(Trainer& trainer, bool with_training) {
  HAI_TRY(hai::format::ModelFile file, trainer.trained_model());
  if (!with_training) file.training.reset();
  if (!with_training) file.features.reset();
  HAI_TRY(std::vector<std::byte> bytes, hai::format::serialize(file, {hai::format::Compression::kNever}));
  return Model::load(std::make_shared<OwnedSource>(std::move(bytes)), "the model in training");
}

// The states as they were, at the end of its life.
class KeptStates {
 public:
  explicit KeptStates(Trainer& trainer)
      : trainer_(trainer), steps_(trainer.steps()), refused_(trainer.refused_steps()) {
    for (size_t i = 0; i < trainer.state_count(); ++i) {
      const auto state = trainer.state(i);
      bytes_.insert(bytes_.end(), state.begin(), state.end());
    }
  }
  Status put_back() { return trainer_.restore(bytes_, steps_, refused_); }

 private:
  Trainer& trainer_;
  std::vector<std::byte> bytes_;
  int64_t steps_;
  int64_t refused_;
};

// Largest element of a row; of equal ones the first.
size_t largest(std::span<const float> row) {
  return static_cast<size_t>(std::max_element(row.begin(), row.end()) - row.begin());
}

// -1: the target is no row of shares for each sample.
Result<int64_t> count_correct(hai_trainer& handle) {
  Trainer& trainer = *handle.trainer;
  if (!handle.answers) {
    HAI_TRY(std::shared_ptr<Model> model, model_now(trainer, false));
    hai::runtime::SessionOptions options;
    const std::vector<std::string>& devices = model->file().devices();
    if (std::find(devices.begin(), devices.end(), "cpu") != devices.end()) options.device = "cpu";
    options.threads = trainer.session().thread_count();
    HAI_TRY(handle.answers, Session::create(std::move(model), options));
  }
  Session& session = *handle.answers;
  handle.outputs.resize(session.output_count());
  std::vector<hai_tensor> outputs(session.output_count());
  const hai_tensor& target = handle.bound.back();
  int64_t found = -1;
  for (size_t i = 0; i < outputs.size(); ++i) {
    const hai::Dims dims = session.output_dims(i, handle.batch);
    const hai::DataType dtype = session.output(i).dtype;
    handle.outputs[i].resize(static_cast<size_t>(hai::bytes_for(dtype, dims.count())));
    outputs[i].dtype = static_cast<int32_t>(dtype);
    outputs[i].rank = dims.rank;
    std::copy_n(dims.size.begin(), dims.rank, outputs[i].dims);
    outputs[i].data = handle.outputs[i].data();
    outputs[i].size_bytes = handle.outputs[i].size();
    const bool same = outputs[i].dtype == target.dtype && outputs[i].rank == target.rank &&
                      std::equal(target.dims, target.dims + target.rank, outputs[i].dims);
    if (same && found < 0) found = static_cast<int64_t>(i);
  }
  if (found < 0 || target.dtype != HAI_F32 || target.rank != 2 || target.dims[0] != handle.batch) return -1;
  HAI_TRY_STATUS(session.run(std::span(handle.bound).first(handle.bound.size() - 1), outputs));
  const auto columns = static_cast<size_t>(target.dims[1]);
  int64_t correct = 0;
  for (int64_t row = 0; row < handle.batch; ++row) {
    const size_t at = static_cast<size_t>(row) * columns;
    const auto* answer = reinterpret_cast<const float*>(handle.outputs[static_cast<size_t>(found)].data()) + at;
    const auto* truth = static_cast<const float*>(target.data) + at;
    if (largest({answer, columns}) == largest({truth, columns})) ++correct;
  }
  return correct;
}

}  // namespace

extern "C" {

hai_status hai_train_create(hai_model* model, const hai_train_options* options, hai_trainer** trainer) {
  if (trainer != nullptr) *trainer = nullptr;
  return guarded([&]() -> Status {
    HAI_TRY_STATUS(require(model, "model"));
    HAI_TRY_STATUS(require(trainer, "trainer"));
    hai_train_options raw = HAI_TRAIN_OPTIONS_INIT;
    if (options != nullptr) HAI_TRY_STATUS(copy_versioned(raw, options, "hai_train_options"));
    hai::training::TrainerOptions wanted;
    if (raw.isa != nullptr) wanted.isa = raw.isa;
    wanted.threads = raw.threads;
    wanted.max_batch = raw.max_batch;
    auto handle = std::make_unique<hai_trainer>();
    HAI_TRY(handle->trainer, Trainer::create(model->model, wanted));
    describe_inputs(*handle);
    *trainer = handle.release();
    return {};
  });
}

void hai_train_release(hai_trainer* trainer) { delete trainer; }

size_t hai_train_input_count(const hai_trainer* trainer) { return trainer == nullptr ? 0 : trainer->inputs.size(); }
const hai_tensor_info* hai_train_input(const hai_trainer* trainer, size_t index) {
  return index < hai_train_input_count(trainer) ? &trainer->inputs[index] : nullptr;
}

hai_status hai_train_bind(hai_trainer* trainer, const hai_tensor* inputs, size_t count) {
  return guarded([&]() -> Status {
    HAI_TRY_STATUS(require(trainer, "trainer"));
    HAI_TRY_STATUS(require(inputs, "inputs"));
    if (count != trainer->inputs.size()) {
      return make_error(StatusCode::kInvalidArgument, "E092", "a batch has {} tensors, the target last; {} were given",
                        trainer->inputs.size(), count);
    }
    HAI_TRY(const int64_t batch, batch_of(*trainer->trainer, {inputs, count}));
    trainer->bound.assign(inputs, inputs + count);
    trainer->batch = batch;
    return {};
  });
}

hai_status hai_train_step(hai_trainer* trainer, double learning_rate, hai_train_result* result) {
  return guarded([&]() -> Status {
    HAI_TRY_STATUS(require_bound(trainer));
    HAI_TRY_STATUS(give(result, HAI_TRAIN_RESULT_INIT));  // whether it can be filled is seen before anything changes
    HAI_TRY(const StepResult step, trainer->trainer->step(trainer->bound, learning_rate));
    trainer->answers.reset();
    return give(result,
                {sizeof(hai_train_result), step.loss, step.gradient_norm, step.applied ? 1 : 0, trainer->batch, 0});
  });
}

hai_status hai_train_validate(hai_trainer* trainer, hai_train_result* result) {
  return guarded([&]() -> Status {
    HAI_TRY_STATUS(require_bound(trainer));
    HAI_TRY_STATUS(give(result, HAI_TRAIN_RESULT_INIT));
    HAI_TRY(const int64_t correct, count_correct(*trainer));
    KeptStates kept(*trainer->trainer);
    const Result<StepResult> step = trainer->trainer->step(trainer->bound, 0);
    HAI_TRY_STATUS(kept.put_back());
    if (!step) return step.error();
    return give(result, {sizeof(hai_train_result), step->loss, step->gradient_norm, 0, trainer->batch, correct});
  });
}

int64_t hai_train_steps(const hai_trainer* trainer) { return trainer == nullptr ? 0 : trainer->trainer->steps(); }
int64_t hai_train_refused_steps(const hai_trainer* trainer) {
  return trainer == nullptr ? 0 : trainer->trainer->refused_steps();
}

hai_status hai_train_reset(hai_trainer* trainer) {
  return guarded([&]() -> Status {
    HAI_TRY_STATUS(require(trainer, "trainer"));
    trainer->answers.reset();
    return trainer->trainer->reset();
  });
}

hai_status hai_train_save(hai_trainer* trainer, const char* path) {
  return guarded([&]() -> Status {
    HAI_TRY_STATUS(require(trainer, "trainer"));
    HAI_TRY_STATUS(require(path, "path"));
    return trainer->trainer->save(path);
  });
}

hai_status hai_train_model(hai_trainer* trainer, hai_model** model) {
  if (model != nullptr) *model = nullptr;
  return guarded([&]() -> Status {
    HAI_TRY_STATUS(require(trainer, "trainer"));
    HAI_TRY_STATUS(require(model, "model"));
    HAI_TRY(*model, hai::runtime::wrap(model_now(*trainer->trainer, true)));
    return {};
  });
}

hai_status hai_train_save_checkpoint(hai_trainer* trainer, const char* folder) {
  return guarded([&]() -> Status {
    HAI_TRY_STATUS(require(trainer, "trainer"));
    HAI_TRY_STATUS(require(folder, "folder"));
    HAI_TRY_STATUS(hai::training::save_checkpoint(folder, *trainer->trainer));
    return {};
  });
}

hai_status hai_train_load_checkpoint(hai_trainer* trainer, const char* folder) {
  return guarded([&]() -> Status {
    HAI_TRY_STATUS(require(trainer, "trainer"));
    HAI_TRY_STATUS(require(folder, "folder"));
    HAI_TRY_STATUS(hai::training::load_checkpoint(folder, *trainer->trainer));
    trainer->answers.reset();
    return {};
  });
}

}  // extern "C"
