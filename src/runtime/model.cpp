// Loading a model, and making its executables once.
//
// A second session that asks while the first one still packs waits for it and shares the result; a failure is not
// remembered, so that a later attempt may succeed (memory, a file put back).
#include "runtime/model.h"

#include "devices/sd3403/exec/npu_kernel.h"

namespace hai::runtime {
namespace {

constexpr std::string_view kNpuDevice = "sd3403";
constexpr std::string_view kDevices[] = {"cpu", kNpuDevice};

// The cpu's kernels, and the NPU's.
const cpu::ExecRegistry& npu_registry() {
  static const cpu::ExecRegistry kRegistry = [] {
    cpu::ExecRegistry registry;
    cpu::register_all_exec(registry);
    sd3403::register_exec(registry);
    return registry;
  }();
  return kRegistry;
}

}  // namespace

std::span<const std::string_view> runnable_devices() { return kDevices; }

Result<std::shared_ptr<Model>> Model::load(std::shared_ptr<const ByteSource> source, std::string where,
                                           const cpu::ExecRegistry& registry) {
  HAI_TRY(auto reader, format::ModelReader::open(std::move(source), std::move(where)));
  return std::shared_ptr<Model>(new Model(std::move(reader), registry));
}

Result<std::shared_ptr<Model>> Model::load_file(const std::string& path, const cpu::ExecRegistry& registry) {
  HAI_TRY(auto source, open_file(path));
  return load(std::move(source), path, registry);
}

Result<std::shared_ptr<const Executable>> Model::executable(const std::string& device, cpu::Isa isa) {
  const std::lock_guard lock(mutex_);
  const auto found = executables_.find({device, isa});
  if (found != executables_.end()) return found->second;
  HAI_TRY(auto executable, Executable::make(reader_, device, isa, device == kNpuDevice ? npu_registry() : registry_));
  executables_.emplace(std::pair(device, isa), executable);
  return executable;
}

}  // namespace hai::runtime
