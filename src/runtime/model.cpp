// Loading a model, and making its executables once.
//
// A second session that asks while the first one still packs waits for it and shares the result; a failure is not
// remembered, so that a later attempt may succeed (memory, a file put back).
#include "runtime/model.h"

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

Result<std::shared_ptr<const CpuExecutable>> Model::cpu_executable(cpu::Isa isa) {
  const std::lock_guard lock(mutex_);
  const auto found = executables_.find(isa);
  if (found != executables_.end()) return found->second;
  HAI_TRY(auto executable, CpuExecutable::make(reader_, isa, registry_));
  executables_.emplace(isa, executable);
  return executable;
}

}  // namespace hai::runtime
