// Makes equal nodes, and equal constants, one (common subexpression elimination).
//
// Method: in topological order, a node is described by operator, operands and attributes; of two nodes with the same
// description and output types the later one goes. Operands are compared by value id, so merging an early pair lets
// later pairs meet in the same walk. Every operator is a function of its operands, so no operator is exempt. Large
// constants are compared by their bytes only when hash, size and type agree.
#include <algorithm>
#include <cstring>
#include <string>
#include <unordered_map>

#include "passes/passes.h"
#include "passes/rewrite.h"

namespace hai::passes {
namespace {

using ir::Graph;
using ir::Node;
using ir::NodeId;
using ir::ValueId;

struct AppendAttribute {
  std::string& out;
  void raw(const void* data, size_t size) const { out.append(static_cast<const char*>(data), size); }
  void operator()(int64_t v) const { raw(&v, sizeof v); }
  void operator()(double v) const { raw(&v, sizeof v); }
  void operator()(const std::string& v) const { out += v; }
  void operator()(const std::vector<int64_t>& v) const { raw(v.data(), v.size() * sizeof(int64_t)); }
  void operator()(const std::vector<double>& v) const { raw(v.data(), v.size() * sizeof(double)); }
};

// Equal descriptions mean equal operator, operands and attributes.
std::string describe(const Node& node) {
  std::string key = node.op;
  const AppendAttribute append{key};
  for (const ValueId input : node.inputs) append.raw(&input, sizeof input);
  for (const auto& [name, attribute] : node.attributes) {
    key += '\0';
    key += name;
    key += '\0';
    key += static_cast<char>('0' + attribute.index());
    const size_t before = key.size();
    std::visit(append, attribute);
    append(static_cast<int64_t>(key.size() - before));
  }
  return key;
}

bool same_output_types(const Graph& graph, const Node& a, const Node& b) {
  return std::equal(a.outputs.begin(), a.outputs.end(), b.outputs.begin(), b.outputs.end(),
                    [&](ValueId x, ValueId y) { return graph.value(x).type == graph.value(y).type; });
}

int64_t merge_constants(Graph& graph) {
  std::unordered_multimap<size_t, ValueId> seen;
  int64_t changes = 0;
  for (ValueId id = 0; id < graph.value_slots(); ++id) {
    const ir::Value& value = graph.value(id);
    if (!value.alive || !value.is_constant() || value.uses.empty() || graph.is_output(id)) continue;
    if (value.constant->bytes().empty()) continue;
    const auto bytes = value.constant->bytes();
    const size_t hash = quick_hash(bytes);
    const auto [begin, end] = seen.equal_range(hash);
    const auto same = std::find_if(begin, end, [&](const auto& entry) {
      const ir::Value& other = graph.value(entry.second);
      const auto other_bytes = other.constant->bytes();
      return other.type == value.type && bytes.size() == other_bytes.size() &&
             (bytes.data() == other_bytes.data() || std::memcmp(bytes.data(), other_bytes.data(), bytes.size()) == 0);
    });
    if (same == end) {
      seen.emplace(hash, id);
    } else {
      graph.replace_uses(id, same->second);
      ++changes;
    }
  }
  return changes;
}

}  // namespace

Result<PassStats> merge_duplicates(Graph& graph) {
  PassStats stats;
  stats.changes = merge_constants(graph);
  HAI_TRY(const std::vector<NodeId> order, graph.ordered());
  std::unordered_map<std::string, std::vector<NodeId>> seen;
  for (const NodeId id : order) {
    std::vector<NodeId>& equals = seen[describe(graph.node(id))];
    const auto same = std::find_if(equals.begin(), equals.end(), [&](NodeId other) {
      return same_output_types(graph, graph.node(id), graph.node(other));
    });
    if (same == equals.end()) {
      equals.push_back(id);
      continue;
    }
    const std::vector<ValueId> from = graph.node(id).outputs;
    const std::vector<ValueId> to = graph.node(*same).outputs;
    bool all = true;
    for (size_t i = 0; i < from.size(); ++i) all = replace_value(graph, from[i], to[i]) && all;
    if (all) ++stats.changes;
  }
  graph.erase_dead();
  return stats;
}

}  // namespace hai::passes
