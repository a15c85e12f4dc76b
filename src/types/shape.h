// Dim and Shape: tensor dimensions at compile time, where a dimension may hang on a named symbol; Dims: the concrete
// ones at run time.
//
// A Dim is `value` or `value * symbol` (a linear monomial: the batch symbol N, or 8*N after a reshape). That is all the
// memory planner can place at offset(N) = N * offset(1), so that is all there is; anything else is bound to a number at
// compile time.
#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace hai {

inline constexpr int kMaxRank = 8;

// A named dimension with inclusive bounds, owned by a graph. By convention symbol 0 of a graph is its batch symbol.
struct Symbol {
  std::string name;
  int64_t min = 1;
  int64_t max = 16;
  bool operator==(const Symbol&) const = default;
};

struct Dim {
  int64_t value = 0;    // >= 0; the factor when symbolic
  int32_t symbol = -1;  // index into the graph's symbols, -1: a plain number

  constexpr Dim() = default;
  constexpr Dim(int64_t number) : value(number) {}  // NOLINT: a number is a Dim
  constexpr Dim(int64_t factor, int32_t symbol_index) : value(factor), symbol(symbol_index) {}

  constexpr bool is_symbolic() const { return symbol >= 0; }
  constexpr bool operator==(const Dim&) const = default;
};

using Shape = std::vector<Dim>;

bool is_static(const Shape& shape);

// Product of all dimensions as a Dim (value * symbol); std::nullopt on overflow past 2^63 - 1 or when two symbolic
// dimensions meet.
std::optional<Dim> element_count(std::span<const Dim> shape);

// Concrete dimensions, rank <= kMaxRank, no heap.
struct Dims {
  int32_t rank = 0;
  std::array<int64_t, kMaxRank> size{};

  Dims() = default;
  Dims(std::initializer_list<int64_t> sizes);
  explicit Dims(std::span<const int64_t> sizes);

  int64_t operator[](int axis) const { return size[static_cast<size_t>(axis)]; }
  int64_t& operator[](int axis) { return size[static_cast<size_t>(axis)]; }
  // Product of the sizes. Precondition: known not to overflow (graphs and files are checked when they enter).
  int64_t count() const;
  bool operator==(const Dims& other) const;
  std::span<const int64_t> view() const { return {size.data(), static_cast<size_t>(rank)}; }
};

// Replaces symbols by numbers: `symbol_values[i]` is the value of symbol i. Precondition: rank <= kMaxRank and no
// overflow.
Dims resolve(std::span<const Dim> shape, std::span<const int64_t> symbol_values);

// Shape of plain numbers.
Shape to_shape(std::span<const int64_t> sizes);
Shape to_shape(const Dims& dims);

// "[N, 3, 224, 224]", "[8*N, 4]"; symbols print by name.
std::string to_string(std::span<const Dim> shape, std::span<const Symbol> symbols);
std::string to_string(const Dims& dims);

}  // namespace hai
