// What gradient rules share: nodes with inferred types, and the few shapes of arithmetic that most rules need.
// Broadcasting is undone by one sum over all repeated axes; repeating is an addition to zeros, which every device fuses
// or does in one sweep. Shapes with a free batch stay free where the operators allow it, and are refused with a reason
// elsewhere.
#include "ops/gradient.h"

#include <algorithm>
#include <cstring>

#include "ops/build.h"
#include "ops/interpreter.h"
#include "ops/reference.h"

namespace hai::ops {

using ir::ValueId;

Result<std::vector<ValueId>> GradientContext::append_all(std::string_view op, std::vector<ValueId> inputs,
                                                         ir::Attributes attributes) {
  AppendOptions options;
  options.node_name = node_.name.empty() ? std::string() : node_.name + "/gradient";
  HAI_TRY(const ir::NodeId node, ops::append(graph_, op, std::move(inputs), std::move(attributes), std::move(options)));
  return graph_.node(node).outputs;
}

Result<ValueId> GradientContext::append(std::string_view op, std::vector<ValueId> inputs, ir::Attributes attributes) {
  HAI_TRY(const std::vector<ValueId> outputs, append_all(op, std::move(inputs), std::move(attributes)));
  return outputs[0];
}

ValueId GradientContext::constant(const ir::TensorType& type, std::span<const double> values) {
  Tensor tensor = Tensor::zeros(type.dtype, resolve(type.shape, {}));
  store_all_f64(tensor.mutable_view(), values);
  return graph_.add_constant({}, type, ir::ConstantData::copy_of(tensor.storage));
}

ValueId GradientContext::scalar(double number, ValueId like) {
  return add_number(graph_, {type(like).dtype, {}, std::nullopt}, number);
}

Result<ValueId> GradientContext::where_positive(ValueId mask, ValueId dy) {
  return append("unary_gradient", {mask, dy}, {{"function", std::string("relu")}});
}

Result<ValueId> GradientContext::sum_along(ValueId a, std::vector<int64_t> axes) {
  if (axes.empty()) return a;
  return append("reduce_sum", {a}, {{"axes", std::move(axes)}, {"keep_dims", int64_t{1}}});
}

Result<ValueId> GradientContext::mean_along(ValueId a, std::vector<int64_t> axes) {
  return append("reduce_mean", {a}, {{"axes", std::move(axes)}, {"keep_dims", int64_t{1}}});
}

Result<ValueId> GradientContext::reshape(ValueId a, const Shape& to) {
  if (shape(a) == to) return a;
  std::vector<int64_t> sizes;
  for (const Dim& dim : to) {
    if (dim.is_symbolic() && std::count(sizes.begin(), sizes.end(), -1) > 0)
      return refuse("a reshape to two symbolic dimensions; bind one of them to a number");
    sizes.push_back(dim.is_symbolic() ? -1 : dim.value);
  }
  // 0 would copy the size of the same axis, which for an empty tensor is the axis that is empty, or fail the inference.
  return append("reshape", {a}, {{"shape", std::move(sizes)}});
}

Result<ValueId> GradientContext::transpose(ValueId a, std::vector<int64_t> permutation) {
  return append("transpose", {a}, {{"permutation", std::move(permutation)}});
}

Result<ValueId> GradientContext::sum_to_input(ValueId a, size_t i) {
  const Shape& from = shape(a);
  const Shape to = shape(input(i));  // a copy: the sum adds a value
  const size_t leading = from.size() - to.size();
  std::vector<int64_t> axes;
  for (size_t axis = 0; axis < from.size(); ++axis) {
    if (axis < leading || from[axis] != to[axis - leading]) axes.push_back(static_cast<int64_t>(axis));
  }
  HAI_TRY(const ValueId sum, sum_along(a, std::move(axes)));
  return reshape(sum, to);
}

Result<ValueId> GradientContext::broadcast_like(ValueId a, ValueId like) {
  if (shape(a) == shape(like)) return a;
  HAI_TRY(const ValueId zeros, zeros_like(like));
  return add(zeros, a);
}

Result<ValueId> GradientContext::zeros_like(ValueId like) {
  const Shape wanted = shape(like);
  std::vector<int64_t> sizes;
  bool of_batch = false;
  for (size_t i = 0; i < wanted.size(); ++i) {
    if (wanted[i].is_symbolic() && i != 0)
      return refuse("zeros of a shape that is symbolic behind its first axis; bind that dimension to a number");
    of_batch = of_batch || wanted[i].is_symbolic();
    sizes.push_back(wanted[i].is_symbolic() ? -1 : wanted[i].value);
  }
  const ValueId zero = scalar(0.0, like);
  if (wanted.empty()) return zero;
  std::vector<ValueId> inputs = {zero};
  if (of_batch) inputs.push_back(like);
  return append("expand", std::move(inputs), {{"shape", std::move(sizes)}});
}

Error GradientContext::refuse(std::string_view why) const {
  return make_error(StatusCode::kUnsupported, "O510", "gradient of {} \"{}\": {}", node_.op, node_.name, why);
}

ValueId add_number(ir::Graph& graph, const ir::TensorType& type, double number) {
  Tensor tensor = Tensor::zeros(type.dtype, resolve(type.shape, {}));
  store_f64(tensor.mutable_view(), 0, number);
  return graph.add_constant({}, type, ir::ConstantData::copy_of(tensor.storage));
}

std::vector<std::string> GradientRegistry::names() const {
  std::vector<std::string> names;
  for (const auto& [name, rule] : rules_) names.push_back(name);
  return names;
}

const GradientRegistry& GradientRegistry::instance() {
  static const GradientRegistry registry = [] {
    GradientRegistry made;
    register_all_gradients(made);
    return made;
  }();
  return registry;
}

}  // namespace hai::ops
