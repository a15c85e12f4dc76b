// For tests: random integer networks over every operator that the CPU takes on 8-bit tensors.
//
// Channel counts reach past vector widths and leave tails (13, 19, 33, 67); i8 and u8 mix; every value has its own
// scale. A node that the CPU refuses by name is left out. A function of the seed alone.
#pragma once

#include <optional>
#include <vector>

#include "devices/cpu/lower/lower_registry.h"
#include "passes/testing/graph_builder.h"
#include "types/unary_functions.h"

namespace hai::testing {

class MixedIntegerGraph {
 public:
  explicit MixedIntegerGraph(uint32_t seed) : b_(seed) {}

  ir::Graph build() {
    b_.graph.symbols = {{"batch", 1, 16}};
    const int64_t height = b_.pick(5, 19);
    const int64_t width = b_.pick(5, 19);
    const Shape shape = {Dim(1, 0), Dim(height), Dim(width), Dim(channel_count())};
    if (b_.chance(30)) {
      const ir::ValueId real = b_.graph.add_input("real", {DataType::kF32, shape, {}});
      keep(append("quantize", {real}, {}, random_type()));
    } else {
      values_.push_back(b_.graph.add_input("stored", random_type(shape)));
    }
    const int64_t steps = b_.pick(3, 12);
    for (int64_t i = 0; i < steps; ++i) step();
    finish();
    return std::move(b_.graph);
  }

 private:
  using Ints = std::vector<int64_t>;
  using Value = std::optional<ir::ValueId>;

  int64_t channel_count() {
    constexpr int64_t kCounts[] = {1, 2, 3, 4, 7, 8, 13, 16, 19, 32, 33, 48, 64, 67};
    return kCounts[b_.pick(0, 13)];
  }
  ir::TensorType random_type(Shape shape = {}) {
    const bool is_signed = b_.chance(75);
    const auto zero = static_cast<int32_t>(b_.pick(-30, 30) + (is_signed ? 0 : 128));
    return {is_signed ? DataType::kI8 : DataType::kU8, std::move(shape),
            per_tensor_quantization(b_.uniform(0.015F, 0.06F), zero)};
  }
  ir::TensorType same_type(ir::ValueId x) { return {b_.type(x).dtype, {}, b_.type(x).quantization}; }
  int64_t size(ir::ValueId x, size_t axis) { return b_.shape(x)[axis].value; }
  ir::ValueId any() {
    return b_.chance(60) ? values_.back()
                         : values_[static_cast<size_t>(b_.pick(0, static_cast<int64_t>(values_.size()) - 1))];
  }
  void keep(Value value) {
    if (value) values_.push_back(*value);
  }

  // Nothing when inference or the CPU refuses the node.
  std::vector<ir::ValueId> append_many(std::string_view op, std::vector<ir::ValueId> inputs, ir::Attributes attributes,
                                       std::optional<ir::TensorType> declared, size_t count) {
    ops::AppendOptions options;
    options.node_name = fmt::format("{}_{}", op, b_.graph.node_slots());
    options.output_count = count;
    for (size_t i = 0; declared && i < count; ++i) options.declared.push_back(declared);
    const auto id = ops::append(b_.graph, op, std::move(inputs), std::move(attributes), std::move(options));
    if (!id) return {};
    const cpu::CpuLowering* lowering = cpu::LowerRegistry::instance().find(op);
    if (lowering == nullptr || !lowering->supports(b_.graph, b_.graph.node(*id))) {
      b_.graph.erase_node(*id);
      return {};
    }
    return b_.graph.node(*id).outputs;
  }
  Value append(std::string_view op, std::vector<ir::ValueId> inputs, ir::Attributes attributes = {},
               std::optional<ir::TensorType> declared = {}) {
    const auto outputs = append_many(op, std::move(inputs), std::move(attributes), std::move(declared), 1);
    return outputs.empty() ? Value{} : Value{outputs[0]};
  }

  // Weights whose products with inputs of about +-2 stay about +-2.
  ir::ValueId weights(Ints dims, int32_t axis, int64_t terms) {
    std::vector<int8_t> stored(static_cast<size_t>(Dims(dims).count()));
    for (int8_t& q : stored) q = static_cast<int8_t>(b_.pick(-127, 127));
    const auto channels = static_cast<size_t>(dims[static_cast<size_t>(axis)]);
    Quantization q{{}, std::vector<int32_t>(channels, 0), axis, 0};
    const float typical = 1.0F / (73.0F * std::sqrt(static_cast<float>(terms)));
    for (size_t c = 0; c < channels; ++c) q.scales.push_back(typical * b_.uniform(0.5F, 1.5F));
    return ops::add_constant_i8(b_.graph, "w", dims, stored, std::move(q));
  }

  Value convolution(ir::ValueId x) {
    const int64_t in = size(x, 3);
    const bool depthwise = b_.chance(30);
    const int64_t groups = depthwise ? in : in % 2 == 0 && b_.chance(20) ? 2 : 1;
    const int64_t out = depthwise ? in : groups * channel_count();
    const int64_t kernel = b_.chance(30) ? 1 : b_.pick(2, 5);
    const int64_t dilation = b_.chance(20) ? 2 : 1;
    const int64_t stride = b_.pick(1, 2);
    const auto pad = [&] { return b_.pick(0, kernel - 1); };
    const int64_t terms = kernel * kernel * in / groups;
    std::vector<ir::ValueId> inputs = {x, weights({out, kernel, kernel, in / groups}, 0, terms)};
    if (b_.chance(60)) inputs.push_back(b_.bias_i32(out));
    const ir::Attributes attributes = {{"strides", Ints{stride, stride}},
                                       {"pads", Ints{pad(), pad(), pad(), pad()}},
                                       {"dilations", Ints{dilation, dilation}},
                                       {"groups", groups}};
    return append("conv2d", std::move(inputs), attributes, random_type());
  }

  Value dense(ir::ValueId x) {
    const int64_t in = size(x, 3);
    const int64_t out = channel_count();
    const bool transposed = b_.chance(50);
    const Value rows = append("reshape", {x}, {{"shape", Ints{0, -1, in}}});
    if (!rows) return {};
    std::vector<ir::ValueId> inputs = {*rows, transposed ? weights({out, in}, 0, in) : weights({in, out}, 1, in)};
    if (b_.chance(60)) inputs.push_back(b_.bias_i32(out));
    const Value y = append("matmul", std::move(inputs), {{"transpose_b", int64_t{transposed ? 1 : 0}}}, random_type());
    if (!y) return {};
    return append("reshape", {*y}, {{"shape", Ints{0, size(x, 1), size(x, 2), out}}});
  }

  // Scores of all positions against all others, and a mixture of the positions by them: two varying operands each.
  Value attention(ir::ValueId x) {
    const int64_t positions = size(x, 1) * size(x, 2);
    if (positions > 120) return {};
    const Value rows = append("reshape", {x}, {{"shape", Ints{0, -1, size(x, 3)}}});
    if (!rows) return {};
    const Value scores = append("matmul", {*rows, *rows}, {{"transpose_b", int64_t{1}}}, random_type());
    const Value shares = !scores ? Value{}
                                 : append("softmax", {*scores}, {{"axis", int64_t{-1}}},
                                          ir::TensorType{DataType::kI8, {}, per_tensor_quantization(0.004F, -128)});
    if (!shares) return {};
    const Value mixed = append("matmul", {*shares, *rows}, {}, random_type());
    if (!mixed) return {};
    return append("reshape", {*mixed}, {{"shape", Ints{0, size(x, 1), size(x, 2), size(x, 3)}}});
  }

  Value normalized(ir::ValueId x) {
    const Ints channels = {size(x, 3)};
    std::vector<ir::ValueId> inputs = {x, b_.constant(channels, 0.2F, 1.5F)};
    if (b_.chance(70)) inputs.push_back(b_.constant(channels));
    return append("layer_norm", std::move(inputs), {{"epsilon", 1e-5}}, random_type());
  }

  Value function_of(ir::ValueId x) {
    const auto& function =
        unary_functions()[static_cast<size_t>(b_.pick(0, static_cast<int64_t>(unary_functions().size()) - 1))];
    const bool clamps = function.name == "relu" || function.name == "relu6";
    return append(function.name, {x}, {}, clamps && b_.chance(60) ? same_type(x) : random_type());
  }

  Value two_operands(ir::ValueId x) {
    constexpr std::string_view kNames[] = {"add", "add", "sub", "mul", "min", "max"};
    const std::string_view name = kNames[b_.pick(0, 5)];
    Value other;
    for (const ir::ValueId candidate : values_) {
      if (candidate != x && b_.shape(candidate) == b_.shape(x)) other = candidate;
    }
    if (!other || b_.chance(40)) {
      other = append("reduce_mean", {x}, {{"axes", Ints{1, 2}}, {"keep_dims", int64_t{1}}}, random_type());
    }
    if (!other) return {};
    return append(name, b_.chance(50) ? std::vector{x, *other} : std::vector{*other, x}, {}, random_type());
  }

  Value pooled(ir::ValueId x) {
    const bool average = b_.chance(50);
    const Ints kernel = {b_.pick(1, 3), b_.pick(1, 3)};
    ir::Attributes attributes = {
        {"kernel", kernel},
        {"strides", Ints{b_.pick(1, 2), b_.pick(1, 2)}},
        {"pads", Ints{b_.pick(0, kernel[0] - 1), b_.pick(0, kernel[1] - 1), 0, b_.pick(0, kernel[1] - 1)}},
        {"ceil_mode", b_.pick(0, 1)}};
    if (average) attributes["count_include_pad"] = b_.pick(0, 1);
    return append(average ? "average_pool" : "max_pool", {x}, std::move(attributes),
                  average ? random_type() : same_type(x));
  }

  Value moved(ir::ValueId x) {
    switch (b_.pick(0, 6)) {
      case 0: {
        constexpr std::string_view kModes[] = {"constant", "edge", "reflect"};
        return append("pad", {x},
                      {{"pads", Ints{0, b_.pick(0, 2), b_.pick(0, 2), 0, 0, b_.pick(0, 2), b_.pick(0, 2), 0}},
                       {"mode", std::string(kModes[b_.pick(0, 2)])},
                       {"value", 0.5}},
                      same_type(x));
      }
      case 1:
        return append("resize", {x},
                      {{"mode", std::string(b_.chance(50) ? "nearest" : "linear")},
                       {"sizes", Ints{b_.pick(3, 21), b_.pick(3, 21)}}},
                      same_type(x));
      case 2:
        if (size(x, 1) < 4 || size(x, 2) < 4) return {};
        return append("slice", {x},
                      {{"starts", Ints{1, 0}}, {"ends", Ints{4, 4}}, {"axes", Ints{1, 2}}, {"steps", Ints{1, 2}}});
      case 3: {
        const int64_t channels = size(x, 3);
        if (channels < 3) return {};
        const auto parts =
            append_many("split", {x}, {{"axis", int64_t{3}}, {"sizes", Ints{2, channels - 2}}}, std::nullopt, 2);
        if (parts.size() == 2) keep(parts[0]);
        return parts.size() == 2 ? Value{parts[1]} : Value{};
      }
      case 4: {
        std::vector<ir::ValueId> inputs = {x};
        for (const ir::ValueId candidate : values_) {
          if (inputs.size() < 4 && size(candidate, 1) == size(x, 1) && size(candidate, 2) == size(x, 2) &&
              b_.type(candidate).dtype == b_.type(x).dtype) {
            inputs.push_back(candidate);
          }
        }
        ir::TensorType type = random_type();
        type.dtype = b_.type(x).dtype;
        if (type.dtype == DataType::kI8) type.quantization->zero_points[0] = 3;
        return append("concat", std::move(inputs), {{"axis", int64_t{3}}}, type);
      }
      case 5:
        return append("transpose", {x}, {{"permutation", Ints{0, 2, 1, 3}}});
      default:
        return append("rescale", {x}, {}, random_type());
    }
  }

  void step() {
    const ir::ValueId x = any();
    if (Dims(Ints{size(x, 1), size(x, 2), size(x, 3)}).count() > 40000) return;
    switch (b_.pick(0, 13)) {
      case 0:
      case 1:
      case 2:
        keep(convolution(x));
        if (b_.chance(70)) keep(function_of(values_.back()));
        return;
      case 3:
      case 4:
        keep(two_operands(x));
        return;
      case 5:
        keep(pooled(x));
        return;
      case 6:
      case 7:
        keep(moved(x));
        return;
      case 8:
        keep(function_of(x));
        return;
      case 9:
        keep(dense(x));
        return;
      case 10:
        keep(append("clip", {x}, {{"min", -0.7}, {"max", 1.3}}, b_.chance(50) ? same_type(x) : random_type()));
        return;
      case 11:
        keep(attention(x));
        return;
      case 12:
        keep(normalized(x));
        return;
      default:
        keep(append("softmax", {x}, {{"axis", int64_t{-1}}},
                    ir::TensorType{DataType::kI8, {}, per_tensor_quantization(1.0F / 256.0F, -128)}));
        return;
    }
  }

  void finish() {
    Value y = values_.back();
    if (b_.graph.is_input(*y)) y = append("relu", {*y}, {}, random_type());
    if (b_.chance(40)) {
      const Value mean = append(b_.chance(50) ? "reduce_mean" : "reduce_max", {*y},
                                {{"axes", Ints{1, 2}}, {"keep_dims", int64_t{0}}}, same_type(*y));
      if (mean) y = mean;
    }
    const Value real = b_.chance(30) ? append("dequantize", {*y}) : Value{};
    b_.graph.add_output(real ? *real : *y);
    const ir::ValueId other = values_[values_.size() / 2];
    if (!b_.graph.is_input(other) && !b_.graph.is_output(other)) b_.graph.add_output(other);
    b_.graph.erase_dead();
  }

  passes::testing::GraphBuilder b_;
  std::vector<ir::ValueId> values_;  // [N, H, W, C], 8 bits
};

}  // namespace hai::testing
