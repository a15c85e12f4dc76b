// `hai rollback`: brings back the model that a training, a promotion or an update has replaced.
//
// What is done to the files, and what a loss of power leaves of it, is training/previous_model.h.
#include <fmt/format.h>

#include <cstdio>
#include <nlohmann/json.hpp>

#include "tools/hai_device/device_commands.h"
#include "tools/hai_device/print.h"
#include "training/previous_model.h"

namespace hai::tools {

Status rollback_command(const RollbackArguments& arguments) {
  HAI_TRY(const training::RolledBack done, training::roll_back(arguments.model));
  if (arguments.json) {
    const nlohmann::ordered_json document{
        {"model", arguments.model}, {"sha256", done.digest}, {"replaced_sha256", done.replaced_digest}};
    fmt::print("{}\n", document.dump(2, ' ', false, nlohmann::json::error_handler_t::replace));
    return {};
  }
  print("{}: the model before it is back, sha256 {}\n", arguments.model, done.digest);
  if (!done.replaced_digest.empty())
    print("the one that it replaced lies as {}\n", training::replaced_path(arguments.model));
  return {};
}

}  // namespace hai::tools
