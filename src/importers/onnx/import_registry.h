// ImportRegistry and ImportContext: how the conversion of one ONNX operator is written.
//
// Each folder of src/ops may bring `<folder>_onnx.cpp` with `void register_<folder>_onnx(ImportRegistry&)`; operators
// that become shape arithmetic or plain combinations of others live in importers/onnx. A converter reads its node
// through the context, emits core nodes and sets the node's outputs:
//
//   Status convert_neg(ImportContext& context) {
//     HAI_TRY(const ir::ValueId x, context.input(0));
//     HAI_TRY(const ir::ValueId y, context.emit("neg", {x}));
//     return context.set_output(0, y);
//   }
//
// Nodes whose operands are all constants are computed at once, so that a converter never cares for constants. Layout is
// ONNX's (NCHW); channels_last() and channels_first() wrap the core's spatial operators.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/result.h"
#include "importers/onnx/onnx_import.h"
#include "importers/onnx/onnx_model.h"
#include "importers/onnx/shape_arithmetic.h"
#include "ir/graph.h"

namespace hai::onnx_import {

class ImportContext;
using Converter = std::function<Status(ImportContext&)>;

class ImportRegistry {
 public:
  // `domain`: "" is the standard one.
  void add(std::string_view op_type, Converter converter, std::string_view domain = "");
  const Converter* find(std::string_view domain, std::string_view op_type) const;
  std::vector<std::string> names() const;  // "Conv", "com.microsoft.Gelu", sorted

 private:
  std::map<std::string, Converter, std::less<>> converters_;
};

// Generated from the folders of src/ops that have an _onnx.cpp.
void register_all_importers(ImportRegistry& registry);
// Constants, shapes, identities, control: importers/onnx/*_operators.cpp.
void register_basic_operators(ImportRegistry& registry);
void register_composed_operators(ImportRegistry& registry);
void register_quantized_operators(ImportRegistry& registry);
Status convert_matmul_nbits(ImportContext& context);  // com.microsoft.MatMulNBits: a file of its own

// What a name of the model stands for: a value of the graph, a known shape vector, or (until someone reads it) an
// initializer.
struct ImportedValue {
  ir::ValueId id = ir::kNone;
  std::optional<KnownInts> known;
  const OnnxTensor* initializer = nullptr;
};

// The names in sight of a node: those of its graph, then those of the graphs around it.
struct ImportScope {
  std::unordered_map<std::string, ImportedValue> values;
  ImportScope* parent = nullptr;

  ImportedValue* find(const std::string& name);
};

// Shared by all nodes of one import.
struct ImportState {
  ir::Graph graph;
  const ImportOptions& options;
  const OnnxModel& model;
  std::function<Status(const OnnxGraph& branch, ImportScope& scope)> convert_graph;  // for branches of If
  std::function<Status(const OnnxNode& node, ImportScope& scope)> convert_node;      // for nodes that stand for another
  int64_t folded_bytes = 0;  // of constants made while importing
};

class ImportContext {
 public:
  ImportContext(ImportState& state, ImportScope& scope, const OnnxNode& node);

  const OnnxNode& node() const { return node_; }
  int64_t opset() const { return opset_; }  // of the node's domain
  ir::Graph& graph() { return state_.graph; }
  ImportState& state() { return state_; }
  ImportScope& scope() { return scope_; }

  // --- operands ---
  size_t input_count() const { return node_.inputs.size(); }
  bool has_input(size_t i) const { return i < node_.inputs.size() && !node_.inputs[i].empty(); }
  Result<ir::ValueId> input(size_t i);           // error when absent
  Result<ir::ValueId> optional_input(size_t i);  // kNone when absent
  const ir::TensorType& type(ir::ValueId id) const { return state_.graph.value(id).type; }
  const Shape& shape(ir::ValueId id) const { return type(id).shape; }
  size_t rank(ir::ValueId id) const { return type(id).shape.size(); }
  // Integers known now, maybe with symbols; std::nullopt when they are computed at run time (or are not integers).
  Result<std::optional<KnownInts>> known(size_t i);
  // The same where the operator needs them: error when they are not known, or (numbers) hang on the batch.
  Result<std::vector<Dim>> known_dims(size_t i, std::string_view what);
  Result<std::vector<int64_t>> numbers(size_t i, std::string_view what);
  // Constant floats (or integers, as floats) of an operand that must be known.
  Result<std::vector<double>> reals(size_t i, std::string_view what);

  // --- attributes; a wrong kind is remembered and becomes the node's error ---
  bool has_attribute(std::string_view key) const { return node_.attributes.find(key) != node_.attributes.end(); }
  int64_t int_attribute(std::string_view key, int64_t fallback);
  double float_attribute(std::string_view key, double fallback);
  std::string string_attribute(std::string_view key, std::string_view fallback);
  std::vector<int64_t> ints_attribute(std::string_view key, const std::vector<int64_t>& fallback = {});
  std::vector<double> floats_attribute(std::string_view key, const std::vector<double>& fallback = {});
  const OnnxTensor* tensor_attribute(std::string_view key);
  std::shared_ptr<OnnxGraph> graph_attribute(std::string_view key);
  // An axis in [-rank, rank) -> [0, rank).
  Result<int64_t> axis(int64_t raw, size_t rank) const;
  Result<std::vector<int64_t>> axes(std::vector<int64_t> raw, size_t rank) const;  // normalised, sorted, unique
  Status attribute_error() const { return attribute_error_; }

  // --- emitting core nodes ---
  Result<ir::ValueId> emit(std::string_view op, std::vector<ir::ValueId> inputs, ir::Attributes attributes = {},
                           std::optional<ir::TensorType> declared = {});
  Result<std::vector<ir::ValueId>> emit_many(std::string_view op, std::vector<ir::ValueId> inputs,
                                             ir::Attributes attributes, size_t output_count);
  ir::ValueId constant(const OnnxTensor& tensor);
  ir::ValueId constant_f32(std::vector<float> values, std::vector<int64_t> dims);
  ir::ValueId scalar_like(ir::ValueId like, double value);  // rank 0, of the element type of `like`
  // The same elements with another shape; no node when nothing changes, no copy of constants.
  Result<ir::ValueId> reshape(ir::ValueId x, const Shape& target);
  // No node when nothing moves; constants (also behind dequantize) are transposed now.
  Result<ir::ValueId> transpose(ir::ValueId x, const std::vector<int64_t>& permutation);
  // [N, C, spatial...] -> [N, spatial..., C] and back.
  Result<ir::ValueId> channels_last(ir::ValueId x);
  Result<ir::ValueId> channels_first(ir::ValueId x);

  // --- results ---
  bool output_used(size_t i) const { return i < node_.outputs.size() && !node_.outputs[i].empty(); }
  Status set_output(size_t i, ir::ValueId id);
  Status set_output_known(size_t i, KnownInts known);
  Error unsupported(std::string_view what) const;  // names node and operator
  Error invalid(std::string_view what) const;

 private:
  Error placed(Error error) const;
  template <typename T>
  const T* attribute(std::string_view key, std::string_view kind);
  Result<ir::ValueId> materialise(ImportedValue& value, const std::string& name);
  Result<std::vector<ir::ValueId>> fold(std::string_view op, const std::vector<ir::ValueId>& inputs,
                                        const ir::Attributes& attributes, size_t output_count,
                                        const std::optional<ir::TensorType>& declared);

  ImportState& state_;
  ImportScope& scope_;
  const OnnxNode& node_;
  int64_t opset_ = 1;
  Status attribute_error_;
};

}  // namespace hai::onnx_import
