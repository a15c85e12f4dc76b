// `hai compare`: where a quantized model loses accuracy against its float model.
//
// Method: both models are read as graphs (a .hai file through its portable graph), samples come from a folder, the
// quantizer measures layer by layer, and its document becomes text, JSON or a page. Output files are replaced whole.
#include <fmt/format.h>

#include <cstdio>
#include <filesystem>
#include <map>
#include <span>

#include "base/file.h"
#include "compiler/compile.h"
#include "compiler/portable_graph.h"
#include "format/model.h"
#include "importers/onnx/onnx_import.h"
#include "quantizer/accuracy_report.h"
#include "quantizer/layer_errors.h"
#include "tools/hai/commands.h"
#include "tools/hai/sample_folder.h"
#include "tools/hai_device/output_paths.h"
#include "tools/hai_device/print.h"
#include "tools/hai_device/progress.h"

namespace hai::tools {
namespace {

struct Loaded {
  ir::Graph graph;
  std::optional<Preprocessing> preprocessing;
  std::string quantization_report;
};

bool is_hai(const std::string& path) { return std::filesystem::path(path).extension() == ".hai"; }

Result<std::map<std::string, DimRange>> parse_dims(const CompareArguments& arguments) {
  HAI_TRY(auto dims, compiler::parse_dims(arguments.dims));
  for (const auto& [name, range] : dims) {
    if (range.is_number()) continue;
    return make_error(StatusCode::kInvalidArgument, "L067",
                      "--dim {}={}: a comparison takes one number, such as {}={}; leave a free batch out", name,
                      to_string(range), name, range.max);
  }
  if (!dims.empty() && is_hai(arguments.float_model) && is_hai(arguments.quantized_model)) {
    return make_error(StatusCode::kInvalidArgument, "L068",
                      "--dim {}: it binds dimensions of ONNX models, and those of .hai files are bound already; leave "
                      "it out, or compile the models again with it",
                      arguments.dims.front());
  }
  return dims;
}

Result<Loaded> load(const std::string& path, const std::map<std::string, DimRange>& dims,
                    const CompareArguments& arguments) {
  Loaded loaded;
  if (is_hai(path)) {
    HAI_TRY(const format::ModelFile file, format::read_model_file(path));
    auto graph = compiler::from_portable(file);
    if (!graph) return with_where(std::move(graph).error(), path);
    loaded.graph = std::move(*graph);
    loaded.preprocessing = file.preprocessing;
    loaded.quantization_report = file.quantization_report;
    return loaded;
  }
  onnx_import::ImportOptions options;
  options.dims = dims;
  options.outputs = {arguments.json, arguments.html};
  HAI_TRY(loaded.graph, onnx_import::import_onnx_file(path, options));
  return loaded;
}

Status write_text(const std::string& path, const std::string& text) {
  return write_file_atomically(path, std::as_bytes(std::span(text.data(), text.size())));
}

}  // namespace

Status compare_command(const CompareArguments& arguments) {
  HAI_TRY_STATUS(check_outputs({{"--json", arguments.json}, {"--html", arguments.html}},
                               {arguments.float_model, arguments.quantized_model, arguments.inputs}));
  HAI_TRY(const auto dims, parse_dims(arguments));
  HAI_TRY(Loaded reference, load(arguments.float_model, dims, arguments));
  HAI_TRY(Loaded quantized, load(arguments.quantized_model, dims, arguments));
  const auto rule = quantized.preprocessing ? quantized.preprocessing : reference.preprocessing;
  HAI_TRY(SampleFolder samples, SampleFolder::open(arguments.inputs, reference.graph, rule, arguments.samples));
  quantizer::LayerErrorOptions options;
  options.threads = arguments.threads;
  options.examined_layers = arguments.examined_layers;
  auto errors = quantizer::measure_layers(
      std::move(reference.graph), std::move(quantized.graph), [&] { return samples.next(); }, options);
  end_progress();
  if (samples.skipped().size() == samples.size()) {
    return make_error(StatusCode::kCorrupt, "L074", "{}: none of {} samples could be read; see the messages above",
                      arguments.inputs, samples.size());
  }
  if (!errors) return std::move(errors).error();
  quantizer::ReportFacts facts;
  facts.float_model = std::filesystem::path(arguments.float_model).filename().string();
  facts.quantized_model = std::filesystem::path(arguments.quantized_model).filename().string();
  facts.skipped = samples.skipped();
  facts.quantization_report = quantized.quantization_report;
  const std::string document = quantizer::accuracy_json(*errors, facts);
  if (!arguments.json.empty()) HAI_TRY_STATUS(write_text(arguments.json, document + "\n"));
  if (!arguments.html.empty()) {
    HAI_TRY(const std::string page, quantizer::accuracy_html(document));
    HAI_TRY_STATUS(write_text(arguments.html, page));
  }
  HAI_TRY(const std::string text, quantizer::accuracy_text(document, arguments.layers));
  print_lines(text);
  return {};
}

}  // namespace hai::tools
