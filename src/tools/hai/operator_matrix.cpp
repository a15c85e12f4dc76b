// The operator matrix, from the registries that the build generates.
//
// A column is a place where an operator can exist: the reference, samples (which drive the generic suite), the CPU
// device with each instruction set of this build, the NPU sd3403, the ONNX importer. A hole is allowed where the schema
// explains it (explained_holes), by the column's name or "cpu" for all instruction sets. It says that code exists, not
// that it is right: that is the generic suite's business.
#include "tools/hai/operator_matrix.h"

#include <fmt/format.h>

#include "devices/cpu/exec/exec_registry.h"
#include "devices/cpu/lower/lower_registry.h"
#include "devices/sd3403/lower/segment_builder.h"
#include "ops/gradient.h"
#include "ops/op_schema.h"

namespace hai::tools {

OperatorMatrix operator_matrix() {
  OperatorMatrix matrix;
  matrix.columns = {"reference", "samples"};
  for (int i = 0; i < cpu::kIsaCount; ++i) {
    const auto isa = static_cast<cpu::Isa>(i);
    if (cpu::isa_compiled(isa)) matrix.columns.push_back(fmt::format("cpu.{}", cpu::isa_name(isa)));
  }
  matrix.columns.emplace_back("sd3403");
  matrix.columns.emplace_back("onnx");
  matrix.columns.emplace_back("gradient");
  for (const OpSchema* schema : all_op_schemas()) {
    const bool on_cpu = cpu::LowerRegistry::instance().find(schema->name) != nullptr &&
                        cpu::ExecRegistry::instance().find(schema->name) != nullptr;
    OperatorMatrix::Row row{schema->name, {}};
    for (const std::string& column : matrix.columns) {
      const bool exists = column == "reference"  ? schema->reference != nullptr
                          : column == "samples"  ? schema->samples != nullptr && !schema->samples(*schema).empty()
                          : column == "onnx"     ? !schema->onnx_names.empty()
                          : column == "gradient" ? ops::GradientRegistry::instance().knows(schema->name)
                          : column == "sd3403"   ? sd3403::LowerRegistry::instance().find(schema->name) != nullptr
                                                 : on_cpu;
      const std::string_view reason = schema->explained_hole(column);
      row.cells.push_back(exists ? "yes" : reason.empty() ? "-" : fmt::format("({})", reason));
      if (!exists && reason.empty()) matrix.unexplained.push_back(fmt::format("{}: {}", schema->name, column));
    }
    matrix.rows.push_back(std::move(row));
  }
  return matrix;
}

}  // namespace hai::tools
