// read_onnx_*: protobuf -> OnnxModel. The only place (with read_tensor) that sees protobuf.
#pragma once

#include <span>
#include <string>

#include "base/result.h"
#include "importers/onnx/onnx_import.h"
#include "importers/onnx/onnx_model.h"

namespace hai::onnx_import {

// `options` say which external files may be read.
Result<OnnxModel> read_onnx_file(const std::string& path, const ImportOptions& options);
Result<OnnxModel> read_onnx_bytes(std::span<const std::byte> bytes, const ImportOptions& options);

}  // namespace hai::onnx_import
