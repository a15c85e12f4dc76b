// ONNX PRelu: the core's own operator.
//
// The slope broadcasts to x from the right, as NumPy does: [C, 1, 1] is one slope a channel of [N, C, H, W].
#include "importers/onnx/import_registry.h"

namespace hai::onnx_import {
namespace {

Status convert_prelu(ImportContext& context) {
  HAI_TRY(const ir::ValueId x, context.input(0));
  HAI_TRY(const ir::ValueId slope, context.input(1));
  HAI_TRY(const ir::ValueId y, context.emit("prelu", {x, slope}));
  return context.set_output(0, y);
}

}  // namespace

void register_prelu_onnx(ImportRegistry& registry);
void register_prelu_onnx(ImportRegistry& registry) { registry.add("PRelu", convert_prelu); }

}  // namespace hai::onnx_import
