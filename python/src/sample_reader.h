// A Python callable as a stream of samples for C++: `next_sample()` gives a list of (dtype name, shape, flat byte
// view), one a graph input, or None at the end.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "binding.h"
#include "quantizer/quantizer.h"

namespace hai::python {

// The interpreter lock is taken for each call, so the stream may be read with it released. `callable` must outlive it.
quantizer::NextSample sample_reader(const nb::callable& callable);

}  // namespace hai::python
