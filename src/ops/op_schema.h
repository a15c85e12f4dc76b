// OpSchema: everything HAI knows of an operator that is not one device's business. One folder, one `<folder>_schemas()`
// function.
//
// A schema states operands and attributes (checked before anything else runs), infers output types, computes the exact
// reference, counts cost, and generates samples. The samples drive the generic suite: inference against reference,
// every CPU instruction set against the reference, importers, fuzz seeds, docs (architecture.md, "One operator, one
// folder").
//
// Types: shape and dtype of outputs are inferred; the quantization of an integer output is a free choice of the graph
// (the quantizer's), so `infer` receives the declared output types and returns them completed.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "ir/graph.h"
#include "types/tensor_view.h"

namespace hai {

// What infer() may look at. `inputs[i]` is null for an absent optional input.
struct InferContext {
  std::span<const ir::TensorType* const> inputs;
  std::span<const ir::ConstantData* const> constants;       // constants[i] non-null when input i is a constant
  std::span<const std::optional<ir::TensorType>> declared;  // what the graph says of each output, when it says so
  const ir::Node& node;                                     // attributes and name
  std::span<const Symbol> symbols;
};

// What reference() computes on. Shapes are concrete; outputs are allocated and typed (dtype, dims, quantization). An
// absent optional input has data == nullptr. References favour clarity over speed: float types accumulate in f64 and
// round once; integer types follow types/arithmetic.h exactly.
struct ReferenceContext {
  std::span<const TensorView> inputs;
  std::span<const MutableTensorView> outputs;
  const ir::Node& node;
};

// Work of one execution at batch 1, for placement, tables and rooflines.
struct Cost {
  int64_t macs = 0;       // multiply-accumulates
  int64_t other_ops = 0;  // element operations that are not MACs
};
struct CostContext {
  std::span<const Dims> inputs;
  std::span<const Dims> outputs;
  const ir::Node& node;
};

struct OperandSpec {
  std::string_view name;
  std::string_view doc;  // meaning, shape, layout
  bool optional = false;
  bool variadic = false;  // last operand only: one or more
};

enum class AttributeKind : uint8_t { kInt, kFloat, kString, kInts, kFloats };
struct AttributeSpec {
  std::string_view name;
  AttributeKind kind;
  std::string_view doc;  // meaning, unit, default
  bool required = false;
};

// How sample inputs are filled: uniform in [low, high] for floats (converted for integers: uniform in their range, or
// [low, high] when `integers_in_bounds`), from a fixed seed.
struct SampleInput {
  ir::TensorType type;
  bool constant = false;  // weights, bias: given as constants of the graph
  bool absent = false;    // an optional operand left out
  double low = -1.0;
  double high = 1.0;
  bool integers_in_bounds = false;
};
struct Sample {
  std::string name;  // readable and unique within the op: "depthwise_3x3_stride2_odd"
  std::vector<SampleInput> inputs;
  ir::Attributes attributes;
  std::vector<std::optional<ir::TensorType>>
      outputs;  // declared output types where inference needs them (integer outputs); may be empty
  uint64_t seed = 1;
  // Largest |device - reference| for f32 as a fraction of the largest |reference| value; integer tensors must be equal.
  double tolerance = 1e-5;
  std::string_view op;  // set when one folder has several ops; empty: the schema's own name
};

struct OpSchema {
  std::string name;
  std::string doc;  // one paragraph, formula included
  std::vector<OperandSpec> inputs;
  std::vector<OperandSpec> outputs;
  std::vector<AttributeSpec> attributes;
  Result<std::vector<ir::TensorType>> (*infer)(const OpSchema& schema, const InferContext& context) = nullptr;
  Status (*reference)(const OpSchema& schema, const ReferenceContext& context) = nullptr;
  Cost (*cost)(const OpSchema& schema, const CostContext& context) = nullptr;
  std::vector<Sample> (*samples)(const OpSchema& schema) = nullptr;
  // ONNX operators that import as this one: for tables and docs ("Conv", "FusedConv").
  std::vector<std::string_view> onnx_names;
  int64_t variant =
      0;  // tells table-made siblings apart inside shared functions (which unary function, which reduction)
  // Outputs alias input 0 element for element (reshape): a device may share the buffer.
  bool is_view = false;
  // Why a column of the operator matrix is allowed to be empty: {"onnx", "made by passes only"}.
  std::vector<std::pair<std::string_view, std::string_view>> explained_holes;

  // The reason for that column, empty where there is none; "cpu" stands for all instruction sets ("cpu.avx2").
  std::string_view explained_hole(std::string_view column) const;
};

// Every schema, sorted by name; built once. Generated from the folders of src/ops.
std::span<const OpSchema* const> all_op_schemas();
// Null when unknown.
const OpSchema* find_op_schema(std::string_view name);

// Provided by the generated table: the schemas of every folder of src/ops.
std::vector<std::span<const OpSchema>> generated_op_schemas();

}  // namespace hai
