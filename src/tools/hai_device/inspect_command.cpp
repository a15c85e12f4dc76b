// `hai inspect`: everything that a .hai file says of itself: inputs, outputs, metadata, preprocessing, sections with
// digests, programs.
//
// The summary goes through the public interface; --graph and --program read the file whole. Printing a graph takes the
// compiler, so it is a function of `hai` (tools/hai/print_graph.cpp).
#include <fmt/format.h>

#include <cstdio>
#include <nlohmann/json.hpp>

#include "base/utf8.h"
#include "format/model.h"
#include "tools/hai_device/api_errors.h"
#include "tools/hai_device/device_commands.h"
#include "tools/hai_device/print.h"
#include "tools/hai_device/table.h"

namespace hai::tools {
namespace {

using Json = nlohmann::ordered_json;

std::string shape_text(const api::Model& model, const hai_tensor_info& info) {
  std::string text;
  for (int32_t i = 0; i < info.rank; ++i) {
    const hai_dim& dim = info.dims[i];
    std::string name;
    if (dim.symbol >= 0) {
      const hai_symbol* symbol = hai_model_symbol(model.handle(), static_cast<size_t>(dim.symbol));
      name = dim.value == 1 ? std::string(symbol->name) : fmt::format("{}*{}", dim.value, symbol->name);
    }
    text += (i > 0 ? ", " : "") + (dim.symbol >= 0 ? name : std::to_string(dim.value));
  }
  return "[" + text + "]";
}

Json tensor_json(const api::Model& model, const hai_tensor_info& info) {
  Json out{{"name", info.name}, {"dtype", hai_dtype_name(info.dtype)}, {"shape", shape_text(model, info)}};
  if (info.scale_count > 0) {
    out["scales"] = std::vector<float>(info.scales, info.scales + info.scale_count);
    out["zero_points"] = std::vector<int32_t>(info.zero_points, info.zero_points + info.scale_count);
    out["axis"] = info.quantization_axis;
  }
  return out;
}

const char* choice(std::initializer_list<const char*> names, int32_t index) {
  return index >= 0 && static_cast<size_t>(index) < names.size() ? *(names.begin() + index) : "?";
}

Json preprocessing_json(const hai_preprocessing& rule) {
  Json out{{"input", rule.input},
           {"width", rule.width},
           {"height", rule.height},
           {"resize", choice({"short_side", "letterbox", "stretch", "letterbox_top_left"}, rule.resize_rule)},
           {"interpolation", choice({"nearest", "bilinear", "bicubic"}, rule.interpolation)},
           {"color", choice({"rgb", "bgr", "gray"}, rule.color_order)},
           {"layout", choice({"nchw", "nhwc"}, rule.layout)},
           {"mean", std::vector<float>(rule.mean, rule.mean + 3)},
           {"scale", std::vector<float>(rule.scale, rule.scale + 3)}};
  if (rule.resize_rule == HAI_RESIZE_SHORT_SIDE) out["resize_size"] = rule.resize_size;
  if (rule.resize_rule == HAI_RESIZE_LETTERBOX || rule.resize_rule == HAI_RESIZE_LETTERBOX_TOP_LEFT)
    out["pad_value"] = rule.pad_value;
  return out;
}

Json summary(const api::Model& model) {
  hai_model* handle = model.handle();
  Json out;
  out["name"] = model.name();
  out["file_bytes"] = hai_model_file_size(handle);
  out["sha256"] = hai_model_sha256(handle);
  out["inputs"] = Json::array();
  out["outputs"] = Json::array();
  for (size_t i = 0; i < model.input_count(); ++i) out["inputs"].push_back(tensor_json(model, model.input(i)));
  for (size_t i = 0; i < model.output_count(); ++i) out["outputs"].push_back(tensor_json(model, model.output(i)));
  out["symbols"] = Json::array();
  for (size_t i = 0; i < hai_model_symbol_count(handle); ++i) {
    const hai_symbol* symbol = hai_model_symbol(handle, i);
    out["symbols"].push_back({{"name", symbol->name}, {"min", symbol->min}, {"max", symbol->max}});
  }
  if (model.preprocessing() != nullptr) out["preprocessing"] = preprocessing_json(*model.preprocessing());
  out["metadata"] = Json::object();
  for (size_t i = 0; i < hai_model_metadata_count(handle); ++i) {
    const char* key = hai_model_metadata_key(handle, i);
    out["metadata"][key] = hai_model_metadata_value(handle, key);
  }
  out["sections"] = Json::array();
  for (size_t i = 0; i < hai_model_section_count(handle); ++i) {
    const hai_section_info* section = hai_model_section(handle, i);
    out["sections"].push_back({{"kind", section->kind},
                               {"name", section->name},
                               {"required", section->required != 0},
                               {"offset_bytes", section->offset_bytes},
                               {"size_bytes", section->size_bytes},
                               {"expanded_bytes", section->expanded_bytes},
                               {"sha256", section->sha256}});
  }
  const char* report = hai_model_quantization_report(handle);
  if (report != nullptr) out["quantization"] = Json::parse(report, nullptr, false);
  return out;
}

void print_tensors(const char* title, const Json& tensors) {
  for (const Json& tensor : tensors) {
    print("{:<8} {}: {} {}", title, printable(tensor["name"].get<std::string>()), tensor["dtype"].get<std::string>(),
          tensor["shape"].get<std::string>());
    if (tensor.contains("scales")) {
      print("  scale {}{}, zero point {}", tensor["scales"][0].get<float>(), tensor["scales"].size() > 1 ? ", ..." : "",
            tensor["zero_points"][0].get<int>());
    }
    print("\n");
  }
}

void print_summary(const std::string& path, const Json& facts) {
  print("{}: \"{}\", {} bytes, sha256 {}\n", printable(path), printable(facts["name"].get<std::string>()),
        facts["file_bytes"].get<uint64_t>(), facts["sha256"].get<std::string>());
  print_tensors("input", facts["inputs"]);
  print_tensors("output", facts["outputs"]);
  for (const Json& symbol : facts["symbols"]) {
    print("{:<8} {} in {}..{}\n", "symbol", printable(symbol["name"].get<std::string>()), symbol["min"].get<int64_t>(),
          symbol["max"].get<int64_t>());
  }
  if (facts.contains("preprocessing")) print("{:<8} {}\n", "picture", facts["preprocessing"].dump());
  for (const auto& [key, value] : facts["metadata"].items())
    print("{:<8} {} = {}\n", "metadata", printable(key), printable(value.get<std::string>()));
  if (facts.contains("quantization") && facts["quantization"].is_object()) {
    print("{:<8} report of {} entries (--json prints it)\n", "quant", facts["quantization"].size());
  }
  print("\n");
  Table sections({"section", "name", "required", "offset", "bytes", "expanded", "sha256"});
  for (const Json& section : facts["sections"]) {
    sections.add({section["kind"], section["name"], section["required"].get<bool>() ? "yes" : "no",
                  fmt::format("{:#x}", section["offset_bytes"].get<uint64_t>()),
                  std::to_string(section["size_bytes"].get<uint64_t>()),
                  std::to_string(section["expanded_bytes"].get<uint64_t>()),
                  section["sha256"].get<std::string>().substr(0, 16)});
  }
  print("{}", sections.to_string());
}

std::string place_text(const format::ProgramTensor& tensor) {
  switch (tensor.place) {
    case format::TensorPlace::kInput:
      return fmt::format("input {}", tensor.index);
    case format::TensorPlace::kOutput:
      return fmt::format("output {}", tensor.index);
    case format::TensorPlace::kConstant:
      return fmt::format("weights +{:#x}", tensor.offset_bytes);
    case format::TensorPlace::kPerSample:
      return fmt::format("arena N*{:#x}", tensor.offset_bytes);
    case format::TensorPlace::kFixed:
      return fmt::format("arena {:#x}", tensor.offset_bytes);
    case format::TensorPlace::kAlias:
      return fmt::format("same as {}", tensor.index);
    case format::TensorPlace::kValue:
      return "value";
    case format::TensorPlace::kState:
      return fmt::format("state {}", tensor.index);
  }
  return "?";
}

std::string attribute_text(const format::Attribute& attribute) {
  return std::visit(
      [](const auto& value) -> std::string {
        using T = std::decay_t<decltype(value)>;
        if constexpr (std::is_same_v<T, std::string>) {
          return "\"" + value + "\"";
        } else if constexpr (std::is_arithmetic_v<T>) {
          return fmt::format("{}", value);
        } else {
          std::string text;
          for (const auto& item : value) text += fmt::format("{}{}", text.empty() ? "" : ", ", item);
          return "[" + text + "]";
        }
      },
      attribute);
}

void print_program(const format::Program& program) {
  print("\nprogram for {}: {} instructions, arena N * {} + {} bytes (at least {} for one sample)\n", program.device,
        program.instructions.size(), program.per_sample_bytes, program.fixed_bytes, program.arena_lower_bound_bytes);
  for (size_t i = 0; i < program.instructions.size(); ++i) {
    const format::Instruction& instruction = program.instructions[i];
    const auto list = [](const std::vector<uint32_t>& tensors) {
      std::string text;
      for (const uint32_t tensor : tensors)
        text += (text.empty() ? "" : ", ") +
                (tensor == format::kNoTensor ? std::string("none") : fmt::format("t{}", tensor));
      return text;
    };
    std::string attributes;
    for (const auto& [key, value] : instruction.attributes)
      attributes += fmt::format(" {}={}", key, attribute_text(value));
    print("  {:>4}  {} = {}({}){}  @ {}\n", i, list(instruction.outputs), instruction.kernel, list(instruction.inputs),
          printable(attributes), printable(instruction.name));
  }
  Table tensors({"tensor", "name", "type", "shape", "place", "scale"});
  for (size_t i = 0; i < program.tensors.size(); ++i) {
    const format::ProgramTensor& tensor = program.tensors[i];
    std::string scale;
    if (tensor.quantization) {
      scale =
          fmt::format("{}{} zero {}", tensor.quantization->scales.front(),
                      tensor.quantization->scales.size() > 1 ? ", ..." : "", tensor.quantization->zero_points.front());
    }
    tensors.add({fmt::format("t{}", i), tensor.name, std::string(data_type_name(tensor.dtype)),
                 to_string(tensor.shape, program.symbols), place_text(tensor), scale});
  }
  print("\n{}", tensors.to_string());
}

}  // namespace

Status inspect_command(const InspectArguments& arguments) {
  HAI_TRY(const api::Model model, from_api(api::Model::load(arguments.model)));
  if (arguments.verify) HAI_TRY_STATUS(from_api(model.verify()));
  const Json facts = summary(model);
  if (arguments.json) {
    fmt::print("{}\n", facts.dump(2, ' ', false, nlohmann::json::error_handler_t::replace));
  } else {
    print_summary(arguments.model, facts);
    if (arguments.verify) print("all digests match\n");
  }
  if (!arguments.graph && !arguments.program) return {};
  HAI_TRY(const format::ModelFile file, format::read_model_file(arguments.model));
  if (arguments.graph && arguments.print_graph != nullptr) HAI_TRY_STATUS(arguments.print_graph(file));
  if (arguments.program) {
    for (const format::Program& program : file.programs) print_program(program);
  }
  return {};
}

}  // namespace hai::tools
