// ONNX Transpose, and what is a transpose between two reshapes: DepthToSpace, SpaceToDepth.
//
// Both orders (DCR, CRD). Two transposes that undo each other make no node (see ImportContext).
#include <fmt/format.h>

#include <numeric>

#include "importers/onnx/import_registry.h"

namespace hai::onnx_import {
namespace {

Status convert_transpose(ImportContext& context) {
  HAI_TRY(const ir::ValueId x, context.input(0));
  std::vector<int64_t> reversed(context.rank(x));
  std::iota(reversed.rbegin(), reversed.rend(), 0);
  HAI_TRY(const ir::ValueId y, context.transpose(x, context.ints_attribute("perm", reversed)));
  return context.set_output(0, y);
}

Result<ir::ValueId> rearrange(ImportContext& context, ir::ValueId x, const Shape& split,
                              const std::vector<int64_t>& permutation, const Shape& joined) {
  HAI_TRY(const ir::ValueId parts, context.reshape(x, split));
  HAI_TRY(const ir::ValueId moved, context.transpose(parts, permutation));
  return context.reshape(moved, joined);
}

Status convert_blocks(ImportContext& context, bool to_space) {
  HAI_TRY(const ir::ValueId x, context.input(0));
  const Shape shape = context.shape(x);
  const int64_t block = context.int_attribute("blocksize", 0);
  constexpr int64_t kMaxBlock = 1 << 15;
  if (shape.size() != 4 || block < 1 || block > kMaxBlock) {
    return context.invalid(fmt::format("it needs a tensor of 4 dimensions and a block size from 1 to {}", kMaxBlock));
  }
  const Dim n = shape[0];
  const int64_t c = shape[1].value;
  const int64_t h = shape[2].value;
  const int64_t w = shape[3].value;
  if (shape[1].is_symbolic() || shape[2].is_symbolic() || shape[3].is_symbolic()) {
    return context.unsupported("only the batch may be free");
  }
  const Dim b(block);
  const bool columns_first = context.string_attribute("mode", "DCR") == "CRD";
  if (to_space) {
    const int64_t depth = c / (block * block);
    if (c % (block * block) != 0) return context.invalid("the channels do not divide by the square of the block size");
    const Shape joined = {n, Dim(depth), Dim(h * block), Dim(w * block)};
    const Shape split =
        columns_first ? Shape{n, Dim(depth), b, b, Dim(h), Dim(w)} : Shape{n, b, b, Dim(depth), Dim(h), Dim(w)};
    const std::vector<int64_t> permutation =
        columns_first ? std::vector<int64_t>{0, 1, 4, 2, 5, 3} : std::vector<int64_t>{0, 3, 4, 1, 5, 2};
    HAI_TRY(const ir::ValueId y, rearrange(context, x, split, permutation, joined));
    return context.set_output(0, y);
  }
  if (h % block != 0 || w % block != 0) return context.invalid("height or width does not divide by the block size");
  const Shape split = {n, Dim(c), Dim(h / block), b, Dim(w / block), b};
  const Shape joined = {n, Dim(c * block * block), Dim(h / block), Dim(w / block)};
  const std::vector<int64_t> permutation =
      columns_first ? std::vector<int64_t>{0, 1, 3, 5, 2, 4} : std::vector<int64_t>{0, 3, 5, 1, 2, 4};
  HAI_TRY(const ir::ValueId y, rearrange(context, x, split, permutation, joined));
  return context.set_output(0, y);
}

}  // namespace

void register_transpose_onnx(ImportRegistry& registry);
void register_transpose_onnx(ImportRegistry& registry) {
  registry.add("Transpose", convert_transpose);
  registry.add("DepthToSpace", [](ImportContext& context) { return convert_blocks(context, true); });
  registry.add("SpaceToDepth", [](ImportContext& context) { return convert_blocks(context, false); });
}

}  // namespace hai::onnx_import
