// lower(): a graph becomes a program of the CPU device: instructions in order, tensors placed in the arena.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>

#include "base/result.h"
#include "format/program.h"
#include "ir/graph.h"

namespace hai::cpu {

// Puts bytes into the weights section and returns their offset, a multiple of 64. `owner` keeps the bytes alive.
using AddWeights = std::function<int64_t(std::span<const std::byte> bytes, std::shared_ptr<const void> owner)>;

class LowerRegistry;

struct LowerOptions {
  std::string device = "cpu";               // of the program; another device's CPU part has that device's name
  const LowerRegistry* registry = nullptr;  // null: the CPU's own operators
  bool share_buffers = true;  // results of element-wise instructions may take the place of a dying operand
};

// Ok, or why the CPU device cannot run this node.
Status supports(const ir::Graph& graph, const ir::Node& node);

// Precondition: ops::verify holds, at most symbol 0 is used, and every graph output is made by a node and is output
// once. Errors: C201 for a node that the device does not take (the first one, with the number of others), C202 for a
// tensor that cannot be placed.
Result<format::Program> lower(const ir::Graph& graph, const AddWeights& add_weights, const LowerOptions& options = {});

}  // namespace hai::cpu
