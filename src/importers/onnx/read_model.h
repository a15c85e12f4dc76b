// read_onnx_*: protobuf -> OnnxModel. The only place (with read_tensor) that sees protobuf.
#pragma once

#include <span>
#include <string>

#include "base/result.h"
#include "importers/onnx/onnx_model.h"

namespace hai::onnx_import {

// `external_data_folder`: see ImportOptions.
Result<OnnxModel> read_onnx_file(const std::string& path, const std::string& external_data_folder);
Result<OnnxModel> read_onnx_bytes(std::span<const std::byte> bytes, const std::string& external_data_folder);

}  // namespace hai::onnx_import
