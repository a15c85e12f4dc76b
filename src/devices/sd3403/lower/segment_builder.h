// SegmentBuilder: nodes of the graph become layers and slices of buffers.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "devices/sd3403/lower/layer.h"
#include "devices/sd3403/lower/legality.h"
#include "devices/sd3403/machine/machine.h"

namespace hai::sd3403 {

// A value as elements of a buffer: `dims` without the batch, one stride an axis, in elements.
struct View {
  BufferId buffer = 0;
  int64_t offset = 0;
  std::vector<int64_t> dims;
  std::vector<int64_t> strides;
};

// The same elements with other sizes, where strides can say it.
std::optional<View> reshaped(const View& view, const std::vector<int64_t>& dims);

// Sizes of a value without its batch axis.
std::vector<int64_t> sample_dims(const ir::Graph& graph, ir::ValueId value);
// The element of a tensor, if the NPU has it.
std::optional<int64_t> element_of(DataType dtype);

class SegmentBuilder {
 public:
  // `nodes` in order. Values that other devices make or read are inputs and outputs of the segment.
  SegmentBuilder(const ir::Graph& graph, const std::vector<ir::NodeId>& nodes);
  Result<Segment> run();

  // --- for the operators' lowering
  const ir::Graph& graph() const { return graph_; }
  const ir::Node& node() const { return *node_; }
  const ir::TensorType& type(ir::ValueId value) const { return graph_.value(value).type; }
  View view(ir::ValueId value) const { return views_.at(value); }
  // The value is those elements; nothing moves.
  void set_view(ir::ValueId value, View view);
  // The value as rows x columns x channels with adjacent channels, copied to a buffer of its own where it is not.
  Slice operand(ir::ValueId value);
  // Where the node's result belongs, with its natural sizes.
  Slice result(ir::ValueId value);
  // The same for a result that is written matrix by matrix (its last two axes): it lies as its only reader wants it
  // where that is a transposition of other axes, so that this moves nothing.
  View result_of_matrices(ir::ValueId value);
  // A constant with these sizes, loaded from external memory.
  Slice constant(ir::ValueId value, const std::vector<int64_t>& dims);
  // For operators that work on channels: many rows of a pixel where the value has few rows of many pixels, so that both
  // cores have the same work.
  void even_rows(ir::ValueId from, Slice& in, ir::ValueId to, Slice& out) const;
  // Any slice of up to three axes, channels possibly apart: for Copy.
  std::optional<Slice> slice_of(const View& view, int64_t type) const;
  // The place that a concatenation has given to a value, or none.
  bool is_placed(ir::ValueId value) const { return places_.contains(value); }
  void add(Layer layer);
  // A buffer of the segment's own, and all of it.
  BufferId add_buffer(std::string name, int64_t rows, int64_t columns, int64_t channels, int64_t type);
  Slice whole_slice(BufferId buffer) const;
  // First byte of a slice in its buffer.
  int64_t first_byte(const Slice& slice) const;
  // A view whose elements follow each other, copied where they do not.
  View dense(ir::ValueId value);
  int64_t macs() const;  // of the node, for one sample
  // Moves elements; both have the same dims.
  void copy(const View& from, const View& to, int64_t type);

 private:
  struct Place {
    ir::ValueId parent;
    int64_t channel;
  };
  void place_concatenations();
  void add_inputs();
  View allocate(ir::ValueId value);
  View dense_view(BufferId buffer, const std::vector<int64_t>& dims) const;

  const ir::Graph& graph_;
  const std::vector<ir::NodeId>& nodes_;
  std::set<ir::NodeId> members_;
  const ir::Node* node_ = nullptr;
  std::map<ir::ValueId, View> views_;
  std::map<ir::ValueId, Place> places_;
  std::map<std::pair<ir::ValueId, std::vector<int64_t>>, BufferId> constants_;
  Segment segment_;
};

// --- the operators' part, one in each folder of src/ops
struct NpuLowering {
  Legality legality;
  Status (*lower)(SegmentBuilder& builder);
  bool moves_nothing = false;  // its result is a view of its operand
};
class LowerRegistry {
 public:
  void add(std::string op, NpuLowering lowering) { lowerings_.insert_or_assign(std::move(op), std::move(lowering)); }
  const NpuLowering* find(std::string_view op) const {
    const auto at = lowerings_.find(op);
    return at == lowerings_.end() ? nullptr : &at->second;
  }
  static const LowerRegistry& instance();

 private:
  std::map<std::string, NpuLowering, std::less<>> lowerings_;
};
// Provided by the generated table.
void register_all_lower(LowerRegistry& registry);

// --- what their checks share
// i8, u8 or i16 with one scale, and a shape that the NPU can hold.
Status require_integers(const ir::Graph& graph, const ir::Node& node, ir::ValueId value);
// The shape alone: single samples of known sizes within the fields of commands.
Status require_shape(const ir::Graph& graph, const ir::Node& node, ir::ValueId value);
Status refuse(const ir::Node& node, std::string_view why);
// That the first axis is fixed to other than one sample.
bool is_about_batch(const Error& refusal);
// Multipliers outside of [2^-40, 2^8] do not come here: the graph's verifier has refused them. Of what is not quantized
// 0 and 1.
int32_t zero_point_of(const ir::TensorType& type);
float scale_of(const ir::TensorType& type);

}  // namespace hai::sd3403
