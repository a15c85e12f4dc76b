// Operators on integers with their scales as operands: QLinearConv, QLinearMatMul and ONNX Runtime's (com.microsoft).
//
// Each becomes DequantizeLinear of its operands, the float operator and QuantizeLinear of the result, converted by
// those operators' own converters; passes then make the one integer operator of it that HAI has. The integers and
// scales are kept. A bias of 32-bit integers has the product of the scales of input and weights.
#include <fmt/format.h>

#include "importers/onnx/import_registry.h"

namespace hai::onnx_import {
namespace {

// Writes the nodes that stand for one.
class Rewriter {
 public:
  explicit Rewriter(ImportContext& context) : context_(context) {}

  std::string input(size_t i) const {
    const auto& inputs = context_.node().inputs;
    return i < inputs.size() ? inputs[i] : std::string();
  }

  // Converts one node and gives the name of its output.
  Result<std::string> convert(const std::string& op, std::vector<std::string> inputs,
                              std::map<std::string, OnnxAttribute, std::less<>> attributes = {}) {
    OnnxNode node;
    node.op_type = op;
    node.name = context_.node().label();
    node.inputs = std::move(inputs);
    node.outputs = {fmt::format("{}/{}.{}", node.name, op, ++count_)};
    node.attributes = std::move(attributes);
    HAI_TRY_STATUS(context_.state().convert_node(node, context_.scope()));
    return node.outputs[0];
  }

  // Operand i with scale i + 1 and zero point i + 2.
  Result<std::string> real(size_t i, int64_t axis = 1) {
    return convert("DequantizeLinear", {input(i), input(i + 1), input(i + 2)}, {{"axis", axis}});
  }

  // A bias of integers: its scale is that of operand `x_scale` times that of operand `w_scale`.
  Result<std::string> real_bias(size_t bias, size_t x_scale, size_t w_scale) {
    HAI_TRY(const std::vector<double> left, context_.reals(x_scale, "the input's scale"));
    HAI_TRY(const std::vector<double> right, context_.reals(w_scale, "the weights' scale"));
    if (left.size() != 1) return context_.invalid("the input's scale must be one number");
    std::vector<float> scales;
    for (const double scale : right) scales.push_back(static_cast<float>(left[0] * scale));
    HAI_TRY(const ir::ValueId scale_operand, context_.input(w_scale));
    std::vector<int64_t> dims;
    if (context_.rank(scale_operand) > 0) dims.push_back(static_cast<int64_t>(scales.size()));
    const std::string name = fmt::format("{}/bias_scale", context_.node().label());
    context_.scope().values[name].id = context_.constant_f32(std::move(scales), std::move(dims));
    return convert("DequantizeLinear", {input(bias), name}, {{"axis", int64_t{0}}});
  }

  // The result with scale operand `scale` and zero point operand scale + 1.
  Status quantize(const std::string& result, size_t scale) {
    OnnxNode node;
    node.op_type = "QuantizeLinear";
    node.name = context_.node().label();
    node.inputs = {result, input(scale), input(scale + 1)};
    node.outputs = {context_.node().outputs[0]};
    return context_.state().convert_node(node, context_.scope());
  }

 private:
  ImportContext& context_;
  int count_ = 0;
};

// x, w, y with their scales and zero points, then the bias.
Status convert_conv(ImportContext& context) {
  Rewriter rewriter(context);
  HAI_TRY(const std::string x, rewriter.real(0));
  HAI_TRY(const std::string weights, rewriter.real(3, 0));
  std::vector<std::string> operands = {x, weights};
  if (context.has_input(8)) {
    HAI_TRY(const std::string bias, rewriter.real_bias(8, 1, 4));
    operands.push_back(bias);
  }
  HAI_TRY(const std::string y, rewriter.convert("Conv", std::move(operands), context.node().attributes));
  return rewriter.quantize(y, 6);
}

// Two operands with their scales and zero points, then those of the result.
Status convert_pair(ImportContext& context, const std::string& op) {
  Rewriter rewriter(context);
  HAI_TRY(const ir::ValueId second, context.input(3));
  HAI_TRY(const std::string a, rewriter.real(0));
  HAI_TRY(const std::string b, rewriter.real(3, static_cast<int64_t>(context.rank(second)) - 1));
  HAI_TRY(const std::string y, rewriter.convert(op, {a, b}));
  return rewriter.quantize(y, 6);
}

// One operand, then scale and zero point of the result; attributes are those of the float operator.
Status convert_single(ImportContext& context, const std::string& op) {
  if (context.int_attribute("channels_last", 0) != 0) return context.unsupported("channels_last is not supported");
  Rewriter rewriter(context);
  HAI_TRY(const std::string x, rewriter.real(0));
  HAI_TRY(const std::string y, rewriter.convert(op, {x}, context.node().attributes));
  return rewriter.quantize(y, 3);
}

// a and b with scales and zero points, the bias, and (optional) scale and zero point of the result.
Status convert_gemm(ImportContext& context) {
  Rewriter rewriter(context);
  HAI_TRY(const std::string a, rewriter.real(0));
  HAI_TRY(const std::string b, rewriter.real(3, context.int_attribute("transB", 0) != 0 ? 0 : 1));
  std::vector<std::string> operands = {a, b};
  if (context.has_input(6)) {
    HAI_TRY(const std::string bias, rewriter.real_bias(6, 1, 4));
    operands.push_back(bias);
  }
  HAI_TRY(const std::string y, rewriter.convert("Gemm", std::move(operands), context.node().attributes));
  if (context.has_input(7)) return rewriter.quantize(y, 7);
  const ImportedValue* value = context.scope().find(y);
  return context.set_output(0, value->id);
}

// Scale and zero point of the result, then each operand with its own.
Status convert_concat(ImportContext& context) {
  Rewriter rewriter(context);
  std::vector<std::string> operands;
  for (size_t i = 2; i + 1 < context.input_count(); i += 3) {
    HAI_TRY(const std::string operand, rewriter.real(i));
    operands.push_back(operand);
  }
  HAI_TRY(const std::string y, rewriter.convert("Concat", std::move(operands), context.node().attributes));
  return rewriter.quantize(y, 0);
}

}  // namespace

void register_quantized_operators(ImportRegistry& registry) {
  const auto pair = [](const char* op) { return [op](ImportContext& context) { return convert_pair(context, op); }; };
  const auto single = [](const char* op) {
    return [op](ImportContext& context) { return convert_single(context, op); };
  };
  constexpr std::string_view kMicrosoft = "com.microsoft";
  registry.add("QLinearConv", convert_conv);
  registry.add("QLinearMatMul", pair("MatMul"));
  registry.add("QLinearAdd", pair("Add"), kMicrosoft);
  registry.add("QLinearMul", pair("Mul"), kMicrosoft);
  registry.add("QLinearAveragePool", single("AveragePool"), kMicrosoft);
  registry.add("QLinearGlobalAveragePool", single("GlobalAveragePool"), kMicrosoft);
  registry.add("QLinearLeakyRelu", single("LeakyRelu"), kMicrosoft);
  registry.add("QLinearSigmoid", single("Sigmoid"), kMicrosoft);
  registry.add("QLinearSoftmax", single("Softmax"), kMicrosoft);
  registry.add("QLinearConcat", convert_concat, kMicrosoft);
  registry.add("QGemm", convert_gemm, kMicrosoft);
  registry.add("MatMulNBits", convert_matmul_nbits, kMicrosoft);
}

}  // namespace hai::onnx_import
