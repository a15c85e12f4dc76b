// Segments are lowered one by one and put back into the graph as nodes "npu", which the CPU's lowering then takes along
// with its own: tensors, views and the arena are planned once, by one code.
//
// Every list of commands is verified here as the runtime will verify it, so that a mistake of the compiler shows at
// compile time.
#include "devices/sd3403/lower/lower.h"

#include <fmt/format.h>

#include "base/utf8.h"
#include "devices/cpu/lower/lower_registry.h"
#include "devices/sd3403/isa/program_verifier.h"
#include "devices/sd3403/lower/branches.h"
#include "devices/sd3403/lower/external_bytes.h"
#include "devices/sd3403/lower/fit.h"
#include "devices/sd3403/lower/segment_builder.h"

namespace hai::sd3403 {
namespace {

Status npu_supports(const ir::Graph&, const ir::Node&) { return {}; }

const cpu::LowerRegistry& registry() {
  static const cpu::LowerRegistry kRegistry = [] {
    cpu::LowerRegistry registry;
    cpu::register_all_lower(registry);
    registry.add("npu", {npu_supports, cpu::lower_as_is});
    return registry;
  }();
  return kRegistry;
}

class Lowering {
 public:
  Lowering(const ir::Graph& graph, const LowerOptions& options) : given_(graph), options_(options) {}

  Result<Lowered> run(const cpu::AddWeights& add_weights) {
    HAI_TRY_STATUS(check_machine(options_.machine));
    Lowered out;
    // Every round finds layers too large for the NPU that the one before took, or is the last.
    size_t known = 0;
    do {
      known = too_large_.size();
      graph_ = given_;
      segments_ = 0;
      out.segments.clear();
      HAI_TRY(Partition parts, partition(graph_, options_.partition, too_large_));
      out.placements = std::move(parts.placements);
      for (const std::vector<ir::NodeId>& nodes : parts.segments) HAI_TRY_STATUS(replace(nodes, out.segments));
    } while (too_large_.size() > known);
    graph_.erase_dead();
    cpu::LowerOptions options;
    options.device = "sd3403";
    options.registry = &registry();
    HAI_TRY(out.program, cpu::lower(graph_.compact(), add_weights, options));
    return out;
  }

 private:
  // The segment becomes a node, unless a layer of it is too large: then too_large_ grows.
  Status replace(const std::vector<ir::NodeId>& nodes, std::vector<SegmentReport>& reports) {
    HAI_TRY(Segment segment, SegmentBuilder(graph_, nodes).run());
    drop_unread_layers(segment);
    const std::vector<Misfit> misfits = misfits_of(segment, options_.machine);
    for (const Misfit& misfit : misfits) too_large_.emplace(segment.layers[misfit.layer].node, misfit.error.message);
    if (!misfits.empty()) return {};
    if (options_.emit.split == Split::kAuto || options_.emit.split == Split::kBranches)
      pair_branches(segment, options_.machine, options_.emit.split == Split::kBranches);
    HAI_TRY(const Schedule plan, schedule(segment, options_.machine, options_.schedule));
    HAI_TRY(EmittedSegment code, emit(segment, plan, options_.machine, options_.emit));
    HAI_TRY_STATUS(verify(segment, plan, code));
    SegmentReport report;
    report.name = fmt::format("npu{}", segments_++);
    report.layers = static_cast<int64_t>(segment.layers.size());
    report.groups = static_cast<int64_t>(plan.groups.size());
    for (const Group& group : plan.groups) {
      report.stripes += group.stripes;
      report.recomputed_groups += group.halo == Halo::kRecomputed ? 1 : 0;
    }
    report.commands = static_cast<int64_t>(code.commands.size());
    report.constant_bytes = static_cast<int64_t>(code.constants.size());
    report.stream_bytes = code.stream_bytes;
    report.expanded_bytes = code.expanded_bytes;
    report.sram_bytes = plan.sram_bytes;
    report.sram_lower_bound_bytes = plan.sram_lower_bound_bytes;
    report.external_lower_bound_bytes = code.stream_bytes + distinct_external_bytes(code.commands, kScratchImage);
    for (const Buffer& buffer : segment.buffers) {
      if (buffer.spilled) report.spilled.push_back(buffer.name);
    }
    put_back(segment, plan, code, report.name);
    reports.push_back(std::move(report));
    return {};
  }

  // Chains that became one table leave their steps without readers.
  static void drop_unread_layers(Segment& segment) {
    for (size_t l = segment.layers.size(); l-- > 0;) {
      const std::vector<BufferUses> uses = uses_of(segment);
      const BufferId written = segment.layers[l].writes.buffer;
      if (uses[written].readers.empty() && segment.buffers[written].output == ir::kNone)
        segment.layers.erase(segment.layers.begin() + static_cast<std::ptrdiff_t>(l));
    }
  }

  Status verify(const Segment& segment, const Schedule& plan, const EmittedSegment& code) const {
    MemorySizes memory;
    memory.image_bytes = {static_cast<int64_t>(code.constants.size()), plan.scratch_bytes};
    for (const auto* values : {&segment.inputs, &segment.outputs}) {
      for (const ir::ValueId value : *values) {
        const ir::TensorType& type = graph_.value(value).type;
        memory.image_bytes.push_back(bytes_for(type.dtype, element_count(type.shape)->value));
      }
    }
    memory.sram_bytes = static_cast<int64_t>(options_.machine.sram_bytes);
    memory.cache_bytes = static_cast<int64_t>(options_.machine.weight_cache_bytes);
    memory.accumulator_bytes = static_cast<int64_t>(options_.machine.accumulator_bytes);
    const Status status = verify_commands(code.commands, memory);
    if (status) return {};
    return make_error(StatusCode::kInternal, "N130",
                      "the compiler made a program that is not sound; please report it: {}", status.error().message);
  }

  void put_back(const Segment& segment, const Schedule& plan, const EmittedSegment& code, const std::string& name) {
    const auto add_bytes = [&](const char* what, std::shared_ptr<const ir::ConstantData> data) {
      const ir::TensorType type{DataType::kU8, {static_cast<int64_t>(data->bytes().size())}, {}};
      return graph_.add_constant(fmt::format("{}.{}", name, what), type, std::move(data));
    };
    std::vector<ir::ValueId> inputs = {
        add_bytes("commands", ir::ConstantData::copy_of(encode_words(code.commands))),
        add_bytes("constants", ir::ConstantData::copy_of(std::span<const std::byte>(code.constants)))};
    inputs.insert(inputs.end(), segment.inputs.begin(), segment.inputs.end());
    std::vector<ir::TensorType> types;
    std::vector<std::string> names;
    for (const ir::ValueId value : segment.outputs) {
      types.push_back(graph_.value(value).type);
      names.push_back(graph_.value(value).name);
      graph_.rename_value(value, names.back() + ".replaced");
    }
    const ir::NodeId node =
        graph_.add_node("npu", std::move(inputs), std::move(types), attributes(segment, plan), name, std::move(names));
    for (size_t i = 0; i < segment.outputs.size(); ++i) {
      graph_.replace_uses(segment.outputs[i], graph_.node(node).outputs[i]);
    }
  }

  ir::Attributes attributes(const Segment& segment, const Schedule& plan) const {
    const Machine& machine = options_.machine;
    ir::Attributes out;
    out["sram_bytes"] = static_cast<int64_t>(machine.sram_bytes);
    out["cache_bytes"] = static_cast<int64_t>(machine.weight_cache_bytes);
    out["accumulator_bytes"] = static_cast<int64_t>(machine.accumulator_bytes);
    out["scratch_bytes"] = plan.scratch_bytes;
    out["machine"] = machine.name;
    for (const MachineValueInfo& info : machine_values())
      out[fmt::format("machine.{}", info.name)] = machine.*info.value;
    std::string names;
    std::string ops;
    std::vector<int64_t> macs;
    int64_t total = 0;
    for (const Layer& layer : segment.layers) {
      names += printable(layer.name) + '\n';  // a line each
      ops += layer.op + '\n';
      macs.push_back(layer.macs);
      total += layer.macs;
    }
    out["layer_names"] = std::move(names);
    out["layer_ops"] = std::move(ops);
    out["layer_macs"] = std::move(macs);
    out["macs"] = total;
    return out;
  }

  const ir::Graph& given_;
  const LowerOptions& options_;
  ir::Graph graph_;
  std::map<ir::NodeId, std::string> too_large_;  // of given_, and why
  int64_t segments_ = 0;
};

}  // namespace

Result<Lowered> lower(const ir::Graph& graph, const cpu::AddWeights& add_weights, const LowerOptions& options) {
  return Lowering(graph, options).run(add_weights);
}

}  // namespace hai::sd3403
