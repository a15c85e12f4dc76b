// Graph: the one intermediate representation of HAI, for inference, training and every device.
//
// A graph is a set of values (single assignment) and nodes (operators that read and write values). A value is a graph
// input, a constant or the output of one node, and carries a TensorType. Spatial operators are NHWC with OHWI weights
// (architecture.md). Nodes and values are named by dense ids that stay valid until `compact()`; erased ones leave a
// hole that iteration skips. `ordered()` gives a topological order. Quantized tensors are ordinary integer tensors
// whose type carries a Quantization: a convolution of i8 tensors *is* the INT8 convolution.
//
// A graph knows nothing of what operators mean: schemas, shape inference and references live in ops/.
// Not thread-safe while it is changed; const use is.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/result.h"
#include "types/data_type.h"
#include "types/quantization.h"
#include "types/shape.h"

namespace hai::ir {

struct TensorType {
  DataType dtype = DataType::kF32;
  Shape shape;
  std::optional<Quantization> quantization;  // integer tensors that stand for real numbers

  bool operator==(const TensorType&) const = default;
};

using ValueId = uint32_t;
using NodeId = uint32_t;
inline constexpr uint32_t kNone = 0xffffffffU;  // an absent optional input, or no producer

// Immutable bytes of a constant, row-major, little-endian, shared between graphs. `owner` keeps foreign memory (a file,
// an array) alive.
class ConstantData {
 public:
  static std::shared_ptr<const ConstantData> copy_of(std::span<const std::byte> bytes);
  static std::shared_ptr<const ConstantData> borrow(std::span<const std::byte> bytes,
                                                    std::shared_ptr<const void> owner);
  // Uninitialised, 64-byte aligned; fill through the returned span before sharing.
  static std::shared_ptr<ConstantData> allocate(size_t size_bytes);

  std::span<const std::byte> bytes() const { return bytes_; }
  std::span<std::byte> mutable_bytes();  // only for data from allocate()

 private:
  std::span<const std::byte> bytes_;
  std::shared_ptr<const void> owner_;
};

using Attribute = std::variant<int64_t, double, std::string, std::vector<int64_t>, std::vector<double>>;
using Attributes = std::map<std::string, Attribute, std::less<>>;

struct Use {
  NodeId node = kNone;
  uint32_t operand = 0;
  bool operator==(const Use&) const = default;
};

struct Value {
  std::string name;  // unique within the graph, from the source model where it had one
  TensorType type;
  NodeId producer = kNone;  // kNone: graph input or constant
  uint32_t producer_output = 0;
  std::shared_ptr<const ConstantData> constant;  // null unless a constant
  std::vector<Use> uses;                         // maintained by Graph; a node that reads a value twice appears twice
  bool alive = true;

  bool is_constant() const { return constant != nullptr; }
};

struct Node {
  std::string op;               // schema name: "conv2d"
  std::string name;             // where it came from in the source model, for messages and tables
  std::vector<ValueId> inputs;  // kNone where an optional input is absent
  std::vector<ValueId> outputs;
  Attributes attributes;
  bool alive = true;

  // Attribute look-up with a default; the schema has checked kinds, so a wrong kind here is a bug of ours and aborts.
  int64_t int_attribute(std::string_view key, int64_t fallback) const;
  double float_attribute(std::string_view key, double fallback) const;
  std::string string_attribute(std::string_view key, std::string_view fallback) const;
  std::vector<int64_t> ints_attribute(std::string_view key, std::vector<int64_t> fallback = {}) const;
  std::vector<double> floats_attribute(std::string_view key, std::vector<double> fallback = {}) const;
  bool has_attribute(std::string_view key) const { return attributes.find(key) != attributes.end(); }
};

// Something that outlives a run of the graph: `input` is what it holds before, `output` what it holds afterwards. A
// parameter that is trained, a moment of an optimizer, running statistics.
struct State {
  static constexpr size_t kKept = static_cast<size_t>(-1);

  size_t input = 0;   // position among the graph's inputs; of a static shape
  size_t output = 0;  // position among the outputs, of the same type; kKept: no run changes it
  std::shared_ptr<const ConstantData> initial;  // null: zeros
  bool is_parameter = false;                    // a constant of the model that is trained
};

class Graph {
 public:
  std::string name;
  std::vector<Symbol> symbols;                  // symbols[0] is the batch symbol where there is one
  std::map<std::string, std::string> metadata;  // producer, licence, label names, ... ; printed by `hai inspect`
  std::vector<State> states;  // of a training graph; passes keep the order of inputs and outputs, so positions hold

  // --- building
  // -----------------------------------------------------------------------------------------------------------------
  // Names are made unique by a suffix when taken ("conv", "conv.1"); an empty name becomes "v<id>".
  ValueId add_input(std::string value_name, TensorType type);
  // Precondition: data has exactly the bytes of a static `type`.
  ValueId add_constant(std::string value_name, TensorType type, std::shared_ptr<const ConstantData> data);
  // Adds a node with one output per entry of `output_types`. Types are the caller's: use ops::append (ops/build.h) to
  // have them inferred.
  NodeId add_node(std::string op, std::vector<ValueId> inputs, std::vector<TensorType> output_types,
                  Attributes attributes = {}, std::string node_name = {}, std::vector<std::string> output_names = {});
  void add_output(ValueId value);

  // --- reading
  // ------------------------------------------------------------------------------------------------------------------
  const std::vector<ValueId>& inputs() const { return inputs_; }
  const std::vector<ValueId>& outputs() const { return outputs_; }
  const Value& value(ValueId id) const { return values_[id]; }
  Value& value(ValueId id) { return values_[id]; }
  const Node& node(NodeId id) const { return nodes_[id]; }
  Node& node(NodeId id) { return nodes_[id]; }
  size_t value_slots() const { return values_.size(); }  // including holes
  size_t node_slots() const { return nodes_.size(); }
  size_t live_node_count() const;
  bool is_input(ValueId id) const;
  bool is_output(ValueId id) const;
  std::optional<ValueId> find_value(std::string_view value_name) const;
  // Live nodes, every node after the producers of its inputs; ties by id, so the order is deterministic. Error on a
  // cycle.
  Result<std::vector<NodeId>> ordered() const;

  // --- changing
  // -----------------------------------------------------------------------------------------------------------------
  void set_input(NodeId node, size_t operand, ValueId value);  // keeps uses right
  void append_input(NodeId node, ValueId value);               // one more operand at the end
  void replace_uses(ValueId from, ValueId to);                 // every reader and graph output of `from` reads `to`
  void set_output(size_t index, ValueId value);
  void erase_node(NodeId node);  // Precondition: its outputs have no uses and are no graph outputs
  size_t erase_dead();           // nodes that no graph output needs, and their constants; returns how many nodes went
  void rename_value(ValueId id, std::string value_name);
  Graph compact() const;  // a copy without holes, nodes in topological order. Precondition: acyclic

 private:
  ValueId new_value(std::string value_name, TensorType type);
  std::string unique_name(std::string wanted, ValueId id);
  void add_use(ValueId value, NodeId node, uint32_t operand);
  void remove_use(ValueId value, NodeId node, uint32_t operand);

  std::vector<Value> values_;
  std::vector<Node> nodes_;
  std::vector<ValueId> inputs_;
  std::vector<ValueId> outputs_;
  std::map<std::string, ValueId, std::less<>> value_by_name_;
};

// Structure only: ids in range, single assignment, uses consistent, types well formed (static constants of the right
// size, quantization that fits its type), no cycle, names unique. What operators require is checked by ops::verify
// (ops/verify.h), which calls this first.
Status verify_structure(const Graph& graph);

}  // namespace hai::ir
