// What a model file holds for INT8 that a device makes again after a training (docs/design/0021).
#pragma once

#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "compiler/compile.h"
#include "compiler/portable_graph.h"
#include "compiler/whole_model.h"
#include "format/model.h"
#include "ir/graph.h"

namespace hai::compiler {

// The constants of a graph by name: what lies where in memory before passes rename them and compile() copies some.
using ConstantsByName = std::map<std::string, std::shared_ptr<const ir::ConstantData>>;
ConstantsByName constants_by_name(const ir::Graph& graph);

class RebuildParts {
 public:
  // `graph`: canonical, before the constants that a training changes are copied; `before`: of the graph that was given
  // to compile().
  RebuildParts(const WholeModel& whole, const ir::Graph& graph, const ConstantsByName& before);

  // Both forms, to bind dimensions of before lower() is called.
  ir::Graph& graph() { return graph_; }
  ir::Graph& marked() { return marked_; }

  // Fills standby, observers and rebuild of `file`, whose features are there. `graph`: the same with those constants
  // copied and kept apart in `weights`. Returns why that is not possible; empty: it was.
  Result<std::string> lower(const ir::Graph& graph, std::span<const ir::ValueId> changed, const CompileOptions& options,
                            WeightTable& weights, format::ModelFile& file);
  // Once the weights of `file` are there: makes the integers from the lines alone and compares them with what the
  // compiler made. Returns where they differ; empty: nowhere.
  Result<std::string> check(const format::ModelFile& file);

 private:
  std::string place_parameters(const ir::Graph& graph, WeightTable& weights);
  std::string find_uncovered(const ir::Graph& graph, std::span<const ir::ValueId> changed) const;
  void share_constants(const ir::Graph& graph, std::span<const ir::ValueId> changed, WeightTable& weights);
  std::string find_sites(const format::Program& integer);
  std::string compare_constants(const format::Program& integer) const;
  Result<std::string> lower_observers(const ir::Graph& graph, std::span<const ir::ValueId> changed,
                                      const CompileOptions& options, WeightTable& weights, format::ModelFile& file);

  // Bytes of a program's constants by their offsets.
  using Bytes = std::map<int64_t, std::span<const std::byte>>;

  const WholeModel& whole_;
  ir::Graph graph_;
  ir::Graph marked_;
  rebuild::Lines lines_;
  std::map<std::string, ir::ValueId> parameters_;  // of the canonical graph, by the names in the lines
  std::string missing_;                            // a parameter that is not there
  format::Program marked_program_;
  Bytes bytes_;
  Bytes marked_bytes_;
  std::vector<std::shared_ptr<const void>> marked_owners_;
  std::vector<const std::byte*> shared_;  // memory of the parameters in the integer graph
};

}  // namespace hai::compiler
