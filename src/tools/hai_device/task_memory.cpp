// The memory on disk.
//
// It is a checkpoint of its own (training/checkpoint.h), whose extras say what a task adds to the states: so it
// survives what checkpoints survive, and belongs to one model file.
#include "tools/hai_device/task_memory.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "tools/hai_device/print.h"
#include "training/checkpoint.h"

namespace hai::tools {
namespace {

constexpr const char* kMethod = "task_method";

template <typename T>
const T* find(const training::CheckpointExtra& extra, const char* name) {
  const auto found = extra.find(name);
  return found == extra.end() ? nullptr : std::get_if<T>(&found->second);
}

}  // namespace

Result<TaskMemory> TaskMemory::load(const std::string& folder, const std::string& method, training::Trainer& trainer) {
  TaskMemory out;
  auto loaded = training::load_checkpoint(folder, trainer);
  if (!loaded && loaded.error().code == StatusCode::kNotFound) return out;
  HAI_TRY(const training::LoadedCheckpoint checkpoint, std::move(loaded));
  for (const std::string& reason : checkpoint.skipped) note("passed over: {}", reason);
  const auto* was = find<std::string>(checkpoint.extra, kMethod);
  const auto* tasks = find<int64_t>(checkpoint.extra, "tasks");
  const auto* classes = find<std::string>(checkpoint.extra, "classes");
  const auto names = nlohmann::json::parse(classes == nullptr ? "" : *classes, nullptr, false);
  const bool strings =
      names.is_array() && std::all_of(names.begin(), names.end(), [](const auto& name) { return name.is_string(); });
  if (was == nullptr || tasks == nullptr || *tasks < 1 || !strings || *was != method) {
    return make_error(StatusCode::kInvalidArgument, "L117",
                      "--memory {}: {}; give another folder, or go on as it was begun", folder,
                      was == nullptr ? "what lies there is no memory of hai train --method"
                                     : "it is of --method " + *was + ", not of " + method);
  }
  out.tasks = *tasks;
  out.classes = names.get<std::vector<std::string>>();
  if (const auto* replay = find<std::string>(checkpoint.extra, "replay"); replay != nullptr) {
    HAI_TRY(out.replay, training::ReplayBuffer::parse(*replay));
  }
  trainer.forget_optimizer();
  return out;
}

Status TaskMemory::save(const std::string& folder, const std::string& method, training::Trainer& trainer) const {
  const std::string names = nlohmann::json(classes).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  training::CheckpointExtra extra{{kMethod, method}, {"tasks", tasks}, {"classes", names}};
  if (replay) extra["replay"] = replay->serialize();
  HAI_TRY_STATUS(training::save_checkpoint(folder, trainer, extra));
  return {};
}

}  // namespace hai::tools
