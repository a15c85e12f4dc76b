// TensorProto -> OnnxTensor: raw bytes are moved, typed fields converted, external data read from beside the model.
// For the files that include protobuf themselves.
#pragma once

#include "base/result.h"
#include "importers/onnx/onnx_import.h"
#include "importers/onnx/onnx_model.h"

namespace onnx {
class TensorProto;
}

namespace hai::onnx_import {

// The core's type for a TensorProto::DataType; an error names the type where there is none.
Result<DataType> element_type(int onnx_type);

// Takes the bytes out of `tensor`; `options` say which external files may be read. Each error names the tensor.
Result<OnnxTensor> read_tensor(onnx::TensorProto& tensor, const ImportOptions& options);

}  // namespace hai::onnx_import
