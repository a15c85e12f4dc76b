// `hai update make|apply|show`: small files that make a newer model of the one that a device has.
//
// What is in them and how they are applied is training/model_update.h.
#include <fmt/format.h>

#include <cstdio>
#include <nlohmann/json.hpp>

#include "tools/hai_device/device_commands.h"
#include "tools/hai_device/output_paths.h"
#include "tools/hai_device/print.h"
#include "training/model_update.h"
#include "training/previous_model.h"

namespace hai::tools {
namespace {

nlohmann::ordered_json facts_json(const training::ModelUpdate& update) {
  return {{"base_sha256", update.base},
          {"result_sha256", update.result},
          {"base_bytes", update.base_bytes},
          {"result_bytes", update.result_bytes},
          {"changed_bytes", update.changed_bytes},
          {"update_bytes", update.update_bytes}};
}

void print_facts(const training::ModelUpdate& update) {
  const double share = update.result_bytes > 0
                           ? 100.0 * static_cast<double>(update.update_bytes) / static_cast<double>(update.result_bytes)
                           : 0;
  print("for the model   {} ({} bytes)\n", update.base, update.base_bytes);
  print("which becomes   {} ({} bytes, {} of them changed)\n", update.result, update.result_bytes,
        update.changed_bytes);
  print("update          {} bytes, {:.1f} % of the model\n", update.update_bytes, share);
}

void print_json(const nlohmann::ordered_json& document) {
  fmt::print("{}\n", document.dump(2, ' ', false, nlohmann::json::error_handler_t::replace));
}

}  // namespace

Status update_make_command(const UpdateMakeArguments& arguments) {
  HAI_TRY_STATUS(check_outputs({{"--output", arguments.output}}, {arguments.from, arguments.to}));
  HAI_TRY(const training::ModelUpdate made, training::make_update(arguments.from, arguments.to, arguments.output));
  if (arguments.json) {
    print_json(facts_json(made));
  } else {
    print_facts(made);
  }
  return {};
}

Status update_apply_command(const UpdateApplyArguments& arguments) {
  const std::string& output = arguments.output.empty() ? arguments.model : arguments.output;
  HAI_TRY_STATUS(check_outputs({{"--output", output}}, {arguments.update}));
  HAI_TRY(const training::AppliedUpdate applied, training::apply_update(arguments.model, arguments.update, output));
  if (arguments.json) {
    nlohmann::ordered_json document = facts_json(applied.update);
    document["model"] = output;
    document["was_there"] = applied.was_there;
    print_json(document);
  } else if (applied.was_there) {
    print("{}: it is this model already, nothing was done\n", output);
  } else {
    print("{}: updated to {}\n", output, applied.update.result);
    if (arguments.output.empty()) print("the old one lies as {}\n", training::previous_path(output));
  }
  return {};
}

Status update_show_command(const UpdateShowArguments& arguments) {
  HAI_TRY(const training::ModelUpdate update, training::read_update(arguments.update));
  if (arguments.json) {
    print_json(facts_json(update));
  } else {
    print_facts(update);
  }
  return {};
}

}  // namespace hai::tools
