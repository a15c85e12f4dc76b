// TensorProto -> OnnxTensor: raw bytes are moved, typed fields converted, external data read from beside the model.
// For the files that include protobuf themselves.
#pragma once

#include <string>

#include "base/result.h"
#include "importers/onnx/onnx_model.h"

namespace onnx {
class TensorProto;
}

namespace hai::onnx_import {

// The core's type for a TensorProto::DataType; an error names the type where there is none.
Result<DataType> element_type(int onnx_type);

// Takes the bytes out of `tensor`. Each error names the tensor.
Result<OnnxTensor> read_tensor(onnx::TensorProto& tensor, const std::string& external_data_folder);

}  // namespace hai::onnx_import
