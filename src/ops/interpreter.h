// The reference device: runs a graph node by node through the schemas' reference(). Slow, exact, the judge of every
// other device.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "base/aligned_bytes.h"
#include "base/result.h"
#include "ir/graph.h"
#include "types/tensor_view.h"

namespace hai::ops {

// A tensor that owns its bytes (64-byte aligned).
struct Tensor {
  DataType dtype = DataType::kF32;
  Dims dims;
  AlignedBytes storage;
  std::optional<Quantization> quantization;

  static Tensor zeros(DataType dtype, const Dims& dims, std::optional<Quantization> quantization = {});
  TensorView view() const;
  MutableTensorView mutable_view();
};

struct InterpretOptions {
  std::vector<int64_t> symbol_values;  // empty: taken from the inputs' shapes, checked for agreement and bounds
  bool keep_all = false;               // also return every intermediate value
};

struct InterpretResult {
  std::vector<Tensor> outputs;        // in the order of graph.outputs()
  std::map<ir::ValueId, Tensor> all;  // when keep_all
};

// Inputs in the order of graph.inputs(); shapes and dtypes are checked.
Result<InterpretResult> interpret(const ir::Graph& graph, std::span<const Tensor> inputs,
                                  const InterpretOptions& options = {});

}  // namespace hai::ops
