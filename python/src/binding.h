// What the files of the native module share: errors become Python exceptions, Results become values.
//
// The module is a thin layer: no logic of its own, no copies of tensors. Arrays cross as flat byte views that Python
// made of contiguous numpy arrays, so that every element type (f16, i4 packed, ...) passes the same way.
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/array.h>
#include <nanobind/stl/map.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/variant.h>
#include <nanobind/stl/vector.h>

#include <exception>
#include <string>
#include <utility>

#include "base/result.h"
#include "text_caster.h"

namespace hai::python {

namespace nb = nanobind;

// Thrown only inside this module, where Python's exceptions begin; carries one Error to the translator.
class ErrorException : public std::exception {
 public:
  explicit ErrorException(Error error) : error_(std::move(error)), text_(error_.to_string()) {}
  const Error& error() const { return error_; }
  const char* what() const noexcept override { return text_.c_str(); }

 private:
  Error error_;
  std::string text_;
};

template <typename T>
T value_or_raise(Result<T> result) {
  if (!result.has_value()) throw ErrorException(std::move(result).error());
  return std::move(result).value();
}

inline void raise_if_error(Status status) {
  if (!status.has_value()) throw ErrorException(std::move(status).error());
}

// A contiguous numpy array seen as bytes.
using ConstBytes = nb::ndarray<const uint8_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using MutableBytes = nb::ndarray<uint8_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;

void bind_graph(nb::module_& module);
void bind_compile(nb::module_& module);
void bind_runtime(nb::module_& module);
void bind_training(nb::module_& module);
void bind_checkpoint(nb::module_& module);
void bind_data(nb::module_& module);
void bind_metrics(nb::module_& module);
void bind_accuracy(nb::module_& module);
void bind_reference(nb::module_& module);
void bind_replay(nb::module_& module);
void bind_board(nb::module_& module);

}  // namespace hai::python
