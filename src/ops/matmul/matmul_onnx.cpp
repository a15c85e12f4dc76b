// ONNX MatMul and Gemm.
//
// Gemm's C becomes the bias when it is constant, one number per column and alpha is 1, else an addition after the
// product; transB is the core's own attribute, transA a transpose. MatMul's vectors get a dimension of size 1 for the
// product and lose it again.
#include "importers/onnx/import_registry.h"

namespace hai::onnx_import {
namespace {

Result<ir::ValueId> scaled(ImportContext& context, ir::ValueId x, double factor) {
  if (factor == 1.0) return x;
  return context.emit("mul", {x, context.scalar_like(x, factor)});
}

// A constant, or one behind dequantize.
bool is_constant(ImportContext& context, ir::ValueId id) {
  const ir::Graph& graph = context.graph();
  const ir::Value& value = graph.value(id);
  if (value.is_constant() || value.producer == ir::kNone) return value.is_constant();
  const ir::Node& producer = graph.node(value.producer);
  return producer.op == "dequantize" && graph.value(producer.inputs[0]).is_constant();
}

Status convert_gemm(ImportContext& context) {
  HAI_TRY(ir::ValueId a, context.input(0));
  HAI_TRY(const ir::ValueId b, context.input(1));
  HAI_TRY(const ir::ValueId c, context.optional_input(2));
  if (context.rank(a) != 2 || context.rank(b) != 2) return context.invalid("A and B must be matrices");
  const double alpha = context.float_attribute("alpha", 1.0);
  const double beta = context.float_attribute("beta", 1.0);
  const bool transpose_b = context.int_attribute("transB", 0) != 0;
  if (context.int_attribute("transA", 0) != 0) {
    HAI_TRY(a, context.transpose(a, {1, 0}));
  }
  const ir::Attributes attributes = {{"transpose_b", int64_t{transpose_b ? 1 : 0}}};
  const Dim columns = context.shape(b)[transpose_b ? 0 : 1];
  const bool with_bias = c != ir::kNone && beta != 0.0;
  if (with_bias && alpha == 1.0 && is_constant(context, c)) {
    const Shape shape = context.shape(c);
    if (shape == Shape{columns} || shape == Shape{Dim(1), columns}) {
      HAI_TRY(ir::ValueId bias, context.reshape(c, {columns}));
      HAI_TRY(bias, scaled(context, bias, beta));
      HAI_TRY(const ir::ValueId y, context.emit("matmul", {a, b, bias}, attributes));
      return context.set_output(0, y);
    }
  }
  HAI_TRY(const ir::ValueId product, context.emit("matmul", {a, b}, attributes));
  HAI_TRY(ir::ValueId y, scaled(context, product, alpha));
  if (with_bias) {
    HAI_TRY(const ir::ValueId addend, scaled(context, c, beta));
    HAI_TRY(y, context.emit("add", {y, addend}));
  }
  return context.set_output(0, y);
}

Status convert_matmul(ImportContext& context) {
  HAI_TRY(ir::ValueId a, context.input(0));
  HAI_TRY(ir::ValueId b, context.input(1));
  const bool row = context.rank(a) == 1;
  const bool column = context.rank(b) == 1;
  if (context.rank(a) == 0 || context.rank(b) == 0) return context.invalid("its operands must not be scalars");
  if (row) {
    HAI_TRY(a, context.reshape(a, {Dim(1), context.shape(a)[0]}));
  }
  if (column) {
    HAI_TRY(b, context.reshape(b, {context.shape(b)[0], Dim(1)}));
  }
  HAI_TRY(ir::ValueId y, context.emit("matmul", {a, b}));
  if (row || column) {
    Shape shape = context.shape(y);
    if (column) shape.pop_back();
    if (row) shape.erase(shape.end() - (column ? 1 : 2));
    HAI_TRY(y, context.reshape(y, shape));
  }
  return context.set_output(0, y);
}

}  // namespace

void register_matmul_onnx(ImportRegistry& registry);
void register_matmul_onnx(ImportRegistry& registry) {
  registry.add("Gemm", convert_gemm);
  registry.add("MatMul", convert_matmul);
}

}  // namespace hai::onnx_import
