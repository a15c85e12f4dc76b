// Runs the nodes of a small graph on the CPU device without compiler and runtime: lowering through the registry,
// kernels through ExecRegistry, plain buffers.
//
// Buffers are hostile on purpose: graph inputs have exactly their bytes and only their element's alignment; what the
// arena would hold is 64-byte aligned, readable 64 bytes past its end, filled with garbage before the run and guarded
// behind; constants that no kernel asks to keep are gone at run time.
#pragma once

#include <fmt/format.h>

#include <cstring>
#include <map>
#include <string>
#include <vector>

#include "base/aligned_bytes.h"
#include "devices/cpu/exec/exec_registry.h"
#include "devices/cpu/lower/lower_registry.h"
#include "ops/interpreter.h"

namespace hai::conformance {

// Collects what lowering emits. Every value of the graph has a tensor.
class CollectingContext final : public cpu::LowerContext {
 public:
  explicit CollectingContext(const ir::Graph& graph) : graph_(graph) {
    for (ir::ValueId id = 0; id < graph.value_slots(); ++id) {
      const ir::Value& value = graph.value(id);
      format::ProgramTensor tensor{value.name, value.type.dtype, value.type.shape, value.type.quantization};
      if (value.constant) {
        const auto bytes = value.constant->bytes();
        constants_[id].assign(bytes.begin(), bytes.end());
        tensor.place = format::TensorPlace::kConstant;
      } else if (graph.is_input(id)) {
        tensor.place = format::TensorPlace::kInput;
      }
      tensors.push_back(std::move(tensor));
    }
  }
  const ir::Graph& graph() const override { return graph_; }
  const ir::Node& node() const override { return graph_.node(node_); }
  uint32_t tensor(ir::ValueId value) override { return value == ir::kNone ? format::kNoTensor : value; }
  uint32_t add_constant(std::string name, DataType dtype, const Dims& dims, std::span<const std::byte> bytes) override {
    const auto number = static_cast<uint32_t>(tensors.size());
    tensors.push_back({std::move(name), dtype, to_shape(dims), std::nullopt, format::TensorPlace::kConstant});
    constants_[number].assign(bytes.begin(), bytes.end());
    return number;
  }
  uint32_t add_intermediate(std::string name, DataType dtype, Shape shape,
                            std::optional<Quantization> quantization) override {
    tensors.push_back({std::move(name), dtype, std::move(shape), std::move(quantization)});
    return static_cast<uint32_t>(tensors.size() - 1);
  }
  void alias(ir::ValueId output, ir::ValueId input) override { aliases.emplace_back(output, input); }
  void emit(std::string kernel, std::vector<uint32_t> inputs, std::vector<uint32_t> outputs,
            format::Attributes attributes) override {
    instructions.push_back(
        {std::move(kernel), node().name, std::move(inputs), std::move(outputs), std::move(attributes)});
  }

  Status lower_all() {
    HAI_TRY(const std::vector<ir::NodeId> order, graph_.ordered());
    for (const ir::NodeId id : order) {
      node_ = id;
      const cpu::CpuLowering* lowering = cpu::LowerRegistry::instance().find(node().op);
      if (lowering == nullptr) {
        return make_error(StatusCode::kUnsupported, "C099", "operator {} has no lowering on cpu", node().op);
      }
      HAI_TRY_STATUS(lowering->supports(graph_, node()));
      HAI_TRY_STATUS(lowering->lower(*this));
    }
    return {};
  }
  const std::map<uint32_t, AlignedBytes>& constants() const { return constants_; }

  std::vector<format::ProgramTensor> tensors;
  std::vector<format::Instruction> instructions;
  std::vector<std::pair<ir::ValueId, ir::ValueId>> aliases;

 private:
  const ir::Graph& graph_;
  ir::NodeId node_ = 0;
  std::map<uint32_t, AlignedBytes> constants_;
};

// One run of a lowered graph on one instruction set with one thread count.
class CpuRun {
 public:
  CpuRun(const ir::Graph& graph, const CollectingContext& lowered, cpu::Isa isa, int threads)
      : graph_(graph), lowered_(lowered), isa_(isa), threads_(threads) {}

  Result<std::vector<ops::Tensor>> run(std::span<const ops::Tensor> inputs, int64_t batch) {
    const std::vector<int64_t> symbols(graph_.symbols.size(), batch);
    place_tensors(inputs, symbols);
    for (const format::Instruction& instruction : lowered_.instructions) {
      HAI_TRY_STATUS(execute(instruction, batch));
    }
    for (const auto& [number, buffer] : buffers_) {
      const size_t used = sizes_[number];
      for (size_t i = used; i < used + kGuard; ++i) {
        if (buffer[i] != kGarbage) {
          return make_error(StatusCode::kInternal, "C098", "tensor \"{}\" was written {} bytes past its end",
                            lowered_.tensors[number].name, i - used + 1);
        }
      }
    }
    std::vector<ops::Tensor> outputs;
    for (const ir::ValueId id : graph_.outputs()) {
      const format::ProgramTensor& tensor = lowered_.tensors[id];
      ops::Tensor out = ops::Tensor::zeros(tensor.dtype, resolve(tensor.shape, symbols), tensor.quantization);
      if (!out.storage.empty()) std::memcpy(out.storage.data(), views_[id].data, out.storage.size());
      outputs.push_back(std::move(out));
    }
    return outputs;
  }

 private:
  static constexpr size_t kGuard = 64;
  static constexpr std::byte kGarbage{0xa5};

  void place_tensors(std::span<const ops::Tensor> inputs, std::span<const int64_t> symbols) {
    for (uint32_t number = 0; number < lowered_.tensors.size(); ++number) {
      const format::ProgramTensor& tensor = lowered_.tensors[number];
      const Dims dims = resolve(tensor.shape, symbols);
      MutableTensorView view{tensor.dtype, dims, nullptr, tensor.quantization ? &*tensor.quantization : nullptr};
      const auto bytes = static_cast<size_t>(view.size_bytes());
      if (tensor.place == format::TensorPlace::kInput) {
        const size_t shift = static_cast<size_t>(std::max(bit_width(tensor.dtype), 8)) / 8;
        auto memory = std::make_unique<std::byte[]>(bytes + shift);
        size_t index = 0;
        while (graph_.inputs()[index] != number) ++index;
        if (bytes > 0) std::memcpy(memory.get() + shift, inputs[index].storage.data(), bytes);
        view.data = memory.get() + shift;
        input_memory_.push_back(std::move(memory));
      } else if (tensor.place != format::TensorPlace::kConstant) {
        sizes_[number] = bytes;
        buffers_[number].assign(bytes + kGuard, kGarbage);
        view.data = buffers_[number].data();
      }
      views_.push_back(view);
    }
    for (const auto& [output, input] : lowered_.aliases) views_[output].data = views_[input].data;
  }

  TensorView constant(uint32_t number) const {
    const auto it = lowered_.constants().find(number);
    if (it == lowered_.constants().end()) return {};
    const format::ProgramTensor& tensor = lowered_.tensors[number];
    return {tensor.dtype, resolve(tensor.shape, {}), it->second.data(),
            tensor.quantization ? &*tensor.quantization : nullptr};
  }

  Status execute(const format::Instruction& instruction, int64_t batch) {
    const cpu::MakeKernel make = cpu::ExecRegistry::instance().find(instruction.kernel);
    if (make == nullptr) {
      return make_error(StatusCode::kInternal, "C097", "lowering emitted kernel {}, which does not exist",
                        instruction.kernel);
    }
    std::vector<const format::ProgramTensor*> ins;
    std::vector<const format::ProgramTensor*> outs;
    std::vector<TensorView> constants;
    for (const uint32_t i : instruction.inputs) {
      ins.push_back(i == format::kNoTensor ? nullptr : &lowered_.tensors[i]);
      constants.push_back(i == format::kNoTensor ? TensorView{} : constant(i));
    }
    for (const uint32_t i : instruction.outputs) outs.push_back(&lowered_.tensors[i]);
    HAI_TRY(const auto kernel, make({instruction, ins, outs, constants, graph_.symbols, isa_}));
    std::vector<TensorView> in_views;
    for (size_t i = 0; i < instruction.inputs.size(); ++i) {
      const uint32_t number = instruction.inputs[i];
      if (number == format::kNoTensor) {
        in_views.emplace_back();
      } else if (constants[i].data != nullptr) {
        in_views.push_back(constants[i]);
        if (!kernel->needs_constant(i)) in_views.back().data = nullptr;
      } else {
        in_views.push_back(hai::as_const(views_[number]));
      }
    }
    std::vector<MutableTensorView> out_views;
    for (const uint32_t i : instruction.outputs) out_views.push_back(views_[i]);
    const int64_t scratch_bytes = kernel->scratch_bytes(batch, threads_.thread_count());
    AlignedBytes scratch(static_cast<size_t>(scratch_bytes), kGarbage);
    kernel->run({in_views, out_views, scratch.data(), threads_, batch});
    return {};
  }

  const ir::Graph& graph_;
  const CollectingContext& lowered_;
  cpu::Isa isa_;
  ThreadPool threads_;
  std::vector<MutableTensorView> views_;
  std::map<uint32_t, AlignedBytes> buffers_;
  std::map<uint32_t, size_t> sizes_;
  std::vector<std::unique_ptr<std::byte[]>> input_memory_;
};

}  // namespace hai::conformance
