// The compile side of the CPU device: which graph operators it takes and how each becomes instructions.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "format/program.h"
#include "ir/graph.h"

namespace hai::cpu {

// Handed to each operator's lowering. Tensors of the graph already have numbers; lowering may add constants and
// intermediates of its own.
class LowerContext {
 public:
  virtual ~LowerContext() = default;
  virtual const ir::Graph& graph() const = 0;
  virtual const ir::Node& node() const = 0;
  // Tensor number of a value of the graph (kNoTensor for ir::kNone).
  virtual uint32_t tensor(ir::ValueId value) = 0;
  virtual uint32_t add_constant(std::string name, DataType dtype, const Dims& dims,
                                std::span<const std::byte> bytes) = 0;
  virtual uint32_t add_intermediate(std::string name, DataType dtype, Shape shape,
                                    std::optional<Quantization> quantization) = 0;
  // `output` of this node gets the same bytes as its input (reshape of contiguous data): no instruction.
  virtual void alias(ir::ValueId output, ir::ValueId input) = 0;
  // name and macs are filled in from the node.
  virtual void emit(std::string kernel, std::vector<uint32_t> inputs, std::vector<uint32_t> outputs,
                    format::Attributes attributes) = 0;
};

struct CpuLowering {
  // Ok, or why not: "conv2d of f16 is not supported on cpu".
  Status (*supports)(const ir::Graph& graph, const ir::Node& node);
  Status (*lower)(LowerContext& context);
};

class LowerRegistry {
 public:
  void add(std::string op, CpuLowering lowering);
  const CpuLowering* find(std::string_view op) const;
  static const LowerRegistry& instance();

 private:
  std::map<std::string, CpuLowering, std::less<>> lowerings_;
};

// Ok, or why a device with these operators cannot run the node.
Status supported_by(const LowerRegistry& registry, const ir::Graph& graph, const ir::Node& node);

// For most operators: supports what `dtypes` lists for its first input; emits one instruction with the op's own name,
// operands and attributes.
Status lower_as_is(LowerContext& context);

// Provided by the generated table.
void register_all_lower(LowerRegistry& registry);

}  // namespace hai::cpu
