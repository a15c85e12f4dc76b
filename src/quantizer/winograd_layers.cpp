// Choosing layers for winograd_conv2d, in 8 bits or f16.
//
// Method: a second pass over the calibration samples takes patches of 6 x 6 pixels, at places drawn at random, of what
// each eligible layer reads. From them come the powers of two of the taps (winograd_taps.h) and the errors: the patches
// run through conv2d in f32, and, rounded as the layer reads them, through conv2d in integers and winograd_conv2d with
// both tiles, on the CPU device as a model would; the results are compared as the layer stores them. So an error is
// that of the whole layer: of its input, its weights and its result. The mean error of each channel goes into its bias
// where bias correction is on, but for f16, whose rounding has no mean. Nothing here depends on threads or time.
#include "quantizer/winograd_layers.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>

#include "base/checked.h"
#include "ops/build.h"
#include "quantizer/compiled_graph.h"
#include "quantizer/mixed_cost.h"
#include "types/arithmetic.h"
#include "types/half.h"

namespace hai::quantizer {
namespace {

constexpr int64_t kPatch = 6;  // a tile of F(4x4, 3x3), four of F(2x2, 3x3)
constexpr int64_t kMostPatches = 512;
constexpr int64_t kLeastPatches = 64;
// Of f16: signal over noise (dB) beyond which a direct layer has more than a network would notice. With the default
// limit of 10 dB a layer keeps ten more than the best that 8 bits give.
constexpr double kEnoughSqnrDb = 60;
constexpr int64_t kMostPatchElements = int64_t{2} << 20;  // of one layer

struct Layer {
  ir::NodeId id = ir::kNone;
  bool half = false;
  Quantization x;  // of integers
  int64_t channels = 1, outputs = 1;
  int64_t out_rows = 1, out_columns = 1;
  std::vector<int64_t> pads;
  int64_t wanted = 0;          // patches
  std::vector<float> patches;  // [patches][kPatch][kPatch][channels]
  int64_t count = 0;
};

// Results of the patches: [patches * 16][outputs], real numbers.
using Results = std::vector<float>;

Layer describe(const WinogradInput& input, ir::NodeId id) {
  const ir::Node& node = input.graph.node(id);
  const Shape& weights = input.graph.value(node.inputs[1]).type.shape;
  const Shape& y = input.graph.value(node.outputs[0]).type.shape;
  Layer out;
  out.id = id;
  out.half = input.plan.half[id];
  if (!out.half) out.x = input.ranges.of(input.plan, node.inputs[0], 8);
  out.outputs = weights[0].value;
  out.channels = weights[3].value;
  out.out_rows = y[1].value;
  out.out_columns = y[2].value;
  out.pads = node.ints_attribute("pads", {0, 0, 0, 0});
  out.wanted = std::clamp(kMostPatchElements / (kPatch * kPatch * out.channels), kLeastPatches, kMostPatches);
  return out;
}

// Draws the patches of one sample.
void take_patches(const TensorView& x, int64_t share, std::mt19937_64& random, Layer& layer) {
  const float* values = data_of<float>(x);
  for (int64_t i = 0; i < share && layer.count < layer.wanted; ++i, ++layer.count) {
    const auto draw = [&](int64_t count) { return static_cast<int64_t>(random() % static_cast<uint64_t>(count)); };
    const int64_t image = draw(x.dims[0]);
    const int64_t top = draw(ceil_div(layer.out_rows, int64_t{4})) * 4 - layer.pads[0];
    const int64_t left = draw(ceil_div(layer.out_columns, int64_t{4})) * 4 - layer.pads[1];
    for (int64_t p = 0; p < kPatch * kPatch; ++p) {
      const int64_t row = top + p / kPatch;
      const int64_t column = left + p % kPatch;
      const bool inside = row >= 0 && column >= 0 && row < x.dims[1] && column < x.dims[2];
      const float* pixel = values + ((image * x.dims[1] + row) * x.dims[2] + column) * layer.channels;
      for (int64_t c = 0; c < layer.channels; ++c) layer.patches.push_back(inside ? pixel[c] : 0.0F);
    }
  }
}

// Runs the f32 graph over the samples and fills every layer's patches.
Status collect_patches(const WinogradInput& input, std::vector<Layer>& layers) {
  ir::Graph instrumented = input.graph;
  std::vector<size_t> outputs;
  for (const Layer& layer : layers) {
    const ir::ValueId x = input.graph.node(layer.id).inputs[0];
    const auto known = std::find(instrumented.outputs().begin(), instrumented.outputs().end(), x);
    outputs.push_back(static_cast<size_t>(known - instrumented.outputs().begin()));
    if (known == instrumented.outputs().end() && !input.graph.is_input(x)) instrumented.add_output(x);
  }
  HAI_TRY(CompiledGraph compiled, CompiledGraph::make(std::move(instrumented), input.options.threads));
  std::mt19937_64 random(input.options.seed);
  for (const size_t index : input.samples) {
    HAI_TRY(const SampleStore::Sample sample, input.store.read(index));
    HAI_TRY(const std::vector<TensorView> results, compiled.run(sample));
    for (size_t i = 0; i < layers.size(); ++i) {
      const ir::ValueId x = input.graph.node(layers[i].id).inputs[0];
      const auto place = std::find(input.graph.inputs().begin(), input.graph.inputs().end(), x);
      const bool given = place != input.graph.inputs().end();
      const TensorView view =
          given ? sample[static_cast<size_t>(place - input.graph.inputs().begin())].view() : results[outputs[i]];
      take_patches(view, ceil_div(layers[i].wanted, static_cast<int64_t>(input.samples.size())), random, layers[i]);
    }
  }
  return {};
}

TransformedInputs transformed(const Layer& layer, int tile) {
  TransformedInputs out(tile);
  const int64_t side = tile + 2;
  const hai_output_range range{layer.x.zero_points[0], -128, 127};
  std::array<int32_t, 36> d{};
  for (int64_t patch = 0; patch < layer.count; ++patch) {
    const float* from = &layer.patches[static_cast<size_t>(patch * kPatch * kPatch * layer.channels)];
    for (int64_t top = 0; top + side <= kPatch; top += tile) {
      for (int64_t left = 0; left + side <= kPatch; left += tile) {
        for (int64_t c = 0; c < layer.channels; ++c) {
          for (int64_t t = 0; t < side * side; ++t) {
            const int64_t pixel = (top + t / side) * kPatch + left + t % side;
            d[static_cast<size_t>(t)] =
                hai_quantize(from[pixel * layer.channels + c], layer.x.scales[0], range) - range.zero_point;
          }
          out.add(d.data());
        }
      }
    }
  }
  return out;
}

// The patches as the layer reads them.
Result<ir::ValueId> rounded_input(const Layer& layer, ir::Graph& graph, ir::ValueId x) {
  if (layer.half) return ops::append_value(graph, "cast", {x}, {{"dtype", std::string("f16")}});
  ops::AppendOptions options;
  options.declared = {ir::TensorType{DataType::kI8, graph.value(x).type.shape, layer.x}};
  return ops::append_value(graph, "quantize", {x}, {}, std::move(options));
}

// Runs the patches through one node: `append` adds it to a graph that has the patches in f32 and rounded.
template <typename Append>
Result<Results> run_patches(const Layer& layer, int threads, Append&& append) {
  ir::Graph graph;
  const Dims dims{layer.count, kPatch, kPatch, layer.channels};
  const ir::ValueId x = graph.add_input("x", {DataType::kF32, to_shape(dims), {}});
  HAI_TRY(const ir::ValueId rounded, rounded_input(layer, graph, x));
  HAI_TRY(const ir::ValueId y, append(graph, x, rounded));
  graph.add_output(y);
  HAI_TRY(CompiledGraph compiled, CompiledGraph::make(std::move(graph), threads));
  std::vector<ops::Tensor> sample;
  sample.push_back(ops::Tensor::zeros(DataType::kF32, dims));
  std::memcpy(sample[0].storage.data(), layer.patches.data(), sample[0].storage.size());
  HAI_TRY(const std::vector<TensorView> results, compiled.run(sample));
  const float* values = data_of<float>(results[0]);
  return Results(values, values + results[0].count());
}

// `divisor`: of the scales.
ir::ValueId copy_constant(ir::Graph& graph, const ir::Value& value, double divisor = 1.0) {
  ir::TensorType type = value.type;
  if (type.quantization) {
    for (float& scale : type.quantization->scales) scale = static_cast<float>(static_cast<double>(scale) / divisor);
  }
  return graph.add_constant(value.name, std::move(type), value.constant);
}

// The layer's result in steps of its own scale, clamped as it is stored; or in real numbers.
class Storage {
 public:
  Storage(const WinogradInput& input, ir::NodeId id) {
    const ir::ValueId y = input.graph.node(id).outputs[0];
    if (input.plan.half[id] || input.plan.float_result[id]) return;
    const int bits = input.plan.result_bits(id, y);
    const Quantization& q = input.ranges.of(input.plan, y, bits);
    const double limit = bits == 16 ? 32768.0 : 128.0;
    scale_ = static_cast<double>(q.scales[0]);
    low_ = -limit - q.zero_points[0];
    high_ = limit - 1 - q.zero_points[0];
  }
  double exact(double real) const { return scale_ > 0 ? std::clamp(real / scale_, low_, high_) : real; }
  double stored(double real) const { return scale_ > 0 ? std::nearbyint(exact(real)) : real; }
  // What multipliers are made with: 1 where results stay real.
  double step() const { return scale_ > 0 ? scale_ : 1.0; }

 private:
  double scale_ = 0;  // 0: results stay real
  double low_ = 0, high_ = 0;
};

// `results` without bias; `bias` is corrected by the mean error of each channel where `correct`. Both sides as stored.
double sqnr_of(const Storage& storage, const Results& want, const Results& results, bool correct,
               std::vector<float>& bias) {
  const size_t outputs = bias.size();
  if (correct) {
    std::vector<double> error(outputs, 0.0);
    for (size_t i = 0; i < want.size(); ++i) {
      const size_t o = i % outputs;
      error[o] += static_cast<double>(results[i]) + static_cast<double>(bias[o]) - static_cast<double>(want[i]);
    }
    const size_t count = want.size() / outputs;
    const auto rows = static_cast<double>(count);
    for (size_t o = 0; o < outputs; ++o) bias[o] = static_cast<float>(static_cast<double>(bias[o]) - error[o] / rows);
  }
  double signal = 0;
  double noise = 0;
  for (size_t i = 0; i < want.size(); ++i) {
    const double exact = storage.exact(static_cast<double>(want[i]));
    const double real = static_cast<double>(results[i]) + static_cast<double>(bias[i % outputs]);
    const double difference = storage.stored(real) - exact;
    signal += exact * exact;
    noise += difference * difference;
  }
  return signal > 0 && noise > 0 ? 10 * std::log10(signal / noise) : 0.0;
}

// One layer: the rounding of its taps and what each form loses.
class LayerTrial {
 public:
  LayerTrial(const WinogradInput& input, const Layer& layer)
      : input_(input), layer_(layer), node_(input.graph.node(layer.id)), storage_(input, layer.id) {
    row.node = node_.name;
    const int64_t macs = layer.out_rows * layer.out_columns * 9 * layer.channels * layer.outputs;
    row.direct.cycles = layer_cycles(input.plan.precision[layer.id], macs, 9 * layer.channels * layer.outputs);
    for (const auto& [tile, form] : {std::pair(2, &row.f2), std::pair(4, &row.f4)}) {
      form->cycles =
          winograd_cycles(tile, layer.out_rows, layer.out_columns, layer.channels, layer.outputs, layer.half);
    }
  }

  Status run() {
    const ir::Value& weights = input_.graph.value(node_.inputs[1]);
    const bool biased = node_.inputs.size() > 2 && node_.inputs[2] != ir::kNone;
    std::vector<float> own(static_cast<size_t>(layer_.outputs), 0.0F);
    if (biased) {
      const auto given = floats_of(input_.graph.value(node_.inputs[2]));
      std::copy(given.begin(), given.end(), own.begin());
    }
    if (layer_.half && layer_.count == 0) return make_half_layers(weights);  // without samples
    HAI_TRY(want_, run_patches(layer_, input_.options.threads,
                               [&](ir::Graph& graph, ir::ValueId x, ir::ValueId) -> Result<ir::ValueId> {
                                 const ir::ValueId w = copy_constant(graph, weights);
                                 if (!biased) return ops::append_value(graph, "conv2d", {x, w});
                                 const ir::ValueId b = copy_constant(graph, input_.graph.value(node_.inputs[2]));
                                 return ops::append_value(graph, "conv2d", {x, w, b});
                               }));
    if (layer_.half) return try_halves(weights);
    HAI_TRY_STATUS(try_direct());
    HAI_TRY_STATUS(try_tile(2, weights, own, row.f2));
    return try_tile(4, weights, own, row.f4);
  }

  // After run(): 0, 2 or 4, with row.reason.
  int choose() {
    if (input_.options.winograd == Winograd::kAll) {
      row.reason = row.f4.impossible.empty() ? "asked for" : row.f4.impossible;
      return row.tile = row.f4.impossible.empty() ? 4 : 0;
    }
    if (layer_.count == 0) {
      row.reason = "no samples to measure its error with";
      return 0;
    }
    const double enough = layer_.half ? std::min(row.direct.sqnr_db, kEnoughSqnrDb) : row.direct.sqnr_db;
    const double least = enough - input_.options.winograd_loss_db;
    double cycles = row.direct.cycles;
    row.reason = "direct takes the fewest cycles";
    for (const auto& [tile, form] : {std::pair(2, &row.f2), std::pair(4, &row.f4)}) {
      if (!form->impossible.empty() || form->cycles >= cycles) continue;
      if (form->sqnr_db < least) {
        row.reason = fmt::format("F({0}x{0}) has {1:.1f} dB, {2:.1f} less than {3:.1f}; {4:.1f} are allowed", tile,
                                 form->sqnr_db, enough - form->sqnr_db, enough, input_.options.winograd_loss_db);
        continue;
      }
      cycles = form->cycles;
      row.tile = tile;
    }
    if (row.tile != 0) row.reason = "fewest cycles within the limit of error";
    return row.tile;
  }

  WinogradRow row;
  std::map<int, WinogradLayer> layers;  // by tile

 private:
  // Integers run with results in f32, but in steps of the stored result, so that multipliers are those of the layer:
  // a channel of weights that are all 0 has the least one, which divided by the step would be none.
  Result<Results> run_integers(auto&& append) const {
    HAI_TRY(Results results, run_patches(layer_, input_.options.threads, append));
    for (float& result : results) result = static_cast<float>(static_cast<double>(result) * storage_.step());
    return results;
  }

  Status try_direct() {
    const ir::Graph& integer = input_.direct.graph;
    const ir::Node& node = integer.node(input_.direct.nodes[layer_.id]);
    HAI_TRY(const Results results,
            run_integers([&](ir::Graph& graph, ir::ValueId, ir::ValueId x) -> Result<ir::ValueId> {
              const ir::ValueId w = copy_constant(graph, integer.value(node.inputs[1]), storage_.step());
              const ir::ValueId b = copy_constant(graph, integer.value(node.inputs[2]), storage_.step());
              return ops::append_value(graph, "conv2d", {x, w, b}, {}, as_real());
            }));
    std::vector<float> none(static_cast<size_t>(layer_.outputs), 0.0F);
    row.direct.sqnr_db = sqnr_of(storage_, want_, results, false, none);
    return {};
  }

  Status try_tile(int tile, const ir::Value& weights, const std::vector<float>& own, WinogradRow::Form& form) {
    WinogradLayer layer;
    layer.taps = choose_taps(floats_of(weights), layer_.channels, least_scales(own), transformed(layer_, tile));
    layer.bias = own;
    auto results = run_integers([&](ir::Graph& graph, ir::ValueId, ir::ValueId x) -> Result<ir::ValueId> {
      const WinogradTaps& taps = layer.taps;
      const int64_t dims[] = {layer_.outputs, tile + 2, tile + 2, layer_.channels};
      std::vector<float> scales;
      for (const float scale : taps.scales)
        scales.push_back(static_cast<float>(static_cast<double>(scale) / storage_.step()));
      const std::vector<int32_t> zeros(scales.size(), 0);
      const ir::ValueId w = ops::add_constant_i8(graph, "taps", dims, taps.values, {scales, zeros, 0, 0});
      return ops::append_value(
          graph, "winograd_conv2d", {x, w},
          {{"tile", int64_t{tile}}, {"input_shifts", taps.input_shifts}, {"weight_shifts", taps.weight_shifts}},
          as_real());
    });
    if (!results) {  // sums or multipliers out of range: the layer stays direct, and the report says why
      form.impossible = results.error().message;
      return {};
    }
    form.sqnr_db = sqnr_of(storage_, want_, *results, input_.options.bias_correction, layer.bias);
    layers[tile] = std::move(layer);
    return {};
  }

  // Taps of f16, unless transformed inputs may pass what f16 holds.
  Status make_half_layers(const ir::Value& weights) {
    constexpr double kMostHalf = 65504;
    double largest = 0;
    for (const float x : layer_.patches) largest = std::max(largest, std::abs(static_cast<double>(x)));
    for (const auto& [tile, form] : {std::pair(2, &row.f2), std::pair(4, &row.f4)}) {
      if (const double reach = largest * input_gain(tile); !(reach <= kMostHalf)) {
        form->impossible =
            fmt::format("inputs of {:.0f} may become {:.0f}, and f16 ends at {:.0f}", largest, reach, kMostHalf);
        continue;
      }
      layers[tile].taps = half_taps(floats_of(weights), layer_.channels, tile);
    }
    return {};
  }

  Status try_halves(const ir::Value& weights) {
    HAI_TRY_STATUS(make_half_layers(weights));
    const auto real = floats_of(weights);
    std::vector<uint16_t> direct(real.size());
    std::transform(real.begin(), real.end(), direct.begin(), half_of);
    const int64_t outputs = layer_.outputs;
    HAI_TRY(row.direct.sqnr_db, half_sqnr("conv2d", {outputs, 3, 3, layer_.channels}, direct, {}));
    for (const auto& [tile, form] : {std::pair(2, &row.f2), std::pair(4, &row.f4)}) {
      if (!form->impossible.empty()) continue;
      const int64_t side = tile + 2;
      HAI_TRY(form->sqnr_db, half_sqnr("winograd_conv2d", {outputs, side, side, layer_.channels},
                                       layers[tile].taps.halves, {{"tile", int64_t{tile}}}));
    }
    return {};
  }

  // The layer in f16, with its bias of f32.
  Result<double> half_sqnr(std::string_view op, const Dims& dims, std::span<const uint16_t> weights,
                           ir::Attributes attributes) {
    const bool biased = node_.inputs.size() > 2 && node_.inputs[2] != ir::kNone;
    HAI_TRY(const Results results,
            run_patches(layer_, input_.options.threads,
                        [&](ir::Graph& graph, ir::ValueId, ir::ValueId x) -> Result<ir::ValueId> {
                          std::vector<ir::ValueId> inputs = {x, add_halves(graph, "taps", dims, weights)};
                          if (biased) inputs.push_back(copy_constant(graph, input_.graph.value(node_.inputs[2])));
                          HAI_TRY(const ir::ValueId y, ops::append_value(graph, op, inputs, std::move(attributes)));
                          return ops::append_value(graph, "cast", {y}, {{"dtype", std::string("f32")}});
                        }));
    std::vector<float> none(static_cast<size_t>(layer_.outputs), 0.0F);
    return sqnr_of(storage_, want_, results, false, none);
  }

  // Of s_w: what keeps multipliers and biases in range.
  std::vector<double> least_scales(const std::vector<float>& bias) const {
    const double s_x = static_cast<double>(layer_.x.scales[0]);
    std::vector<double> out;
    for (const float b : bias) {
      // Doubled to stay clear of rounding and of what the correction adds.
      out.push_back(2.0 * std::max(HAI_MULTIPLIER_MIN * storage_.step() / s_x,
                                   std::abs(static_cast<double>(b)) / (kWinogradBiasLimit * s_x)));
    }
    return out;
  }

  ops::AppendOptions as_real() const {
    ops::AppendOptions options;
    options.node_name = node_.name;  // for errors
    options.declared = {ir::TensorType{DataType::kF32, {}, {}}};
    return options;
  }

  const WinogradInput& input_;
  const Layer& layer_;
  const ir::Node& node_;
  Storage storage_;
  Results want_;
};

}  // namespace

bool is_winograd_eligible(const ir::Graph& graph, const Plan& plan, ir::NodeId id) {
  const ir::Node& node = graph.node(id);
  if (!node.alive || node.op != "conv2d" || graph.value(node.inputs[0]).is_constant()) return false;
  const bool bytes = plan.integer[id] && plan.roles[id] == Role::kMac && plan.precision[id] == Precision{8, 8, false};
  const bool biased = node.inputs.size() > 2 && node.inputs[2] != ir::kNone;
  const bool half =
      plan.half[id] && role_of(graph, node) == Role::kMac && (!biased || graph.value(node.inputs[2]).is_constant());
  if (!bytes && !half) return false;
  const Shape& weights = graph.value(node.inputs[1]).type.shape;
  const std::vector<int64_t> ones = {1, 1};
  const std::vector<int64_t> pads = node.ints_attribute("pads", {0, 0, 0, 0});
  return weights.size() == 4 && weights[1] == 3 && weights[2] == 3 && node.int_attribute("groups", 1) == 1 &&
         node.ints_attribute("strides", ones) == ones && node.ints_attribute("dilations", ones) == ones &&
         *std::max_element(pads.begin(), pads.end()) <= 2;
}

Result<WinogradChoice> choose_winograd(const WinogradInput& input) {
  WinogradChoice out;
  if (input.options.winograd == Winograd::kOff) return out;
  HAI_TRY(const std::vector<ir::NodeId> order, input.graph.ordered());
  std::vector<Layer> layers;
  for (const ir::NodeId id : order) {
    if (is_winograd_eligible(input.graph, input.plan, id)) layers.push_back(describe(input, id));
  }
  // Powers of two come from samples; f16 has none of them.
  if (input.samples.empty()) std::erase_if(layers, [](const Layer& layer) { return !layer.half; });
  if (layers.empty()) return out;
  if (!input.samples.empty()) {
    HAI_TRY_STATUS(collect_patches(input, layers));
  }
  for (Layer& layer : layers) {
    LayerTrial trial(input, layer);
    HAI_TRY_STATUS(trial.run());
    const int tile = trial.choose();
    if (tile != 0) out.layers[layer.id] = std::move(trial.layers[tile]);
    out.rows.push_back(std::move(trial.row));
    layer.patches = {};
  }
  return out;
}

}  // namespace hai::quantizer
