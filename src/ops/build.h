// Building and checking graphs with types inferred: what importers, passes, tests and Python's graph builder use.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "ir/graph.h"
#include "ops/op_schema.h"

namespace hai::ops {

struct AppendOptions {
  std::string node_name;
  std::vector<std::string> output_names;
  // Declared output types: needed for integer outputs (their quantization), optional elsewhere. Shorter than the
  // outputs: the rest is inferred.
  std::vector<std::optional<ir::TensorType>> declared;
  size_t output_count = 1;  // for operators with a variable number of outputs (split)
};

// Adds a node after checking operands and attributes against its schema and inferring its output types. The graph is
// unchanged on error.
Result<ir::NodeId> append(ir::Graph& graph, std::string_view op, std::vector<ir::ValueId> inputs,
                          ir::Attributes attributes = {}, AppendOptions options = {});
// The common case: one output, its value.
Result<ir::ValueId> append_value(ir::Graph& graph, std::string_view op, std::vector<ir::ValueId> inputs,
                                 ir::Attributes attributes = {}, AppendOptions options = {});

// Infers the outputs of an existing node from its present inputs; does not change the graph.
Result<std::vector<ir::TensorType>> infer_node(const ir::Graph& graph, ir::NodeId node);
// Re-infers every node in order and stores the types (after inputs changed type or shape).
Status reinfer(ir::Graph& graph);

// Structure, schemas, and stored types equal to inferred ones. Every pass is followed by this.
Status verify(const ir::Graph& graph);

// Constants from C++ values. Shape empty: a scalar.
ir::ValueId add_constant_f32(ir::Graph& graph, std::string name, std::span<const int64_t> dims,
                             std::span<const float> values);
ir::ValueId add_constant_i32(ir::Graph& graph, std::string name, std::span<const int64_t> dims,
                             std::span<const int32_t> values);
ir::ValueId add_constant_i64(ir::Graph& graph, std::string name, std::span<const int64_t> dims,
                             std::span<const int64_t> values);
ir::ValueId add_constant_i8(ir::Graph& graph, std::string name, std::span<const int64_t> dims,
                            std::span<const int8_t> values, Quantization quantization);

}  // namespace hai::ops
