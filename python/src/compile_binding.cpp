// Import, quantization and compilation for Python.
//
// Long work runs with the interpreter lock released; the calibration iterator and the printing callback take it back
// for each call. A Python exception inside them ends the work and goes on to the caller as it was.
#include <nanobind/stl/pair.h>

#include <algorithm>
#include <cstring>

#include "binding.h"
#include "compiler/compile.h"
#include "compiler/portable_graph.h"
#include "compiler/training.h"
#include "format/model.h"
#include "importers/onnx/onnx_import.h"
#include "preprocessing_rule.h"
#include "quantizer/quantizer.h"
#include "sample_reader.h"

namespace hai::python {
namespace {

// Ranges of dimensions by name.
using PythonDims = std::map<std::string, std::pair<int64_t, int64_t>>;

std::map<std::string, DimRange> dim_ranges(const PythonDims& dims) {
  std::map<std::string, DimRange> out;
  for (const auto& [name, range] : dims) out[name] = {range.first, range.second};
  return out;
}

ir::Graph import_onnx(const std::string& path, const PythonDims& dims, int64_t batch_min, int64_t batch_max,
                      bool free_batch) {
  onnx_import::ImportOptions options;
  options.dims = dim_ranges(dims);
  options.batch_min = batch_min;
  options.batch_max = batch_max;
  options.free_batch = free_batch;
  const nb::gil_scoped_release release;
  return value_or_raise(onnx_import::import_onnx_file(path, options));
}

// The whole of a model to train, in INT8; Python only hands it on.
struct Whole {
  std::shared_ptr<const compiler::WholeModel> model;
};

std::tuple<ir::Graph, std::string, std::vector<std::string>, Whole> quantize(const ir::Graph& graph,
                                                                             const nb::callable& next_sample,
                                                                             const std::string& options_json,
                                                                             const nb::object& rounding_progress) {
  const quantizer::QuantizeOptions options = value_or_raise(quantizer::options_from_json(options_json));
  const quantizer::NextSample next = sample_reader(next_sample);
  quantizer::QuantizeHooks hooks;
  hooks.rounding_progress = [&](const quantizer::RoundingProgress& at) -> Status {
    const nb::gil_scoped_acquire acquire;
    if (PyErr_CheckSignals() != 0) throw nb::python_error();  // Ctrl-C, also where nobody listens
    if (!rounding_progress.is_none()) rounding_progress(at.layer, at.index, at.count, at.seconds_left);
    return {};
  };
  const nb::gil_scoped_release release;
  quantizer::Quantized result = value_or_raise(quantizer::quantize(graph, next, options, hooks));
  return {std::move(result.graph), std::move(result.report_json), std::move(result.warnings), Whole{result.whole}};
}

nb::dict report_dict(const compiler::CompileReport& report) {
  nb::dict out;
  nb::list passes;
  for (const auto& pass : report.passes) {
    nb::dict entry;
    entry["name"] = pass.name;
    entry["changes"] = pass.changes;
    entry["nodes"] = pass.nodes_after;
    entry["time_us"] = pass.time_us;
    passes.append(entry);
  }
  out["passes"] = passes;
  out["warnings"] = report.warnings;
  nb::list placement;
  for (const auto& place : report.placement) {
    nb::dict entry;
    entry["node"] = place.node;
    entry["op"] = place.op;
    entry["device"] = place.device;
    entry["reason"] = place.reason;
    entry["macs"] = place.macs;
    placement.append(entry);
  }
  out["placement"] = placement;
  out["arena_bytes"] = report.arena_bytes;
  out["arena_lower_bound_bytes"] = report.arena_lower_bound_bytes;
  out["weights_bytes"] = report.weights_bytes;
  out["macs"] = report.macs;
  out["time_us"] = report.time_us;
  out["text"] = compiler::to_string(report);
  return out;
}

compiler::CompiledModel compile(const ir::Graph& graph, const std::string& device, const PythonDims& dims,
                                const std::vector<std::string>& disabled_passes,
                                const std::vector<std::string>& print_ir, const nb::object& print_sink,
                                const nb::object& preprocessing, const std::string& quantization_report,
                                const std::string& halo, const std::optional<std::string>& train,
                                const nb::object& whole) {
  compiler::CompileOptions options;
  options.device = device;
  options.sd3403.schedule.halo = value_or_raise(sd3403::parse_halo(halo));
  options.dims = dim_ranges(dims);
  options.disabled_passes = disabled_passes;
  options.print_ir = print_ir;
  options.quantization_report = quantization_report;
  if (!whole.is_none()) options.whole = nb::cast<const Whole&>(whole).model;
  if (train) options.training = value_or_raise(compiler::parse_training(*train));
  if (!preprocessing.is_none()) options.preprocessing = preprocessing_from(nb::cast<nb::dict>(preprocessing));
  if (!print_sink.is_none()) {
    options.print_sink = [&](std::string_view place, std::string_view text) {
      const nb::gil_scoped_acquire acquire;
      print_sink(std::string(place), std::string(text));
    };
  }
  const nb::gil_scoped_release release;
  return value_or_raise(compiler::compile(graph, options));
}

ir::Graph training_step(const ir::Graph& graph, const std::string& train) {
  compiler::CompileOptions options;
  options.training = value_or_raise(compiler::parse_training(train));
  const nb::gil_scoped_release release;
  return value_or_raise(compiler::training_step(graph, options));
}

}  // namespace

void bind_compile(nb::module_& module) {
  nb::class_<Whole>(module, "WholeModel");
  module.def("import_onnx", &import_onnx, nb::arg("path"), nb::arg("dims"), nb::arg("batch_min"), nb::arg("batch_max"),
             nb::arg("free_batch"));
  module.def("quantize", &quantize, nb::arg("graph"), nb::arg("next_sample"), nb::arg("options_json"),
             nb::arg("rounding_progress").none() = nb::none());
  module.def("training_step", &training_step, nb::arg("graph"), nb::arg("train"));
  module.def("pass_names", &compiler::pass_names);
  nb::class_<compiler::CompiledModel>(module, "CompiledModel")
      .def(
          "save",
          [](const compiler::CompiledModel& compiled, const std::string& path, int compression) {
            const nb::gil_scoped_release release;
            const format::WriteOptions options{static_cast<format::Compression>(std::clamp(compression, 0, 2))};
            const format::WrittenBytes written = value_or_raise(format::write_model_file(path, compiled.file, options));
            return std::tuple(written.file_bytes, written.weights_bytes, written.stored_weights_bytes);
          },
          nb::arg("path"), nb::arg("compression"))
      .def("report", [](const compiler::CompiledModel& compiled) { return report_dict(compiled.report); });
  module.def("compile", &compile, nb::arg("graph"), nb::arg("device"), nb::arg("dims"), nb::arg("disabled_passes"),
             nb::arg("print_ir"), nb::arg("print_sink").none(), nb::arg("preprocessing").none(),
             nb::arg("quantization_report"), nb::arg("halo"), nb::arg("train").none(), nb::arg("whole").none());
  module.def(
      "read_graph",
      [](const std::string& path) {
        const nb::gil_scoped_release release;
        const format::ModelFile file = value_or_raise(format::read_model_file(path));
        return value_or_raise(compiler::from_portable(file));
      },
      nb::arg("path"), "The portable graph of a .hai file.");
}

}  // namespace hai::python
