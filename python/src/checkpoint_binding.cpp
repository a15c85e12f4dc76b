// Checkpoints of a training for Python: what the caller adds comes in one dictionary per type and goes back in one.
//
// What a value of Python is stored as is decided in hai_toolkit/checkpoint_values.py. Files are written and read with
// the interpreter lock released; the trainer belongs to the caller for as long.
#include <map>

#include "binding.h"
#include "training/checkpoint.h"

namespace hai::python {
namespace {

using training::Trainer;

void save_checkpoint(Trainer& trainer, const std::string& folder, const std::map<std::string, int64_t>& integers,
                     const std::map<std::string, double>& reals, const std::map<std::string, nb::bytes>& bytes) {
  training::CheckpointExtra extra;
  for (const auto& [name, value] : integers) extra[name] = value;
  for (const auto& [name, value] : reals) extra[name] = value;
  for (const auto& [name, value] : bytes) extra[name] = std::string(value.c_str(), value.size());
  const nb::gil_scoped_release release;
  value_or_raise(training::save_checkpoint(folder, trainer, extra));
}

nb::object value_of(const format::Attribute& attribute) {
  if (const auto* text = std::get_if<std::string>(&attribute)) return nb::bytes(text->data(), text->size());
  return std::visit([](const auto& value) { return nb::cast(value); }, attribute);
}

// What was added, and why newer files were skipped.
nb::tuple load_checkpoint(Trainer& trainer, const std::string& folder, bool any_isa) {
  training::LoadCheckpointOptions options;
  options.any_isa = any_isa;
  training::LoadedCheckpoint loaded;
  {
    const nb::gil_scoped_release release;
    loaded = value_or_raise(training::load_checkpoint(folder, trainer, options));
  }
  nb::dict extra;
  for (const auto& [name, value] : loaded.extra) extra[nb::cast(name)] = value_of(value);
  return nb::make_tuple(extra, loaded.skipped);
}

}  // namespace

void bind_checkpoint(nb::module_& module) {
  module.def("save_checkpoint", &save_checkpoint, nb::arg("trainer"), nb::arg("folder"), nb::arg("integers"),
             nb::arg("reals"), nb::arg("bytes"));
  module.def("load_checkpoint", &load_checkpoint, nb::arg("trainer"), nb::arg("folder"), nb::arg("any_isa"));
}

}  // namespace hai::python
