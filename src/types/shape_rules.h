// Shape rules of the operators that move, pool and reduce data: what shape comes out, or why none does.
//
// Stated once, used twice: by shape inference when a graph is built, and by the CPU's exec when it loads a program that
// anyone may have written. Every rule takes numbers as hostile: no overflow, no index out of range, and a reason in
// words ("axis 5 is out of range for rank 4") that the caller puts into its own error. A dimension may hang on a symbol
// (8*N); rules that need its number say so.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "types/pool_window.h"
#include "types/shape.h"

namespace hai {

// A value, or the reason why there is none.
template <typename T>
class Rule {
 public:
  Rule(T value) : value_(std::move(value)) {}  // NOLINT: implicit, so that a rule reads like a function of shapes
  static Rule refuse(std::string reason) {
    Rule out;
    out.reason_ = std::move(reason);
    return out;
  }

  explicit operator bool() const { return value_.has_value(); }
  T& operator*() { return *value_; }
  const T& operator*() const { return *value_; }
  T* operator->() { return &*value_; }
  const T* operator->() const { return &*value_; }
  const std::string& reason() const { return reason_; }

 private:
  Rule() = default;
  std::optional<T> value_;
  std::string reason_;
};

// No tensor has more elements than this (at batch 1): its bytes at any batch still fit in 63 bits.
inline constexpr int64_t kMaxElements = int64_t{1} << 54;

namespace shape_rules {

// A negative axis counts from the end. Result in [0, rank).
Rule<int> axis(int64_t axis, size_t rank);
// The same for a list without repetition, sorted. An empty list stays empty.
Rule<std::vector<int>> axes(std::span<const int64_t> axes, size_t rank);

Rule<Shape> concat(std::span<const Shape* const> inputs, int axis);
Rule<std::vector<Shape>> split(const Shape& x, int axis, std::span<const int64_t> sizes);
// Normalised bounds. step > 0: 0 <= start, end <= size; step < 0: -1 <= start, end < size. A symbolic dimension can
// only be taken whole: start 0, end INT64_MAX, step 1. An empty `steps` means ones.
Rule<Shape> slice(const Shape& x, std::span<const int64_t> starts, std::span<const int64_t> ends,
                  std::span<const int64_t> axes, std::span<const int64_t> steps);
// pads: befores then afters, none negative; mode constant, reflect or edge.
Rule<Shape> pad(const Shape& x, std::span<const int64_t> pads, std::string_view mode);
// 0 copies the dimension of x at that place, -1 is inferred.
Rule<Shape> reshape(const Shape& x, std::span<const int64_t> target);
Rule<Shape> transpose(const Shape& x, std::span<const int64_t> permutation);
// NumPy broadcasting of x to `target`, aligned at the last axis; -1 keeps the dimension of x.
Rule<Shape> expand(const Shape& x, std::span<const int64_t> target);
// The same with the first size of `batch` in place of a first entry of -1, along which x has no size but 1.
Rule<Shape> expand_over(const Shape& x, std::span<const int64_t> target, const Shape& batch);
Rule<Shape> gather(const Shape& x, const Shape& indices, int axis);
// `axes` normalised and sorted (see axes()).
Rule<Shape> reduce(const Shape& x, std::span<const int> axes, bool keep_dims);
// x NHWC. Every window holds at least one element of x, unless a dilated window straddles it.
Rule<Shape> pool(const Shape& x, const PoolWindow& window);
// x NHWC; exactly one of `sizes` and `scales` has two entries, the other none.
Rule<Shape> resize(const Shape& x, std::span<const int64_t> sizes, std::span<const double> scales);

// Ok when the shape is one a tensor may have: rank, sizes, number of elements.
Rule<Shape> checked(Shape shape);

}  // namespace shape_rules
}  // namespace hai
