// Pairing: which tensor of a float graph each tensor of its quantized form stands for.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "ir/graph.h"

namespace hai::quantizer {

// Factors of the last axis: quantized tensor = float tensor * gain, channel by channel. Empty: all 1.
using Gains = std::vector<float>;

struct PairedLayer {
  ir::NodeId node = ir::kNone;        // in the quantized graph
  ir::NodeId float_node = ir::kNone;  // the node of the float graph that it starts with
  ir::ValueId output = ir::kNone;     // of `node`: what it hands out
  ir::ValueId reference = ir::kNone;  // the same tensor in the float graph
};

struct UnpairedLayer {
  std::string name;
  std::string op;
  std::string reason;
};

struct Pairing {
  std::vector<PairedLayer> layers;         // nodes that compute (not movers, not quantize and dequantize), in order
  std::vector<UnpairedLayer> unpaired;     // nodes of the quantized graph that compute and have no counterpart
  std::vector<ir::ValueId> reference_of;   // by value slot of the quantized graph; kNone: no counterpart
  std::vector<Gains> gains;                // by value slot of the quantized graph
  std::vector<ir::ValueId> outputs;        // float graph outputs that both have as numbers, in order
  std::vector<ir::ValueId> their_outputs;  // the quantized graph's values for them
};

// `reference` is canonical (compiler::canonicalise), `quantized` as it is compiled (fused). Errors: Q063 when inputs or
// outputs differ, Q064 when hardly anything pairs: these are not two forms of one model.
Result<Pairing> pair_graphs(const ir::Graph& reference, const ir::Graph& quantized);

// Both graphs in the forms that pair_graphs takes.
Status prepare_reference(ir::Graph& graph);
Status prepare_quantized(ir::Graph& graph);

// Of an integer or float constant, as real numbers.
Result<std::vector<float>> real_values(const ir::Value& constant);

// quantize, dequantize, rescale: the same tensor in another form.
bool is_conversion(const ir::Node& node);
// Moves elements only: reshape, transpose, slice, split, gather, ...
bool is_mover(const ir::Node& node);
// conv2d, conv_transpose2d or matmul with constant weights.
bool has_weights(const ir::Graph& graph, const ir::Node& node);

// For conv2d and matmul: the input channel and output channel of element i of the weights.
struct WeightIndex {
  size_t input = 0;
  size_t output = 0;
};
class WeightChannels {
 public:
  WeightChannels(const ir::Node& node, const Shape& shape);
  size_t output_channels() const { return outputs_; }
  size_t input_channels() const;
  WeightIndex of(size_t element) const;

 private:
  bool convolution_ = false;
  size_t outputs_ = 1;
  size_t inner_ = 1;  // elements behind the output axis
  size_t group_inputs_ = 1;
  size_t group_outputs_ = 1;
  size_t groups_ = 1;
  size_t inputs_ = 1;
};

}  // namespace hai::quantizer
