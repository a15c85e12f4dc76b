// Joining of axes for broadcast walks.
//
// Two neighbouring axes join when, for both operands, stepping the outer one is stepping the inner one `size` times;
// axes of size 1 vanish. Same shapes become one axis, a channel vector two.
#include "devices/cpu/exec/broadcast.h"

#include <algorithm>

namespace hai::cpu {

int64_t BroadcastPlan::total_rows() const {
  int64_t rows = 1;
  for (size_t i = 1; i < static_cast<size_t>(rank); ++i) rows *= size[i];
  return rows;
}

void BroadcastPlan::row_offsets(int64_t row, int64_t& a, int64_t& b) const {
  a = 0;
  b = 0;
  for (size_t i = 1; i < static_cast<size_t>(rank); ++i) {
    const int64_t index = row % size[i];
    a += index * a_stride[i];
    b += index * b_stride[i];
    row /= size[i];
  }
}

BroadcastPlan plan_broadcast(const Dims& a, const Dims& b, const Dims& y) {
  BroadcastPlan plan;
  int64_t a_stride = 1;
  int64_t b_stride = 1;
  size_t used = 0;
  for (int axis = y.rank - 1; axis >= 0; --axis) {
    const int a_axis = axis - (y.rank - a.rank);
    const int b_axis = axis - (y.rank - b.rank);
    const int64_t a_size = a_axis >= 0 ? a[a_axis] : 1;
    const int64_t b_size = b_axis >= 0 ? b[b_axis] : 1;
    const int64_t size = y[axis];
    const int64_t a_here = a_size == 1 ? 0 : a_stride;
    const int64_t b_here = b_size == 1 ? 0 : b_stride;
    a_stride *= a_size;
    b_stride *= b_size;
    if (size == 1) continue;
    if (used > 0 && a_here == plan.a_stride[used - 1] * plan.size[used - 1] &&
        b_here == plan.b_stride[used - 1] * plan.size[used - 1]) {
      plan.size[used - 1] *= size;
      continue;
    }
    plan.size[used] = size;
    plan.a_stride[used] = a_here;
    plan.b_stride[used] = b_here;
    ++used;
  }
  plan.rank = static_cast<int>(used);
  return plan;
}

bool broadcasts_to(const Shape& a, const Shape& b, const Shape& y) {
  if (y.size() != std::max(a.size(), b.size())) return false;
  for (size_t i = 0; i < y.size(); ++i) {
    const Dim left = i < a.size() ? a[a.size() - 1 - i] : Dim(1);
    const Dim right = i < b.size() ? b[b.size() - 1 - i] : Dim(1);
    if (left != right && left != Dim(1) && right != Dim(1)) return false;
    if (y[y.size() - 1 - i] != (left == Dim(1) ? right : left)) return false;
  }
  return true;
}

}  // namespace hai::cpu
