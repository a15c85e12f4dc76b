// Rebuilding the integers of a program.
//
// Method: ranges first, then raised in the order of the graph, then layers, with the functions that the compiler and
// the quantizer call themselves (types/quantize_layer.h). The order of all operations is theirs, so that equal
// parameters and ranges give equal bytes.
#include "rebuild/rebuild.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <optional>
#include <vector>

#include "types/quantize_layer.h"

namespace hai::rebuild {
namespace {

using format::Program;
using format::ProgramTensor;

struct Chosen {
  float narrow = 1;
  float wide = 1;
  int32_t zero_point = 0;
};

struct Folded {
  std::vector<float> weights;
  std::vector<float> bias;
  bool has_bias = false;
};

float largest_of(const std::vector<float>& values) {
  float largest = 0.0F;
  for (const float v : values) largest = std::max(largest, std::abs(v));
  return largest;
}

bool all_finite(const std::vector<float>& values) {
  return std::all_of(values.begin(), values.end(), [](float v) { return std::isfinite(v); });
}

class Rebuild {
 public:
  Rebuild(const Lines& lines, std::span<std::byte> weights, Program& integer)
      : lines_(lines), weights_(weights), integer_(integer), folded_(lines.layers.size()) {}

  Status run(std::span<const Observed> seen) {
    for (size_t i = 0; i < lines_.ranges.size(); ++i) HAI_TRY_STATUS(choose(lines_.ranges[i], seen[i]));
    for (size_t i = 0; i < lines_.layers.size(); ++i) HAI_TRY_STATUS(fold(i));
    for (const RaiseLine& line : lines_.raises) raise(line);
    for (size_t i = 0; i < lines_.ranges.size(); ++i) store_range(lines_.ranges[i], chosen_[i]);
    for (size_t i = 0; i < lines_.layers.size(); ++i) HAI_TRY_STATUS(write_layer(lines_.layers[i], folded_[i]));
    return {};
  }

 private:
  Status choose(const RangeLine& line, const Observed& seen) {
    if (!std::isfinite(seen.low) || !std::isfinite(seen.high) || seen.low > seen.high) {
      return make_error(StatusCode::kOutOfRange, "E111",
                        "\"{}\" was seen in [{}, {}], which is no finite range: the trained model answers with numbers "
                        "that are not finite, and cannot become integer",
                        line.value, seen.low, seen.high);
    }
    Chosen out;
    if (seen.low != 0.0F || seen.high != 0.0F) {  // else zeros alone, which any scale keeps
      const auto low = static_cast<double>(seen.low);
      const auto high = static_cast<double>(seen.high);
      const hai_range_choice narrow = hai_choose_range_i8(low, high, line.symmetric ? 1 : 0);
      out.narrow = narrow.scale;
      out.zero_point = narrow.zero_point;
      out.wide = line.point ? narrow.scale / HAI_STEPS_OF_A_POINT : hai_choose_range_i16(low, high).scale;
    }
    chosen_.push_back(out);
    return {};
  }

  std::vector<float> read(const Parameter& parameter) const {
    std::vector<float> values(static_cast<size_t>(element_count(parameter.shape)->value));
    std::memcpy(values.data(), weights_.data() + parameter.offset_bytes, values.size() * sizeof(float));
    return values;
  }

  // y = x * scale + offset of channel c.
  static hai_channel_affine affine(const Stage& stage, const std::vector<std::vector<float>>& constants, size_t c) {
    const auto at = [&](size_t i) { return static_cast<double>(constants[i][constants[i].size() == 1 ? 0 : c]); };
    switch (stage.kind) {
      case Stage::Kind::kBatchNorm:
        return hai_batch_norm_affine(at(0), at(1), at(2), at(3), stage.epsilon);
      case Stage::Kind::kAdd:
        return {1.0, at(0)};
      case Stage::Kind::kSubtract:
        return {1.0, -at(0)};
      case Stage::Kind::kSubtractFrom:
        return {-1.0, at(0)};
      case Stage::Kind::kMultiply:
        return {at(0), 0.0};
      case Stage::Kind::kDivide:
        return {1.0 / at(0), 0.0};
    }
    return {1.0, 0.0};
  }

  Status fold(size_t index) {
    const LayerLine& line = lines_.layers[index];
    Folded& out = folded_[index];
    const auto channels = static_cast<size_t>(line.channels);
    const auto inner = static_cast<size_t>(line.inner);
    out.weights = read(line.weights);
    out.has_bias = !line.bias.empty() || !line.stages.empty();
    out.bias = line.bias.empty() ? std::vector<float>(channels, 0.0F) : read(line.bias[0]);
    for (const Stage& stage : line.stages) {
      std::vector<std::vector<float>> constants;
      for (const Parameter& constant : stage.constants) constants.push_back(read(constant));
      std::vector<hai_channel_affine> affines(channels);
      for (size_t c = 0; c < channels; ++c) affines[c] = affine(stage, constants, c);
      for (size_t i = 0; i < out.weights.size(); ++i)
        out.weights[i] = hai_fold_weight(out.weights[i], affines[i / inner % channels].scale);
      for (size_t c = 0; c < channels; ++c)
        out.bias[c] = hai_fold_bias(static_cast<double>(out.bias[c]), affines[c].scale, affines[c].offset);
    }
    if (all_finite(out.weights) && all_finite(out.bias)) return {};
    return make_error(StatusCode::kOutOfRange, "E111",
                      "layer \"{}\" has weights or biases that are not finite, and cannot become integer", line.name);
  }

  double value_of(const Scale& scale) const {
    if (scale.range == Scale::kFixed) return scale.fixed;
    const Chosen& chosen = chosen_[static_cast<size_t>(scale.range)];
    return static_cast<double>(scale.wide ? chosen.wide : chosen.narrow);
  }

  void raise(const RaiseLine& line) {
    double least = 0;
    if (line.kind == RaiseLine::Kind::kLayer) {
      const LayerLine& layer = lines_.layers[static_cast<size_t>(line.layer)];
      const Folded& folded = folded_[static_cast<size_t>(line.layer)];
      least = hai_layer_multiplier(value_of(layer.input), static_cast<double>(largest_of(folded.weights)),
                                   limit_of(layer), static_cast<double>(largest_of(folded.bias)), layer.bias_limit) /
              HAI_LARGEST_USED_MULTIPLIER;
    } else if (line.kind == RaiseLine::Kind::kProduct) {
      least = 1.0 / HAI_LARGEST_USED_MULTIPLIER;
      for (const Scale& scale : line.inputs) least *= value_of(scale);
    } else {
      for (const Scale& scale : line.inputs) least = std::max(least, value_of(scale) / HAI_LARGEST_USED_MULTIPLIER);
    }
    Chosen& chosen = chosen_[static_cast<size_t>(line.range)];
    float& scale = line.wide ? chosen.wide : chosen.narrow;
    scale = hai_raised_scale(scale, least);
    // A tensor may be rescaled from one width to the other.
    chosen.wide = hai_raised_scale(chosen.wide, static_cast<double>(chosen.narrow) / HAI_LARGEST_USED_MULTIPLIER);
  }

  static double limit_of(const LayerLine& line) { return line.weight_bits == 8 ? 127.0 : 32767.0; }

  void store_range(const RangeLine& line, const Chosen& chosen) {
    for (const uint32_t number : line.narrow_tensors)
      integer_.tensors[number].quantization = per_tensor_quantization(chosen.narrow, chosen.zero_point);
    for (const uint32_t number : line.wide_tensors)
      integer_.tensors[number].quantization = per_tensor_quantization(chosen.wide, 0);
    for (const PointSite& point : line.points) {
      format::Attributes& attributes = integer_.instructions[point.instruction].attributes;
      const std::string prefix = point.before_residual ? "pre_residual" : "conv";
      attributes[prefix + "_scale"] = static_cast<double>(point.wide ? chosen.wide : chosen.narrow);
      const auto zero = attributes.find(prefix + "_zero_point");
      if (zero != attributes.end()) zero->second = int64_t{point.wide ? 0 : chosen.zero_point};
    }
  }

  Status write_layer(const LayerLine& line, const Folded& folded) {
    const auto channels = static_cast<size_t>(line.channels);
    const auto inner = static_cast<size_t>(line.inner);
    const double limit = limit_of(line);
    const double input = value_of(line.input);
    const double output = value_of(line.output);
    std::vector<double> largest(channels, 0.0);
    for (size_t i = 0; i < folded.weights.size(); ++i) {
      double& slot = largest[i / inner % channels];
      slot = std::max(slot, static_cast<double>(std::abs(folded.weights[i])));
    }
    ProgramTensor& weights = integer_.tensors[line.weight_tensor];
    ProgramTensor& bias = integer_.tensors[line.bias_tensor];
    for (size_t c = 0; c < channels; ++c) {
      const float scale = hai_bounded_weight_scale(hai_weight_scale(largest[c], limit), input, output,
                                                   static_cast<double>(folded.bias[c]), line.bias_limit);
      const float multiplier = hai_multiplier_product(static_cast<float>(input), scale, static_cast<float>(output));
      if (hai_multiplier_usable(multiplier) == 0) {
        return make_error(StatusCode::kOutOfRange, "E112",
                          "layer \"{}\", channel {}: its multiplier {} is outside [2^-40, 2^8], so the trained layer "
                          "cannot run in integers; it runs in f32",
                          line.name, c, multiplier);
      }
      weights.quantization->scales[c] = scale;
      weights.quantization->zero_points[c] = 0;
      bias.quantization->scales[c] = static_cast<float>(input * static_cast<double>(scale));
      bias.quantization->zero_points[c] = 0;
      const double q = hai_round_bias(folded.bias[c], input, scale, line.bias_limit);
      store(bias, c, q);
    }
    for (size_t i = 0; i < folded.weights.size(); ++i) {
      const float scale = weights.quantization->scales[i / inner % channels];
      store(weights, i, hai_round_weight(folded.weights[i], scale, limit));
    }
    return {};
  }

  template <typename T>
  void store_as(int64_t offset, size_t index, double value) {
    const T integer = static_cast<T>(value);
    std::memcpy(weights_.data() + offset + static_cast<int64_t>(index * sizeof(T)), &integer, sizeof(T));
  }
  void store(const ProgramTensor& tensor, size_t index, double value) {
    switch (tensor.dtype) {
      case DataType::kI8:
        return store_as<int8_t>(tensor.offset_bytes, index, value);
      case DataType::kI16:
        return store_as<int16_t>(tensor.offset_bytes, index, value);
      case DataType::kI64:
        return store_as<int64_t>(tensor.offset_bytes, index, value);
      default:
        return store_as<int32_t>(tensor.offset_bytes, index, value);
    }
  }

  const Lines& lines_;
  std::span<std::byte> weights_;
  Program& integer_;
  std::vector<Chosen> chosen_;
  std::vector<Folded> folded_;
};

}  // namespace

Status run(const Lines& lines, std::span<const Observed> seen, std::span<std::byte> weights, Program& integer) {
  HAI_CHECK(seen.size() == lines.ranges.size());
  return Rebuild(lines, weights, integer).run(seen);
}

}  // namespace hai::rebuild
