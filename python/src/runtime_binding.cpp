// The public C++ interface (hai.hpp) for Python: models, sessions, profiles.
//
// Method: Python hands over byte views of contiguous arrays with their shapes, made of memory that it owns; runs read
// and write them in place with the interpreter lock released. Invariant: what Python can do here, any C program can do
// through hai.h.

#include <tuple>

#include "binding.h"
#include "hai/hai.hpp"

namespace hai::python {
namespace {

// hai_last_error() ends in " [HAI-F012]": message and id, apart again.
[[noreturn]] void raise_api(const api::Error& error) {
  std::string text = error.message;
  std::string id = "R000";
  const size_t bracket = text.rfind(" [HAI-");
  if (bracket != std::string::npos && text.back() == ']') {
    id = text.substr(bracket + 6, text.size() - bracket - 7);
    text.resize(bracket);
  }
  throw ErrorException(Error{static_cast<StatusCode>(error.code), id, text, {}});
}

template <typename T>
T api_value(api::Result<T> result) {
  if (!result.has_value()) raise_api(result.error());
  return std::move(result).value();
}

using PythonDim = std::variant<int64_t, std::string, std::tuple<int64_t, std::string>>;

nb::dict describe(const api::Model& model, const hai_tensor_info& info) {
  nb::list shape;
  for (int32_t i = 0; i < info.rank; ++i) {
    const hai_dim& dim = info.dims[i];
    if (dim.symbol < 0) {
      shape.append(dim.value);
      continue;
    }
    const std::string name = hai_model_symbol(model.handle(), static_cast<size_t>(dim.symbol))->name;
    if (dim.value == 1) {
      shape.append(name);
    } else {
      shape.append(nb::make_tuple(dim.value, name));
    }
  }
  nb::dict out;
  out["name"] = info.name;
  out["dtype"] = hai_dtype_name(info.dtype);
  out["shape"] = shape;
  out["quantization_axis"] = info.quantization_axis;
  out["scales"] = std::vector<float>(info.scales, info.scales + info.scale_count);
  out["zero_points"] = std::vector<int32_t>(info.zero_points, info.zero_points + info.scale_count);
  return out;
}

nb::object preprocessing_of(const api::Model& model) {
  const hai_preprocessing* rule = model.preprocessing();
  if (rule == nullptr) return nb::none();
  nb::dict out;
  out["input"] = rule->input;
  out["width"] = rule->width;
  out["height"] = rule->height;
  out["color_order"] = rule->color_order;
  out["layout"] = rule->layout;
  out["resize_rule"] = rule->resize_rule;
  out["interpolation"] = rule->interpolation;
  out["resize_size"] = rule->resize_size;
  out["mean"] = std::vector<float>(rule->mean, rule->mean + 3);
  out["scale"] = std::vector<float>(rule->scale, rule->scale + 3);
  out["pad_value"] = rule->pad_value;
  return out;
}

nb::dict info_of(const api::Model& model) {
  hai_model* handle = model.handle();
  nb::dict out;
  out["name"] = model.name();
  nb::list inputs;
  for (size_t i = 0; i < model.input_count(); ++i) inputs.append(describe(model, model.input(i)));
  out["inputs"] = inputs;
  nb::list outputs;
  for (size_t i = 0; i < model.output_count(); ++i) outputs.append(describe(model, model.output(i)));
  out["outputs"] = outputs;
  nb::list symbols;
  for (size_t i = 0; i < hai_model_symbol_count(handle); ++i) {
    const hai_symbol* symbol = hai_model_symbol(handle, i);
    symbols.append(nb::make_tuple(symbol->name, symbol->min, symbol->max));
  }
  out["symbols"] = symbols;
  nb::dict metadata;
  for (size_t i = 0; i < hai_model_metadata_count(handle); ++i) {
    const char* key = hai_model_metadata_key(handle, i);
    metadata[key] = hai_model_metadata_value(handle, key);
  }
  out["metadata"] = metadata;
  out["preprocessing"] = preprocessing_of(model);
  const char* report = hai_model_quantization_report(handle);
  out["quantization_report"] = report == nullptr ? "" : report;
  out["file_size"] = hai_model_file_size(handle);
  out["sha256"] = hai_model_sha256(handle);
  return out;
}

hai_tensor tensor_view(int32_t dtype, const std::vector<int64_t>& dims, const void* data, size_t size_bytes) {
  return api::view(dtype, dims, const_cast<void*>(data), size_bytes);
}

// Types and shapes of the outputs for these inputs: [(dtype name, shape)].
std::vector<std::tuple<std::string, std::vector<int64_t>>> output_types(
    api::Session& session, const std::vector<int32_t>& dtypes, const std::vector<std::vector<int64_t>>& shapes) {
  std::vector<hai_tensor> inputs;
  for (size_t i = 0; i < shapes.size(); ++i)
    inputs.push_back(tensor_view(i < dtypes.size() ? dtypes[i] : -1, shapes[i], nullptr, 0));
  std::vector<std::tuple<std::string, std::vector<int64_t>>> out;
  for (size_t i = 0; i < hai_session_output_count(session.handle()); ++i) {
    int64_t dims[HAI_MAX_RANK] = {};
    int32_t rank = 0;
    int32_t dtype = 0;
    const hai_status code =
        hai_session_output_type(session.handle(), inputs.data(), inputs.size(), i, &dtype, dims, &rank);
    if (code != HAI_OK) raise_api(api::last_error(code));
    out.emplace_back(hai_dtype_name(dtype), std::vector<int64_t>(dims, dims + rank));
  }
  return out;
}

void run(api::Session& session, const std::vector<int32_t>& input_dtypes,
         const std::vector<std::vector<int64_t>>& input_shapes, const std::vector<ConstBytes>& input_bytes,
         const std::vector<int32_t>& output_dtypes, const std::vector<std::vector<int64_t>>& output_shapes,
         const std::vector<MutableBytes>& output_bytes) {
  std::vector<hai_tensor> inputs;
  std::vector<hai_tensor> outputs;
  for (size_t i = 0; i < input_bytes.size(); ++i) {
    inputs.push_back(tensor_view(input_dtypes.at(i), input_shapes.at(i), input_bytes[i].data(), input_bytes[i].size()));
  }
  for (size_t i = 0; i < output_bytes.size(); ++i) {
    outputs.push_back(
        tensor_view(output_dtypes.at(i), output_shapes.at(i), output_bytes[i].data(), output_bytes[i].size()));
  }
  api::Status status = api::Ok{};
  {
    const nb::gil_scoped_release release;
    status = session.run_into(inputs, outputs);
  }
  if (!status.has_value()) raise_api(status.error());
}

api::Session make_session(const api::Model& model, const std::string& device, const std::string& isa, int32_t threads,
                          int64_t max_batch, bool profile, const std::vector<std::string>& inject) {
  api::SessionOptions options;
  options.device = device;
  options.isa = isa;
  options.threads = threads;
  options.max_batch = max_batch;
  options.profile = profile;
  options.inject = inject;
  const nb::gil_scoped_release release;
  return api_value(model.session(options));
}

nb::list profile_of(api::Session& session) {
  nb::list out;
  for (const hai_layer_profile& layer : api_value(session.profile())) {
    nb::dict entry;
    entry["name"] = layer.name;
    entry["kernel"] = layer.kernel;
    entry["calls"] = layer.calls;
    entry["total_ns"] = layer.total_ns;
    entry["min_ns"] = layer.min_ns;
    entry["macs"] = layer.macs;
    entry["bytes"] = layer.bytes;
    out.append(entry);
  }
  return out;
}

nb::dict memory_of(const api::Session& session) {
  const hai_memory_info info = api_value(session.memory());
  nb::dict out;
  out["packed_weights_bytes"] = info.packed_weights_bytes;
  out["arena_bytes"] = info.arena_bytes;
  out["arena_lower_bound_bytes"] = info.arena_lower_bound_bytes;
  out["scratch_bytes"] = info.scratch_bytes;
  out["batch"] = info.batch;
  return out;
}

}  // namespace

void bind_runtime(nb::module_& module) {
  nb::class_<api::Session>(module, "Session")
      .def("output_types", &output_types, nb::arg("dtypes"), nb::arg("shapes"))
      .def("run", &run, nb::arg("input_dtypes"), nb::arg("input_shapes"), nb::arg("inputs"), nb::arg("output_dtypes"),
           nb::arg("output_shapes"), nb::arg("outputs"))
      .def(
          "set_profiling", [](api::Session& session, bool enabled) { api_value(session.set_profiling(enabled)); },
          nb::arg("enabled"))
      .def("profile", &profile_of)
      .def(
          "write_trace", [](api::Session& session, const std::string& path) { api_value(session.write_trace(path)); },
          nb::arg("path"))
      .def("fault_report", [](api::Session& session) { return api_value(session.fault_report()); })
      .def("memory", &memory_of)
      .def("device", &api::Session::device)
      .def("isa", &api::Session::isa)
      .def("thread_count", &api::Session::thread_count);
  nb::class_<api::Model>(module, "LoadedModel")
      .def("info", &info_of)
      .def("verify",
           [](const api::Model& model) {
             const nb::gil_scoped_release release;
             api_value(model.verify());
           })
      .def("session", &make_session, nb::arg("device"), nb::arg("isa"), nb::arg("threads"), nb::arg("max_batch"),
           nb::arg("profile"), nb::arg("inject"));
  module.def(
      "load",
      [](const std::string& path) {
        const nb::gil_scoped_release release;
        return api_value(api::Model::load(path));
      },
      nb::arg("path"));
  module.def("version", &hai_version);
  module.def(
      "dtype_number",
      [](const std::string& name) {
        for (int32_t dtype = 0; hai_dtype_bits(dtype) > 0; ++dtype) {
          if (name == hai_dtype_name(dtype)) return dtype;
        }
        throw ErrorException(make_error(StatusCode::kInvalidArgument, "Y008", "unknown element type \"{}\"", name));
      },
      nb::arg("name"));
}

}  // namespace hai::python
