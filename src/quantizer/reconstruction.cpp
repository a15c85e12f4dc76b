// Layer after layer in the graph's order.
//
// Method: two staged runs go through the calibration samples side by side: the float graph, and the quantized one whose
// layers so far have their final weights. At each layer both hand over its input; the same sampled output positions of
// both become the rows of a reconstruction problem (rounding.cpp, adaround.cpp), one for each group of channels. Then
// the quantized graph is made anew with this layer's weights and bias. Memory: rows have a limit in bytes, and so have
// the tensors between layers (staged_run.cpp). Deterministic for a seed, whatever the number of threads.
#include "quantizer/reconstruction.h"

#include <algorithm>
#include <chrono>
#include <limits>
#include <thread>

#include "quantizer/layer_rows.h"
#include "quantizer/rounding.h"

namespace hai::quantizer {
namespace {

constexpr int64_t kRowBytes = int64_t{256} << 20;    // of both kinds of rows of one layer
constexpr int64_t kStageBytes = int64_t{512} << 20;  // of the tensors between two stages of one run

struct Clamp {
  float low = -std::numeric_limits<float>::infinity();
  float high = std::numeric_limits<float>::infinity();
};

// The bounds that the only reader of a layer's result puts on it.
Clamp clamp_after(const ir::Graph& graph, const ir::Node& node) {
  Clamp out;
  const ir::Value& result = graph.value(node.outputs[0]);
  if (result.uses.size() != 1 || graph.is_output(node.outputs[0])) return out;
  const ir::Node& reader = graph.node(result.uses[0].node);
  if (reader.op == "relu" || reader.op == "relu6") out.low = 0.0F;
  if (reader.op == "relu6") out.high = 6.0F;
  if (reader.op == "clip") {
    out.low = static_cast<float>(reader.float_attribute("min", -std::numeric_limits<double>::infinity()));
    out.high = static_cast<float>(reader.float_attribute("max", std::numeric_limits<double>::infinity()));
  }
  return out;
}

int bits_of(DataType dtype) { return dtype == DataType::kI4 ? 4 : dtype == DataType::kI8 ? 8 : 16; }

class Reconstructor {
 public:
  Reconstructor(const ir::Graph& graph, const Plan& plan, const RewriteWith& rewrite, const EachSample& samples,
                const QuantizeOptions& options, RoundedBehind behind, ThreadPool& threads)
      : graph_(graph),
        plan_(plan),
        rewrite_(rewrite),
        samples_(samples),
        options_(options),
        behind_(behind),
        threads_(threads),
        float_run_(graph, samples, options.threads, kStageBytes) {}

  Result<Reconstruction> run(const GivenWeights& known, const OnRoundingProgress& progress) {
    out_.weights = known;
    HAI_TRY(quantized_, rewrite_(out_.weights));
    quantized_run_.emplace(quantized_.graph, samples_, options_.threads, kStageBytes);
    HAI_TRY_STATUS(samples_([&](const std::vector<ops::Tensor>&) -> Status {
      ++sample_count_;
      return {};
    }));
    if (sample_count_ == 0) {
      return make_error(StatusCode::kInvalidArgument, "Q094",
                        "no calibration samples to round the weights with; give at least one, better 32 or more");
    }
    HAI_TRY(const std::vector<ir::NodeId> order, graph_.ordered());
    std::vector<ir::NodeId> layers;
    for (const ir::NodeId id : order) {
      if ((plan_.weight_only[id] || (plan_.roles[id] == Role::kMac && plan_.integer[id])) && !known.contains(id) &&
          can_round(id))
        layers.push_back(id);
    }
    const auto start = std::chrono::steady_clock::now();
    for (size_t i = 0; i < layers.size(); ++i) {
      const std::chrono::duration<double> spent = std::chrono::steady_clock::now() - start;
      const double left = i == 0 ? 0 : spent.count() / static_cast<double>(i) * static_cast<double>(layers.size() - i);
      if (progress) {
        HAI_TRY_STATUS(progress(
            {graph_.node(layers[i]).name, static_cast<int64_t>(i), static_cast<int64_t>(layers.size()), left}));
      }
      Status status = round_layer(layers[i], options_.seed + i);
      if (!status.has_value()) return with_where(std::move(status).error(), graph_.node(layers[i]).name);
    }
    return std::move(out_);
  }

 private:
  const ir::Node& quantized_node(ir::NodeId id) const { return quantized_.graph.node(quantized_.nodes[id]); }

  bool can_round(ir::NodeId id) const {
    const ir::NodeId copy = quantized_.nodes[id];
    if (copy == ir::kNone || graph_.value(graph_.node(id).inputs[0]).is_constant()) return false;
    const ir::TensorType& weights = quantized_.graph.value(quantized_.graph.node(copy).inputs[1]).type;
    const bool usable = weights.dtype == DataType::kI4 || weights.dtype == DataType::kI8;
    return usable && weights.quantization && weights.quantization->block == 0 &&
           LayerGeometry::of(graph_, id).has_value();
  }

  // Rows of a layer's input at sampled output positions, by group.
  Result<std::vector<Matrix>> collect(StagedRun& run, ir::ValueId value, const LayerGeometry& geometry, uint64_t seed) {
    const int64_t row_bytes = geometry.groups() * geometry.depth() * static_cast<int64_t>(2 * sizeof(float));
    const int64_t most =
        std::clamp<int64_t>(kRowBytes / row_bytes, std::min<int64_t>(64, options_.adaround_options.max_rows),
                            options_.adaround_options.max_rows);
    int64_t per_sample = std::numeric_limits<int64_t>::max();
    std::vector<float> row(static_cast<size_t>(geometry.groups() * geometry.depth()));
    std::vector<Matrix> rows;
    const auto gather = [&](int64_t sample, const TensorView& x) -> Status {
      const int64_t positions = geometry.positions(x.dims);
      if (sample == 0) {
        per_sample = std::clamp<int64_t>(most / sample_count_, 1, std::max<int64_t>(positions, 1));
        for (int64_t g = 0; g < geometry.groups(); ++g) rows.emplace_back(per_sample * sample_count_, geometry.depth());
      }
      std::vector<int64_t> chosen =
          sample_positions(positions, per_sample, seed + static_cast<uint64_t>(sample) * 7919);
      if (chosen.empty()) {
        return make_error(StatusCode::kInvalidArgument, "Q095", "calibration sample {} gives this layer nothing to do",
                          sample);
      }
      for (int64_t i = 0; i < per_sample; ++i) {
        // A sample smaller than the first repeats its positions.
        geometry.gather(x, chosen[static_cast<size_t>(i) % chosen.size()], row);
        for (int64_t g = 0; g < geometry.groups(); ++g) {
          std::copy_n(row.begin() + g * geometry.depth(), geometry.depth(),
                      rows[static_cast<size_t>(g)].row(i * sample_count_ + sample));
        }
      }
      return {};
    };
    HAI_TRY_STATUS(run.visit(value, gather));
    return rows;
  }

  Status round_layer(ir::NodeId id, uint64_t seed) {
    const ir::Node& node = graph_.node(id);
    const LayerGeometry geometry = *LayerGeometry::of(graph_, id);
    HAI_TRY(std::vector<Matrix> float_rows, collect(float_run_, node.inputs[0], geometry, seed));
    std::vector<Matrix> quantized_rows = float_rows;
    if (behind_ == RoundedBehind::kRoundedLayers) {
      HAI_TRY(quantized_rows, collect(*quantized_run_, quantized_node(id).inputs[0], geometry, seed));
    }
    const ir::TensorType& type = quantized_.graph.value(quantized_node(id).inputs[1]).type;
    const std::span<const float> weights = floats_of(graph_.value(node.inputs[1]));
    const std::vector<float> bias = bias_of(node, geometry);
    const std::vector<float> least =
        bounded_scales(std::vector<float>(type.quantization->scales.size(), 0.0F), bounds_of(id, bias));
    const Clamp clamp = clamp_after(graph_, node);

    QuantizedWeights result;
    result.bits = bits_of(type.dtype);
    result.values.resize(weights.size());
    result.scales.resize(least.size());
    result.bias.resize(least.size());
    LayerRounding record{id, node.name, result.bits, 0, 0, 0, float_rows[0].rows()};
    double signal = 0;
    std::vector<Result<Rounded>> rounded(static_cast<size_t>(geometry.groups()), Rounded{});
    const auto round_group = [&](int64_t g, const Algebra& algebra) {
      RoundingProblem problem;
      problem.float_rows = std::move(float_rows[static_cast<size_t>(g)]);
      problem.quantized_rows = std::move(quantized_rows[static_cast<size_t>(g)]);
      problem.pictures = sample_count_;
      problem.weights = Matrix(geometry.outputs(), geometry.depth());
      for (int64_t o = 0; o < geometry.outputs(); ++o) {
        const auto channel = static_cast<size_t>(g * geometry.outputs() + o);
        for (int64_t k = 0; k < geometry.depth(); ++k)
          problem.weights.at(o, k) = weights[static_cast<size_t>(geometry.weight_index(g, o, k))];
        problem.bias.push_back(bias[channel]);
        problem.nearest_scale.push_back(type.quantization->scales[channel]);
        problem.least_scale.push_back(least[channel]);
      }
      problem.low = clamp.low;
      problem.high = clamp.high;
      problem.limit = weight_limit(result.bits);
      rounded[static_cast<size_t>(g)] = round_by_reconstruction(problem, options_.adaround_options, algebra);
    };
    HAI_TRY_STATUS(round_groups(geometry.groups(), round_group));
    for (int64_t g = 0; g < geometry.groups(); ++g) {
      HAI_TRY(const Rounded group, std::move(rounded[static_cast<size_t>(g)]));
      for (int64_t o = 0; o < geometry.outputs(); ++o) {
        const auto channel = static_cast<size_t>(g * geometry.outputs() + o);
        result.scales[channel] = group.scales[static_cast<size_t>(o)];
        result.bias[channel] = group.bias[static_cast<size_t>(o)];
        for (int64_t k = 0; k < geometry.depth(); ++k) {
          result.values[static_cast<size_t>(geometry.weight_index(g, o, k))] =
              static_cast<int16_t>(group.levels.at(o, k));
        }
      }
      record.error_nearest += group.error_nearest;
      record.error_solved += group.error_solved;
      record.error += group.error;
      signal += group.signal;
    }
    for (double* error : {&record.error_nearest, &record.error_solved, &record.error})
      *error = signal > 0 ? *error / signal : 0;
    out_.layers.push_back(record);
    out_.weights[id] = std::move(result);
    if (behind_ == RoundedBehind::kRoundedLayers) {
      HAI_TRY(quantized_, rewrite_(out_.weights));
    }
    return {};
  }

  // One group with all threads, or many groups (a depthwise layer) with one thread each.
  template <typename F>
  Status round_groups(int64_t groups, const F& round_group) {
    HAI_TRY(const Algebra shared, Algebra::make(threads_));
    if (groups < 2 * threads_.thread_count()) {
      for (int64_t g = 0; g < groups; ++g) round_group(g, shared);
      return {};
    }
    threads_.parallel(groups, [&](int64_t g, int) {
      ThreadPool alone(1);
      const auto algebra = Algebra::make(alone);
      if (algebra) round_group(g, *algebra);
    });
    return {};
  }

  std::vector<float> bias_of(const ir::Node& node, const LayerGeometry& geometry) const {
    std::vector<float> bias(static_cast<size_t>(geometry.groups() * geometry.outputs()), 0.0F);
    if (node.inputs.size() > 2 && node.inputs[2] != ir::kNone) {
      const std::span<const float> given = floats_of(graph_.value(node.inputs[2]));
      std::copy_n(given.begin(), std::min(given.size(), bias.size()), bias.begin());
    }
    return bias;
  }

  ScaleBounds bounds_of(ir::NodeId id, std::span<const float> bias) const {
    const ir::TensorType& x = quantized_.graph.value(quantized_node(id).inputs[0]).type;
    const ir::TensorType& y = quantized_.graph.value(quantized_node(id).outputs[0]).type;
    if (!x.quantization) return {};
    return {static_cast<double>(x.quantization->scales[0]),
            y.quantization ? static_cast<double>(y.quantization->scales[0]) : 1.0, bias,
            bias_limit(plan_.precision[id])};
  }

  const ir::Graph& graph_;
  const Plan& plan_;
  const RewriteWith& rewrite_;
  const EachSample& samples_;
  const QuantizeOptions& options_;
  RoundedBehind behind_;
  ThreadPool& threads_;
  StagedRun float_run_;
  Rewritten quantized_;
  std::optional<StagedRun> quantized_run_;
  int64_t sample_count_ = 0;
  Reconstruction out_;
};

}  // namespace

Result<Reconstruction> reconstruct(const ir::Graph& graph, const Plan& plan, const RewriteWith& rewrite,
                                   const GivenWeights& known, const EachSample& samples, const QuantizeOptions& options,
                                   RoundedBehind behind, const OnRoundingProgress& progress) {
  ThreadPool threads(options.threads > 0 ? options.threads
                                         : static_cast<int>(std::max(1U, std::thread::hardware_concurrency())));
  return Reconstructor(graph, plan, rewrite, samples, options, behind, threads).run(known, progress);
}

}  // namespace hai::quantizer
