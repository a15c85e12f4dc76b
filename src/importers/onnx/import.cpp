// import_onnx_*: from a decoded model to a graph.
//
// Method: find the nodes that the outputs need and their order (Kahn's algorithm over names: files need not be sorted,
// and what is left over is a cycle); refuse all operators that have no converter in one error; bind symbolic
// dimensions; then convert node after node. A node whose operands are known shapes is folded before its converter is
// asked. Exceptions of libraries (protobuf, bad_alloc) end here as errors.
// Invariant: the result passes ops::verify(); its inputs and outputs are the model's, by name, order and layout.
#include <fmt/format.h>

#include <algorithm>
#include <deque>
#include <exception>
#include <filesystem>
#include <new>
#include <set>

#include "importers/onnx/expand_functions.h"
#include "importers/onnx/import_registry.h"
#include "importers/onnx/onnx_import.h"
#include "importers/onnx/read_model.h"
#include "ops/build.h"

namespace hai::onnx_import {
namespace {

constexpr int64_t kMinOpset = 7;
constexpr int64_t kMaxOpset = 28;
constexpr int kMaxBranchDepth = 16;
constexpr int64_t kLargestDim = int64_t{1} << 31;
constexpr const char* kBatchName = "batch";  // of a batch that has no name in the model

const ImportRegistry& registry() {
  static const ImportRegistry kRegistry = [] {
    ImportRegistry made;
    register_basic_operators(made);
    register_composed_operators(made);
    register_quantized_operators(made);
    register_all_importers(made);
    return made;
  }();
  return kRegistry;
}

// Names that the branches of a node read.
void collect_branch_reads(const OnnxNode& node, std::vector<std::string>& reads) {
  for (const auto& [_, attribute] : node.attributes) {
    const auto* graph = std::get_if<std::shared_ptr<OnnxGraph>>(&attribute);
    if (graph == nullptr) continue;
    for (const OnnxNode& inner : (*graph)->nodes) {
      reads.insert(reads.end(), inner.inputs.begin(), inner.inputs.end());
      collect_branch_reads(inner, reads);
    }
    reads.insert(reads.end(), (*graph)->outputs.begin(), (*graph)->outputs.end());
  }
}

// The nodes that `graph`'s outputs need, in an order in which each stands after what it reads.
class NodeOrder {
 public:
  // `outside`: whether the graphs around know a name.
  static Result<std::vector<const OnnxNode*>> of(const OnnxGraph& graph, ImportScope* outside) {
    NodeOrder order(graph, outside);
    HAI_TRY_STATUS(order.find_needed());
    return order.sort();
  }

 private:
  NodeOrder(const OnnxGraph& graph, ImportScope* outside) : graph_(graph), outside_(outside) {
    for (size_t i = 0; i < graph.nodes.size(); ++i) {
      for (const std::string& output : graph.nodes[i].outputs) {
        if (!output.empty()) producers_.emplace(output, i);
      }
    }
    for (const OnnxInput& input : graph.inputs) inputs_.insert(input.name);
  }

  bool given(const std::string& name) const {
    return inputs_.count(name) != 0 || graph_.initializers.find(name) != graph_.initializers.end() ||
           (outside_ != nullptr && outside_->find(name) != nullptr);
  }

  Status find_needed() {
    needed_.assign(graph_.nodes.size(), false);
    reads_.resize(graph_.nodes.size());
    std::vector<size_t> open;
    const auto need = [&](const std::string& name, const std::string& reader) -> Status {
      const auto it = producers_.find(name);
      if (it == producers_.end()) {
        if (given(name)) return {};
        return make_error(StatusCode::kCorrupt, "X050",
                          "{} reads \"{}\", which is neither an input, an initializer nor the output of a node; was an "
                          "initializer lost?",
                          reader, name);
      }
      if (!needed_[it->second]) {
        needed_[it->second] = true;
        open.push_back(it->second);
      }
      return {};
    };
    for (const std::string& output : graph_.outputs) HAI_TRY_STATUS(need(output, "the graph's output"));
    while (!open.empty()) {
      const size_t at = open.back();
      open.pop_back();
      const OnnxNode& node = graph_.nodes[at];
      const std::string label = "node \"" + node.label() + "\"";
      for (const std::string& name : node.inputs) {
        if (name.empty()) continue;
        HAI_TRY_STATUS(need(name, label));
        if (const auto it = producers_.find(name); it != producers_.end()) reads_[at].push_back(it->second);
      }
      // What a branch defines itself is not to be found here; what nobody defines, the branch's own import reports.
      std::vector<std::string> branch_reads;
      collect_branch_reads(node, branch_reads);
      for (const std::string& name : branch_reads) {
        const auto it = producers_.find(name);
        if (it == producers_.end() || it->second == at) continue;
        HAI_TRY_STATUS(need(name, label));
        reads_[at].push_back(it->second);
      }
    }
    return {};
  }

  Result<std::vector<const OnnxNode*>> sort() const {
    std::vector<size_t> waiting(graph_.nodes.size(), 0);
    std::vector<std::vector<size_t>> readers(graph_.nodes.size());
    std::set<size_t> ready;  // lowest first: the file's own order where it is sorted
    size_t count = 0;
    for (size_t i = 0; i < graph_.nodes.size(); ++i) {
      if (!needed_[i]) continue;
      ++count;
      waiting[i] = reads_[i].size();
      for (const size_t producer : reads_[i]) readers[producer].push_back(i);
      if (waiting[i] == 0) ready.insert(i);
    }
    std::vector<const OnnxNode*> order;
    while (!ready.empty()) {
      const size_t at = *ready.begin();
      ready.erase(ready.begin());
      order.push_back(&graph_.nodes[at]);
      for (const size_t reader : readers[at]) {
        if (--waiting[reader] == 0) ready.insert(reader);
      }
    }
    if (order.size() == count) return order;
    size_t stuck = 0;
    while (!needed_[stuck] || waiting[stuck] == 0) ++stuck;
    return make_error(StatusCode::kCorrupt, "X051",
                      "the graph has a cycle through node \"{}\" ({}); a model is acyclic", graph_.nodes[stuck].label(),
                      graph_.nodes[stuck].op_type);
  }

  const OnnxGraph& graph_;
  ImportScope* outside_;
  std::unordered_map<std::string, size_t> producers_;
  std::set<std::string, std::less<>> inputs_;
  std::vector<bool> needed_;
  std::vector<std::vector<size_t>> reads_;
};

class Importer {
 public:
  Importer(OnnxModel& model, const ImportOptions& options) : model_(model), state_{{}, options, model, {}, {}, 0} {
    state_.convert_node = [this](const OnnxNode& node, ImportScope& scope) { return convert_node(node, scope); };
    state_.convert_graph = [this](const OnnxGraph& branch, ImportScope& scope) {
      return convert_branch(branch, scope);
    };
  }

  Result<ir::Graph> run() {
    HAI_TRY_STATUS(check_opsets());
    HAI_TRY_STATUS(expand_functions(model_));
    ImportScope scope;
    state_.graph.name = model_.graph.name;
    state_.graph.metadata = model_.metadata;
    HAI_TRY_STATUS(add_inputs(scope));
    HAI_TRY_STATUS(convert_nodes(model_.graph, scope));
    HAI_TRY_STATUS(add_outputs(scope));
    state_.graph.erase_dead();
    return state_.graph.compact();
  }

 private:
  Status check_opsets() const {
    const auto it = model_.opsets.find("");
    const int64_t version = it == model_.opsets.end() ? kMaxOpset : it->second;
    if (version >= kMinOpset && version <= kMaxOpset) return {};
    return make_error(StatusCode::kUnsupported, "X052",
                      "the model uses version {} of the ONNX operators; {} to {} are supported: export it again with "
                      "opset_version=17, or convert it with onnx.version_converter",
                      version, kMinOpset, kMaxOpset);
  }

  // What the caller says of a dimension that goes by these names.
  Result<const DimRange*> wanted(std::initializer_list<std::string> names) {
    const DimRange* found = nullptr;
    for (const std::string& name : names) {
      if (name.empty()) continue;
      dim_names_.insert(name);
      const auto it = state_.options.dims.find(name);
      if (it == state_.options.dims.end()) continue;
      const DimRange range = it->second;
      const int64_t least = range.is_number() ? 0 : 1;
      if (range.min < least || range.max < range.min || range.max > kLargestDim) {
        return make_error(StatusCode::kInvalidArgument, "X053", "--dim {}={}: a dimension is from {} to {}", name,
                          to_string(range), least, kLargestDim);
      }
      if (found == nullptr) found = &it->second;
    }
    return found;
  }

  Result<Dim> bind_dim(const OnnxInput& input, size_t axis) {
    const OnnxDim& dim = input.dims[axis];
    const bool fixed = dim.symbol.empty() && dim.value >= 0;
    const bool freed = state_.options.free_batch && fixed && axis == 0 && dim.value == 1;
    if (fixed && !freed) return Dim(dim.value);
    const std::string name = !dim.symbol.empty() ? dim.symbol : fmt::format("{}.{}", input.name, axis);
    HAI_TRY(const DimRange* range, wanted({name, axis == 0 && dim.symbol.empty() ? kBatchName : ""}));
    if (range != nullptr && range->is_number()) return Dim(range->min);
    auto& symbols = state_.graph.symbols;
    // Dimension 0 of the first input that leaves it open is the batch; elsewhere only the same name means the same.
    if (axis == 0 && (symbols.empty() || dim.symbol.empty()))
      return batch_dim(dim.symbol.empty() ? kBatchName : name, range);
    if (!symbols.empty() && symbols[0].name == name) return Dim(1, 0);
    return make_error(StatusCode::kInvalidArgument, "X054",
                      "input \"{}\": dimension {} is the symbol \"{}\"; only the batch (dimension 0{}) may stay free: "
                      "give it a number with --dim {}=<number>",
                      input.name, axis, name, symbols.empty() ? "" : ", here \"" + symbols[0].name + "\"", name);
  }

  Dim batch_dim(const std::string& name, const DimRange* range) {
    auto& symbols = state_.graph.symbols;
    if (symbols.empty()) symbols.push_back({name, state_.options.batch_min, state_.options.batch_max});
    if (range != nullptr) {
      symbols[0].min = range->min;
      symbols[0].max = range->max;
    }
    return Dim(1, 0);
  }

  // A name that is misspelt must not leave its dimension at what it happens to be.
  Status check_dim_names() const {
    for (const auto& [name, range] : state_.options.dims) {
      if (dim_names_.count(name) != 0) continue;
      std::string known;
      for (const std::string& each : dim_names_) known += (known.empty() ? "" : ", ") + each;
      return make_error(
          StatusCode::kNotFound, "X069", "the model's inputs have no free dimension \"{}\"; {}", name,
          known.empty() ? "all of their dimensions are fixed: leave --dim out" : "free ones are " + known);
    }
    return {};
  }

  Status add_inputs(ImportScope& scope) {
    if (state_.options.batch_min < 1 || state_.options.batch_max < state_.options.batch_min) {
      return make_error(StatusCode::kInvalidArgument, "X055", "the batch range {}..{} is empty or begins below 1",
                        state_.options.batch_min, state_.options.batch_max);
    }
    for (const OnnxInput& input : model_.graph.inputs) {
      if (!input.has_shape) {
        return make_error(StatusCode::kUnsupported, "X056",
                          "input \"{}\" has no shape, not even a rank; export the model with shapes", input.name);
      }
      ir::TensorType type{input.dtype, {}, {}};
      for (size_t axis = 0; axis < input.dims.size(); ++axis) {
        HAI_TRY(const Dim dim, bind_dim(input, axis));
        type.shape.push_back(dim);
      }
      const ir::ValueId id = state_.graph.add_input(input.name, std::move(type));
      scope.values[input.name].id = id;
    }
    HAI_TRY_STATUS(check_dim_names());
    return ir::verify_structure(state_.graph);  // overflowing shapes end here, before anything computes with them
  }

  // One error for all operators that cannot be imported.
  Status check_operators(const std::vector<const OnnxNode*>& nodes) const {
    std::map<std::string, std::vector<std::string>> unknown;
    for (const OnnxNode* node : nodes) {
      if (registry().find(node->domain, node->op_type) != nullptr) continue;
      if (node->domain.empty() && is_shape_operator(node->op_type)) continue;
      const std::string domain = node->domain.empty() ? "ai.onnx" : node->domain;
      unknown[fmt::format("{} (domain {})", node->op_type, domain)].push_back(node->label());
    }
    if (unknown.empty()) return {};
    std::string list;
    for (const auto& [op, names] : unknown) {
      if (!list.empty()) list += "; ";
      list += op + " at node \"" + names[0] + "\"";
      if (names.size() > 1) list += fmt::format(" and {} more", names.size() - 1);
    }
    return make_error(StatusCode::kUnsupported, "X057",
                      "{} operator{} not supported: {}. Run `hai ops` for the list of operators; export the model "
                      "without {} (simplify it, or cut the graph before), or ask for support",
                      unknown.size(), unknown.size() == 1 ? " is" : "s are", list, unknown.size() == 1 ? "it" : "them");
  }

  void add_initializers(const OnnxGraph& graph, ImportScope& scope) const {
    for (const auto& [name, tensor] : graph.initializers) scope.values[name].initializer = &tensor;
  }

  Status convert_nodes(const OnnxGraph& graph, ImportScope& scope) {
    add_initializers(graph, scope);
    HAI_TRY(const std::vector<const OnnxNode*> nodes, NodeOrder::of(graph, scope.parent));
    HAI_TRY_STATUS(check_operators(nodes));
    for (const OnnxNode* node : nodes) {
      if (auto status = convert_node(*node, scope); !status) return status;
    }
    return {};
  }

  Status convert_branch(const OnnxGraph& branch, ImportScope& scope) {
    if (depth_ >= kMaxBranchDepth) {
      return make_error(StatusCode::kUnsupported, "X058", "branches are nested deeper than {}", kMaxBranchDepth);
    }
    ++depth_;
    Status status = convert_nodes(branch, scope);
    --depth_;
    return status;
  }

  Status convert_node(const OnnxNode& node, ImportScope& scope) {
    ImportContext context(state_, scope, node);
    if (node.domain.empty() && is_shape_operator(node.op_type)) {
      HAI_TRY(const bool folded, fold_shapes(context));
      if (folded) return {};
    }
    const Converter* converter = registry().find(node.domain, node.op_type);
    if (converter == nullptr) {
      return context.unsupported(
          "is only supported in arithmetic on shapes known at import, not on data; export the model "
          "with fixed shapes or without it");
    }
    Status status = (*converter)(context);
    if (!context.attribute_error()) return context.attribute_error();
    return status;
  }

  Result<bool> fold_shapes(ImportContext& context) {
    std::vector<std::optional<KnownInts>> known;
    for (size_t i = 0; i < context.input_count(); ++i) {
      HAI_TRY(std::optional<KnownInts> operand, context.known(i));
      if (context.has_input(i) && !operand) return false;
      known.push_back(std::move(operand));
    }
    std::vector<const KnownInts*> operands;
    for (const auto& operand : known) operands.push_back(operand ? &*operand : nullptr);
    auto folded = fold_known(context.node(), operands, context.opset(), state_.graph.symbols);
    if (!folded || folded->size() < context.node().outputs.size()) return false;
    for (size_t i = 0; i < folded->size(); ++i) {
      HAI_TRY_STATUS(context.set_output_known(i, std::move((*folded)[i])));
    }
    return true;
  }

  // Each output is a value of its own with the model's name for it.
  Status add_outputs(ImportScope& scope) {
    ir::Graph& graph = state_.graph;
    std::set<std::string> names;
    if (model_.graph.outputs.empty()) {
      return make_error(StatusCode::kCorrupt, "X059", "the graph has no outputs");
    }
    for (const std::string& name : model_.graph.outputs) {
      if (!names.insert(name).second) {
        return make_error(StatusCode::kCorrupt, "X060", "output \"{}\" is listed twice", name);
      }
      OnnxNode node;  // stands for the output in messages
      node.op_type = "output";
      node.name = name;
      node.inputs = {name};
      ImportContext context(state_, scope, node);
      HAI_TRY(ir::ValueId id, context.input(0));
      if (graph.is_input(id) || graph.value(id).is_constant() || graph.is_output(id)) {
        if (graph.is_input(id) && graph.value(id).name == name) {
          graph.add_output(id);
          continue;
        }
        HAI_TRY(id, copy_of(id, name));
      }
      if (graph.value(id).name != name) {
        if (const auto holder = graph.find_value(name)) graph.rename_value(*holder, name + ".inner");
        graph.rename_value(id, name);
      }
      graph.add_output(id);
    }
    return {};
  }

  // A node that only renames: reshape to the same shape.
  Result<ir::ValueId> copy_of(ir::ValueId id, const std::string& name) {
    ops::AppendOptions options;
    options.node_name = name;
    const std::vector<int64_t> same(state_.graph.value(id).type.shape.size(), 0);
    return ops::append_value(state_.graph, "reshape", {id}, {{"shape", same}}, std::move(options));
  }

  OnnxModel& model_;
  ImportState state_;
  int depth_ = 0;
  std::set<std::string> dim_names_;  // of the dimensions that the model leaves open
};

template <typename Read>
Result<ir::Graph> guarded(Read read, const ImportOptions& options) {
  try {
    HAI_TRY(OnnxModel model, read());
    return Importer(model, options).run();
  } catch (const std::bad_alloc&) {
    return make_error(StatusCode::kResourceExhausted, "X061", "not enough memory to import this model");
  } catch (const std::exception& problem) {
    return make_error(StatusCode::kInternal, "X062", "importing failed: {}; please report this with the model",
                      problem.what());
  }
}

}  // namespace

Result<ir::Graph> import_onnx_file(const std::string& path, const ImportOptions& options) {
  ImportOptions own = options;
  if (own.external_data_folder.empty()) {
    own.external_data_folder = std::filesystem::path(path).parent_path().string();
    if (own.external_data_folder.empty()) own.external_data_folder = ".";
  }
  auto graph = guarded([&] { return read_onnx_file(path, own); }, own);
  if (!graph) return with_where(graph.error(), path);
  return graph;
}

Result<ir::Graph> import_onnx_bytes(std::span<const std::byte> bytes, const ImportOptions& options) {
  return guarded([&] { return read_onnx_bytes(bytes, options); }, options);
}

std::vector<std::string> supported_onnx_operators() {
  std::vector<std::string> names = registry().names();
  return names;
}

}  // namespace hai::onnx_import
