// Layer errors and accuracy reports for Python.
//
// The report crosses as the JSON document that the command line writes too; text and page are made from it in C++, so
// both languages show the same. Measuring runs with the interpreter lock released.
#include <cstring>

#include "base/file.h"
#include "binding.h"
#include "quantizer/accuracy_report.h"
#include "quantizer/layer_errors.h"
#include "quantizer/mixed_search.h"
#include "quantizer/options.h"
#include "sample_reader.h"

namespace hai::python {
namespace {

using PythonSample = std::vector<std::tuple<std::string, std::vector<int64_t>, ConstBytes>>;

ops::Tensor tensor_from(const std::tuple<std::string, std::vector<int64_t>, ConstBytes>& item) {
  const auto& [name, shape, bytes] = item;
  const auto dtype = data_type_from_name(name);
  if (!dtype || shape.size() > static_cast<size_t>(kMaxRank)) {
    throw ErrorException(make_error(StatusCode::kInvalidArgument, "Y016",
                                    "a sample tensor of type {} with {} dimensions; at most {} are possible", name,
                                    shape.size(), kMaxRank));
  }
  ops::Tensor tensor;
  tensor.dtype = *dtype;
  tensor.dims = Dims(shape);
  const auto view = std::as_bytes(std::span(bytes.data(), bytes.size()));
  tensor.storage.assign(view.begin(), view.end());
  return tensor;
}

std::string measure_layers(const ir::Graph& reference, const ir::Graph& quantized, const nb::callable& next_sample,
                           const std::string& float_name, const std::string& quantized_name,
                           const std::vector<std::pair<std::string, std::string>>& skipped,
                           const std::string& quantization_report, const std::string& mixed_report, int examined_layers,
                           int threads) {
  quantizer::LayerErrorOptions options;
  options.examined_layers = examined_layers;
  options.threads = threads;
  const quantizer::NextSample next = sample_reader(next_sample);
  const nb::gil_scoped_release release;
  const auto errors = value_or_raise(quantizer::measure_layers(reference, quantized, next, options));
  return quantizer::accuracy_json(errors, {float_name, quantized_name, skipped, quantization_report, mixed_report});
}

// The quantized graph, the quantizer's report, its warnings, the search's report.
std::tuple<ir::Graph, std::string, std::vector<std::string>, std::string> search_mixed(const ir::Graph& graph,
                                                                                       const nb::callable& next_sample,
                                                                                       const std::string& options_json,
                                                                                       const nb::callable& say) {
  const quantizer::QuantizeOptions options = value_or_raise(quantizer::options_from_json(options_json));
  const quantizer::OnMixedProgress progress = [&say](std::string_view line) {
    const nb::gil_scoped_acquire acquire;
    say(std::string(line));
  };
  const quantizer::NextSample next = sample_reader(next_sample);
  const nb::gil_scoped_release release;
  quantizer::MixedResult result = value_or_raise(quantizer::search_mixed(graph, next, options, progress));
  return {std::move(result.quantized.graph), std::move(result.quantized.report_json),
          std::move(result.quantized.warnings), std::move(result.json)};
}

}  // namespace

quantizer::NextSample sample_reader(const nb::callable& callable) {
  return [&callable]() -> Result<std::optional<std::vector<ops::Tensor>>> {
    const nb::gil_scoped_acquire acquire;
    const nb::object sample = callable();
    if (sample.is_none()) return std::optional<std::vector<ops::Tensor>>();
    std::vector<ops::Tensor> tensors;
    for (const auto& item : nb::cast<PythonSample>(sample)) tensors.push_back(tensor_from(item));
    return std::optional<std::vector<ops::Tensor>>(std::move(tensors));
  };
}

void bind_accuracy(nb::module_& module) {
  module.def("measure_layers", &measure_layers, nb::arg("reference"), nb::arg("quantized"), nb::arg("next_sample"),
             nb::arg("float_name"), nb::arg("quantized_name"), nb::arg("skipped"), nb::arg("quantization_report"),
             nb::arg("mixed_report"), nb::arg("examined_layers"), nb::arg("threads"));
  module.def("search_mixed", &search_mixed, nb::arg("graph"), nb::arg("next_sample"), nb::arg("options_json"),
             nb::arg("say"));
  module.def(
      "accuracy_text",
      [](const std::string& json, int layers) { return value_or_raise(quantizer::accuracy_text(json, layers)); },
      nb::arg("json"), nb::arg("layers"));
  module.def(
      "accuracy_html", [](const std::string& json) { return value_or_raise(quantizer::accuracy_html(json)); },
      nb::arg("json"));
  module.def(
      "write_file",
      [](const std::string& path, const std::string& text) {
        raise_if_error(write_file_atomically(path, std::as_bytes(std::span(text))));
      },
      nb::arg("path"), nb::arg("text"));
}

}  // namespace hai::python
