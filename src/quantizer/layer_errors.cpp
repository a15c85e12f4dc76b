// Measures every layer of a quantized graph against the float graph.
//
// Method: three programs run on each sample. The float graph, with every paired tensor as an output more; the quantized
// graph, with the dequantized results of its layers (accumulated errors); and one graph that holds all layers side by
// side, each reading the float model's tensors through a quantize of its own input type (isolated errors), so that a
// layer costs one layer and not one network. Statistics stream: memory is one sample's tensors and a histogram a layer.
// Then the worst layers are tried at 16 bits one by one (wider_layer.h) on a few samples. Nothing is chosen here.
#include "quantizer/layer_errors.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "ops/build.h"
#include "ops/op_schema.h"
#include "quantizer/graph_runner.h"
#include "quantizer/quantizer.h"
#include "quantizer/wider_layer.h"

namespace hai::quantizer {
namespace {

using ir::kNone;
using ir::ValueId;

constexpr int kFloatBits = 32;
constexpr int kHistogramBins = 56;

// Values of a graph as outputs more, each once.
class Taps {
 public:
  explicit Taps(ir::Graph graph) : graph_(std::move(graph)), own_outputs_(graph_.outputs().size()) {}

  // Index of the output that hands out `value`, dequantized where it is an integer.
  Result<size_t> tap(ValueId value) {
    if (const auto known = index_.find(value); known != index_.end()) return known->second;
    ValueId output = value;
    if (graph_.value(value).type.quantization) {
      HAI_TRY(output, ops::append_value(graph_, "dequantize", {value}));
    }
    size_t index = 0;
    while (index < own_outputs_ && graph_.outputs()[index] != output) ++index;
    if (index == own_outputs_) {
      index = graph_.outputs().size();
      graph_.add_output(output);
    }
    index_[value] = index;
    return index;
  }

  Result<GraphRunner> compile(int threads) { return GraphRunner::make(std::move(graph_), threads); }

 private:
  ir::Graph graph_;
  size_t own_outputs_;
  std::map<ValueId, size_t> index_;
};

// Where a tensor of the float model comes from: an input, or an output of the instrumented graph.
struct Source {
  bool is_input = false;
  size_t index = 0;
};

// An input of the graph of isolated layers.
struct Feed {
  Source source;
  const Gains* gains = nullptr;
  Shape shape;
  std::vector<float> scaled;  // memory for the tensor at the equalized size
};

void multiply_channels(std::span<const float> values, const Gains& gains, bool divide, std::vector<float>& out) {
  out.resize(values.size());
  for (size_t i = 0; i < values.size(); ++i) {
    const float gain = gains[i % gains.size()];
    out[i] = divide ? values[i] / gain : values[i] * gain;
  }
}

int bits_of(const ir::TensorType& type) { return type.quantization ? bit_width(type.dtype) : kFloatBits; }

class LayerMeter {
 public:
  LayerMeter(ir::Graph reference, ir::Graph quantized, const LayerErrorOptions& options)
      : options_(options), reference_(std::move(reference)), quantized_(std::move(quantized)) {}

  Status prepare() {
    HAI_TRY_STATUS(prepare_reference(reference_));
    HAI_TRY_STATUS(prepare_quantized(quantized_));
    HAI_TRY(pairing_, pair_graphs(reference_, quantized_));
    Taps reference_taps(reference_);
    Taps quantized_taps(quantized_);
    for (const PairedLayer& layer : pairing_.layers) {
      HAI_TRY(const Source source, source_of(layer.reference, reference_taps));
      references_.push_back(source);
      HAI_TRY(const size_t index, quantized_taps.tap(layer.output));
      actuals_.push_back(index);
      HAI_TRY_STATUS(describe_layer(layer));
    }
    for (size_t i = 0; i < pairing_.outputs.size(); ++i) {
      HAI_TRY(const size_t expected, reference_taps.tap(pairing_.outputs[i]));
      output_references_.push_back(expected);
      HAI_TRY(const size_t actual, quantized_taps.tap(pairing_.their_outputs[i]));
      output_actuals_.push_back(actual);
    }
    HAI_TRY_STATUS(build_isolated(reference_taps));
    HAI_TRY(reference_runner_, reference_taps.compile(options_.threads));
    HAI_TRY(quantized_runner_, quantized_taps.compile(options_.threads));
    scores_.emplace(reference_, pairing_.outputs);
    histograms_.resize(pairing_.layers.size());
    return {};
  }

  Status add(const std::vector<ops::Tensor>& sample) {
    if (sample.size() != reference_.inputs().size()) {
      return make_error(StatusCode::kInvalidArgument, "Q068", "sample {} has {} tensors, the model takes {}",
                        result_.samples, sample.size(), reference_.inputs().size());
    }
    const std::string where = fmt::format("sample {}", result_.samples);
    sample_ = views_of(sample);
    auto reference = reference_runner_->run(sample_);
    if (!reference) return with_where(std::move(reference).error(), where);
    reference_outputs_ = *reference;
    HAI_TRY(const std::vector<hai_tensor> inputs, quantized_inputs(sample));
    auto actual = quantized_runner_->run(inputs);
    if (!actual) return with_where(std::move(actual).error(), where);
    for (size_t i = 0; i < pairing_.layers.size(); ++i)
      HAI_TRY_STATUS(compare(i, floats_of((*actual)[actuals_[i]]), false));
    HAI_TRY_STATUS(score_outputs(*scores_, *actual));
    if (isolated_runner_) HAI_TRY_STATUS(add_isolated());
    keep(sample);
    ++result_.samples;
    return {};
  }

  Result<LayerErrors> finish() {
    if (result_.samples == 0) {
      return make_error(StatusCode::kInvalidArgument, "Q067",
                        "no samples to compare on; give at least one, better 16 or more like those the model will see");
    }
    for (size_t i = 0; i < pairing_.layers.size(); ++i) {
      const auto& quantization = quantized_.value(pairing_.layers[i].output).type.quantization;
      const double step = quantization && quantization->per_tensor() && !result_.layers[i].equalized
                              ? static_cast<double>(quantization->scales[0])
                              : 0.0;
      result_.layers[i].histogram = histograms_[i].export_bins(kHistogramBins, step);
    }
    HAI_TRY_STATUS(examine_worst());
    result_.unpaired = pairing_.unpaired;
    result_.outputs = scores_->take();
    return std::move(result_);
  }

 private:
  Result<Source> source_of(ValueId value, Taps& taps) const {
    for (size_t i = 0; i < reference_.inputs().size(); ++i) {
      if (reference_.inputs()[i] == value) return Source{true, i};
    }
    HAI_TRY(const size_t index, taps.tap(value));
    return Source{false, index};
  }

  std::span<const float> floats_at(const Source& source) const {
    if (!source.is_input) return floats_of(reference_outputs_[source.index]);
    const hai_tensor& tensor = sample_[source.index];
    return {static_cast<const float*>(tensor.data), tensor.size_bytes / sizeof(float)};
  }

  Status describe_layer(const PairedLayer& layer) {
    const ir::Node& node = quantized_.node(layer.node);
    LayerError error;
    error.name = node.name.empty() ? quantized_.value(layer.output).name : node.name;
    error.op = node.op;
    error.activation_bits = node.inputs.empty() ? kFloatBits : bits_of(quantized_.value(node.inputs[0]).type);
    error.weight_sqnr_db = std::numeric_limits<double>::infinity();
    error.equalized = !pairing_.gains[layer.output].empty();
    if (has_weights(quantized_, node)) {
      const ir::Value& weights = quantized_.value(node.inputs[1]);
      error.weight_bits = bits_of(weights.type);
      error.weight_count = element_count(weights.type.shape).value_or(Dim(0)).value;
      if (error.weight_bits < kFloatBits) {
        HAI_TRY(error.weight_sqnr_db, weight_sqnr_db(layer));
      }
    }
    if (const OpSchema* schema = find_op_schema(node.op); schema != nullptr && schema->cost != nullptr) {
      const std::vector<int64_t> one(quantized_.symbols.size(), 1);
      const auto dims_of = [&](const std::vector<ValueId>& values) {
        std::vector<Dims> dims;
        for (const ValueId id : values)
          dims.push_back(id == kNone ? Dims{} : resolve(quantized_.value(id).type.shape, one));
        return dims;
      };
      error.macs = schema->cost(*schema, {dims_of(node.inputs), dims_of(node.outputs), node}).macs;
    }
    result_.layers.push_back(std::move(error));
    return {};
  }

  Result<double> weight_sqnr_db(const PairedLayer& layer) const {
    const ir::Node& node = quantized_.node(layer.node);
    const ir::Node& theirs = reference_.node(layer.float_node);
    const ir::Value& ours = quantized_.value(node.inputs[1]);
    if (!has_weights(reference_, theirs) || reference_.value(theirs.inputs[1]).type.shape != ours.type.shape)
      return std::numeric_limits<double>::infinity();
    HAI_TRY(std::vector<float> before, real_values(reference_.value(theirs.inputs[1])));
    HAI_TRY(const std::vector<float> after, real_values(ours));
    const WeightChannels channels(node, ours.type.shape);
    const Gains& input = pairing_.gains[node.inputs[0]];
    const Gains& output = pairing_.gains[layer.output];
    for (size_t i = 0; i < before.size(); ++i) {
      const WeightIndex at = channels.of(i);
      if (at.output < output.size()) before[i] *= output[at.output];
      if (at.input < input.size()) before[i] /= input[at.input];
    }
    TensorErrors errors;
    if (!errors.add(before, after)) {
      return make_error(StatusCode::kInvalidArgument, "Q069",
                        "the weights of \"{}\" hold NaN or infinite numbers; check the model", node.name);
    }
    return errors.sqnr_db();
  }

  // --- isolated ---
  Status build_isolated(Taps& reference_taps) {
    ir::Graph graph;
    graph.name = "isolated_layers";
    graph.symbols = quantized_.symbols;
    std::map<ValueId, ValueId> copies;  // of constants, and of the quantized graph's tensors as inputs
    for (size_t i = 0; i < pairing_.layers.size(); ++i) {
      HAI_TRY(const ValueId result, isolate(pairing_.layers[i], graph, copies, reference_taps));
      if (result == kNone) continue;
      graph.add_output(result);
      isolated_layers_.push_back(i);
      result_.layers[i].isolated.emplace();
    }
    if (isolated_layers_.empty()) return {};
    graph.erase_dead();
    HAI_TRY(isolated_runner_, GraphRunner::make(std::move(graph), options_.threads));
    return {};
  }

  // The layer alone, in `graph`; kNone where some input has no counterpart in the float model.
  Result<ValueId> isolate(const PairedLayer& layer, ir::Graph& graph, std::map<ValueId, ValueId>& copies,
                          Taps& reference_taps) {
    const ir::Node& node = quantized_.node(layer.node);
    if (bits_of(quantized_.value(layer.output).type) == kFloatBits &&
        bits_of(quantized_.value(node.inputs[0]).type) == kFloatBits &&
        (!has_weights(quantized_, node) || bits_of(quantized_.value(node.inputs[1]).type) == kFloatBits))
      return kNone;  // a float layer adds nothing of its own
    const auto has_counterpart = [&](ValueId id) {
      return id == kNone || quantized_.value(id).is_constant() ||
             (pairing_.reference_of[id] != kNone &&
              reference_.value(pairing_.reference_of[id]).type.dtype == DataType::kF32);
    };
    if (!std::all_of(node.inputs.begin(), node.inputs.end(), has_counterpart)) return kNone;
    std::vector<ValueId> inputs;
    for (const ValueId id : node.inputs) {
      if (id == kNone) {
        inputs.push_back(kNone);
        continue;
      }
      if (const auto made = copies.find(id); made != copies.end()) {
        inputs.push_back(made->second);
        continue;
      }
      const ir::Value& value = quantized_.value(id);
      ValueId copy = kNone;
      if (value.is_constant()) {
        copy = graph.add_constant(value.name, value.type, value.constant);
      } else {
        copy = graph.add_input(fmt::format("x{}", feeds_.size()), {DataType::kF32, value.type.shape, {}});
        HAI_TRY(const Source source, source_of(pairing_.reference_of[id], reference_taps));
        feeds_.push_back({source, &pairing_.gains[id], value.type.shape, {}});
        if (value.type.quantization) {
          ops::AppendOptions options;
          options.declared = {value.type};
          HAI_TRY(copy, ops::append_value(graph, "quantize", {copy}, {}, std::move(options)));
        }
      }
      copies[id] = copy;
      inputs.push_back(copy);
    }
    ops::AppendOptions options;
    options.node_name = node.name;
    options.output_count = node.outputs.size();
    for (const ValueId output : node.outputs) options.declared.emplace_back(quantized_.value(output).type);
    HAI_TRY(const ir::NodeId id, ops::append(graph, node.op, std::move(inputs), node.attributes, std::move(options)));
    const ValueId result = graph.node(id).outputs[0];
    if (!graph.value(result).type.quantization) return result;
    return ops::append_value(graph, "dequantize", {result});
  }

  Status add_isolated() {
    const int64_t batch = reference_outputs_.empty() || sample_.empty() || sample_[0].rank == 0 ? 1 : batch_of();
    const std::vector<int64_t> symbols(quantized_.symbols.size(), batch);
    std::vector<hai_tensor> inputs;
    for (Feed& feed : feeds_) {
      std::span<const float> values = floats_at(feed.source);
      if (!feed.gains->empty()) {
        multiply_channels(values, *feed.gains, false, feed.scaled);
        values = feed.scaled;
      }
      const Dims dims = resolve(feed.shape, symbols);
      inputs.push_back(api::view(HAI_F32, {dims.view().begin(), dims.view().end()}, const_cast<float*>(values.data()),
                                 values.size_bytes()));
    }
    HAI_TRY(const auto outputs, isolated_runner_->run(inputs));
    for (size_t i = 0; i < isolated_layers_.size(); ++i)
      HAI_TRY_STATUS(compare(isolated_layers_[i], floats_of(outputs[i]), true));
    return {};
  }

  // The value of the batch symbol in this sample.
  int64_t batch_of() const {
    for (size_t i = 0; i < quantized_.inputs().size(); ++i) {
      const Shape& shape = quantized_.value(quantized_.inputs()[i]).type.shape;
      const auto theirs = std::find(reference_.inputs().begin(), reference_.inputs().end(),
                                    pairing_.reference_of[quantized_.inputs()[i]]);
      const hai_tensor& tensor = sample_[static_cast<size_t>(theirs - reference_.inputs().begin())];
      for (size_t axis = 0; axis < shape.size() && axis < static_cast<size_t>(tensor.rank); ++axis) {
        if (shape[axis].is_symbolic() && shape[axis].value > 0) return tensor.dims[axis] / shape[axis].value;
      }
    }
    return 1;
  }

  // --- comparing ---
  Status compare(size_t layer, std::span<const float> actual, bool isolated) {
    const std::span<const float> expected = floats_at(references_[layer]);
    const Gains& gains = pairing_.gains[pairing_.layers[layer].output];
    if (!gains.empty()) {
      multiply_channels(actual, gains, true, scaled_);
      actual = scaled_;
    }
    LayerError& error = result_.layers[layer];
    TensorErrors& errors = isolated ? *error.isolated : error.accumulated;
    if (expected.size() != actual.size() || !errors.add(expected, actual)) {
      return make_error(
          StatusCode::kInvalidArgument, "Q069",
          "layer \"{}\" ({}): {} on sample {}; check that sample and the model's weights", error.name, error.op,
          expected.size() != actual.size()
              ? fmt::format("{} numbers in the float model, {} in the quantized one", expected.size(), actual.size())
              : std::string("a NaN or an infinity"),
          result_.samples);
    }
    if (!isolated) histograms_[layer].add(expected, actual);
    return {};
  }

  Status score_outputs(OutputScores& scores, std::span<const api::Tensor> actual) const {
    std::vector<api::Tensor> expected;
    std::vector<api::Tensor> got;
    for (size_t i = 0; i < output_references_.size(); ++i) {
      expected.push_back(reference_outputs_[output_references_[i]]);
      got.push_back(actual[output_actuals_[i]]);
    }
    return scores.add(expected, got, result_.samples);
  }

  // The sample for the quantized graph, in the order of its own inputs.
  Result<std::vector<hai_tensor>> quantized_inputs(const std::vector<ops::Tensor>& sample) {
    std::vector<hai_tensor> views;
    for (const ValueId input : quantized_.inputs()) {
      const auto theirs =
          std::find(reference_.inputs().begin(), reference_.inputs().end(), pairing_.reference_of[input]);
      const auto index = static_cast<size_t>(theirs - reference_.inputs().begin());
      if (quantized_.value(input).type.dtype != sample[index].dtype) {
        return make_error(
            StatusCode::kUnsupported, "Q070",
            "input \"{}\" of the quantized model is {}, of the float model {}: samples cannot be given to "
            "both",
            quantized_.value(input).name, data_type_name(quantized_.value(input).type.dtype),
            data_type_name(sample[index].dtype));
      }
      views.push_back(views_of(sample)[index]);
    }
    return views;
  }

  // --- 16 bits ---
  void keep(const std::vector<ops::Tensor>& sample) {
    int64_t bytes = 0;
    for (const ops::Tensor& tensor : sample) bytes += static_cast<int64_t>(tensor.storage.size());
    const bool room = kept_.empty() || kept_bytes_ + bytes <= options_.kept_bytes;
    if (options_.examined_layers == 0 || static_cast<int>(kept_.size()) >= options_.examined_samples || !room) return;
    kept_bytes_ += bytes;
    kept_.push_back(sample);
    std::vector<api::Tensor> outputs;
    for (const size_t index : output_references_) outputs.push_back(reference_outputs_[index]);
    kept_outputs_.push_back(std::move(outputs));
  }

  struct OutputDistance {
    double kl = 0;
    double sqnr_db = 0;
  };

  Result<OutputDistance> distance_of(ir::Graph graph) {
    HAI_TRY(GraphRunner runner, GraphRunner::make(std::move(graph), options_.threads));
    OutputScores scores(reference_, pairing_.outputs);
    for (size_t i = 0; i < kept_.size(); ++i) {
      HAI_TRY(const auto inputs, quantized_inputs(kept_[i]));
      HAI_TRY(const auto outputs, runner.run(inputs));
      HAI_TRY_STATUS(scores.add(kept_outputs_[i], outputs, static_cast<int64_t>(i)));
    }
    OutputDistance distance;
    double noise = 0;
    for (const OutputScore& output : scores.outputs()) {
      distance.kl += output.mean_kl();
      noise += std::pow(output.errors.relative_error(), 2);
    }
    distance.sqnr_db = -10 * std::log10(std::max(noise / static_cast<double>(scores.outputs().size()), 1e-30));
    return distance;
  }

  // The graph with exactly the compared outputs, as numbers.
  static Result<ir::Graph> with_outputs(ir::Graph graph, const std::vector<ValueId>& wanted) {
    for (size_t i = 0; i < wanted.size(); ++i) {
      ValueId output = graph.outputs()[i];
      if (graph.value(output).type.quantization) {
        HAI_TRY(output, ops::append_value(graph, "dequantize", {output}));
        graph.set_output(i, output);
      }
    }
    return graph;
  }

  Status examine_worst() {
    // Only where every output is compared: then outputs stand in the same order in every variant.
    if (pairing_.outputs.size() != quantized_.outputs().size() || pairing_.their_outputs != quantized_.outputs())
      return {};
    std::vector<size_t> order;
    for (size_t i = 0; i < result_.layers.size(); ++i) {
      const LayerError& error = result_.layers[i];
      const bool narrow = error.weight_bits > 0 && (error.weight_bits < 16 || error.activation_bits < 16);
      if (narrow && error.isolated && std::isfinite(error.isolated->sqnr_db())) order.push_back(i);
    }
    std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) {
      return result_.layers[a].isolated->sqnr_db() < result_.layers[b].isolated->sqnr_db();
    });
    order.resize(std::min(order.size(), static_cast<size_t>(std::max(options_.examined_layers, 0))));
    if (order.empty()) return {};
    HAI_TRY(ir::Graph plain, with_outputs(quantized_, pairing_.their_outputs));
    HAI_TRY(const OutputDistance before, distance_of(std::move(plain)));
    for (const size_t i : order) {
      HAI_TRY(ir::Graph wider, with_wider_layer(reference_, quantized_, pairing_, pairing_.layers[i]));
      HAI_TRY(wider, with_outputs(std::move(wider), pairing_.their_outputs));
      HAI_TRY(const OutputDistance after, distance_of(std::move(wider)));
      result_.layers[i].wider = WiderEffect{before.kl, after.kl, before.sqnr_db, after.sqnr_db};
    }
    return {};
  }

  LayerErrorOptions options_;
  ir::Graph reference_;
  ir::Graph quantized_;
  Pairing pairing_;
  std::vector<Source> references_;  // by layer
  std::vector<size_t> actuals_;     // by layer: output of the instrumented quantized graph
  std::vector<size_t> output_references_;
  std::vector<size_t> output_actuals_;
  std::optional<GraphRunner> reference_runner_;
  std::optional<GraphRunner> quantized_runner_;
  std::optional<GraphRunner> isolated_runner_;
  std::vector<Feed> feeds_;
  std::vector<size_t> isolated_layers_;
  std::vector<PairHistogram> histograms_;
  std::optional<OutputScores> scores_;
  std::vector<std::vector<ops::Tensor>> kept_;
  std::vector<std::vector<api::Tensor>> kept_outputs_;
  int64_t kept_bytes_ = 0;
  std::vector<hai_tensor> sample_;
  std::span<const api::Tensor> reference_outputs_;
  std::vector<float> scaled_;
  LayerErrors result_;
};

}  // namespace

Result<LayerErrors> measure_layers(ir::Graph reference, ir::Graph quantized, const NextSample& next,
                                   const LayerErrorOptions& options) {
  if (is_quantized(reference) && !is_quantized(quantized)) {
    return make_error(StatusCode::kInvalidArgument, "Q075",
                      "the two models look swapped: the first is quantized and the second is not; give the float model "
                      "first and the quantized one second");
  }
  LayerMeter meter(std::move(reference), std::move(quantized), options);
  HAI_TRY_STATUS(meter.prepare());
  for (;;) {
    HAI_TRY(const auto sample, next());
    if (!sample) break;
    HAI_TRY_STATUS(meter.add(*sample));
  }
  return meter.finish();
}

}  // namespace hai::quantizer
