// ONNX Runtime's MatMulNBits: a matrix product whose constant matrix has 4 or 8 bits and a scale for each block of a
// column.
//
// B is [N, blocks, bytes a block], low nibble first, the last block padded; scales are [N, blocks]; zero points, packed
// like B, default to half the range. It becomes matmul with transpose_b and integers moved by half their range
// (i4 or i8 instead of u4 or u8), so that the default zero point is 0. The integers and scales are kept.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/checked.h"
#include "importers/onnx/import_registry.h"

namespace hai::onnx_import {
namespace {

struct Packing {
  int64_t k = 0, n = 0, bits = 4, block = 0, blocks = 0;
  int64_t block_bytes() const { return block * bits / 8; }
  int64_t zero_bytes() const { return ceil_div(blocks * bits, 8); }  // of a column
};

// Element `i` of `bits` bits, low ones first, moved by half the range.
int32_t moved_integer(const uint8_t* bytes, int64_t i, int64_t bits) {
  if (bits == 8) return bytes[i] - 128;
  return ((bytes[i / 2] >> (4 * (i % 2))) & 15) - 8;
}

Result<Packing> read_packing(ImportContext& context) {
  Packing out;
  out.k = context.int_attribute("K", 0);
  out.n = context.int_attribute("N", 0);
  out.bits = context.int_attribute("bits", 4);
  out.block = context.int_attribute("block_size", 0);
  constexpr int64_t kMost = int64_t{1} << 31;
  if (out.bits != 4 && out.bits != 8) {
    return context.unsupported(fmt::format("{} bits; 4 and 8 are supported", out.bits));
  }
  if (out.k < 1 || out.n < 1 || out.k >= kMost || out.n >= kMost || out.block < 16 || out.block >= kMost ||
      (out.block & (out.block - 1)) != 0) {
    return context.invalid(fmt::format("K {}, N {} or block_size {}: sizes are positive, blocks powers of 2 from 16",
                                       out.k, out.n, out.block));
  }
  out.blocks = ceil_div(out.k, out.block);
  return out;
}

// The bytes of a constant uint8 operand of the given size.
Result<const uint8_t*> constant_bytes(ImportContext& context, ir::ValueId id, int64_t size, std::string_view what) {
  const ir::Value& value = context.graph().value(id);
  if (!value.is_constant() || value.type.dtype != DataType::kU8) {
    return context.unsupported(fmt::format("{} must be constant uint8", what));
  }
  if (static_cast<int64_t>(value.constant->bytes().size()) != size) {
    return context.invalid(
        fmt::format("{} has {} bytes, K, N and block_size ask for {}", what, value.constant->bytes().size(), size));
  }
  return reinterpret_cast<const uint8_t*>(value.constant->bytes().data());
}

Result<Quantization> read_blocks(ImportContext& context, const Packing& packing) {
  Quantization out;
  out.axis = 1;
  out.block = packing.block;
  HAI_TRY(const std::vector<double> scales, context.reals(2, "the scales"));
  if (static_cast<int64_t>(scales.size()) != packing.n * packing.blocks) {
    return context.invalid(fmt::format("{} scales, there are {} blocks", scales.size(), packing.n * packing.blocks));
  }
  for (const double scale : scales) {
    // The sign of a block's scale is the sign of its weights in some writers; stored integers cannot carry it.
    if (!std::isfinite(scale) || scale <= 0.0) {
      return context.unsupported(fmt::format("a scale is {}; scales must be positive", scale));
    }
    out.scales.push_back(static_cast<float>(scale));
  }
  out.zero_points.assign(out.scales.size(), 0);
  HAI_TRY(const ir::ValueId zero_points, context.optional_input(3));
  if (zero_points == ir::kNone) return out;
  HAI_TRY(const uint8_t* bytes,
          constant_bytes(context, zero_points, packing.n * packing.zero_bytes(), "the zero points"));
  for (int64_t n = 0; n < packing.n; ++n) {
    for (int64_t block = 0; block < packing.blocks; ++block) {
      out.zero_points[static_cast<size_t>(n * packing.blocks + block)] =
          moved_integer(bytes + n * packing.zero_bytes(), block, packing.bits);
    }
  }
  return out;
}

}  // namespace

Status convert_matmul_nbits(ImportContext& context) {
  HAI_TRY(const Packing packing, read_packing(context));
  if (context.has_input(4)) return context.unsupported("g_idx (columns in another order) is not supported");
  HAI_TRY(const ir::ValueId a, context.input(0));
  HAI_TRY(const ir::ValueId b, context.input(1));
  HAI_TRY(const ir::ValueId bias, context.optional_input(5));
  if (context.type(a).dtype != DataType::kF32) return context.unsupported("A must be float32");
  const int64_t row_bytes = packing.blocks * packing.block_bytes();
  HAI_TRY(const uint8_t* bytes, constant_bytes(context, b, packing.n * row_bytes, "B"));
  HAI_TRY(Quantization quantization, read_blocks(context, packing));
  const DataType dtype = packing.bits == 4 ? DataType::kI4 : DataType::kI8;
  auto data = ir::ConstantData::allocate(static_cast<size_t>(bytes_for(dtype, packing.n * packing.k)));
  std::byte* to = data->mutable_bytes().data();
  std::fill(data->mutable_bytes().begin(), data->mutable_bytes().end(), std::byte{0});
  for (int64_t n = 0, element = 0; n < packing.n; ++n) {
    for (int64_t k = 0; k < packing.k; ++k, ++element) {
      const auto q = static_cast<unsigned>(moved_integer(bytes + n * row_bytes, k, packing.bits));
      if (packing.bits == 8) {
        to[element] = static_cast<std::byte>(q & 0xffU);
      } else {
        to[element / 2] |= static_cast<std::byte>((q & 15U) << (4 * (element % 2)));
      }
    }
  }
  ir::Graph& graph = context.graph();
  const ir::ValueId weights = graph.add_constant(
      graph.value(b).name, {dtype, {Dim(packing.n), Dim(packing.k)}, std::move(quantization)}, std::move(data));
  std::vector<ir::ValueId> operands{a, weights};
  if (bias != ir::kNone) operands.push_back(bias);
  HAI_TRY(const ir::ValueId y, context.emit("matmul", std::move(operands), {{"transpose_b", int64_t{1}}}));
  return context.set_output(0, y);
}

}  // namespace hai::onnx_import
