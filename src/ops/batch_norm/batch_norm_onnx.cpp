// ONNX BatchNormalization in inference: channels move to the last axis and back.
//
// Training mode and its further outputs are refused with the way round. Folding into a convolution is a pass's
// business.
#include "importers/onnx/import_registry.h"

namespace hai::onnx_import {
namespace {

Status convert_batch_norm(ImportContext& context) {
  if (context.int_attribute("training_mode", 0) != 0) {
    return context.unsupported("training mode is not supported; export the model in evaluation mode (model.eval())");
  }
  if (context.opset() < 9 && context.int_attribute("spatial", 1) == 0) {
    return context.unsupported("statistics per element (spatial = 0) are not supported");
  }
  for (size_t i = 1; i < 5; ++i) {
    if (context.output_used(i) && context.opset() >= 14)
      return context.unsupported("only its first output is supported");
  }
  std::vector<ir::ValueId> operands;
  for (size_t i = 0; i < 5; ++i) {
    HAI_TRY(const ir::ValueId operand, context.input(i));
    operands.push_back(operand);
  }
  const size_t rank = context.rank(operands[0]);
  if (rank < 1) return context.invalid("its input is a scalar");
  const double epsilon = context.float_attribute("epsilon", 1e-5);
  HAI_TRY(operands[0], context.channels_last(operands[0]));
  HAI_TRY(const ir::ValueId y, context.emit("batch_norm", operands, {{"epsilon", epsilon}}));
  HAI_TRY(const ir::ValueId out, context.channels_first(y));
  return context.set_output(0, out);
}

}  // namespace

void register_batch_norm_onnx(ImportRegistry& registry);
void register_batch_norm_onnx(ImportRegistry& registry) { registry.add("BatchNormalization", convert_batch_norm); }

}  // namespace hai::onnx_import
