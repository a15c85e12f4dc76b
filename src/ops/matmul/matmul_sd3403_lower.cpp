// matmul on the NPU: a convolution with a window of one tap whose pixels are the rows of a.
//
// A constant matrix is its weights. Of two activations, every matrix of b is packed into the weight cache while the
// program runs, a convolution a matrix; matrices are views of what a and b lie in, and of what the result is read as.
#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "devices/sd3403/lower/half.h"
#include "devices/sd3403/lower/product.h"

namespace hai::sd3403 {
namespace {

// Of the matrix: [K, N], or [N, K].
int channel_axis(const ir::Node& node) { return node.int_attribute("transpose_b", 0) != 0 ? 0 : 1; }

constexpr int64_t kMostRows = 8191;  // fields of commands.def

struct Sizes {
  int64_t rows, inner, columns;
};
Sizes sizes_of(const ir::Graph& graph, const ir::Node& node) {
  const Shape& a = graph.value(node.inputs[0]).type.shape;
  const Shape& y = graph.value(node.outputs[0]).type.shape;
  return {a[a.size() - 2].value, a.back().value, y.back().value};
}

int64_t largest_bias(const ir::Graph& graph, const ir::Node& node) {
  if (node.inputs.size() < 3 || node.inputs[2] == ir::kNone) return 0;
  const ir::Value& value = graph.value(node.inputs[2]);
  const bool wide = value.type.dtype == DataType::kI64;
  const std::byte* data = value.constant->bytes().data();
  int64_t largest = 0;
  for (int64_t i = 0; i < element_count(value.type.shape)->value; ++i) {
    const int64_t one = wide ? reinterpret_cast<const int64_t*>(data)[i] : reinterpret_cast<const int32_t*>(data)[i];
    largest = std::max(largest, one < 0 ? -std::max(one, -INT64_MAX) : one);
  }
  return largest;
}

// Whatever the activations are, the sums must fit.
Status check_sums(const ir::Graph& graph, const ir::Node& node) {
  const auto reach = [](const ir::TensorType& type) -> int64_t {
    return std::max(integer_max(type.dtype) - zero_point_of(type), zero_point_of(type) - integer_min(type.dtype));
  };
  const ir::TensorType& a = graph.value(node.inputs[0]).type;
  const int64_t limit =
      a.dtype == DataType::kI16 ? (int64_t{1} << 53) - 1 : int64_t{std::numeric_limits<int32_t>::max()};
  const int64_t bias = largest_bias(graph, node);
  const int64_t most = sizes_of(graph, node).inner * reach(a) * reach(graph.value(node.inputs[1]).type);
  if (bias <= limit && most <= limit - bias) return {};
  return refuse(node, fmt::format("sums of up to {} beside a bias of {}", most, bias));
}

bool of_two_activations(const ir::Graph& graph, const ir::Node& node) {
  return !graph.value(node.inputs[1]).is_constant();
}

Status check_batches(const ir::Graph& graph, const ir::Node& node) {
  const size_t axes = graph.value(node.inputs[0]).type.shape.size();
  if (axes >= 3 && graph.value(node.inputs[1]).type.shape.size() == axes) return {};
  return refuse(node, "operands that are no batches of as many axes");
}

Status check_residual(const ir::Graph&, const ir::Node& node) {
  const bool has = node.inputs.size() > 3 && node.inputs[3] != ir::kNone;
  return has ? refuse(node, "a product of two activations with a residual") : Status();
}

Status check_sizes(const ir::Graph& graph, const ir::Node& node) {
  const Sizes sizes = sizes_of(graph, node);
  if (std::max({sizes.rows, sizes.inner, sizes.columns}) <= kMostRows) return {};
  return refuse(node, fmt::format("matrices of more than {} rows or columns", kMostRows));
}

Legality legality() {
  return {
      {"of two activations", of_two_activations,
       join({{takes(0, Types::kIntegers), takes(1, Types::kBytes), checked("batches of as many axes", check_batches),
              checked("no residual", check_residual), checked("at most 8191 rows and columns", check_sizes)},
             epilogue_rules(),
             {checked("sums that fit whatever the activations are", check_sums)}})},
      {"of f16", of_halves, join({{rank(1, 2, 2)}, half_product_rules()})},
      {"of integers", nullptr, join({{rank(1, 2, 2)}, product_rules(), {takes(3, Types::kIntegers)}})}};
}

// [K][N] to [N][K].
std::vector<int16_t> transposed(const std::vector<int16_t>& from, size_t rows, size_t columns) {
  std::vector<int16_t> to(from.size());
  for (size_t i = 0; i < rows; ++i) {
    for (size_t j = 0; j < columns; ++j) to[j * rows + i] = from[i * columns + j];
  }
  return to;
}

// Matrix `number` of those of the result; axes of 1 are read again.
View matrix_of(const View& view, const std::vector<int64_t>& result_dims, int64_t number) {
  const size_t rank = result_dims.size();
  View out{view.buffer,
           view.offset,
           {view.dims[rank - 2], view.dims[rank - 1]},
           {view.strides[rank - 2], view.strides[rank - 1]}};
  for (size_t axis = rank - 2; axis-- > 0;) {
    const int64_t at = number % result_dims[axis];
    number /= result_dims[axis];
    if (view.dims[axis] != 1) out.offset += at * view.strides[axis];
  }
  return out;
}

// Elements along this axis, counted from the last, follow each other.
bool is_adjacent(const View& view, size_t back) {
  const size_t axis = view.dims.size() - 1 - back;
  return view.dims[axis] == 1 || view.strides[axis] == 1;
}

// All rows of it are needed at once.
Slice whole_slice(const SegmentBuilder& builder, const View& matrix, int64_t type) {
  Slice slice = *builder.slice_of(matrix, type);
  if (slice.whole) return slice;
  slice.offset_bytes = builder.first_byte(slice);
  slice.first_row = 0;
  slice.whole = true;
  return slice;
}

View with_adjacent(SegmentBuilder& builder, ir::ValueId value, size_t least_back) {
  const View view = builder.view(value);
  for (size_t back = 0; back <= least_back; ++back) {
    if (is_adjacent(view, back)) return view;
  }
  return builder.dense(value);
}

Status lower_activations(SegmentBuilder& builder) {
  const ir::Node& node = builder.node();
  const ir::TensorType& b_type = builder.type(node.inputs[1]);
  const Sizes sizes = sizes_of(builder.graph(), node);
  const std::vector<int64_t> dims = sample_dims(builder.graph(), node.outputs[0]);
  const View a = with_adjacent(builder, node.inputs[0], 0);
  const View b = with_adjacent(builder, node.inputs[1], 1);
  const View y = builder.result_of_matrices(node.outputs[0]);
  const bool turns = !is_adjacent(b, 0);  // rows are what lies together
  const int64_t a_element = *element_of(builder.type(node.inputs[0]).dtype);
  const int64_t b_element = *element_of(b_type.dtype);
  const int64_t y_element = *element_of(builder.type(node.outputs[0]).dtype);
  int64_t count = 1;
  for (size_t axis = 0; axis + 2 < dims.size(); ++axis) count *= dims[axis];
  Layer all;
  Convolve c;
  c.weights = kWeightI8;
  c.weight_zero_point = zero_point_of(b_type) - (b_element == kU8 ? 128 : 0);
  c.input_channels = sizes.inner;
  c.output_channels = sizes.columns;
  all.body = c;
  all.pack.emplace().transposes = (node.int_attribute("transpose_b", 0) != 0) != turns ? 1 : 0;
  all.macs = builder.macs() / count;
  all.constants.depth = sizes.inner;
  all.writes = *builder.slice_of(matrix_of(y, dims, 0), y_element);
  HAI_TRY_STATUS(finish_sums(builder, all));
  for (int64_t i = 0; i < count; ++i) {
    View right = matrix_of(b, dims, i);
    if (turns) {
      std::swap(right.dims[0], right.dims[1]);
      std::swap(right.strides[0], right.strides[1]);
    }
    Layer layer = all;
    if (count > 1) layer.name = fmt::format("{}.{}", node.name, i);
    layer.reads = {{*builder.slice_of(matrix_of(a, dims, i), a_element), {}},
                   {whole_slice(builder, right, b_element), {}}};
    layer.writes = *builder.slice_of(matrix_of(y, dims, i), y_element);
    builder.add(std::move(layer));
  }
  return {};
}

Status lower(SegmentBuilder& builder) {
  const ir::Node& node = builder.node();
  if (!builder.graph().value(node.inputs[1]).is_constant()) return lower_activations(builder);
  const bool transpose_b = channel_axis(node) == 0;
  const Shape& b = builder.type(node.inputs[1]).shape;
  Layer layer;
  layer.macs = builder.macs();
  layer.constants.depth = b[transpose_b ? 1 : 0].value;
  layer.constants.weights = centred_weights(builder.graph(), node, channel_axis(node));
  if (!transpose_b) {
    layer.constants.weights =
        transposed(layer.constants.weights, static_cast<size_t>(b[0].value), static_cast<size_t>(b[1].value));
  }
  const Slice x = builder.operand(node.inputs[0]);
  Convolve c;
  c.input_channels = x.channels;
  c.input_columns = x.columns;
  layer.body = c;
  layer.reads = {{x, {}}};
  HAI_TRY_STATUS(finish_product(builder, layer));
  std::get<Convolve>(layer.body).output_channels = layer.writes.channels;
  std::get<Convolve>(layer.body).output_columns = layer.writes.columns;
  builder.add(std::move(layer));
  return {};
}

}  // namespace

void register_matmul_lower(LowerRegistry& registry);
void register_matmul_lower(LowerRegistry& registry) { registry.add("matmul", {legality(), lower}); }

}  // namespace hai::sd3403
