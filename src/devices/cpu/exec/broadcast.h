// Broadcasting of two operands as a walk over blocks of rows and columns, without allocation.
//
// Neighbouring axes that both operands step through alike are joined; the last joined axis gives the columns (step 0 or
// 1), the one before it the rows, the rest an outer counter.
#pragma once

#include <array>
#include <cstdint>

#include "types/shape.h"

namespace hai::cpu {

struct BroadcastPlan {
  int rank = 0;  // joined axes, the last one first
  std::array<int64_t, kMaxRank> size{};
  std::array<int64_t, kMaxRank> a_stride{};  // elements
  std::array<int64_t, kMaxRank> b_stride{};

  int64_t columns() const { return rank > 0 ? size[0] : 1; }
  int64_t rows() const { return rank > 1 ? size[1] : 1; }
  int a_step() const { return rank > 0 && a_stride[0] != 0 ? 1 : 0; }
  int b_step() const { return rank > 0 && b_stride[0] != 0 ? 1 : 0; }
  int64_t a_row() const { return rank > 1 ? a_stride[1] : 0; }
  int64_t b_row() const { return rank > 1 ? b_stride[1] : 0; }
  int64_t total_rows() const;  // rows of all blocks
  // Offsets of row `row` (counted over all blocks) in a and b.
  void row_offsets(int64_t row, int64_t& a, int64_t& b) const;
};

// Precondition: a and b broadcast to y (checked when the kernel was made).
BroadcastPlan plan_broadcast(const Dims& a, const Dims& b, const Dims& y);

// True when a and b broadcast to exactly y, symbols meeting only themselves or 1.
bool broadcasts_to(const Shape& a, const Shape& b, const Shape& y);

}  // namespace hai::cpu
