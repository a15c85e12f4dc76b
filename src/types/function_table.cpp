// Making a table, and finding its constant ends without evaluating them.
//
// Method: the functions of kMonotoneTails rise or fall throughout beyond |x| = 2 (SiLU turns at -1.28, hard-swish at
// -1.5, GELU at -0.75, Mish at -1.19; the others at 0 or nowhere), so the entries that equal the outermost one are one
// run there, and bisection finds where it stops. Other functions get all their entries.
#include "types/function_table.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "types/unary_functions.h"
#include "types/unary_table.h"

namespace hai {
namespace {

constexpr double kTail = 2.0;
constexpr std::array<int32_t, 10> kMonotoneTails = {
    HAI_UNARY_leaky_relu, HAI_UNARY_elu,  HAI_UNARY_sigmoid, HAI_UNARY_silu,     HAI_UNARY_hard_sigmoid,
    HAI_UNARY_hard_swish, HAI_UNARY_tanh, HAI_UNARY_gelu,    HAI_UNARY_softplus, HAI_UNARY_mish};

// The innermost of the integers from `outer` towards `inner` that has outer's value, in a run that starts at `outer`.
template <typename Value>
int32_t end_of_run(int32_t outer, int32_t inner, const Value& value) {
  const int32_t same = value(outer);
  if (value(inner) == same) return inner;
  while (std::abs(outer - inner) > 1) {
    const int32_t middle = outer + (inner - outer) / 2;
    (value(middle) == same ? outer : inner) = middle;
  }
  return outer;
}

}  // namespace

FunctionTable make_function_table(const Activation& activation, float from_scale, const hai_output_range& from,
                                  float to_scale, const hai_output_range& to) {
  const auto value = [&](int32_t q) {
    return unary_integer(activation.function, activation.alpha, activation.beta, q, from_scale, from.zero_point,
                         to_scale, to);
  };
  int32_t first = from.lo;
  int32_t last = from.hi;
  const bool tails =
      std::find(kMonotoneTails.begin(), kMonotoneTails.end(), activation.function) != kMonotoneTails.end();
  if (tails && last - first > 255) {
    const double reach = std::min(kTail / static_cast<double>(from_scale), 65536.0);
    const int32_t steps = static_cast<int32_t>(std::ceil(reach));
    const int32_t left = std::clamp(from.zero_point - steps, from.lo, from.hi);
    const int32_t right = std::clamp(from.zero_point + steps, from.lo, from.hi);
    first = end_of_run(from.lo, left, value);
    last = end_of_run(from.hi, right, value);
  }
  FunctionTable table;
  table.first = first;
  table.entries.reserve(static_cast<size_t>(last - first) + 1);
  for (int32_t q = first; q <= last; ++q) table.entries.push_back(static_cast<int16_t>(value(q)));
  return table;
}

}  // namespace hai
