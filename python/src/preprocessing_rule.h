// A preprocessing rule from the dictionary that hai_toolkit.preprocessing makes; raises when a number is out of range.
#pragma once

#include "binding.h"
#include "types/preprocessing.h"

namespace hai::python {

Preprocessing preprocessing_from(const nb::dict& fields);

}  // namespace hai::python
