// `hai compile`: import, optionally quantize with pictures, compile, write.
//
// Method: the libraries do the work; this file turns flags into their options and their reports into text. The output
// file is replaced atomically: a failure at any point leaves what was there.
#include <fmt/format.h>

#include <array>
#include <charconv>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <tuple>

#include "base/file.h"
#include "base/utf8.h"
#include "compiler/compile.h"
#include "compiler/portable_graph.h"
#include "compiler/training.h"
#include "data/picture_folder.h"
#include "data/preprocess.h"
#include "devices/sd3403/profile/machine_file.h"
#include "importers/onnx/onnx_import.h"
#include "quantizer/mixed_search.h"
#include "quantizer/quantizer.h"
#include "tools/hai/commands.h"
#include "tools/hai_device/output_paths.h"
#include "tools/hai_device/print.h"
#include "tools/hai_device/progress.h"
#include "tools/hai_device/table.h"

namespace hai::tools {
namespace {

Result<double> parse_number(std::string_view text, std::string_view flag) {
  double value = 0;
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (failure != std::errc() || end != text.data() + text.size()) {
    return make_error(StatusCode::kInvalidArgument, "L050", "{} {}: \"{}\" is not a number", flag, text, text);
  }
  return value;
}

// One number for all channels, or one a channel.
Result<std::array<float, 3>> parse_channels(const std::string& text, std::string_view flag, float fallback) {
  std::array<float, 3> out{fallback, fallback, fallback};
  if (text.empty()) return out;
  std::vector<float> numbers;
  size_t begin = 0;
  while (begin <= text.size()) {
    const size_t end = std::min(text.find(',', begin), text.size());
    HAI_TRY(const double number, parse_number(std::string_view(text).substr(begin, end - begin), flag));
    numbers.push_back(static_cast<float>(number));
    begin = end + 1;
  }
  if (numbers.size() != 1 && numbers.size() != 3) {
    return make_error(StatusCode::kInvalidArgument, "L051", "{} {}: give one number or three, not {}", flag, text,
                      numbers.size());
  }
  for (size_t c = 0; c < 3; ++c) out[c] = numbers[numbers.size() == 1 ? 0 : c];
  return out;
}

// The rule of the flags, with width, height and layout from the model's input. None when no flag asks for one.
Result<std::optional<Preprocessing>> preprocessing_from(const CompileArguments& arguments, const ir::Graph& graph) {
  if (arguments.resize.empty() && arguments.mean.empty() && arguments.std_deviation.empty())
    return std::optional<Preprocessing>();
  const ir::Value* input = nullptr;
  Preprocessing rule;
  for (const ir::ValueId id : graph.inputs()) {
    const Shape& shape = graph.value(id).type.shape;
    if (shape.size() != 4 || shape[1].is_symbolic() || shape[2].is_symbolic() || shape[3].is_symbolic()) continue;
    const int64_t channels = arguments.color == "gray" ? 1 : 3;
    if (shape[1].value != channels && shape[3].value != channels) continue;
    input = &graph.value(id);
    rule.layout = shape[1].value == channels ? PictureLayout::kNchw : PictureLayout::kNhwc;
    const size_t height = rule.layout == PictureLayout::kNchw ? 2 : 1;
    if (shape[height].value > data::kMaxImageSide || shape[height + 1].value > data::kMaxImageSide) continue;
    rule.height = static_cast<int32_t>(shape[height].value);
    rule.width = static_cast<int32_t>(shape[height + 1].value);
    break;
  }
  if (input == nullptr) {
    return make_error(StatusCode::kInvalidArgument, "L052",
                      "{}: no input looks like a picture ([N, {}, height, width] or channels last): leave out "
                      "--resize, --mean and --std, or bind its dimensions with --dim",
                      arguments.model, arguments.color == "gray" ? 1 : 3);
  }
  rule.input = input->name;
  rule.color_order = arguments.color == "bgr"    ? ColorOrder::kBgr
                     : arguments.color == "gray" ? ColorOrder::kGray
                                                 : ColorOrder::kRgb;
  rule.interpolation = arguments.interpolation == "nearest"   ? Interpolation::kNearest
                       : arguments.interpolation == "bicubic" ? Interpolation::kBicubic
                                                              : Interpolation::kBilinear;
  if (arguments.resize.starts_with("short:")) {
    rule.resize_rule = ResizeRule::kShortSide;
    HAI_TRY(const double size, parse_number(std::string_view(arguments.resize).substr(6), "--resize"));
    rule.resize_size = static_cast<int32_t>(std::clamp(size, 0.0, 1e6));
  } else if (arguments.resize == "letterbox" || arguments.resize == "letterbox_top_left") {
    rule.resize_rule = arguments.resize == "letterbox" ? ResizeRule::kLetterbox : ResizeRule::kLetterboxTopLeft;
    rule.pad_value = static_cast<float>(arguments.pad_value);
  } else if (!arguments.resize.empty() && arguments.resize != "stretch") {
    return make_error(StatusCode::kInvalidArgument, "L053",
                      "--resize {}: it is short:PIXELS, letterbox, letterbox_top_left or stretch", arguments.resize);
  }
  HAI_TRY(rule.mean, parse_channels(arguments.mean, "--mean", 0.0F));
  HAI_TRY(const auto deviation, parse_channels(arguments.std_deviation, "--std", 1.0F));
  for (size_t c = 0; c < 3; ++c) {
    if (deviation[c] == 0.0F)
      return make_error(StatusCode::kInvalidArgument, "L058", "--std {}: a divisor of 0; leave it out to divide by 1",
                        arguments.std_deviation);
    rule.scale[c] = 1.0F / deviation[c];
  }
  HAI_TRY_STATUS(data::verify(rule));
  return std::optional<Preprocessing>(rule);
}

struct Source {
  ir::Graph graph;
  std::optional<Preprocessing> preprocessing;
  std::string quantization_report;
  std::string mixed_report;                           // of the search, when there was one
  std::shared_ptr<const compiler::WholeModel> whole;  // of a model to train, in INT8
  std::map<std::string, DimRange> dims;               // what is left for the compiler to bind
};

Result<Source> load_source(const CompileArguments& arguments) {
  Source source;
  HAI_TRY(auto dims, compiler::parse_dims(arguments.dims));
  if (std::filesystem::path(arguments.model).extension() == ".hai") {
    HAI_TRY(const format::ModelFile file, format::read_model_file(arguments.model));
    auto graph = compiler::from_portable(file);
    if (!graph) return with_where(std::move(graph).error(), arguments.model);
    source.graph = std::move(*graph);
    source.preprocessing = file.preprocessing;
    source.quantization_report = file.quantization_report;
    source.dims = std::move(dims);
  } else if (const std::string of = std::filesystem::path(arguments.model).extension();
             of == ".tflite" || of == ".keras" || of == ".h5") {
    return make_error(
        StatusCode::kUnsupported, "L090",
        "{}: TensorFlow models are imported by the Python package: python -m hai_toolkit compile {} -o {}",
        arguments.model, arguments.model, arguments.output);
  } else {
    onnx_import::ImportOptions options;
    options.outputs = {arguments.output};
    options.dims = std::move(dims);  // the importer binds them all, since shapes follow from them
    HAI_TRY(source.graph, onnx_import::import_onnx_file(arguments.model, options));
  }
  HAI_TRY(auto rule, preprocessing_from(arguments, source.graph));
  if (rule) source.preprocessing = std::move(rule);
  return source;
}

// What is for a device that the model is not compiled for.
Status check_device(const CompileArguments& arguments) {
  if (arguments.device == "sd3403") return {};
  const char* flag = arguments.machine    ? "--machine"
                     : arguments.halo     ? "--halo"
                     : !arguments.cascade ? "--no-cascade"
                                          : nullptr;
  if (flag == nullptr) return {};
  return make_error(StatusCode::kInvalidArgument, "L060",
                    "{} is for device sd3403, and the model is compiled for {}; add --device sd3403, or leave it out",
                    flag, arguments.device);
}

// JSON has no way to say them.
Status check_finite(const CompileArguments& arguments) {
  const std::array<std::tuple<std::string_view, double, std::string_view>, 4> numbers = {{
      {"--percentile", arguments.percentile, "[50, 100]"},
      {"--sparsity", arguments.sparsity, "[0, 0.99]"},
      {"--winograd-loss-db", arguments.winograd_loss_db, "[0, 200]"},
      {"--max-drop", arguments.max_drop.value_or(1.0), "(0, 100]"},
  }};
  for (const auto& [flag, number, range] : numbers) {
    if (std::isfinite(number)) continue;
    return make_error(StatusCode::kInvalidArgument, "L063", "{} {} is no finite number; give one in {}", flag, number,
                      range);
  }
  return {};
}

// The flags as the quantizer's own options; --options-json goes on top.
Result<quantizer::QuantizeOptions> quantize_options(const CompileArguments& arguments, const std::string& trainable) {
  HAI_TRY_STATUS(check_finite(arguments));
  // Nearest rounding to 4 bits loses too much; Quantizer in Python chooses likewise.
  const bool mixed = arguments.quantize == "mixed";
  const bool four_bits = arguments.quantize == "int4" || arguments.quantize == "w4a8";
  nlohmann::json options{{"symmetric", arguments.method == "symmetrical"},
                         {"observer", arguments.observer},
                         {"percentile", arguments.percentile},
                         {"layers", nlohmann::json::object()},
                         {"keep_float", arguments.keep_float},
                         {"adaround", arguments.adaround || (four_bits && !arguments.no_adaround)},
                         {"sparsity", arguments.sparsity},
                         {"bias_correction", arguments.bias_correction},
                         {"largest_scales", arguments.largest_scales},
                         {"rebuild", arguments.rebuild},
                         {"equalize", arguments.equalize},
                         {"smooth", arguments.smooth},
                         {"widen", arguments.widen},
                         {"wide_points", arguments.wide_points},
                         {"winograd", arguments.winograd},
                         {"winograd_loss_db", arguments.winograd_loss_db},
                         {"self_check", arguments.self_check},
                         {"trainable", trainable},
                         {"force", arguments.force},
                         {"seed", arguments.seed},
                         {"threads", arguments.threads},
                         {"sample_memory_bytes", arguments.sample_memory_bytes}};
  if (!mixed) options["precision"] = arguments.quantize;
  if (arguments.max_drop) options["max_drop"] = *arguments.max_drop;
  // The closed form is as good as learning on top of it, in half the time.
  if (mixed && !arguments.adaround && !arguments.no_adaround) options["adaround"] = {{"iterations", 0}};
  for (const std::string& text : arguments.layers) {
    const size_t equals = text.rfind('=');  // names may hold the sign, precisions do not
    if (equals == std::string::npos || equals == 0) {
      return make_error(StatusCode::kInvalidArgument, "L061", "--layer {}: it is NAME=PRECISION, such as Conv_3=w8a16",
                        text);
    }
    const std::string name = text.substr(0, equals);
    if (options["layers"].contains(name)) {
      return make_error(StatusCode::kInvalidArgument, "L066",
                        "--layer {}: the precision of \"{}\" is given before as {}; give it once", text, name,
                        options["layers"][name].get<std::string>());
    }
    options["layers"][name] = text.substr(equals + 1);
  }
  if (!arguments.options_json.empty()) {
    HAI_TRY_STATUS(quantizer::options_from_json(arguments.options_json));  // refuses what is no object or unknown
    options.update(nlohmann::json::parse(arguments.options_json, nullptr, false));
  }
  HAI_TRY(quantizer::QuantizeOptions read,
          quantizer::options_from_json(options.dump(-1, ' ', true, nlohmann::json::error_handler_t::replace)));
  if (mixed && read.max_drop <= 0) {
    return make_error(
        StatusCode::kInvalidArgument, "L062",
        "--quantize mixed needs --max-drop POINTS: how much accuracy may be lost, such as --max-drop 1.0");
  }
  return read;
}

void print_warnings(const std::vector<std::string>& warnings) {
  end_progress();
  for (const std::string& warning : warnings) note("warning: {}", warning);
}

Status quantize_without_pictures(const quantizer::QuantizeOptions& options, Source& source) {
  HAI_TRY(auto quantized, quantizer::quantize(
                              std::move(source.graph),
                              [] { return Result<std::optional<std::vector<ops::Tensor>>>(std::nullopt); }, options));
  print_warnings(quantized.warnings);
  source.graph = std::move(quantized.graph);
  source.quantization_report = std::move(quantized.report_json);
  return {};
}

Result<quantizer::Quantized> quantize_at_once(const quantizer::NextSample& next,
                                              const quantizer::QuantizeOptions& options, Source& source) {
  quantizer::QuantizeHooks hooks;
  hooks.rounding_progress = [](const quantizer::RoundingProgress& at) -> Status {
    show_progress(
        fmt::format("rounding {}: layer {} of {}, {:.0f} s left", at.layer, at.index + 1, at.count, at.seconds_left));
    return {};
  };
  return quantizer::quantize(std::move(source.graph), next, options, hooks);
}

Result<quantizer::Quantized> quantize_by_goal(const quantizer::NextSample& next,
                                              const quantizer::QuantizeOptions& options, Source& source) {
  const auto say = [](std::string_view line) {
    end_progress();
    note_lines(line);
  };
  HAI_TRY(quantizer::MixedResult mixed, quantizer::search_mixed(source.graph, next, options, say));
  auto report = nlohmann::ordered_json::parse(mixed.quantized.report_json);
  report["mixed"] = nlohmann::ordered_json::parse(mixed.json);
  mixed.quantized.report_json = report.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  source.mixed_report = std::move(mixed.json);
  return std::move(mixed.quantized);
}

// Not empty `trainable`: the part that is trained stays f32.
Status quantize(const CompileArguments& arguments, const std::string& trainable, Source& source) {
  HAI_TRY(const quantizer::QuantizeOptions options, quantize_options(arguments, trainable));
  if (arguments.calibration.empty() && (options.precision.weight_only() || options.precision.is_half) &&
      options.layers.empty())
    return quantize_without_pictures(options, source);
  if (arguments.calibration.empty()) {
    return make_error(StatusCode::kInvalidArgument, "L054",
                      "--quantize {} needs --calibration FOLDER: 16 to 500 pictures like those the model will see",
                      arguments.quantize);
  }
  if (!source.preprocessing) {
    return make_error(
        StatusCode::kInvalidArgument, "L055",
        "--calibration reads pictures, but nothing says how they become the input; add --resize, --mean and --std");
  }
  if (source.graph.inputs().size() != 1) {
    return make_error(StatusCode::kUnsupported, "L056",
                      "{} has {} inputs; calibration from a folder of pictures takes one. Calibrate from Python: "
                      "model.quantize(calibration=[{{...}}])",
                      arguments.model, source.graph.inputs().size());
  }
  HAI_TRY(auto folder, data::PictureFolder::open(arguments.calibration, arguments.calibration_samples));
  const Preprocessing& rule = *source.preprocessing;
  const auto next = [&]() -> Result<std::optional<std::vector<ops::Tensor>>> {
    ops::Tensor tensor = ops::Tensor::zeros(DataType::kF32, rule.layout == PictureLayout::kNchw
                                                                ? Dims{1, rule.channels(), rule.height, rule.width}
                                                                : Dims{1, rule.height, rule.width, rule.channels()});
    const MutableTensorView view = tensor.mutable_view();
    HAI_TRY(const auto path,
            folder.next_input(rule, std::span(data_of<float>(view), static_cast<size_t>(view.count()))));
    if (!path) return std::optional<std::vector<ops::Tensor>>();
    show_progress(
        fmt::format("calibrating: {} of {} pictures", folder.report().read_count, folder.report().wanted_count));
    std::vector<ops::Tensor> sample;
    sample.push_back(std::move(tensor));
    return std::optional<std::vector<ops::Tensor>>(std::move(sample));
  };
  HAI_TRY(auto quantized,
          options.max_drop > 0 ? quantize_by_goal(next, options, source) : quantize_at_once(next, options, source));
  print_warnings(quantized.warnings);
  note("calibration: {}", folder.report().to_string());
  source.whole = std::move(quantized.whole);
  source.graph = std::move(quantized.graph);
  source.quantization_report = std::move(quantized.report_json);
  return {};
}

// What runs on the NPU; --verbose says of each other operator why it does not.
void print_shares(const compiler::CompileReport& report) {
  int64_t layers = 0;
  int64_t macs = 0;
  for (const auto& place : report.placement) {
    if (place.device != "npu") continue;
    ++layers;
    macs += place.macs;
  }
  const auto others = static_cast<int64_t>(report.placement.size()) - layers;
  const double share = report.macs == 0 ? 0.0 : 100.0 * static_cast<double>(macs) / static_cast<double>(report.macs);
  int64_t stored = 0;
  int64_t expanded = 0;
  for (const auto& segment : report.segments) {
    stored += segment.stream_bytes;
    expanded += segment.expanded_bytes;
  }
  print(
      "npu: {} operators, {:.2f} % of the MACs, in {} segments, weights {} stored in {}; cpu: {} (--verbose says "
      "why)\n",
      layers, share, report.segments.size(), format_bytes(expanded), format_bytes(stored), others);
}

// Empty where nothing runs on the NPU.
nlohmann::ordered_json segments_json(const compiler::CompileReport& report) {
  nlohmann::ordered_json segments = nlohmann::ordered_json::array();
  for (const auto& segment : report.segments) {
    segments.push_back({{"name", segment.name},
                        {"layers", segment.layers},
                        {"groups", segment.groups},
                        {"recomputed_groups", segment.recomputed_groups},
                        {"stripes", segment.stripes},
                        {"commands", segment.commands},
                        {"constant_bytes", segment.constant_bytes},
                        {"sram_bytes", segment.sram_bytes},
                        {"sram_lower_bound_bytes", segment.sram_lower_bound_bytes},
                        {"external_lower_bound_bytes", segment.external_lower_bound_bytes},
                        {"stream_bytes", segment.stream_bytes},
                        {"expanded_bytes", segment.expanded_bytes},
                        {"spilled", segment.spilled}});
  }
  return segments;
}

void print_report(const compiler::CompileReport& report, const format::WrittenBytes& written,
                  const std::string& mixed_report, const CompileArguments& arguments) {
  for (const std::string& warning : report.warnings) note("hai: warning: {}", warning);
  const auto mixed = mixed_report.empty() ? nlohmann::ordered_json() : nlohmann::ordered_json::parse(mixed_report);
  if (arguments.json) {
    nlohmann::ordered_json document{{"output", arguments.output},
                                    {"file_bytes", written.file_bytes},
                                    {"arena_bytes", report.arena_bytes},
                                    {"arena_lower_bound_bytes", report.arena_lower_bound_bytes},
                                    {"weights_bytes", report.weights_bytes},
                                    {"stored_weights_bytes", written.stored_weights_bytes},
                                    {"macs", report.macs},
                                    {"compile_us", report.time_us}};
    if (mixed.is_object()) document["mixed"] = mixed;
    if (arguments.train) {
      document["training"] = {{"parameters", report.training.parameters},
                              {"parameter_bytes", report.training.parameter_bytes},
                              {"state_bytes", report.training.state_bytes},
                              {"instructions", report.training.instructions},
                              {"fixed_bytes", report.training.fixed_bytes},
                              {"per_sample_bytes", report.training.per_sample_bytes},
                              {"lower_bound_bytes", report.training.lower_bound_bytes},
                              {"memory_bytes", report.training.memory_bytes},
                              {"frozen_bytes", report.training.frozen_bytes},
                              {"frozen_macs", report.training.frozen_macs},
                              {"frozen_npu_macs", report.training.frozen_npu_macs},
                              {"feature_bytes", report.training.feature_bytes},
                              {"rebuilt_layers", report.training.rebuilt_layers},
                              {"recomputed", report.training.recomputed}};
    }
    for (const auto& pass : report.passes) {
      document["passes"].push_back(
          {{"name", pass.name}, {"changes", pass.changes}, {"nodes", pass.nodes_after}, {"time_us", pass.time_us}});
    }
    document["segments"] = segments_json(report);
    for (const auto& place : report.placement) {
      document["placement"].push_back({{"node", place.node},
                                       {"op", place.op},
                                       {"device", place.device},
                                       {"reason", place.reason},
                                       {"macs", place.macs}});
    }
    fmt::print("{}\n", document.dump(2, ' ', false, nlohmann::json::error_handler_t::replace));
    return;
  }
  if (mixed.is_object()) print("{}", mixed.at("text").get<std::string>());
  if (arguments.verbose) print("{}\n", compiler::to_string(report));
  if (arguments.device == "sd3403" && !arguments.verbose) print_shares(report);
  if (const compiler::TrainingReport& training = report.training; arguments.train && !arguments.verbose) {
    print("training: {} parameters of {}, states {}, arena {} and {} a sample; {} at the largest batch{}{}{}\n",
          training.parameters, format_bytes(training.parameter_bytes), format_bytes(training.state_bytes),
          format_bytes(training.fixed_bytes), format_bytes(training.per_sample_bytes),
          format_bytes(training.memory_bytes),
          training.feature_bytes > 0
              ? fmt::format(", features of the frozen part {} a sample", format_bytes(training.feature_bytes))
              : "",
          training.frozen_macs > 0
              ? fmt::format(", {:.2f} % of its MACs on the NPU", 100.0 * static_cast<double>(training.frozen_npu_macs) /
                                                                     static_cast<double>(training.frozen_macs))
              : "",
          training.recomputed > 0 ? fmt::format(", {} activations made again", training.recomputed) : "");
  }
  const bool smaller = written.stored_weights_bytes < written.weights_bytes;
  print("{}: {}, weights {}{}, {} MAC a sample, arena {} (at least {}), {}\n", arguments.output,
        format_bytes(written.file_bytes), format_bytes(written.weights_bytes),
        smaller ? fmt::format(" stored in {}", format_bytes(written.stored_weights_bytes)) : "",
        format_count(report.macs), format_bytes(report.arena_bytes), format_bytes(report.arena_lower_bound_bytes),
        format_milliseconds(static_cast<double>(report.time_us) / 1e3));
}

}  // namespace

Status compile_command(const CompileArguments& arguments) {
  std::error_code unknown;
  if (std::filesystem::equivalent(arguments.model, arguments.output, unknown) ||
      std::filesystem::path(arguments.output).extension() == ".onnx") {
    return make_error(StatusCode::kInvalidArgument, "L059",
                      "{} would be replaced by the compiled model; give -o a name that ends in .hai", arguments.output);
  }
  HAI_TRY_STATUS(check_outputs({{"-o", arguments.output}}, {arguments.calibration, arguments.machine.value_or("")}));
  HAI_TRY_STATUS(check_device(arguments));
  HAI_TRY(Source source, load_source(arguments));
  compiler::CompileOptions options;
  if (arguments.train) {
    HAI_TRY(options.training, compiler::parse_training(*arguments.train));
  }
  if (!arguments.quantize.empty()) {
    HAI_TRY_STATUS(quantize(arguments, options.training ? options.training->trainable : "", source));
  }
  options.whole = source.whole;
  options.device = arguments.device;
  HAI_TRY(options.sd3403.machine, sd3403::load_machine(arguments.machine.value_or("sd3403")));
  options.sd3403.schedule.cascade = arguments.cascade;
  HAI_TRY(options.sd3403.schedule.halo, sd3403::parse_halo(arguments.halo.value_or("auto")));
  options.dims = std::move(source.dims);
  options.disabled_passes = arguments.disabled_passes;
  options.print_ir = arguments.print_ir;
  options.print_sink = [](std::string_view place, std::string_view text) { print("// {}\n{}\n", place, text); };
  options.preprocessing = source.preprocessing;
  options.quantization_report = source.quantization_report;
  auto made = compiler::compile(std::move(source.graph), options);
  if (!made) return with_where(std::move(made).error(), arguments.model);
  const compiler::CompiledModel compiled = std::move(*made);
  const format::Compression compression = arguments.compress      ? format::Compression::kAlways
                                          : arguments.no_compress ? format::Compression::kNever
                                                                  : format::Compression::kAuto;
  HAI_TRY(const format::WrittenBytes written, format::write_model_file(arguments.output, compiled.file, {compression}));
  print_report(compiled.report, written, source.mixed_report, arguments);
  return {};
}

}  // namespace hai::tools
