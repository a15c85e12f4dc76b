// `hai devices` and `hai ops`: what this build and machine can do.
//
// Method: devices come from the public interface, operators from their schemas; nothing is listed by hand, so nothing
// can be out of date.
#include <fmt/format.h>

#include <cstdio>
#include <nlohmann/json.hpp>

#include "devices/sd3403/lower/segment_builder.h"
#include "hai/hai.h"
#include "ops/gradient.h"
#include "ops/op_schema.h"
#include "tools/hai/commands.h"
#include "tools/hai/operator_matrix.h"
#include "tools/hai_device/table.h"

namespace hai::tools {
namespace {

using Json = nlohmann::ordered_json;

const char* kind_name(AttributeKind kind) {
  switch (kind) {
    case AttributeKind::kInt:
      return "int";
    case AttributeKind::kFloat:
      return "float";
    case AttributeKind::kString:
      return "string";
    case AttributeKind::kInts:
      return "ints";
    case AttributeKind::kFloats:
      return "floats";
  }
  return "?";
}

std::string page(const OpSchema& schema) {
  std::string text = fmt::format("## {}\n\n{}\n\n", schema.name, schema.doc);
  const auto operands = [&](const char* title, const std::vector<OperandSpec>& specs) {
    for (const OperandSpec& spec : specs) {
      text += fmt::format("- {} `{}`{}: {}\n", title, spec.name,
                          spec.variadic   ? " (one or more)"
                          : spec.optional ? " (optional)"
                                          : "",
                          spec.doc);
    }
  };
  operands("input", schema.inputs);
  operands("output", schema.outputs);
  for (const AttributeSpec& spec : schema.attributes) {
    text += fmt::format("- attribute `{}`: {}{}: {}\n", spec.name, kind_name(spec.kind),
                        spec.required ? ", required" : "", spec.doc);
  }
  if (const auto* npu = sd3403::LowerRegistry::instance().find(schema.name)) {
    for (const std::string& form : sd3403::describe(npu->legality, schema)) {
      text += fmt::format("- NPU (sd3403){}{}\n", form.starts_with("of ") ? " " : ": ", form);
    }
  }
  if (const auto why = schema.explained_hole("sd3403"); !why.empty()) text += fmt::format("- NPU: no; {}\n", why);
  const auto& gradients = ops::GradientRegistry::instance();
  if (gradients.is_flat(schema.name)) text += "- Gradient: zero\n";
  if (gradients.find(schema.name) != nullptr) text += "- Gradient: yes, of floats\n";
  if (const auto why = schema.explained_hole("gradient"); !why.empty())
    text += fmt::format("- Gradient: no; {}\n", why);
  if (!schema.onnx_names.empty()) {
    text += "- ONNX:";
    for (const std::string_view name : schema.onnx_names) text += fmt::format(" {}", name);
    text += "\n";
  }
  return text + "\n";
}

Status print_matrix(const OpsArguments& arguments) {
  const OperatorMatrix matrix = operator_matrix();
  if (arguments.json) {
    Json document = Json::array();
    for (const OperatorMatrix::Row& row : matrix.rows) {
      Json entry{{"op", row.op}};
      for (size_t i = 0; i < matrix.columns.size(); ++i) entry[matrix.columns[i]] = row.cells[i];
      document.push_back(std::move(entry));
    }
    fmt::print("{}\n", document.dump(2));
  } else {
    std::vector<std::string> header{"operator"};
    header.insert(header.end(), matrix.columns.begin(), matrix.columns.end());
    Table table(header);
    for (const OperatorMatrix::Row& row : matrix.rows) {
      std::vector<std::string> cells{row.op};
      cells.insert(cells.end(), row.cells.begin(), row.cells.end());
      table.add(std::move(cells));
    }
    fmt::print("{}", table.to_string());
  }
  if (arguments.check && !matrix.unexplained.empty()) {
    std::string list;
    for (const std::string& hole : matrix.unexplained) list += (list.empty() ? "" : "\n  ") + hole;
    return make_error(StatusCode::kInternal, "L040",
                      "{} holes in the operator matrix that nobody explained; implement them or name the reason in the "
                      "schema's explained_holes:\n  {}",
                      matrix.unexplained.size(), list);
  }
  return {};
}

}  // namespace

Status ops_command(const OpsArguments& arguments) {
  if (arguments.matrix) return print_matrix(arguments);
  if (!arguments.name.empty()) {
    const OpSchema* schema = find_op_schema(arguments.name);
    if (schema == nullptr)
      return make_error(StatusCode::kNotFound, "L041", "no operator \"{}\"; `hai ops` lists them", arguments.name);
    fmt::print("{}", page(*schema));
    return {};
  }
  if (arguments.markdown) {
    fmt::print(
        "# Operators\n\nThe core operators of HAI's graphs, generated from their schemas by `hai ops --markdown`. "
        "Spatial operators are NHWC, convolution weights OHWI.\n\n");
    for (const OpSchema* schema : all_op_schemas()) fmt::print("{}", page(*schema));
    return {};
  }
  Json document = Json::array();
  Table table({"operator", "inputs", "ONNX", "what"});
  for (const OpSchema* schema : all_op_schemas()) {
    std::string inputs;
    for (const OperandSpec& spec : schema->inputs)
      inputs += fmt::format("{}{}{}", inputs.empty() ? "" : ", ", spec.name,
                            spec.variadic   ? "..."
                            : spec.optional ? "?"
                                            : "");
    std::string onnx;
    for (const std::string_view name : schema->onnx_names) onnx += fmt::format("{}{}", onnx.empty() ? "" : ", ", name);
    document.push_back({{"name", schema->name}, {"inputs", inputs}, {"onnx", onnx}, {"doc", schema->doc}});
    table.add({schema->name, inputs, onnx, schema->doc.substr(0, schema->doc.find_first_of(".\n"))});
  }
  fmt::print("{}", arguments.json ? document.dump(2) + "\n" : table.to_string());
  return {};
}

Status devices_command(bool json) {
  Json document = Json::array();
  Table table({"device", "instruction set", "available", "threads", "what"});
  for (size_t i = 0; i < hai_device_count(); ++i) {
    const hai_device_info* device = hai_device(i);
    document.push_back({{"name", device->name},
                        {"isa", device->isa},
                        {"isas", device->isas},
                        {"threads", device->thread_count},
                        {"description", device->description}});
    table.add({device->name, device->isa, device->isas, std::to_string(device->thread_count), device->description});
  }
  fmt::print("{}", json ? document.dump(2) + "\n" : table.to_string());
  return {};
}

}  // namespace hai::tools
