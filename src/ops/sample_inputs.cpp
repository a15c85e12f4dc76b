// Samples to graphs and tensors.
//
// Random numbers come from SplitMix64, so that a seed names the same bytes on every machine; each operand has a stream
// of its own, so that adding an operand does not change the others.
#include "ops/sample_inputs.h"

#include <fmt/format.h>

#include <algorithm>

#include "ops/build.h"
#include "ops/reference.h"

namespace hai::ops {
namespace {

// Sebastiano Vigna's public-domain generator: one addition and three mixing steps a number.
struct SplitMix64 {
  uint64_t state;
  uint64_t next() {
    state += 0x9e3779b97f4a7c15ULL;
    uint64_t z = state;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    return z ^ (z >> 31);
  }
  double uniform() { return static_cast<double>(next() >> 11) * 0x1p-53; }
};

}  // namespace

Tensor fill_sample_input(const SampleInput& input, const Dims& dims, uint64_t seed) {
  const DataType dtype = input.type.dtype;
  Tensor tensor = Tensor::zeros(dtype, dims, input.type.quantization);
  const MutableTensorView view = tensor.mutable_view();
  SplitMix64 random{seed * 0x2545f4914f6cdd1dULL + 1};
  double low = input.low;
  double high = input.high;
  if (!is_float(dtype) && !input.integers_in_bounds) {
    const bool narrow = bit_width(dtype) <= 16;
    low = dtype == DataType::kBool ? 0.0 : narrow ? static_cast<double>(integer_min(dtype)) : -1048576.0;
    high = dtype == DataType::kBool ? 1.0 : narrow ? static_cast<double>(integer_max(dtype)) : 1048576.0;
    if (is_unsigned_integer(dtype)) low = 0.0;
  }
  const int64_t count = dims.count();
  for (int64_t i = 0; i < count; ++i) {
    if (is_float(dtype)) {
      store_f64(view, i, low + (high - low) * random.uniform());
    } else {
      const auto span = static_cast<uint64_t>(high - low) + 1;
      store_integer(view, i, static_cast<int64_t>(low) + static_cast<int64_t>(random.next() % span));
    }
  }
  return tensor;
}

namespace {

// Replaces the first dimension by a multiple of the batch symbol.
Status make_batched(Shape& shape, int64_t& batch_size) {
  if (shape.empty() || shape[0].is_symbolic() || (batch_size >= 0 && shape[0].value != batch_size)) {
    return make_error(StatusCode::kUnsupported, "O060", "the sample's inputs do not share a first dimension");
  }
  batch_size = shape[0].value;
  shape[0] = Dim(shape[0].value, 0);
  return {};
}

}  // namespace

Result<SampleGraph> build_sample(const OpSchema& schema, const Sample& sample, const SampleOptions& options) {
  const OpSchema* chosen = sample.op.empty() ? &schema : find_op_schema(sample.op);
  if (chosen == nullptr) {
    return make_error(StatusCode::kInternal, "O061", "sample \"{}\" names the unknown operator \"{}\"", sample.name,
                      sample.op);
  }
  SampleGraph out;
  out.graph.name = chosen->name + "/" + sample.name;
  const bool uses_symbol = std::any_of(sample.inputs.begin(), sample.inputs.end(),
                                       [](const SampleInput& input) { return !is_static(input.type.shape); });
  if (uses_symbol || options.symbolic_batch) out.graph.symbols.push_back({"N", 1, 16});
  const std::vector<int64_t> symbol_values(out.graph.symbols.size(), options.batch);
  std::vector<ir::ValueId> operands;
  int64_t batch_size = -1;
  for (size_t i = 0; i < sample.inputs.size(); ++i) {
    const SampleInput& input = sample.inputs[i];
    if (input.absent) {
      operands.push_back(ir::kNone);
      continue;
    }
    ir::TensorType type = input.type;
    if (options.symbolic_batch && !input.constant) HAI_TRY_STATUS(make_batched(type.shape, batch_size));
    const uint64_t seed = sample.seed * 1000003 + i;
    Tensor tensor = fill_sample_input(input, resolve(type.shape, symbol_values), seed);
    const std::string name = i < chosen->inputs.size() ? std::string(chosen->inputs[i].name) : fmt::format("x{}", i);
    if (input.constant) {
      operands.push_back(out.graph.add_constant(name, type, ir::ConstantData::copy_of(tensor.storage)));
    } else {
      operands.push_back(out.graph.add_input(name, type));
      out.inputs.push_back(std::move(tensor));
    }
  }
  AppendOptions append_options;
  append_options.node_name = sample.name;
  append_options.declared = sample.outputs;
  HAI_TRY(const ir::NodeId node,
          append(out.graph, chosen->name, std::move(operands), sample.attributes, std::move(append_options)));
  for (const ir::ValueId output : out.graph.node(node).outputs) out.graph.add_output(output);
  return out;
}

}  // namespace hai::ops
