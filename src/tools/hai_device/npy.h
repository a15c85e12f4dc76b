// NumPy's .npy files, version 1 to 3, little-endian, C order: how tensors come in and go out on the command line.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "hai/hai.hpp"

namespace hai::tools {

Result<api::Tensor> read_npy(const std::string& path);
Status write_npy(const std::string& path, const api::Tensor& tensor);

}  // namespace hai::tools
