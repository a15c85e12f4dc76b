// `hai run`: one answer. Inputs are .npy tensors, or pictures that go through the model's own preprocessing; outputs
// are printed and saved.
//
// It goes through the public interface (hai.hpp) only: what it does, any program can do.
#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <numeric>
#include <optional>

#include "base/file.h"
#include "base/utf8.h"
#include "data/image.h"
#include "data/preprocess.h"
#include "tools/hai_device/api_errors.h"
#include "tools/hai_device/device_commands.h"
#include "tools/hai_device/npy.h"
#include "tools/hai_device/output_paths.h"
#include "tools/hai_device/print.h"
#include "tools/hai_device/stopwatch.h"
#include "tools/hai_device/table.h"

namespace hai::tools {
namespace {

constexpr int64_t kMaxLabelsBytes = int64_t{16} << 20;

Preprocessing preprocessing_of(const hai_preprocessing& stored) {
  Preprocessing rule;
  rule.input = stored.input;
  rule.width = stored.width;
  rule.height = stored.height;
  rule.color_order = static_cast<ColorOrder>(stored.color_order);
  rule.layout = static_cast<PictureLayout>(stored.layout);
  rule.interpolation = static_cast<Interpolation>(stored.interpolation);
  rule.resize_rule = static_cast<ResizeRule>(stored.resize_rule);
  rule.resize_size = stored.resize_size;
  std::copy(std::begin(stored.mean), std::end(stored.mean), rule.mean.begin());
  std::copy(std::begin(stored.scale), std::end(stored.scale), rule.scale.begin());
  rule.pad_value = stored.pad_value;
  return rule;
}

Result<api::Tensor> picture_input(const api::Model& model, size_t index, const std::string& path) {
  const hai_preprocessing* stored = model.preprocessing();
  if (stored == nullptr) {
    return make_error(StatusCode::kInvalidArgument, "L020",
                      "{}: the model says nothing of how pictures become its input; compile it with --resize, --mean "
                      "and --std, or give a .npy file",
                      path);
  }
  HAI_TRY(const data::Image image, data::read_image(path));
  HAI_TRY(api::Tensor tensor, from_api(model.make_input(index)));
  if (tensor.dtype() != HAI_F32) {
    return make_error(StatusCode::kUnsupported, "L021", "{}: input \"{}\" is {}, pictures become f32; give a .npy file",
                      path, model.input(index).name, hai_dtype_name(tensor.dtype()));
  }
  HAI_TRY_STATUS(
      data::preprocess(image, preprocessing_of(*stored), std::span(tensor.as<float>(), tensor.count<float>())));
  return tensor;
}

// The file of each input of the model, in their order.
Result<std::vector<std::string>> input_paths(const api::Model& model, const RunArguments& arguments) {
  std::vector<std::string> paths(model.input_count());
  for (const std::string& argument : arguments.inputs) {
    size_t index = 0;
    std::string path = argument;
    const size_t equals = argument.find('=');
    if (equals != std::string::npos) {
      const std::string name = argument.substr(0, equals);
      path = argument.substr(equals + 1);
      while (index < model.input_count() && name != model.input(index).name) ++index;
      if (index == model.input_count()) {
        return make_error(StatusCode::kNotFound, "L022", "{} has no input \"{}\"; `hai inspect` lists them",
                          arguments.model, name);
      }
    } else {
      while (index < paths.size() && !paths[index].empty()) ++index;
    }
    if (index >= paths.size()) {
      return make_error(StatusCode::kInvalidArgument, "L023", "{} inputs given, {} has {}", arguments.inputs.size(),
                        arguments.model, model.input_count());
    }
    if (!paths[index].empty()) {
      return make_error(StatusCode::kInvalidArgument, "L026",
                        "input \"{}\" of {} is given twice, {} and {}; give one file for each input",
                        model.input(index).name, arguments.model, paths[index], path);
    }
    paths[index] = path;
  }
  for (size_t i = 0; i < paths.size(); ++i) {
    if (!paths[i].empty()) continue;
    return make_error(StatusCode::kInvalidArgument, "L024", "no value for input \"{}\"; add --input {}=FILE",
                      model.input(i).name, model.input(i).name);
  }
  return paths;
}

Result<std::vector<api::Tensor>> read_inputs(const api::Model& model, const std::vector<std::string>& paths) {
  std::vector<api::Tensor> tensors;
  for (size_t i = 0; i < paths.size(); ++i) {
    if (paths[i].ends_with(".npy")) {
      HAI_TRY(api::Tensor tensor, read_npy(paths[i]));
      tensors.push_back(std::move(tensor));
    } else {
      HAI_TRY(api::Tensor tensor, picture_input(model, i, paths[i]));
      tensors.push_back(std::move(tensor));
    }
  }
  return tensors;
}

Result<std::vector<std::string>> read_labels(const std::string& path) {
  std::vector<std::string> labels;
  if (path.empty()) return labels;
  HAI_TRY(const std::string text, read_file(path, kMaxLabelsBytes));
  size_t begin = 0;
  while (begin < text.size()) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    labels.push_back(text.substr(begin, end - begin - (end > begin && text[end - 1] == '\r' ? 1 : 0)));
    begin = end + 1;
  }
  return labels;
}

// The names that the model itself has (metadata "labels", a JSON list); none where it has none, or something else
// there.
std::vector<std::string> labels_of(const api::Model& model) {
  const char* text = model.metadata("labels");
  if (text == nullptr) return {};
  const auto list = nlohmann::json::parse(text, nullptr, false);
  std::vector<std::string> labels;
  if (!list.is_array()) return labels;
  for (const auto& name : list) labels.push_back(name.is_string() ? name.get<std::string>() : std::string());
  return labels;
}

std::string dims_text(const std::vector<int64_t>& dims) {
  std::string text;
  for (const int64_t dim : dims) text += (text.empty() ? "" : ", ") + std::to_string(dim);
  return "[" + text + "]";
}

double element(const api::Tensor& tensor, size_t index) {
  switch (tensor.dtype()) {
    case HAI_F64:
      return tensor.as<double>()[index];
    case HAI_F32:
      return static_cast<double>(tensor.as<float>()[index]);
    case HAI_I64:
      return static_cast<double>(tensor.as<int64_t>()[index]);
    case HAI_I32:
      return tensor.as<int32_t>()[index];
    case HAI_I16:
      return tensor.as<int16_t>()[index];
    case HAI_I8:
      return tensor.as<int8_t>()[index];
    case HAI_U64:
      return static_cast<double>(tensor.as<uint64_t>()[index]);
    case HAI_U32:
      return tensor.as<uint32_t>()[index];
    case HAI_U16:
      return tensor.as<uint16_t>()[index];
    case HAI_U8:
      return tensor.as<uint8_t>()[index];
    case HAI_BOOL:
      return static_cast<const unsigned char*>(tensor.data())[index];
    default:
      return 0;
  }
}

// The largest elements, largest first; ties by index.
std::vector<size_t> top_indices(const api::Tensor& tensor, size_t element_count, size_t wanted) {
  std::vector<size_t> indices(element_count);
  std::iota(indices.begin(), indices.end(), size_t{0});
  const size_t count = std::min(wanted, element_count);
  std::partial_sort(indices.begin(), indices.begin() + static_cast<std::ptrdiff_t>(count), indices.end(),
                    [&](size_t a, size_t b) {
                      const double left = element(tensor, a);
                      const double right = element(tensor, b);
                      return left != right ? left > right : a < b;
                    });
  indices.resize(count);
  return indices;
}

// The file of an output inside `folder`.
std::string output_path(const std::string& folder, std::string name) {
  std::replace_if(name.begin(), name.end(), [](char c) { return c == '/' || c == '\\' || c == ':' || c == '\0'; }, '_');
  return (std::filesystem::path(folder) / (name + ".npy")).string();
}

Status check_files(const api::Model& model, const RunArguments& arguments, std::vector<std::string> inputs) {
  std::vector<OutputPath> outputs = {{"--profile", arguments.trace}};
  for (size_t i = 0; i < model.output_count() && !arguments.output_folder.empty(); ++i) {
    const std::string name = model.output(i).name;
    outputs.push_back({fmt::format("output \"{}\"", name), output_path(arguments.output_folder, name)});
  }
  inputs.push_back(arguments.model);
  inputs.push_back(arguments.labels);
  return check_outputs(outputs, inputs);
}

Status save_outputs(const api::Model& model, const std::vector<api::Tensor>& outputs, const std::string& folder) {
  std::error_code failure;
  std::filesystem::create_directories(folder, failure);
  if (failure) return make_error(StatusCode::kIo, "L025", "{}: cannot make the folder: {}", folder, failure.message());
  for (size_t i = 0; i < outputs.size(); ++i)
    HAI_TRY_STATUS(write_npy(output_path(folder, model.output(i).name), outputs[i]));
  return {};
}

// What a run takes on this machine.
struct WallTime {
  double loading_ms = 0;  // reading, verifying and packing the model
  double values_ms = 0;   // the run itself
  double cycles_ms = 0;   // of a simulated device: modelling its time
  double energy_ms = 0;   // and its energy
  double simulation_ms() const { return values_ms + cycles_ms + energy_ms; }
};

nlohmann::ordered_json simulation_json(const WallTime& wall) {
  return {{"kind", "measured"},          {"loading_ms", wall.loading_ms}, {"values_ms", wall.values_ms},
          {"cycles_ms", wall.cycles_ms}, {"energy_ms", wall.energy_ms},   {"simulation_ms", wall.simulation_ms()}};
}

void print_text(const api::Model& model, const std::vector<api::Tensor>& outputs,
                const std::vector<std::string>& labels, int top, const WallTime& wall, bool modelled) {
  for (size_t i = 0; i < outputs.size(); ++i) {
    const api::Tensor& output = outputs[i];
    const size_t bits = static_cast<size_t>(hai_dtype_bits(output.dtype()));
    const size_t count = bits == 0 ? 0 : output.size_bytes() * 8 / bits;
    print("{}: {} {}\n", printable(model.output(i).name), hai_dtype_name(output.dtype()), dims_text(output.dims()));
    for (const size_t index : top_indices(output, count, static_cast<size_t>(std::max(top, 0)))) {
      print("  {:>10.5g}  #{}{}\n", element(output, index), index,
            index < labels.size() ? "  " + printable(labels[index]) : "");
    }
  }
  print("run: {} (measured, first run)\n", format_milliseconds(wall.values_ms));
  if (!modelled) return;
  print("simulation: {}, of these values {}, cycles {}, energy {}; before it loading and packing {} (measured)\n",
        format_milliseconds(wall.simulation_ms()), format_milliseconds(wall.values_ms),
        format_milliseconds(wall.cycles_ms), format_milliseconds(wall.energy_ms), format_milliseconds(wall.loading_ms));
}

// What became of injected faults, and the error of the one that stopped the run.
struct FaultResult {
  nlohmann::ordered_json faults = nlohmann::ordered_json::array();
  std::optional<Error> stopped;
};

// `answer` is what the run gave. An error that no fault accounts for stays one.
Result<FaultResult> fault_result(api::Session& session, const Result<std::vector<api::Tensor>>& answer) {
  HAI_TRY(const std::string report, from_api(session.fault_report()));
  FaultResult out;
  out.faults = nlohmann::ordered_json::parse(report);
  const bool detected = std::any_of(out.faults.begin(), out.faults.end(),
                                    [](const auto& fault) { return fault.at("verdict") == "detected"; });
  if (answer) return out;
  if (!detected) return answer.error();
  out.stopped = answer.error();
  return out;
}

std::string fault_lines(const FaultResult& result) {
  std::string out = "injected faults\n";
  for (const auto& fault : result.faults) {
    const auto text = [&](const char* name) { return printable(fault.at(name).get<std::string>()); };
    out += fmt::format("  {}: {}\n    {}: {}\n    {}\n", text("fault"), text("verdict"), text("segment"), text("what"),
                       text("detail"));
  }
  return out;
}

// A run that a fault has stopped gives no outputs, and nothing of it is written.
void print_stopped(const FaultResult& result, bool json) {
  if (!json) {
    print("{}stopped: {}\n", fault_lines(result), result.stopped->to_string());
    return;
  }
  const nlohmann::ordered_json document{
      {"stopped", {{"code", "HAI-" + result.stopped->id}, {"message", result.stopped->to_string()}}},
      {"npu", {{"faults", result.faults}}}};
  fmt::print("{}\n", document.dump(2, ' ', false, nlohmann::json::error_handler_t::replace));
}

// A trace with the faults beside its events, where one is wanted.
Status write_npu_trace(const std::string& path, const std::string& events, const FaultResult& result) {
  if (path.empty()) return {};
  nlohmann::json trace = nlohmann::json::parse(events);
  if (!result.faults.empty()) trace["faults"] = result.faults;
  const std::string text = trace.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  return write_file_atomically(path, std::as_bytes(std::span(text)));
}

void print_json(const api::Model& model, const std::vector<api::Tensor>& outputs,
                const std::vector<std::string>& labels, int top, const WallTime& wall, const std::string& npu,
                const FaultResult& faults) {
  nlohmann::ordered_json document;
  document["run_ms"] = wall.values_ms;
  document["outputs"] = nlohmann::ordered_json::array();
  for (size_t i = 0; i < outputs.size(); ++i) {
    const api::Tensor& output = outputs[i];
    const size_t bits = static_cast<size_t>(hai_dtype_bits(output.dtype()));
    nlohmann::ordered_json entry;
    entry["name"] = model.output(i).name;
    entry["dtype"] = hai_dtype_name(output.dtype());
    entry["shape"] = output.dims();
    for (const size_t index :
         top_indices(output, bits == 0 ? 0 : output.size_bytes() * 8 / bits, static_cast<size_t>(std::max(top, 0)))) {
      nlohmann::ordered_json item{{"index", index}, {"value", element(output, index)}};
      if (index < labels.size()) item["label"] = labels[index];
      entry["top"].push_back(std::move(item));
    }
    document["outputs"].push_back(std::move(entry));
  }
  if (!npu.empty()) {
    document["npu"] = nlohmann::ordered_json::parse(npu);
    document["npu"]["simulation"] = simulation_json(wall);
  }
  if (!faults.faults.empty()) document["npu"]["faults"] = faults.faults;
  fmt::print("{}\n", document.dump(2, ' ', false, nlohmann::json::error_handler_t::replace));
}

// Samples of a run: the first dimension of the inputs that have a free one.
int64_t batch_of(const api::Model& model, const std::vector<api::Tensor>& inputs) {
  for (size_t i = 0; i < inputs.size(); ++i) {
    const auto one = model.make_input(i, 1);
    const auto pair = model.make_input(i, 2);  // refused where the batch is fixed
    if (!one || !pair || one->dims().empty() || one->dims()[0] == pair->dims()[0]) continue;
    return inputs[i].dims()[0] / one->dims()[0];
  }
  return 1;
}

}  // namespace

Result<RunEnd> run_command(const RunArguments& arguments) {
  HAI_TRY(std::vector<std::string> labels, read_labels(arguments.labels));
  WallTime wall;
  auto begin = Clock::now();
  HAI_TRY(const api::Model model, from_api(api::Model::load(arguments.model)));
  if (arguments.labels.empty()) labels = labels_of(model);
  wall.loading_ms = milliseconds_since(begin);
  HAI_TRY(const std::vector<std::string> paths, input_paths(model, arguments));
  HAI_TRY_STATUS(check_files(model, arguments, paths));
  HAI_TRY(const std::vector<api::Tensor> inputs, read_inputs(model, paths));
  api::SessionOptions options;
  options.device = arguments.device;
  options.isa = arguments.isa;
  options.threads = arguments.threads;
  options.inject = arguments.inject;
  options.trace_events = arguments.trace.empty() ? 0 : 1 << 16;
  begin = Clock::now();
  HAI_TRY(api::Session session, from_api(model.session(options)));
  const bool modelled = std::string_view(session.device()) == "sd3403";
  std::unique_ptr<Simulation> simulation;
  if (arguments.simulation != nullptr) {
    HAI_TRY(simulation, arguments.simulation(arguments.model, modelled));
  }
  wall.loading_ms += milliseconds_since(begin);
  const SimulationOptions profile_options{arguments.clock_mhz, arguments.deadline_ms, arguments.camera,
                                          modelled ? batch_of(model, inputs) : 1};
  if (simulation) HAI_TRY_STATUS(simulation->check(profile_options));
  begin = Clock::now();
  const Result<std::vector<api::Tensor>> answer = from_api(session.run(inputs));
  wall.values_ms = milliseconds_since(begin);
  HAI_TRY(const FaultResult faults, fault_result(session, answer));
  if (faults.stopped) {
    print_stopped(faults, arguments.json);
    if (arguments.trace.empty() || !simulation) return RunEnd::kStoppedByFault;
    HAI_TRY(const std::string trace, simulation->trace_until_stopped(profile_options, faults.faults.dump()));
    HAI_TRY_STATUS(write_npu_trace(arguments.trace, trace, faults));
    return RunEnd::kStoppedByFault;
  }
  const std::vector<api::Tensor>& outputs = *answer;
  if (!arguments.output_folder.empty()) HAI_TRY_STATUS(save_outputs(model, outputs, arguments.output_folder));
  std::optional<SimulationProfile> profile;
  if (modelled && simulation) {
    HAI_TRY(profile, simulation->profile(profile_options));
    wall.cycles_ms = profile->cycles_ms;
    wall.energy_ms = profile->energy_ms;
  }
  // Of a simulated device the trace is its virtual time; what the simulation took is of no interest beside it.
  if (!arguments.trace.empty()) {
    HAI_TRY_STATUS(profile ? write_npu_trace(arguments.trace, profile->trace, faults)
                           : from_api(session.write_trace(arguments.trace)));
  }
  if (arguments.json) {
    print_json(model, outputs, labels, arguments.top, wall, profile ? profile->json : std::string(), faults);
  } else {
    print_text(model, outputs, labels, arguments.top, wall, profile.has_value());
    if (profile) print("{}", profile->text);
    if (!faults.faults.empty()) print("{}", fault_lines(faults));
  }
  return RunEnd::kDone;
}

}  // namespace hai::tools
