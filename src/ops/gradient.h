// Gradient rules: how the gradient of an operator's inputs follows from that of its outputs, as nodes of the same
// graph.
//
// A rule adds core operators (and backward operators such as unary_gradient) to the graph that holds the forward node;
// what it adds is inferred, verified, planned and placed like anything else. Reverse mode: the rule of y = f(x) turns
// dL/dy into dL/dx. passes/differentiate.h applies the rules; passes/gradient_test.cpp holds each against finite
// differences in f64.
//
// Rules work on floats of any type and on the forms that importers make: epilogues of products (an activation or
// residual that a pass fused) are refused, since training graphs are differentiated before anything is fused.
#pragma once

#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "ir/graph.h"

namespace hai::ops {

// One node whose gradient is asked for, and the graph to build it in. Values are ids of that graph; all methods add
// nodes (or return their argument where nothing is to do) and fail only when the node would be invalid.
class GradientContext {
 public:
  // `node` is a copy: the graph's own nodes move when some are added. Both stay valid while the rule runs.
  GradientContext(ir::Graph& graph, const ir::Node& node, std::span<const ir::ValueId> output_gradients,
                  std::vector<bool> wanted)
      : graph_(graph), node_(node), output_gradients_(output_gradients), wanted_(std::move(wanted)) {}

  const ir::Graph& graph() const { return graph_; }
  const ir::Node& node() const { return node_; }
  ir::ValueId input(size_t i) const { return i < node_.inputs.size() ? node_.inputs[i] : ir::kNone; }
  ir::ValueId output(size_t i = 0) const { return node_.outputs[i]; }
  const ir::TensorType& type(ir::ValueId value) const { return graph_.value(value).type; }
  const Shape& shape(ir::ValueId value) const { return type(value).shape; }
  // dL/d(output i): kNone when the loss does not depend on that output (never for an operator's only output).
  ir::ValueId dy(size_t i = 0) const { return output_gradients_[i]; }
  // The gradient of input i is asked for. What a rule returns for others is ignored: it may leave them kNone.
  bool wants(size_t i) const { return i < wanted_.size() && wanted_[i]; }

  Result<ir::ValueId> append(std::string_view op, std::vector<ir::ValueId> inputs, ir::Attributes attributes = {});
  // All outputs of an operator with several.
  Result<std::vector<ir::ValueId>> append_all(std::string_view op, std::vector<ir::ValueId> inputs,
                                              ir::Attributes attributes = {});
  Result<ir::ValueId> add(ir::ValueId a, ir::ValueId b) { return append("add", {a, b}); }
  Result<ir::ValueId> sub(ir::ValueId a, ir::ValueId b) { return append("sub", {a, b}); }
  Result<ir::ValueId> mul(ir::ValueId a, ir::ValueId b) { return append("mul", {a, b}); }
  Result<ir::ValueId> div(ir::ValueId a, ir::ValueId b) { return append("div", {a, b}); }
  // A constant of a float type and static shape, values in row-major order.
  ir::ValueId constant(const ir::TensorType& type, std::span<const double> values);
  // A constant scalar of the element type of `like`.
  ir::ValueId scalar(double number, ir::ValueId like);
  Result<ir::ValueId> scale(ir::ValueId a, double factor) { return mul(a, scalar(factor, a)); }
  // dy where mask > 0, else 0 (dy of mask's shape).
  Result<ir::ValueId> where_positive(ir::ValueId mask, ir::ValueId dy);
  // Sum along axes, which stay with size 1.
  Result<ir::ValueId> sum_along(ir::ValueId a, std::vector<int64_t> axes);
  Result<ir::ValueId> mean_along(ir::ValueId a, std::vector<int64_t> axes);
  // The same elements under another shape of one symbolic dimension at most.
  Result<ir::ValueId> reshape(ir::ValueId a, const Shape& to);
  Result<ir::ValueId> transpose(ir::ValueId a, std::vector<int64_t> permutation);
  // The gradient of broadcasting: sums a over the axes along which input i was repeated.
  Result<ir::ValueId> sum_to_input(ir::ValueId a, size_t i);
  // `a`, whose shape broadcasts to that of `like`, repeated to that shape.
  Result<ir::ValueId> broadcast_like(ir::ValueId a, ir::ValueId like);
  // Zeros of the type and shape of `like`.
  Result<ir::ValueId> zeros_like(ir::ValueId like);

  // An error that names the node: "gradient of conv2d "stem": ...".
  Error refuse(std::string_view why) const;

 private:
  ir::Graph& graph_;
  const ir::Node& node_;
  std::span<const ir::ValueId> output_gradients_;
  std::vector<bool> wanted_;
};

// A constant of one element, of whatever rank. Precondition: a float type of one element.
ir::ValueId add_number(ir::Graph& graph, const ir::TensorType& type, double number);

// One entry per input of the node: its gradient, or kNone for "zero, or not wanted".
using GradientRule = Result<std::vector<ir::ValueId>> (*)(GradientContext& context);

class GradientRegistry {
 public:
  void add(std::string op, GradientRule rule) { rules_[std::move(op)] = rule; }
  // The gradient is zero wherever it exists (floor, indices): nothing flows through.
  void add_flat(std::string op) { rules_[std::move(op)] = nullptr; }
  bool knows(std::string_view op) const { return rules_.find(op) != rules_.end(); }
  bool is_flat(std::string_view op) const { return knows(op) && rules_.find(op)->second == nullptr; }
  GradientRule find(std::string_view op) const { return knows(op) ? rules_.find(op)->second : nullptr; }
  std::vector<std::string> names() const;
  static const GradientRegistry& instance();

 private:
  std::map<std::string, GradientRule, std::less<>> rules_;
};

// Provided by the generated table: the rules of every folder of src/ops with a <folder>_gradient.cpp.
void register_all_gradients(GradientRegistry& registry);

}  // namespace hai::ops
