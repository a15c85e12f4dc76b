// The portable graph: an ir::Graph in the form in which a model file stores it, and back.
//
// A .hai file carries the graph so that any device can be compiled for later. It is stored as a format::Program with
// device "graph": tensors are inputs, constants (bytes in the weights section) and values without a place;
// instructions are nodes. The two directions are inverse to each other, names and order included.
#pragma once

#include <map>
#include <memory>
#include <span>
#include <unordered_map>
#include <vector>

#include "base/result.h"
#include "format/model.h"
#include "ir/graph.h"

namespace hai::compiler {

// Collects the constants of the portable graph and of device programs into the weights section: each different run of
// bytes once.
class WeightTable {
 public:
  // Offset of these bytes in the weights section, a multiple of 64. `owner` keeps them alive.
  int64_t add(std::span<const std::byte> bytes, std::shared_ptr<const void> owner);
  // These bytes get a place of their own, which no equal bytes share: they may change. Every add() of the same memory
  // returns it.
  void keep_apart(const std::shared_ptr<const ir::ConstantData>& data);
  int64_t size_bytes() const { return end_; }
  std::vector<format::WeightPiece> take() { return std::move(pieces_); }

 private:
  std::vector<format::WeightPiece> pieces_;
  int64_t append(std::span<const std::byte> bytes, std::shared_ptr<const void> owner);

  std::unordered_multimap<size_t, size_t> piece_by_hash_;
  std::map<const std::byte*, int64_t> apart_;  // by where they lie in memory
  int64_t end_ = 0;
};

// Error K001 when the graph cannot be stored (it has a cycle).
Result<format::Program> to_portable(const ir::Graph& graph, WeightTable& weights);
// The graph of a model file that was verified; constants borrow the file's weight pieces. Error K002 when a constant
// lies across pieces or an instruction is no known operator.
Result<ir::Graph> from_portable(const format::ModelFile& file);

}  // namespace hai::compiler
