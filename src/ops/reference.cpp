// Loads and stores of every element type for the references.
//
// Floats narrow once from f64 (types/float_format.h); nibbles are packed low first. Not fast, and not meant to be.
#include "ops/reference.h"

#include <cmath>
#include <cstring>

#include "types/float_format.h"

namespace hai::ops {
namespace {

template <typename T>
T read(const std::byte* data, int64_t i) {
  T value;
  std::memcpy(&value, data + static_cast<size_t>(i) * sizeof(T), sizeof(T));
  return value;
}

template <typename T>
void write(std::byte* data, int64_t i, T value) {
  std::memcpy(data + static_cast<size_t>(i) * sizeof(T), &value, sizeof(T));
}

int64_t read_nibble(const std::byte* data, int64_t i) {
  const auto byte = static_cast<unsigned>(data[i / 2]);
  return (i % 2 == 0) ? (byte & 15U) : (byte >> 4);
}

void write_nibble(std::byte* data, int64_t i, int64_t value) {
  const auto nibble = static_cast<unsigned>(value) & 15U;
  const auto byte = static_cast<unsigned>(data[i / 2]);
  data[i / 2] = static_cast<std::byte>((i % 2 == 0) ? ((byte & 0xf0U) | nibble) : ((byte & 0x0fU) | (nibble << 4)));
}

}  // namespace

int64_t load_integer(const TensorView& view, int64_t i) {
  switch (view.dtype) {
    case DataType::kI64:
    case DataType::kU64:
      return read<int64_t>(view.data, i);
    case DataType::kI32:
      return read<int32_t>(view.data, i);
    case DataType::kI16:
      return read<int16_t>(view.data, i);
    case DataType::kI8:
      return read<int8_t>(view.data, i);
    case DataType::kI4:
      return (read_nibble(view.data, i) ^ 8) - 8;
    case DataType::kU32:
      return read<uint32_t>(view.data, i);
    case DataType::kU16:
      return read<uint16_t>(view.data, i);
    case DataType::kU8:
      return read<uint8_t>(view.data, i);
    case DataType::kU4:
      return read_nibble(view.data, i);
    case DataType::kBool:
      return read<uint8_t>(view.data, i) != 0 ? 1 : 0;
    default:
      HAI_CHECK(!is_float(view.dtype));
      return 0;
  }
}

void store_integer(const MutableTensorView& view, int64_t i, int64_t value) {
  switch (bit_width(view.dtype)) {
    case 64:
      return write<int64_t>(view.data, i, value);
    case 32:
      return write<uint32_t>(view.data, i, static_cast<uint32_t>(static_cast<uint64_t>(value)));
    case 16:
      return write<uint16_t>(view.data, i, static_cast<uint16_t>(static_cast<uint64_t>(value)));
    case 4:
      return write_nibble(view.data, i, value);
    default:
      return write<uint8_t>(view.data, i,
                            view.dtype == DataType::kBool ? static_cast<uint8_t>(value != 0 ? 1 : 0)
                                                          : static_cast<uint8_t>(static_cast<uint64_t>(value)));
  }
}

double load_f64(const TensorView& view, int64_t i) {
  switch (view.dtype) {
    case DataType::kF64:
      return read<double>(view.data, i);
    case DataType::kF32:
      return static_cast<double>(read<float>(view.data, i));
    case DataType::kF16:
      return static_cast<double>(hai_f16_to_f32(read<uint16_t>(view.data, i)));
    case DataType::kBF16:
      return static_cast<double>(hai_bf16_to_f32(read<uint16_t>(view.data, i)));
    default:
      return static_cast<double>(load_integer(view, i));
  }
}

void store_f64(const MutableTensorView& view, int64_t i, double value) {
  switch (view.dtype) {
    case DataType::kF64:
      return write<double>(view.data, i, value);
    case DataType::kF32:
      return write<float>(view.data, i, static_cast<float>(value));
    case DataType::kF16:
      return write<uint16_t>(view.data, i, hai_f64_to_f16(value));
    case DataType::kBF16:
      return write<uint16_t>(view.data, i, hai_f64_to_bf16(value));
    case DataType::kBool:
      return write<uint8_t>(view.data, i, value != 0.0 ? 1 : 0);
    case DataType::kI64:
    case DataType::kU64: {
      const double hi = 9223372036854774784.0;  // the largest f64 below 2^63
      const double lo = view.dtype == DataType::kI64 ? -9223372036854775808.0 : 0.0;
      return write<int64_t>(view.data, i, static_cast<int64_t>(std::nearbyint(hai_clamp_f64(value, lo, hi))));
    }
    default: {
      const double clamped = hai_clamp_f64(value, static_cast<double>(integer_min(view.dtype)),
                                           static_cast<double>(integer_max(view.dtype)));
      return store_integer(view, i, static_cast<int64_t>(hai_round_half_even_f64(clamped)));
    }
  }
}

std::vector<double> load_all_f64(const TensorView& view) {
  std::vector<double> values(static_cast<size_t>(view.count()));
  for (size_t i = 0; i < values.size(); ++i) values[i] = load_f64(view, static_cast<int64_t>(i));
  return values;
}

std::vector<int64_t> load_all_integers(const TensorView& view) {
  std::vector<int64_t> values(static_cast<size_t>(view.count()));
  for (size_t i = 0; i < values.size(); ++i) values[i] = load_integer(view, static_cast<int64_t>(i));
  return values;
}

void store_all_f64(const MutableTensorView& view, std::span<const double> values) {
  HAI_CHECK(static_cast<int64_t>(values.size()) == view.count());
  for (size_t i = 0; i < values.size(); ++i) store_f64(view, static_cast<int64_t>(i), values[i]);
}

void store_all_integers(const MutableTensorView& view, std::span<const int64_t> values) {
  HAI_CHECK(static_cast<int64_t>(values.size()) == view.count());
  for (size_t i = 0; i < values.size(); ++i) store_integer(view, static_cast<int64_t>(i), values[i]);
}

Index strides_of(const Dims& dims) {
  Index strides{};
  int64_t stride = 1;
  for (int axis = dims.rank - 1; axis >= 0; --axis) {
    strides[static_cast<size_t>(axis)] = stride;
    stride *= dims[axis];
  }
  return strides;
}

Index broadcast_strides(const Dims& dims, const Dims& to) {
  HAI_CHECK(dims.rank <= to.rank);
  const Index own = strides_of(dims);
  Index strides{};
  const int shift = to.rank - dims.rank;
  for (int axis = 0; axis < dims.rank; ++axis) {
    HAI_CHECK(dims[axis] == to[axis + shift] || dims[axis] == 1);
    strides[static_cast<size_t>(axis + shift)] = dims[axis] == 1 ? 0 : own[static_cast<size_t>(axis)];
  }
  return strides;
}

}  // namespace hai::ops
