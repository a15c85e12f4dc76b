// import_onnx_file, import_onnx_bytes: an ONNX model becomes an ir::Graph of core operators.
//
// The graph keeps the model's own inputs and outputs, their names and layout (NCHW stays NCHW); spatial operators
// inside are NHWC with transposes around them, which passes cancel. Arithmetic on shapes is folded, also where a
// dimension is the batch symbol. Nothing in a file is executed, and no input makes this throw or abort.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "ir/graph.h"
#include "types/dim_range.h"

namespace hai::onnx_import {

struct ImportOptions {
  // Symbolic dimensions by their name in the model (`--dim height=640`). An unnamed one is called "<input>.<axis>", as
  // dimension 0 also "batch". The first symbol in dimension 0 of an input stays free as the batch, within the range
  // that is given for it here, else from batch_min to batch_max, unless it is bound to a number. Errors: X053 a number
  // or range that cannot be, X054 a dimension that needs a number, X069 a name that the model does not have.
  std::map<std::string, DimRange> dims;
  int64_t batch_min = 1;
  int64_t batch_max = 16;
  // Gives a model whose batch is fixed to 1 a free batch, where all its reshapes allow it; else an error says which
  // node forbids it.
  bool free_batch = false;
  // Folder that external data may lie in; import_onnx_file sets it to the model's own. Empty: external data is refused.
  std::string external_data_folder;
  // Files that the caller will write afterwards: a model whose external data lies in one of them is refused (X016).
  std::vector<std::string> outputs;
};

Result<ir::Graph> import_onnx_file(const std::string& path, const ImportOptions& options = {});
Result<ir::Graph> import_onnx_bytes(std::span<const std::byte> bytes, const ImportOptions& options = {});

// Names of the ONNX operators that import, "Conv", "com.microsoft.Gelu", sorted: for `hai ops`.
std::vector<std::string> supported_onnx_operators();

}  // namespace hai::onnx_import
