// The broadcast walk against index arithmetic, over every pair of small shapes.
#include "devices/cpu/exec/broadcast.h"

#include <gtest/gtest.h>

#include <vector>

namespace hai::cpu {
namespace {

// Every shape of `rank` axes with sizes 1, 2 and 3.
std::vector<Dims> shapes_of_rank(int rank) {
  std::vector<Dims> shapes = {Dims{}};
  for (int axis = 0; axis < rank; ++axis) {
    std::vector<Dims> longer;
    for (const Dims& shape : shapes) {
      for (int64_t size = 1; size <= 3; ++size) {
        Dims next = shape;
        next[next.rank++] = size;
        longer.push_back(next);
      }
    }
    shapes = std::move(longer);
  }
  return shapes;
}

int64_t element_of(const Dims& dims, const Dims& y, int64_t n) {
  int64_t offset = 0;
  int64_t stride = 1;
  for (int axis = y.rank - 1; axis >= 0; --axis) {
    const int64_t index = n % y[axis];
    n /= y[axis];
    const int own = axis - (y.rank - dims.rank);
    if (own < 0) continue;
    if (dims[own] != 1) offset += index * stride;
    stride *= dims[own];
  }
  return offset;
}

void check(const Dims& a, const Dims& b, const Dims& y) {
  const BroadcastPlan plan = plan_broadcast(a, b, y);
  ASSERT_EQ(plan.total_rows() * plan.columns(), y.count());
  for (int64_t row = 0; row < plan.total_rows(); ++row) {
    int64_t at_a = 0;
    int64_t at_b = 0;
    plan.row_offsets(row, at_a, at_b);
    for (int64_t column = 0; column < plan.columns(); ++column) {
      const int64_t n = row * plan.columns() + column;
      ASSERT_EQ(at_a + column * plan.a_step(), element_of(a, y, n)) << to_string(a) << to_string(b) << " at " << n;
      ASSERT_EQ(at_b + column * plan.b_step(), element_of(b, y, n)) << to_string(a) << to_string(b) << " at " << n;
    }
  }
}

TEST(Broadcast, EveryPairOfSmallShapes) {
  for (int rank_a = 0; rank_a <= 3; ++rank_a) {
    for (int rank_b = 0; rank_b <= 3; ++rank_b) {
      for (const Dims& a : shapes_of_rank(rank_a)) {
        for (const Dims& b : shapes_of_rank(rank_b)) {
          const int rank = std::max(rank_a, rank_b);
          Dims y;
          y.rank = rank;
          bool fits = true;
          for (int i = 1; i <= rank; ++i) {
            const int64_t left = i <= rank_a ? a[rank_a - i] : 1;
            const int64_t right = i <= rank_b ? b[rank_b - i] : 1;
            fits = fits && (left == right || left == 1 || right == 1);
            y[rank - i] = left == 1 ? right : left;
          }
          EXPECT_EQ(broadcasts_to(to_shape(a), to_shape(b), to_shape(y)), fits);
          if (fits) check(a, b, y);
        }
      }
    }
  }
}

TEST(Broadcast, SameShapesAreOneRowAndChannelsTwo) {
  EXPECT_EQ(plan_broadcast({2, 13, 19}, {2, 13, 19}, {2, 13, 19}).total_rows(), 1);
  EXPECT_EQ(plan_broadcast({2, 13, 19}, {}, {2, 13, 19}).total_rows(), 1);
  const BroadcastPlan channels = plan_broadcast({2, 13, 19}, {19}, {2, 13, 19});
  EXPECT_EQ(channels.rank, 2);
  EXPECT_EQ(channels.rows(), 26);
  EXPECT_EQ(channels.b_row(), 0);
}

}  // namespace
}  // namespace hai::cpu
