// expand_functions: calls of functions that the model brings along are replaced by their bodies.
#pragma once

#include "base/result.h"
#include "importers/onnx/onnx_model.h"

namespace hai::onnx_import {

Status expand_functions(OnnxModel& model);

}  // namespace hai::onnx_import
