// TensorView: a dense row-major tensor in memory that someone else owns, with its type resolved to concrete numbers.
//
// `quantization` may be null. Views are cheap to copy and own nothing; the memory must outlive them. Nibble types are
// packed two a byte, low first.
#pragma once

#include <cstddef>
#include <cstdint>

#include "types/data_type.h"
#include "types/quantization.h"
#include "types/shape.h"

namespace hai {

template <typename Pointer>
struct BasicTensorView {
  DataType dtype = DataType::kF32;
  Dims dims;
  Pointer data = nullptr;
  const Quantization* quantization = nullptr;

  int64_t count() const { return dims.count(); }
  int64_t size_bytes() const { return bytes_for(dtype, count()); }
};

using MutableTensorView = BasicTensorView<std::byte*>;
using TensorView = BasicTensorView<const std::byte*>;

inline TensorView as_const(const MutableTensorView& view) {
  return {view.dtype, view.dims, view.data, view.quantization};
}

// Typed access. Precondition: T is the storage type of view.dtype.
template <typename T>
const T* data_of(const TensorView& view) {
  return reinterpret_cast<const T*>(view.data);
}
template <typename T>
T* data_of(const MutableTensorView& view) {
  return reinterpret_cast<T*>(view.data);
}

}  // namespace hai
