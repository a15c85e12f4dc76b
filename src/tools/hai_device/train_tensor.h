// Buffers of floats as tensors of the runtime, with the shapes that a program gives them.
#pragma once

#include <algorithm>
#include <span>
#include <vector>

#include "format/program.h"
#include "hai/hai.h"

namespace hai::tools {

// `numbers` as `tensor` of a program, at batch `batch`. Precondition: f32, and as many numbers as it has.
inline hai_tensor view_of(const format::ProgramTensor& tensor, int64_t batch, std::span<const float> numbers) {
  const Dims dims = resolve(tensor.shape, std::span(&batch, 1));
  hai_tensor view = {};
  view.dtype = HAI_F32;
  view.rank = dims.rank;
  std::copy_n(dims.size.begin(), dims.rank, view.dims);
  view.data = const_cast<float*>(numbers.data());  // of inputs, which are only read
  view.size_bytes = numbers.size() * sizeof(float);
  return view;
}

// The same of an output that is made room for, of any type.
inline hai_tensor tensor_of(const format::ProgramTensor& tensor, int64_t batch, std::vector<float>& numbers) {
  const Dims dims = resolve(tensor.shape, std::span(&batch, 1));
  const auto bytes = static_cast<size_t>(bytes_for(tensor.dtype, dims.count()));
  numbers.resize((bytes + sizeof(float) - 1) / sizeof(float));
  hai_tensor view = view_of(tensor, batch, numbers);
  view.dtype = static_cast<int32_t>(tensor.dtype);
  view.size_bytes = bytes;
  return view;
}

}  // namespace hai::tools
