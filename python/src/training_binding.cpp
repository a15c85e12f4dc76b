// The trainer for Python: steps on arrays, states by name, the trained model as a file.
//
// Tensors cross as in runtime_binding.cpp: byte views of contiguous arrays that Python owns, read in place with the
// interpreter lock released. No logic of its own.
#include <nanobind/stl/unique_ptr.h>

#include <cstring>

#include "binding.h"
#include "hai/hai.hpp"
#include "training/inference_model.h"
#include "training/rebuilder.h"
#include "training/schedule.h"
#include "training/trainer.h"

namespace hai::python {
namespace {

using training::Rebuilder;
using training::Schedule;
using training::Trainer;

std::unique_ptr<Trainer> make_trainer(const std::string& path, const std::string& isa, int threads, int64_t max_batch) {
  training::TrainerOptions options;
  options.isa = isa;
  options.threads = threads;
  options.max_batch = max_batch;
  const nb::gil_scoped_release release;
  return value_or_raise(Trainer::create(value_or_raise(runtime::Model::load_file(path)), options));
}

// (name, dtype, shape): a batch in the shape is -1.
nb::tuple describe(const format::ProgramTensor& tensor) {
  std::vector<int64_t> shape;
  for (const Dim& dim : tensor.shape) shape.push_back(dim.is_symbolic() ? -dim.value : dim.value);
  return nb::make_tuple(tensor.name, std::string(data_type_name(tensor.dtype)), shape);
}

std::vector<hai_tensor> views_of(const std::vector<int32_t>& dtypes, const std::vector<std::vector<int64_t>>& shapes,
                                 const std::vector<ConstBytes>& bytes) {
  std::vector<hai_tensor> views;
  for (size_t i = 0; i < bytes.size(); ++i)
    views.push_back(api::view(dtypes.at(i), shapes.at(i), const_cast<uint8_t*>(bytes[i].data()), bytes[i].size()));
  return views;
}

std::tuple<double, double, bool> step(Trainer& trainer, const std::vector<int32_t>& dtypes,
                                      const std::vector<std::vector<int64_t>>& shapes,
                                      const std::vector<ConstBytes>& bytes, double learning_rate, bool from_features) {
  const std::vector<hai_tensor> inputs = views_of(dtypes, shapes, bytes);
  const nb::gil_scoped_release release;
  const training::StepResult result = value_or_raise(from_features ? trainer.step_from_features(inputs, learning_rate)
                                                                   : trainer.step(inputs, learning_rate));
  return {result.loss, result.gradient_norm, result.applied};
}

// Into arrays that the caller made.
void features(Trainer& trainer, const std::vector<int32_t>& dtypes, const std::vector<std::vector<int64_t>>& shapes,
              const std::vector<ConstBytes>& bytes, const std::vector<int32_t>& feature_dtypes,
              const std::vector<std::vector<int64_t>>& feature_shapes, const std::vector<MutableBytes>& out) {
  const std::vector<hai_tensor> inputs = views_of(dtypes, shapes, bytes);
  std::vector<hai_tensor> outputs;
  for (size_t i = 0; i < out.size(); ++i)
    outputs.push_back(api::view(feature_dtypes.at(i), feature_shapes.at(i), out[i].data(), out[i].size()));
  const nb::gil_scoped_release release;
  raise_if_error(trainer.features(inputs, outputs));
}

std::unique_ptr<Rebuilder> make_rebuilder(Trainer& trainer, bool average) {
  const nb::gil_scoped_release release;
  return value_or_raise(
      Rebuilder::create(trainer, average ? training::SavedWeights::kAverage : training::SavedWeights::kLast));
}

void observe(Rebuilder& rebuilder, const std::vector<int32_t>& dtypes, const std::vector<std::vector<int64_t>>& shapes,
             const std::vector<ConstBytes>& bytes, bool from_features) {
  const std::vector<hai_tensor> tensors = views_of(dtypes, shapes, bytes);
  const nb::gil_scoped_release release;
  raise_if_error(from_features ? rebuilder.observe_features(tensors) : rebuilder.observe(tensors));
}

void save_rebuilt(Rebuilder& rebuilder, const std::string& path, bool inference_only) {
  const nb::gil_scoped_release release;
  const format::ModelFile file = value_or_raise(rebuilder.rebuild());
  value_or_raise(format::write_model_file(path, inference_only ? training::inference_model(file) : file));
}

void copy_state(Trainer& trainer, size_t index, const MutableBytes& out) {
  const std::span<const std::byte> state = trainer.state(index);
  if (out.size() == state.size() && !state.empty()) std::memcpy(out.data(), state.data(), state.size());
}

void set_state(Trainer& trainer, size_t index, const ConstBytes& from) {
  const std::span<std::byte> state = trainer.state(index);
  if (from.size() == state.size() && !state.empty()) std::memcpy(state.data(), from.data(), state.size());
}

}  // namespace

void bind_training(nb::module_& module) {
  nb::class_<Schedule>(module, "Schedule")
      .def(
          "__init__",
          [](Schedule* self, const std::string& kind, double learning_rate, int64_t total_steps, int64_t warmup_steps,
             double final_share, double decay, int64_t every) {
            const Schedule schedule{kind, learning_rate, total_steps, warmup_steps, final_share, decay, every};
            raise_if_error(training::check_schedule(schedule));
            new (self) Schedule(schedule);
          },
          nb::arg("kind"), nb::arg("learning_rate"), nb::arg("total_steps"), nb::arg("warmup_steps"),
          nb::arg("final_share"), nb::arg("decay"), nb::arg("every"))
      .def("at", &training::learning_rate_at, nb::arg("step"));
  nb::class_<Trainer>(module, "Trainer")
      .def("inputs",
           [](const Trainer& trainer) {
             nb::list out;
             for (size_t i = 0; i < trainer.input_count(); ++i) out.append(describe(trainer.input(i)));
             return out;
           })
      .def("states",
           [](const Trainer& trainer) {
             nb::list out;
             for (size_t i = 0; i < trainer.state_count(); ++i)
               out.append(nb::make_tuple(describe(trainer.state_tensor(i)), trainer.is_parameter(i)));
             return out;
           })
      .def("step", &step, nb::arg("dtypes"), nb::arg("shapes"), nb::arg("inputs"), nb::arg("learning_rate"),
           nb::arg("from_features"))
      .def("feature_tensors",
           [](const Trainer& trainer) {
             nb::list out;
             for (size_t i = 0; i < trainer.feature_count(); ++i) out.append(describe(trainer.feature(i)));
             return out;
           })
      .def("features", &features, nb::arg("dtypes"), nb::arg("shapes"), nb::arg("inputs"), nb::arg("feature_dtypes"),
           nb::arg("feature_shapes"), nb::arg("out"))
      .def("copy_state", &copy_state, nb::arg("index"), nb::arg("out"))
      .def("set_state", &set_state, nb::arg("index"), nb::arg("values"))
      .def("steps", &Trainer::steps)
      .def("refused_steps", &Trainer::refused_steps)
      .def("can_rebuild", &training::can_rebuild)
      .def("restart_steps", &Trainer::restart_steps)
      .def("reset", [](Trainer& trainer) { raise_if_error(trainer.reset()); })
      .def("memory",
           [](const Trainer& trainer) {
             nb::dict out;
             const runtime::Session* frozen = trainer.features_session();
             out["arena_bytes"] = trainer.session().arena_bytes() + (frozen == nullptr ? 0 : frozen->arena_bytes());
             out["scratch_bytes"] =
                 trainer.session().scratch_bytes() + (frozen == nullptr ? 0 : frozen->scratch_bytes());
             out["batch"] = trainer.session().capacity_batch();
             return out;
           })
      .def(
          "save",
          [](Trainer& trainer, const std::string& path, bool average) {
            const nb::gil_scoped_release release;
            raise_if_error(
                trainer.save(path, {}, average ? training::SavedWeights::kAverage : training::SavedWeights::kLast));
          },
          nb::arg("path"), nb::arg("average"))
      .def("target_layout", [](const Trainer& trainer) {
        const auto& metadata = trainer.session().model().file().metadata().entries;
        const auto found = metadata.find("target_layout");
        return found == metadata.end() ? std::string() : found->second;
      });
  nb::class_<Rebuilder>(module, "Rebuilder")
      .def("observe", &observe, nb::arg("dtypes"), nb::arg("shapes"), nb::arg("inputs"), nb::arg("from_features"))
      .def("save", &save_rebuilt, nb::arg("path"), nb::arg("inference_only"));
  module.def("make_rebuilder", &make_rebuilder, nb::arg("trainer"), nb::arg("average"), nb::keep_alive<0, 1>());
  module.def("make_trainer", &make_trainer, nb::arg("path"), nb::arg("isa"), nb::arg("threads"), nb::arg("max_batch"));
}

}  // namespace hai::python
