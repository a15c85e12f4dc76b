// Views instead of copies, and copies where a command needs adjacent channels.
//
// Method: every value is a view of a buffer (offset and one stride an axis). Reshape, transpose, slice and split only
// change views. A concatenation along channels whose operands have its scale gives them their places before anything is
// lowered, so that their producers write there. A view that is not rows x columns x adjacent channels is copied to a
// buffer of its own when an operator reads it.
#include "devices/sd3403/lower/segment_builder.h"

#include <fmt/format.h>

#include <algorithm>

#include "devices/sd3403/lower/chain.h"
#include "ops/work.h"

namespace hai::sd3403 {
namespace {

constexpr int64_t kMostRows = 8191;  // fields of commands.def
constexpr int64_t kMostChannels = 65535;
constexpr int64_t kMostPixelStride = 1048575;

std::vector<int64_t> dense_strides(const std::vector<int64_t>& dims) {
  std::vector<int64_t> strides(dims.size(), 1);
  for (size_t i = dims.size(); i-- > 1;) strides[i - 1] = strides[i] * dims[i];
  return strides;
}

// Axes of size 1 go, neighbours that one stride can walk become one.
void merge_axes(View& view) {
  std::vector<int64_t> dims;
  std::vector<int64_t> strides;
  for (size_t i = 0; i < view.dims.size(); ++i) {
    if (view.dims[i] == 1) continue;
    if (!dims.empty() && strides.back() == view.strides[i] * view.dims[i]) {
      dims.back() *= view.dims[i];
      strides.back() = view.strides[i];
      continue;
    }
    dims.push_back(view.dims[i]);
    strides.push_back(view.strides[i]);
  }
  view.dims = std::move(dims);
  view.strides = std::move(strides);
}

int64_t rows_of(const std::vector<int64_t>& dims) { return dims.size() >= 2 ? dims[0] : 1; }
int64_t columns_of(const std::vector<int64_t>& dims) { return dims.size() >= 3 ? dims[1] : 1; }
int64_t channels_of(const std::vector<int64_t>& dims) { return dims.empty() ? 1 : dims.back(); }

// With all elements of these sizes, densely; of more than three axes, in a row of pixels.
Buffer buffer_of(std::string name, const std::vector<int64_t>& dims, int64_t type) {
  int64_t columns = columns_of(dims);
  for (size_t i = 2; i + 1 < dims.size(); ++i) columns *= dims[i];
  return {std::move(name), rows_of(dims), columns, channels_of(dims), type, ir::kNone, ir::kNone, false};
}

}  // namespace

std::vector<int64_t> sample_dims(const ir::Graph& graph, ir::ValueId value) {
  const Shape& shape = graph.value(value).type.shape;
  std::vector<int64_t> dims;
  for (size_t i = 1; i < shape.size(); ++i) dims.push_back(shape[i].value);
  return dims;
}

std::optional<int64_t> element_of(DataType dtype) {
  switch (dtype) {
    case DataType::kI8:
      return kI8;
    case DataType::kU8:
      return kU8;
    case DataType::kI16:
      return kI16;
    case DataType::kF16:
      return kF16;
    case DataType::kF32:
      return kF32;
    default:
      return std::nullopt;
  }
}

// Each new axis takes elements of the old ones from the innermost outwards; it is an axis of its own where it ends with
// an old one, and part of one where it does not.
std::optional<View> reshaped(const View& view, const std::vector<int64_t>& dims) {
  View merged = view;
  merge_axes(merged);
  View out{view.buffer, view.offset, dims, std::vector<int64_t>(dims.size(), 1)};
  size_t axis = merged.dims.size();
  int64_t left = 1;  // elements of the current old axis that are not taken
  int64_t stride = 1;
  for (size_t i = dims.size(); i-- > 0;) {
    if (dims[i] == 1) continue;
    if (left == 1) {
      if (axis == 0) return std::nullopt;
      --axis;
      left = merged.dims[axis];
      stride = merged.strides[axis];
    }
    if (left % dims[i] != 0) return std::nullopt;
    out.strides[i] = stride;
    stride *= dims[i];
    left /= dims[i];
  }
  // An axis of 1 has the stride of what stands inside it, so that dense views compare equal.
  for (size_t i = dims.size(); i-- > 0;) {
    if (dims[i] == 1 && i + 1 < dims.size()) out.strides[i] = out.strides[i + 1] * dims[i + 1];
  }
  return out;
}

Status refuse(const ir::Node& node, std::string_view why) {
  return make_error(StatusCode::kUnsupported, "N100", "{} (\"{}\") on the NPU: {}", node.op, node.name, why);
}

bool is_about_batch(const Error& refusal) { return refusal.id == "N101"; }

int32_t zero_point_of(const ir::TensorType& type) { return type.quantization ? type.quantization->zero_points[0] : 0; }
float scale_of(const ir::TensorType& type) { return type.quantization ? type.quantization->scales[0] : 1.0F; }

Status require_integers(const ir::Graph& graph, const ir::Node& node, ir::ValueId value) {
  const ir::TensorType& type = graph.value(value).type;
  const bool integer = type.dtype == DataType::kI8 || type.dtype == DataType::kU8 || type.dtype == DataType::kI16;
  if (!integer)
    return refuse(node,
                  fmt::format("{} is {}; it has i8, u8 and i16", graph.value(value).name, data_type_name(type.dtype)));
  if (!type.quantization || !type.quantization->per_tensor() || type.quantization->scales.size() != 1) {
    return refuse(node, fmt::format("{} has no single scale", graph.value(value).name));
  }
  return require_shape(graph, node, value);
}

Status require_shape(const ir::Graph& graph, const ir::Node& node, ir::ValueId value) {
  const ir::TensorType& type = graph.value(value).type;
  if (graph.value(value).is_constant()) return refuse(node, fmt::format("{} is a constant", graph.value(value).name));
  if (type.shape.empty()) return refuse(node, fmt::format("{} has no batch axis", graph.value(value).name));
  const Dim& batch = type.shape[0];
  if (!(batch.is_symbolic() && batch.symbol == 0 && batch.value == 1) && (batch.is_symbolic() || batch.value != 1)) {
    return make_error(StatusCode::kUnsupported, "N101",
                      "{} (\"{}\") on the NPU: the first axis of {} is no batch of single samples", node.op, node.name,
                      graph.value(value).name);
  }
  for (size_t i = 1; i < type.shape.size(); ++i) {
    if (type.shape[i].is_symbolic()) return refuse(node, "a size depends on the batch");
    if (type.shape[i].value < 1) return refuse(node, fmt::format("{} is empty", graph.value(value).name));
  }
  const std::vector<int64_t> dims = sample_dims(graph, value);
  const int64_t channels = channels_of(dims);
  if (rows_of(dims) > kMostRows || columns_of(dims) > kMostRows || channels > kMostChannels ||
      channels * bit_width(type.dtype) / 8 > kMostPixelStride) {
    return refuse(node, fmt::format("{} is larger than {} rows or columns or {} channels", graph.value(value).name,
                                    kMostRows, kMostChannels));
  }
  return {};
}

const LowerRegistry& LowerRegistry::instance() {
  static const LowerRegistry kRegistry = [] {
    LowerRegistry registry;
    register_all_lower(registry);
    return registry;
  }();
  return kRegistry;
}

SegmentBuilder::SegmentBuilder(const ir::Graph& graph, const std::vector<ir::NodeId>& nodes)
    : graph_(graph), nodes_(nodes), members_(nodes.begin(), nodes.end()) {}

Result<Segment> SegmentBuilder::run() {
  add_inputs();
  place_concatenations();
  for (const ir::NodeId id : nodes_) {
    node_ = &graph_.node(id);
    if (auto status = LowerRegistry::instance().find(node_->op)->lower(*this); !status) {
      return with_where(status.error(), fmt::format("node \"{}\" ({})", node_->name, node_->op));
    }
  }
  for (const ir::ValueId output : segment_.outputs) {
    const View from = views_.at(output);
    Buffer& source = segment_.buffers[from.buffer];
    const bool is_all =
        source.input == ir::kNone && source.output == ir::kNone && from.offset == 0 &&
        from.strides == dense_strides(from.dims) &&
        source.rows * source.columns * source.channels == element_count(graph_.value(output).type.shape)->value;
    if (is_all) {
      source.output = output;
      continue;
    }
    node_ = &graph_.node(graph_.value(output).producer);
    const auto id = static_cast<BufferId>(segment_.buffers.size());
    const View to = dense_view(id, from.dims);
    Buffer made = buffer_of(graph_.value(output).name, from.dims, source.type);
    made.output = output;
    segment_.buffers.push_back(std::move(made));
    copy(from, to, segment_.buffers[id].type);
  }
  return std::move(segment_);
}

void SegmentBuilder::add_inputs() {
  const auto add_input = [&](ir::ValueId value) {
    if (value == ir::kNone || graph_.value(value).is_constant() || views_.contains(value)) return;
    const ir::NodeId producer = graph_.value(value).producer;
    if (producer != ir::kNone && members_.contains(producer)) return;
    segment_.inputs.push_back(value);
    const View view = allocate(value);
    segment_.buffers[view.buffer].input = value;
    views_[value] = view;
  };
  for (const ir::NodeId id : nodes_) {
    for (const ir::ValueId value : graph_.node(id).inputs) add_input(value);
    // A chain that begins outside of the segment is a table of what it begins with.
    add_input(origin_of_chain(graph_, graph_.node(id).outputs[0]));
  }
  for (const ir::NodeId id : nodes_) {
    for (const ir::ValueId value : graph_.node(id).outputs) {
      const auto& uses = graph_.value(value).uses;
      const bool leaves = graph_.is_output(value) || std::any_of(uses.begin(), uses.end(), [&](const ir::Use& use) {
                            return !members_.contains(use.node);
                          });
      if (leaves) segment_.outputs.push_back(value);
    }
  }
}

// From the last to the first, so that a concatenation inside another has its place already.
void SegmentBuilder::place_concatenations() {
  for (auto id = nodes_.rbegin(); id != nodes_.rend(); ++id) {
    const ir::Node& node = graph_.node(*id);
    if (node.op != "concat") continue;
    const ir::ValueId whole = node.outputs[0];
    const ir::TensorType& type = graph_.value(whole).type;
    const auto rank = static_cast<int64_t>(type.shape.size());
    const int64_t axis = node.int_attribute("axis", 0);
    if ((axis < 0 ? axis + rank : axis) != rank - 1 || rank < 2 || rank > 4) continue;
    int64_t channel = 0;
    for (const ir::ValueId part : node.inputs) {
      const ir::Value& value = graph_.value(part);
      const int64_t first = channel;
      channel += value.type.shape.back().value;
      if (value.producer == ir::kNone || !members_.contains(value.producer)) continue;
      const NpuLowering* lowering = LowerRegistry::instance().find(graph_.node(value.producer).op);
      const bool same = value.type.dtype == type.dtype && value.type.quantization == type.quantization;
      if (!same || lowering->moves_nothing || places_.contains(part)) continue;
      places_[part] = {whole, first};
    }
  }
}

View SegmentBuilder::dense_view(BufferId buffer, const std::vector<int64_t>& dims) const {
  return {buffer, 0, dims, dense_strides(dims)};
}

View SegmentBuilder::allocate(ir::ValueId value) {
  const std::vector<int64_t> dims = sample_dims(graph_, value);
  const auto id = static_cast<BufferId>(segment_.buffers.size());
  segment_.buffers.push_back(buffer_of(graph_.value(value).name, dims, *element_of(graph_.value(value).type.dtype)));
  return dense_view(id, dims);
}

void SegmentBuilder::set_view(ir::ValueId value, View view) { views_[value] = std::move(view); }

std::optional<Slice> SegmentBuilder::slice_of(const View& view, int64_t type) const {
  const Buffer& buffer = segment_.buffers[view.buffer];
  View axes = view;
  if (axes.dims.size() > 3) merge_axes(axes);
  if (axes.dims.size() > 3) return std::nullopt;
  Slice slice;
  slice.buffer = view.buffer;
  slice.type = type;
  slice.rows = rows_of(axes.dims);
  slice.columns = columns_of(axes.dims);
  slice.channels = channels_of(axes.dims);
  const int64_t unit = element_bytes(type);
  const size_t rank = axes.dims.size();
  const int64_t row_stride = rank >= 2 ? axes.strides[0] * unit : buffer.row_bytes();
  slice.pixel_stride = rank >= 3 ? axes.strides[1] * unit : slice.channels * unit;
  slice.channel_stride = rank >= 1 ? axes.strides[rank - 1] * unit : unit;
  const int64_t first_byte = axes.offset * unit;
  slice.whole = slice.rows > 1 && row_stride != buffer.row_bytes();
  const int64_t in_row = (slice.columns - 1) * slice.pixel_stride + (slice.channels - 1) * slice.channel_stride + unit;
  if (!slice.whole && first_byte % buffer.row_bytes() + in_row > buffer.row_bytes()) slice.whole = true;
  slice.first_row = slice.whole ? 0 : first_byte / buffer.row_bytes();
  slice.offset_bytes = slice.whole ? first_byte : first_byte % buffer.row_bytes();
  slice.row_stride = row_stride;
  return slice;
}

Slice SegmentBuilder::operand(ir::ValueId value) {
  const View view = views_.at(value);
  const int64_t type = segment_.buffers[view.buffer].type;
  const std::vector<int64_t> dims = sample_dims(graph_, value);
  const std::optional<Slice> slice = dims.size() <= 3 ? slice_of(view, type) : std::nullopt;
  if (slice && (slice->channel_stride == element_bytes(type) || slice->channels == 1)) return *slice;
  const View dense = allocate(value);
  copy(view, dense, type);
  views_[value] = dense;
  return *slice_of(dense, type);
}

Slice SegmentBuilder::result(ir::ValueId value) {
  if (!views_.contains(value)) {
    const auto place = places_.find(value);
    if (place == places_.end()) {
      views_[value] = allocate(value);
    } else {
      const ir::ValueId parent = place->second.parent;
      result(parent);
      const View& whole = views_.at(parent);
      View view{whole.buffer, whole.offset + place->second.channel, sample_dims(graph_, value), whole.strides};
      views_[value] = std::move(view);
    }
  }
  const View& view = views_.at(value);
  return *slice_of(view, segment_.buffers[view.buffer].type);
}

View SegmentBuilder::result_of_matrices(ir::ValueId value) {
  const auto& uses = graph_.value(value).uses;
  const bool one_reader = uses.size() == 1 && !graph_.is_output(value) && members_.contains(uses[0].node);
  if (!views_.contains(value) && !places_.contains(value) && one_reader) {
    const ir::Node& reader = graph_.node(uses[0].node);
    const std::vector<int64_t> order = reader.ints_attribute("permutation");
    const bool moves = reader.op == "transpose" && order.front() == 0 &&
                       order.back() + 1 == static_cast<int64_t>(order.size());  // channels stay adjacent
    if (moves) {
      const View read = allocate(reader.outputs[0]);
      View view{read.buffer, 0, read.dims, read.strides};
      for (size_t i = 1; i < order.size(); ++i) {
        view.dims[static_cast<size_t>(order[i] - 1)] = read.dims[i - 1];
        view.strides[static_cast<size_t>(order[i] - 1)] = read.strides[i - 1];
      }
      views_[value] = std::move(view);
    }
  }
  if (!views_.contains(value)) result(value);
  return views_.at(value);
}

Slice SegmentBuilder::constant(ir::ValueId value, const std::vector<int64_t>& dims) {
  const auto [at, fresh] = constants_.try_emplace({value, dims}, static_cast<BufferId>(segment_.buffers.size()));
  const int64_t type = *element_of(graph_.value(value).type.dtype);
  if (fresh) {
    Buffer given = buffer_of(graph_.value(value).name, dims, type);
    given.constant = graph_.value(value).constant;
    segment_.buffers.push_back(std::move(given));
  }
  return *slice_of(dense_view(at->second, dims), type);
}

void SegmentBuilder::even_rows(ir::ValueId from, Slice& in, ir::ValueId to, Slice& out) const {
  constexpr int64_t kFew = 8;
  if (out.rows >= kFew || out.columns == 1 || out.rows * out.columns > kMostRows) return;
  const std::vector<int64_t> dims = {out.rows * out.columns, out.channels};
  const std::optional<View> flat_in = reshaped(views_.at(from), dims);
  const std::optional<View> flat_out = reshaped(views_.at(to), dims);
  if (!flat_in || !flat_out) return;
  in = *slice_of(*flat_in, in.type);
  out = *slice_of(*flat_out, out.type);
}

void SegmentBuilder::add(Layer layer) {
  layer.node = graph_.value(node_->outputs[0]).producer;
  if (layer.name.empty()) layer.name = node_->name.empty() ? graph_.value(node_->outputs[0]).name : node_->name;
  if (layer.op.empty()) layer.op = node_->op;
  segment_.layers.push_back(std::move(layer));
}

BufferId SegmentBuilder::add_buffer(std::string name, int64_t rows, int64_t columns, int64_t channels, int64_t type) {
  segment_.buffers.push_back({std::move(name), rows, columns, channels, type, ir::kNone, ir::kNone, false});
  return static_cast<BufferId>(segment_.buffers.size() - 1);
}

Slice SegmentBuilder::whole_slice(BufferId id) const {
  const Buffer& buffer = segment_.buffers[id];
  const int64_t unit = element_bytes(buffer.type);
  return {id,   buffer.rows, buffer.columns, buffer.channels, 0, 0, buffer.row_bytes(), buffer.pixel_bytes(),
          unit, buffer.type, false};
}

int64_t SegmentBuilder::first_byte(const Slice& slice) const {
  return slice.first_row * segment_.buffers[slice.buffer].row_bytes() + slice.offset_bytes;
}

View SegmentBuilder::dense(ir::ValueId value) {
  const View from = views_.at(value);
  if (from.strides == dense_strides(from.dims)) return from;
  const View to = allocate(value);
  copy(from, to, segment_.buffers[to.buffer].type);
  views_[value] = to;
  return to;
}

int64_t SegmentBuilder::macs() const { return ops::macs_of(graph_, *node_); }

void SegmentBuilder::copy(const View& from, const View& to, int64_t type) {
  View source = from;
  View target = to;
  // Axes beyond three are walked here, one command each.
  if (source.dims.size() > 3) {
    const int64_t count = source.dims[0];
    for (int64_t i = 0; i < count; ++i) {
      const auto part = [i](const View& view) {
        View out{view.buffer,
                 view.offset + i * view.strides[0],
                 {view.dims.begin() + 1, view.dims.end()},
                 {view.strides.begin() + 1, view.strides.end()}};
        return out;
      };
      copy(part(source), part(target), type);
    }
    return;
  }
  Copy body;
  const Slice in = *slice_of(source, type);
  const Slice out = *slice_of(target, type);
  body.input_channel_stride = in.channel_stride;
  body.output_channel_stride = out.channel_stride;
  body.rows = out.rows;
  body.columns = out.columns;
  body.channels = out.channels;
  Layer layer;
  layer.op = "copy";
  layer.body = body;
  layer.reads = {{in, {}}};
  layer.writes = out;
  layer.by_rows = !in.whole && !out.whole;
  add(std::move(layer));
}

}  // namespace hai::sd3403
