// Shapes: products with overflow checks, resolution of symbols, text.
//
// Invariant: a product that would pass 2^63 - 1 is reported, never wrapped; sizes from files are hostile until proven
// otherwise.
#include "types/shape.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/checked.h"
#include "base/result.h"

namespace hai {

bool is_static(const Shape& shape) {
  return std::none_of(shape.begin(), shape.end(), [](const Dim& dim) { return dim.is_symbolic(); });
}

std::optional<Dim> element_count(std::span<const Dim> shape) {
  Dim product{1};
  for (const Dim& dim : shape) {
    if (dim.value < 0) return std::nullopt;
    const auto value = checked_mul(product.value, dim.value);
    if (!value) return std::nullopt;
    product.value = *value;
    if (dim.is_symbolic()) {
      if (product.is_symbolic()) return std::nullopt;
      product.symbol = dim.symbol;
    }
  }
  return product;
}

Dims::Dims(std::initializer_list<int64_t> sizes) : Dims(std::span<const int64_t>(sizes.begin(), sizes.size())) {}

Dims::Dims(std::span<const int64_t> sizes) : rank(static_cast<int32_t>(sizes.size())) {
  HAI_CHECK(sizes.size() <= static_cast<size_t>(kMaxRank));
  std::copy(sizes.begin(), sizes.end(), size.begin());
}

int64_t Dims::count() const {
  int64_t product = 1;
  for (int i = 0; i < rank; ++i) product *= (*this)[i];
  return product;
}

bool Dims::operator==(const Dims& other) const {
  return rank == other.rank && std::equal(size.begin(), size.begin() + rank, other.size.begin());
}

Dims resolve(std::span<const Dim> shape, std::span<const int64_t> symbol_values) {
  HAI_CHECK(shape.size() <= static_cast<size_t>(kMaxRank));
  Dims dims;
  dims.rank = static_cast<int32_t>(shape.size());
  for (size_t i = 0; i < shape.size(); ++i) {
    dims.size[i] =
        shape[i].is_symbolic() ? shape[i].value * symbol_values[static_cast<size_t>(shape[i].symbol)] : shape[i].value;
  }
  return dims;
}

Shape to_shape(std::span<const int64_t> sizes) {
  Shape shape;
  shape.reserve(sizes.size());
  for (const int64_t size : sizes) shape.emplace_back(size);
  return shape;
}

Shape to_shape(const Dims& dims) { return to_shape(dims.view()); }

std::string to_string(std::span<const Dim> shape, std::span<const Symbol> symbols) {
  std::string text = "[";
  for (size_t i = 0; i < shape.size(); ++i) {
    if (i > 0) text += ", ";
    const Dim& dim = shape[i];
    if (!dim.is_symbolic()) {
      text += fmt::format("{}", dim.value);
      continue;
    }
    const auto index = static_cast<size_t>(dim.symbol);
    const std::string name = index < symbols.size() ? symbols[index].name : fmt::format("?{}", dim.symbol);
    text += dim.value == 1 ? name : fmt::format("{}*{}", dim.value, name);
  }
  return text + "]";
}

std::string to_string(const Dims& dims) { return to_string(to_shape(dims), {}); }

}  // namespace hai
