// Loading a model, and making its executables once.
//
// A second session that asks while the first one still packs waits for it and shares the result; a failure is not
// remembered, so that a later attempt may succeed (memory, a file put back).
#include "runtime/model.h"

#include <algorithm>

#include "runtime/devices.h"

namespace hai::runtime {
Result<std::shared_ptr<Model>> Model::load(std::shared_ptr<const ByteSource> source, std::string where,
                                           const cpu::ExecRegistry& registry) {
  HAI_TRY(auto reader, format::ModelReader::open(std::move(source), std::move(where)));
  return std::shared_ptr<Model>(new Model(std::move(reader), registry));
}

Result<std::shared_ptr<Model>> Model::load_file(const std::string& path, const cpu::ExecRegistry& registry) {
  HAI_TRY(auto source, open_file(path));
  return load(std::move(source), path, registry);
}

// The cpu's are those that the model was loaded with.
const cpu::ExecRegistry& Model::kernels_of(std::string_view device) const {
  for (const Device& known : devices()) {
    if (known.name == device && device != "cpu") return known.kernels();
  }
  return registry_;
}

Result<std::shared_ptr<const Executable>> Model::executable(const std::string& device, cpu::Isa isa) {
  const std::lock_guard lock(mutex_);
  const auto found = executables_.find({device, isa});
  if (found != executables_.end()) return found->second;
  HAI_TRY(format::Program program, reader_->program(device));
  HAI_TRY(auto executable, Executable::make(reader_, std::move(program), isa, kernels_of(device)));
  executables_.emplace(std::pair(device, isa), executable);
  return executable;
}

// Not shared: a model is trained once.
Result<std::shared_ptr<const Executable>> Model::training_executable(cpu::Isa isa) {
  HAI_TRY(format::Program program, reader_->training());
  return Executable::make(reader_, std::move(program), isa, registry_);
}

Result<std::shared_ptr<const Executable>> Model::features_executable(cpu::Isa isa) {
  HAI_TRY(format::Program program, reader_->features());
  const std::string device = program.device;
  const std::vector<Device> known = devices();
  if (std::none_of(known.begin(), known.end(), [&](const Device& one) { return one.name == device; }))
    return with_where(unknown_device(device), reader_->where());
  return Executable::make(reader_, std::move(program), isa, kernels_of(device));
}

Result<std::shared_ptr<const Executable>> Model::observers_executable(cpu::Isa isa) {
  HAI_TRY(format::Program program, reader_->observers());
  return Executable::make(reader_, std::move(program), isa, registry_);
}

Result<std::shared_ptr<const Executable>> Model::faulty_executable(const std::string& device, cpu::Isa isa,
                                                                   std::string_view faults) {
  for (const Device& known : devices()) {
    if (known.name != device || known.inject_faults == nullptr) continue;
    HAI_TRY(format::Program program, reader_->program(device));
    return Executable::make_faulty(reader_, std::move(program), isa, kernels_of(device), known.inject_faults, faults);
  }
  return make_error(StatusCode::kUnsupported, "R030",
                    "faults cannot be injected into device {}; a simulated one such as sd3403 shows them", device);
}

}  // namespace hai::runtime
