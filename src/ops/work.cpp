// The work of a node by its schema's cost.
//
// Shapes are resolved at one sample, so that figures of models with a free batch compare with those of fixed ones.
#include "ops/work.h"

#include "ops/op_schema.h"

namespace hai::ops {

int64_t macs_of(const ir::Graph& graph, const ir::Node& node) {
  const OpSchema* schema = find_op_schema(node.op);
  if (schema == nullptr || schema->cost == nullptr) return 0;
  const std::vector<int64_t> one_sample(graph.symbols.size(), 1);
  const auto dims_of = [&](const std::vector<ir::ValueId>& values) {
    std::vector<Dims> dims;
    for (const ir::ValueId value : values) {
      dims.push_back(value == ir::kNone ? Dims() : resolve(graph.value(value).type.shape, one_sample));
    }
    return dims;
  };
  const std::vector<Dims> inputs = dims_of(node.inputs);
  const std::vector<Dims> outputs = dims_of(node.outputs);
  return schema->cost(*schema, {inputs, outputs, node}).macs;
}

}  // namespace hai::ops
