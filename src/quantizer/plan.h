// Plan: which nodes of a canonical float graph become integer, in which widths, and which tensors must share one
// quantization.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "ir/graph.h"
#include "quantizer/options.h"

namespace hai::quantizer {

// What an operator is to the quantizer.
enum class Role : uint8_t {
  kFloat,       // no integer form: stays f32
  kMac,         // conv2d, conv_transpose2d, matmul with constant weights
  kArithmetic,  // integer form with a scale of its own: add, mul, tables, average pool, products of two tensors, ...
  kClamp,       // relu, relu6, clip: shares the scale of what it clamps
  kMover,       // moves elements: reshape, slice, max_pool, ...: shares the scale of its input
  kConcat,      // joins tensors: rescales each to its own scale
};

struct Plan {
  std::vector<Role> roles;           // by node slot
  std::vector<bool> integer;         // by node slot: computed in integers
  std::vector<Precision> precision;  // by node slot: of kMac nodes, and of weight-only ones
  std::vector<bool> weight_only;     // by node slot: integer weights, f32 activations
  std::vector<bool> half;            // by node slot: computed in f16
  std::vector<bool> float_result;    // by node slot: a kMac whose 32-bit sums are dequantized at once, because only f32
                                     // operators read it
  std::vector<uint32_t> group;       // by value slot: the value whose observations decide its quantization
  std::vector<int> bits;             // by value slot: 8 or 16 for the representative of each group
  std::vector<bool> point;           // by value slot: the representative of a group of 16 bits that a function or an
                                     // addition rounds to 8 at once (types/epilogue.h: a wide rounding point)
  std::vector<bool> observed;        // by value slot: calibration must watch it (representatives of integer values)
  std::vector<ir::ValueId> watched;  // the same as a list, ascending

  // Of a model whose INT8 a device makes again after a training (QuantizeOptions::trained_values); else all false.
  std::vector<bool> trained;        // by node slot
  std::vector<bool> trained_range;  // by value slot, of representatives: a trained node makes one of the group

  int bits_of(ir::ValueId value) const { return bits[group[value]]; }
  // Of what a kMac node stores: that of its result's group, but a product of 16-bit activations has 16.
  int result_bits(ir::NodeId id, ir::ValueId result) const {
    return precision[id].activation_bits == 16 ? 16 : bits_of(result);
  }
};

// Functions of one tensor by table.
bool is_table(std::string_view op);
// Operators whose operands and result may have different widths; the others read and write one.
bool takes_mixed_widths(std::string_view op);
// Of Role::kArithmetic: operators that read 8 bits whatever the plan says of their operands: softmax, and the product
// of two tensors, whose result alone may have 16.
bool takes_bytes(std::string_view op);
// How many operands of a Role::kArithmetic node are data; what follows is f32 (scale and bias of a normalization).
size_t data_operands(const ir::Node& node);

Role role_of(const ir::Graph& graph, const ir::Node& node);

// Every name in layers is that of a layer, every one in keep_float that of a node. `graph` is in canonical form.
Status check_names(const ir::Graph& graph, const QuantizeOptions& options);

// Reads of the options: precision, layers, keep_float, wide_points, trainable. A name that no node (or no layer) has is
// an error. `chosen` goes before what the options say of a layer.
Result<Plan> make_plan(const ir::Graph& graph, const QuantizeOptions& options,
                       const std::map<ir::NodeId, Precision>& chosen = {});

}  // namespace hai::quantizer
