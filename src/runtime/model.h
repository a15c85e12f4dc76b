// Model: an open, verified .hai file and the executables made from it, shared by its sessions.
//
// Thread-safe: the file is immutable; executables are made under a lock, once per device and instruction set.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>

#include "base/file.h"
#include "base/result.h"
#include "devices/cpu/exec/exec_registry.h"
#include "format/model_reader.h"
#include "runtime/executable.h"

namespace hai::runtime {

class Model {
 public:
  static Result<std::shared_ptr<Model>> load(std::shared_ptr<const ByteSource> source, std::string where,
                                             const cpu::ExecRegistry& registry = cpu::ExecRegistry::instance());
  static Result<std::shared_ptr<Model>> load_file(const std::string& path,
                                                  const cpu::ExecRegistry& registry = cpu::ExecRegistry::instance());

  const format::ModelReader& file() const { return *reader_; }
  const std::shared_ptr<const format::ModelReader>& shared_file() const { return reader_; }
  // Reads and packs the weights when asked for the first time.
  Result<std::shared_ptr<const Executable>> executable(const std::string& device, cpu::Isa isa);
  // Of the training program, which runs on the CPU; a new one each time.
  Result<std::shared_ptr<const Executable>> training_executable(cpu::Isa isa);
  // Of the frozen part of the training program, on the device that it was compiled for. Precondition:
  // file().has_features(). Error R013: this build does not have that device.
  Result<std::shared_ptr<const Executable>> features_executable(cpu::Isa isa);
  // Of the observers, a new one each time. Precondition: file().has_rebuild().
  Result<std::shared_ptr<const Executable>> observers_executable(cpu::Isa isa);
  // A new one, for one session. Error R030: the device shows no faults; those of its injection.
  Result<std::shared_ptr<const Executable>> faulty_executable(const std::string& device, cpu::Isa isa,
                                                              std::string_view faults);

 private:
  Model(std::shared_ptr<const format::ModelReader> reader, const cpu::ExecRegistry& registry)
      : reader_(std::move(reader)), registry_(registry) {}
  const cpu::ExecRegistry& kernels_of(std::string_view device) const;

  std::shared_ptr<const format::ModelReader> reader_;
  const cpu::ExecRegistry& registry_;
  std::mutex mutex_;
  std::map<std::pair<std::string, cpu::Isa>, std::shared_ptr<const Executable>> executables_;
};

}  // namespace hai::runtime
