// Stores an ir::Graph as a format::Program with device "graph", and reads it back.
//
// Method: the graph is compacted first, so that tensors are numbered inputs, constants, results of nodes in topological
// order; that order is what reading produces again, which makes the two directions inverse. Reading trusts nothing: a
// program that passed the container's checks may still use a tensor before it is made, make it twice, or break an
// operator's schema; the finished graph goes through ops::verify.
#include "compiler/portable_graph.h"

#include <algorithm>
#include <cstring>

#include "base/checked.h"
#include "ops/build.h"
#include "ops/op_schema.h"
#include "ops/verify.h"
#include "passes/rewrite.h"

namespace hai::compiler {
namespace {

using format::ProgramTensor;
using format::TensorPlace;

ProgramTensor tensor_of(const ir::Value& value, TensorPlace place) {
  return {value.name, value.type.dtype, value.type.shape, value.type.quantization, place, 0, 0};
}

// Reads one program into a graph.
class Reader {
 public:
  Reader(const format::ModelFile& file, const format::Program& program) : file_(file), program_(program) {
    value_of_.assign(program.tensors.size(), ir::kNone);
  }

  Result<ir::Graph> run() {
    graph_.name = file_.name;
    graph_.metadata = file_.metadata;
    graph_.symbols = program_.symbols;
    for (const uint32_t number : program_.inputs) {
      const ProgramTensor& tensor = program_.tensors[number];
      if (value_of_[number] != ir::kNone) return refuse(tensor.name, "is an input twice");
      value_of_[number] = graph_.add_input(tensor.name, {tensor.dtype, tensor.shape, tensor.quantization});
    }
    for (uint32_t number = 0; number < program_.tensors.size(); ++number) {
      if (program_.tensors[number].place == TensorPlace::kConstant) HAI_TRY_STATUS(add_constant(number));
    }
    for (const format::Instruction& instruction : program_.instructions) HAI_TRY_STATUS(add_node(instruction));
    for (const uint32_t number : program_.outputs) {
      if (value_of_[number] == ir::kNone)
        return refuse(program_.tensors[number].name, "is an output that nothing makes");
      graph_.add_output(value_of_[number]);
    }
    HAI_TRY_STATUS(ops::verify(graph_));
    return std::move(graph_);
  }

 private:
  static Error refuse(std::string_view tensor, std::string_view what) {
    return make_error(StatusCode::kCorrupt, "K002", "portable graph: tensor \"{}\" {}; compile the model again", tensor,
                      what);
  }

  Status add_constant(uint32_t number) {
    const ProgramTensor& tensor = program_.tensors[number];
    const auto count = element_count(tensor.shape);
    if (!count || count->is_symbolic()) return refuse(tensor.name, "is a constant without a fixed shape");
    const int64_t size = bytes_for(tensor.dtype, count->value);
    auto piece = std::upper_bound(file_.weights.begin(), file_.weights.end(), tensor.offset_bytes,
                                  [](int64_t offset, const format::WeightPiece& p) { return offset < p.offset_bytes; });
    std::span<const std::byte> bytes;
    std::shared_ptr<const void> owner;
    if (size > 0) {
      if (piece == file_.weights.begin()) return refuse(tensor.name, "lies outside the weights");
      --piece;
      const int64_t start = tensor.offset_bytes - piece->offset_bytes;
      const auto end = checked_add(start, size);
      if (!end || *end > static_cast<int64_t>(piece->bytes.size()))
        return refuse(tensor.name, "lies outside the weights");
      bytes = piece->bytes.subspan(static_cast<size_t>(start), static_cast<size_t>(size));
      owner = piece->owner;
    }
    value_of_[number] = graph_.add_constant(tensor.name, {tensor.dtype, tensor.shape, tensor.quantization},
                                            ir::ConstantData::borrow(bytes, std::move(owner)));
    return {};
  }

  Status add_node(const format::Instruction& instruction) {
    if (find_op_schema(instruction.kernel) == nullptr) {
      return make_error(
          StatusCode::kCorrupt, "K003",
          "portable graph: node \"{}\" is a {}, which this version does not know; compile the model again",
          instruction.name, instruction.kernel);
    }
    std::vector<ir::ValueId> inputs;
    for (const uint32_t number : instruction.inputs) {
      if (number != format::kNoTensor && value_of_[number] == ir::kNone) {
        return refuse(program_.tensors[number].name, "is read before it is made");
      }
      inputs.push_back(number == format::kNoTensor ? ir::kNone : value_of_[number]);
    }
    std::vector<ir::TensorType> types;
    std::vector<std::string> names;
    for (const uint32_t number : instruction.outputs) {
      if (number == format::kNoTensor) return refuse("", "is an absent output");
      const ProgramTensor& tensor = program_.tensors[number];
      if (value_of_[number] != ir::kNone) return refuse(tensor.name, "is made twice");
      types.push_back({tensor.dtype, tensor.shape, tensor.quantization});
      names.push_back(tensor.name);
    }
    const ir::NodeId node = graph_.add_node(instruction.kernel, std::move(inputs), std::move(types),
                                            instruction.attributes, instruction.name, std::move(names));
    for (size_t i = 0; i < instruction.outputs.size(); ++i) {
      if (value_of_[instruction.outputs[i]] != ir::kNone) {
        return refuse(program_.tensors[instruction.outputs[i]].name, "is made twice");
      }
      value_of_[instruction.outputs[i]] = graph_.node(node).outputs[i];
    }
    return {};
  }

  const format::ModelFile& file_;
  const format::Program& program_;
  ir::Graph graph_;
  std::vector<ir::ValueId> value_of_;
};

}  // namespace

int64_t WeightTable::add(std::span<const std::byte> bytes, std::shared_ptr<const void> owner) {
  if (bytes.empty()) return 0;  // any offset would do, if only it lies in the section
  if (const auto apart = apart_.find(bytes.data()); apart != apart_.end()) return apart->second;
  const size_t hash = passes::quick_hash(bytes);
  const auto [begin, end] = piece_by_hash_.equal_range(hash);
  for (auto it = begin; it != end; ++it) {
    const format::WeightPiece& piece = pieces_[it->second];
    if (bytes.size() == piece.bytes.size() && std::memcmp(bytes.data(), piece.bytes.data(), bytes.size()) == 0) {
      return piece.offset_bytes;
    }
  }
  piece_by_hash_.emplace(hash, pieces_.size());
  return append(bytes, std::move(owner));
}

void WeightTable::keep_apart(const std::shared_ptr<const ir::ConstantData>& data) {
  if (!data->bytes().empty() && !apart_.contains(data->bytes().data()))
    apart_[data->bytes().data()] = append(data->bytes(), data);
}

int64_t WeightTable::append(std::span<const std::byte> bytes, std::shared_ptr<const void> owner) {
  const int64_t offset = align_up(end_, format::kWeightAlignmentBytes);
  pieces_.push_back({offset, bytes, std::move(owner)});
  end_ = offset + static_cast<int64_t>(bytes.size());
  return offset;
}

Result<format::Program> to_portable(const ir::Graph& source, WeightTable& weights) {
  if (auto order = source.ordered(); !order) return with_where(order.error(), "storing the portable graph");
  const ir::Graph graph = source.compact();
  format::Program program;
  program.device = "graph";
  program.symbols = graph.symbols;
  for (ir::ValueId id = 0; id < graph.value_slots(); ++id) {
    const ir::Value& value = graph.value(id);
    if (value.is_constant()) {
      program.tensors.push_back(tensor_of(value, TensorPlace::kConstant));
      program.tensors.back().offset_bytes = weights.add(value.constant->bytes(), value.constant);
    } else {
      program.tensors.push_back(tensor_of(value, TensorPlace::kValue));
    }
  }
  for (size_t i = 0; i < graph.inputs().size(); ++i) {
    program.tensors[graph.inputs()[i]].place = TensorPlace::kInput;
    program.tensors[graph.inputs()[i]].index = static_cast<uint32_t>(i);
  }
  program.inputs = graph.inputs();
  program.outputs = graph.outputs();
  for (ir::NodeId id = 0; id < graph.node_slots(); ++id) {
    const ir::Node& node = graph.node(id);
    program.instructions.push_back({node.op, node.name, node.inputs, node.outputs, node.attributes, 0});
  }
  return program;
}

Result<ir::Graph> from_portable(const format::ModelFile& file) {
  if (!file.graph) {
    return make_error(StatusCode::kNotFound, "K004",
                      "model \"{}\" carries no portable graph; compile it from its source", file.name);
  }
  return Reader(file, *file.graph).run();
}

}  // namespace hai::compiler
