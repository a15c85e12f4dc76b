// For tests: random convolutional networks of integers and f16 for the NPU.
//
// Every way of convolving, joining, moving and attending that its lowering has, with odd sizes (13, 19, 127), scales of
// their own and shared ones, i8, u8, i16, f16 and 4-bit weights; outputs that are read, too, and views of inputs. A
// node that the NPU refuses is mostly left out, and else runs on the CPU, so that segments end there. A function of the
// seed alone.
#pragma once

#include <algorithm>
#include <optional>
#include <vector>

#include "devices/cpu/lower/lower_registry.h"
#include "devices/sd3403/lower/segment_builder.h"
#include "passes/testing/graph_builder.h"
#include "types/half.h"
#include "types/unary_functions.h"

namespace hai::testing {

class NpuGraph {
 public:
  explicit NpuGraph(uint32_t seed) : b_(seed), has_wide_(seed % 2 == 0), has_half_(seed % 4 == 3) {}

  ir::Graph build() {
    b_.graph.symbols = {{"batch", 1, 16}};
    add_input();
    if (b_.chance(25)) add_input();
    const int64_t steps = b_.pick(3, 11);
    for (int64_t i = 0; i < steps; ++i) step();
    finish();
    return std::move(b_.graph);
  }

 private:
  using Ints = std::vector<int64_t>;
  using Value = std::optional<ir::ValueId>;
  static constexpr int64_t kMostMacs = 700000;
  static constexpr int64_t kMostElements = 16000;

  // --- draws
  template <typename T, size_t N>
  T one_of(const T (&values)[N]) {
    return values[static_cast<size_t>(b_.pick(0, static_cast<int64_t>(N) - 1))];
  }
  int64_t channel_count() { return one_of({1, 2, 3, 4, 7, 8, 13, 16, 19, 24, 32, 33, 48, 64, 67, 130}); }
  DataType random_dtype() {
    const int64_t draw = b_.pick(0, 99);
    return draw < 70 ? DataType::kI8 : draw < 85 || !has_wide_ ? DataType::kU8 : DataType::kI16;
  }
  // Real values are about +-1.
  ir::TensorType random_type(DataType dtype, Shape shape = {}) {
    if (dtype == DataType::kF16) return {dtype, std::move(shape), std::nullopt};
    if (dtype == DataType::kI16) {
      const auto zero = static_cast<int32_t>(b_.chance(50) ? 0 : b_.pick(-500, 500));
      return {dtype, std::move(shape), per_tensor_quantization(b_.uniform(0.0001F, 0.0002F), zero)};
    }
    const auto zero = static_cast<int32_t>(b_.pick(-30, 30) + (dtype == DataType::kU8 ? 128 : 0));
    return {dtype, std::move(shape), per_tensor_quantization(b_.uniform(0.02F, 0.05F), zero)};
  }
  ir::TensorType random_type() { return random_type(random_dtype()); }
  ir::TensorType same_type(ir::ValueId x) { return {b_.type(x).dtype, {}, b_.type(x).quantization}; }
  bool is_wide(ir::ValueId x) const { return b_.type(x).dtype == DataType::kI16; }
  bool is_half(ir::ValueId x) const { return b_.type(x).dtype == DataType::kF16; }
  // Of what an operator that multiplies makes of x.
  ir::TensorType random_product(ir::ValueId x) {
    return random_type(is_half(x) ? DataType::kF16 : is_wide(x) ? DataType::kI16 : random_dtype());
  }
  int64_t size(ir::ValueId x, size_t axis) const { return b_.shape(x)[axis].value; }
  int64_t elements(ir::ValueId x) const { return size(x, 1) * size(x, 2) * size(x, 3); }
  ir::ValueId any() {
    return b_.chance(65) ? values_.back()
                         : values_[static_cast<size_t>(b_.pick(0, static_cast<int64_t>(values_.size()) - 1))];
  }
  void keep(Value value) {
    if (value && elements(*value) <= kMostElements) values_.push_back(*value);
  }

  // --- nodes
  std::vector<ir::ValueId> append_many(std::string_view op, std::vector<ir::ValueId> inputs, ir::Attributes attributes,
                                       std::optional<ir::TensorType> declared, size_t count) {
    ops::AppendOptions options;
    // What f16 gives is f16.
    if (is_half(inputs[0]) && op != "quantize") declared.reset();
    options.node_name = fmt::format("{}_{}", op, b_.graph.node_slots());
    options.output_count = count;
    for (size_t i = 0; declared && i < count; ++i) options.declared.push_back(declared);
    const auto id = ops::append(b_.graph, op, std::move(inputs), std::move(attributes), std::move(options));
    if (!id) return {};
    const sd3403::NpuLowering* npu = sd3403::LowerRegistry::instance().find(op);
    const cpu::CpuLowering* cpu = cpu::LowerRegistry::instance().find(op);
    const bool on_npu =
        npu != nullptr && sd3403::check_legality(npu->legality, b_.graph, b_.graph.node(*id)).has_value();
    const bool on_cpu = cpu != nullptr && cpu->supports(b_.graph, b_.graph.node(*id)).has_value();
    if (on_cpu && (on_npu || b_.chance(8))) return b_.graph.node(*id).outputs;
    b_.graph.erase_node(*id);
    return {};
  }
  Value append(std::string_view op, std::vector<ir::ValueId> inputs, ir::Attributes attributes = {},
               std::optional<ir::TensorType> declared = {}) {
    const auto outputs = append_many(op, std::move(inputs), std::move(attributes), std::move(declared), 1);
    return outputs.empty() ? Value{} : Value{outputs[0]};
  }

  void add_input() {
    const auto [height, width] = one_of<std::pair<int64_t, int64_t>>(
        {{5, 5}, {13, 19}, {19, 13}, {16, 16}, {3, 127}, {127, 3}, {8, 12}, {31, 7}, {24, 24}, {1, 64}, {33, 33}});
    const int64_t channels = std::min(channel_count(), kMostElements / (height * width));
    const std::string name = fmt::format("input{}", values_.size());
    const DataType dtype = has_half_ && b_.chance(60) ? DataType::kF16 : random_dtype();
    values_.push_back(
        b_.graph.add_input(name, random_type(dtype, {Dim(1, 0), Dim(height), Dim(width), Dim(channels)})));
  }

  ir::ValueId half_weights(Shape shape, int64_t count, int64_t terms) {
    const float reach = 1.7F / std::sqrt(static_cast<float>(terms));
    std::vector<uint16_t> halves(static_cast<size_t>(count));
    for (uint16_t& half : halves) half = half_of(b_.chance(10) ? 0.0F : b_.uniform(-reach, reach));
    return b_.graph.add_constant("w", {DataType::kF16, std::move(shape), std::nullopt},
                                 ir::ConstantData::copy_of(std::as_bytes(std::span<const uint16_t>(halves))));
  }

  // Scales such that sums over `terms` products of x give a result of `y`.
  ir::ValueId weights(ir::ValueId x, DataType dtype, const Ints& dims, size_t axis, int64_t terms,
                      const ir::TensorType& y) {
    Shape shape;
    for (const int64_t dim : dims) shape.emplace_back(dim);
    const int64_t count = Dims(dims).count();
    if (is_half(x)) return half_weights(std::move(shape), count, terms);
    std::vector<std::byte> bytes(static_cast<size_t>(bytes_for(dtype, count)));
    for (std::byte& byte : bytes) byte = static_cast<std::byte>(b_.pick(0, 255));
    const double spread = dtype == DataType::kI16 ? 18900.0 : bit_width(dtype) == 4 ? 4.6 : 74.0;
    const double x_spread = is_wide(x) ? 6000.0 : 40.0;
    const double y_real =
        y.quantization ? y.quantization->scales[0] * (y.dtype == DataType::kI16 ? 8000.0 : 40.0) : 1.0;
    const double s_x = b_.type(x).quantization->scales[0];
    const auto scale = static_cast<float>(y_real / (s_x * x_spread * spread * std::sqrt(static_cast<double>(terms))));
    const auto middle = static_cast<int32_t>(is_unsigned_integer(dtype) ? 1 << (bit_width(dtype) - 1) : 0);
    const auto channels = static_cast<size_t>(b_.chance(80) ? dims[axis] : 1);
    Quantization q;
    for (size_t c = 0; c < channels; ++c) {
      q.scales.push_back(scale * b_.uniform(0.6F, 1.5F));
      q.zero_points.push_back(middle);
    }
    q.axis = channels > 1 || dims[axis] == 1 ? static_cast<int32_t>(axis) : -1;
    if (channels == 1) q = per_tensor_quantization(q.scales[0], middle);
    return b_.graph.add_constant("w", {dtype, std::move(shape), std::move(q)},
                                 ir::ConstantData::copy_of(std::span<const std::byte>(bytes)));
  }
  DataType weight_dtype(ir::ValueId x) {
    const int64_t draw = b_.pick(0, 99);
    if (is_wide(x) && draw < 50) return DataType::kI16;
    return draw < 75 ? DataType::kI8 : draw < 90 ? DataType::kI4 : DataType::kU8;
  }
  ir::ValueId bias(ir::ValueId x, int64_t count) {
    if (is_half(x)) {
      std::vector<float> values(static_cast<size_t>(count));
      for (float& v : values) v = b_.uniform(-0.5F, 0.5F);
      const int64_t dims[1] = {count};
      return ops::add_constant_f32(b_.graph, "b", dims, values);
    }
    if (!is_wide(x)) return b_.bias_i32(count);
    std::vector<int64_t> values(static_cast<size_t>(count));
    for (int64_t& v : values) v = b_.pick(-3000000, 3000000);
    const int64_t dims[1] = {count};
    return ops::add_constant_i64(b_.graph, "b", dims, values);
  }
  // Of the product's sums: a clamp, a function behind a rounding point, or nothing.
  void add_activation(ir::Attributes& attributes, const ir::TensorType& y) {
    const int64_t draw = b_.pick(0, 99);
    if (draw < 40) return;
    const bool wide = has_wide_ && b_.chance(40);
    const ir::TensorType point = random_type(wide ? DataType::kI16 : y.dtype);
    if (draw < 70) {
      attributes["activation"] = std::string(one_of({"relu", "relu6", "clip"}));
      if (attributes["activation"] == ir::Attributes::mapped_type(std::string("clip"))) {
        attributes["activation_lo"] = -0.7;
        attributes["activation_hi"] = 1.1;
      }
      return;
    }
    attributes["activation"] = std::string(one_of({"silu", "hard_swish", "sigmoid", "leaky_relu", "gelu", "tanh"}));
    if (y.dtype == DataType::kF16) return;  // its points have no scale
    attributes["conv_scale"] = static_cast<double>(point.quantization->scales[0]);
    attributes["conv_zero_point"] = int64_t{point.quantization->zero_points[0]};
    if (wide) attributes["conv_bits"] = int64_t{16};
  }
  // A residual of the product's shape, and the rounding before it.
  Value add_residual(ir::Attributes& attributes, const Ints& dims, const ir::TensorType& y) {
    for (const ir::ValueId candidate : values_) {
      const bool fits = size(candidate, 1) == dims[0] && size(candidate, 2) == dims[1] &&
                        size(candidate, 3) == dims[2] && is_wide(candidate) == (y.dtype == DataType::kI16) &&
                        is_half(candidate) == (y.dtype == DataType::kF16);
      if (!fits || !b_.chance(70)) continue;
      if (b_.chance(40)) attributes["residual_activation"] = std::string("relu");
      if (is_half(candidate)) return candidate;
      const bool wide = has_wide_ && b_.chance(30);
      const ir::TensorType point = random_type(wide ? DataType::kI16 : y.dtype);
      attributes["pre_residual_scale"] = static_cast<double>(point.quantization->scales[0]);
      attributes["pre_residual_zero_point"] = int64_t{point.quantization->zero_points[0]};
      if (wide) attributes["pre_residual_bits"] = int64_t{16};
      return candidate;
    }
    return {};
  }

  struct Convolution {
    int64_t out = 1, groups = 1, rows = 1, columns = 1;
    Ints strides = {1, 1}, dilations = {1, 1}, pads = {0, 0, 0, 0};
  };
  Value convolve(ir::ValueId x, Convolution c, std::optional<ir::TensorType> wanted = {}) {
    const int64_t in = size(x, 3);
    const auto extent = [&](size_t axis, int64_t kernel) {
      const int64_t room = size(x, axis + 1) + c.pads[axis] + c.pads[axis + 2] - ((kernel - 1) * c.dilations[axis] + 1);
      return room < 0 ? 0 : room / c.strides[axis] + 1;
    };
    const Ints dims = {extent(0, c.rows), extent(1, c.columns), c.out};
    const int64_t terms = c.rows * c.columns * in / c.groups;
    if (Dims(dims).count() == 0 || Dims(dims).count() * terms > kMostMacs) return {};
    const ir::TensorType y = wanted ? *wanted : random_product(x);
    const ir::ValueId w = weights(x, weight_dtype(x), {c.out, c.rows, c.columns, in / c.groups}, 0, terms, y);
    ir::Attributes attributes = {
        {"strides", c.strides}, {"pads", c.pads}, {"dilations", c.dilations}, {"groups", c.groups}};
    add_activation(attributes, y);
    std::vector<ir::ValueId> inputs = {x, w};
    if (b_.chance(60)) inputs.push_back(bias(x, c.out));
    if (b_.chance(40)) {
      if (const Value residual = add_residual(attributes, dims, y)) {
        if (inputs.size() < 3) inputs.push_back(bias(x, c.out));
        inputs.push_back(*residual);
      }
    }
    return append("conv2d", std::move(inputs), std::move(attributes), y);
  }
  Value random_convolution(ir::ValueId x) {
    const int64_t in = size(x, 3);
    Convolution c;
    c.groups = b_.chance(30) ? in : in % 4 == 0 && b_.chance(15) ? 4 : in % 3 == 0 && b_.chance(15) ? 3 : 1;
    c.out = c.groups == in && in > 1 ? in : c.groups * std::max<int64_t>(1, channel_count() / c.groups);
    if (!b_.chance(30)) {
      c.rows = b_.pick(1, 6);
      c.columns = b_.pick(1, 6);
      for (int64_t& d : c.dilations) d = b_.chance(20) ? b_.pick(2, 3) : 1;
    }
    for (int64_t& s : c.strides) s = b_.chance(35) ? b_.pick(2, 3) : 1;
    for (size_t i = 0; i < 4; ++i) {
      const int64_t window = ((i % 2 == 0 ? c.rows : c.columns) - 1) * c.dilations[i % 2] + 1;
      c.pads[i] = b_.chance(60) ? window / 2 : b_.pick(0, window - 1);
    }
    return convolve(x, c);
  }
  void add_shifts(int64_t tile, ir::Attributes& attributes) {
    Ints input_shifts;
    Ints weight_shifts;
    for (int64_t t = 0; t < (tile + 2) * (tile + 2); ++t) {
      input_shifts.push_back(b_.pick(tile - 2, tile + 1));
      weight_shifts.push_back(b_.pick(-1, 2));
    }
    attributes["input_shifts"] = input_shifts;
    attributes["weight_shifts"] = weight_shifts;
  }
  Value winograd_convolution(ir::ValueId x) {
    if (is_wide(x)) return {};
    const int64_t tile = b_.chance(50) ? 2 : 4;
    const int64_t side = tile + 2;
    const int64_t in = size(x, 3);
    const int64_t out = channel_count();
    Ints pads(4, 1);
    if (b_.chance(40)) std::generate(pads.begin(), pads.end(), [&] { return b_.pick(0, 2); });
    const Ints dims = {size(x, 1) + pads[0] + pads[2] - 2, size(x, 2) + pads[1] + pads[3] - 2, out};
    if (dims[0] < 1 || dims[1] < 1 || Dims(dims).count() * 9 * in > kMostMacs) return {};
    ir::Attributes attributes = {{"tile", tile}, {"pads", pads}};
    if (!is_half(x)) add_shifts(tile, attributes);
    const ir::TensorType y = random_type(is_half(x) ? DataType::kF16 : random_dtype());
    if (y.dtype == DataType::kI16 && !has_wide_) return {};
    // As if so many more terms were added up: shifts and A^T make sums larger.
    const ir::ValueId w = weights(x, DataType::kI8, {out, side, side, in}, 0, in * (tile == 2 ? 500 : 20000), y);
    add_activation(attributes, y);
    std::vector<ir::ValueId> inputs = {x, w};
    if (b_.chance(60)) inputs.push_back(bias(x, out));
    if (b_.chance(40)) {
      if (const Value residual = add_residual(attributes, dims, y)) {
        if (inputs.size() < 3) inputs.push_back(bias(x, out));
        inputs.push_back(*residual);
      }
    }
    return append("winograd_conv2d", std::move(inputs), std::move(attributes), y);
  }
  Value transposed_convolution(ir::ValueId x) {
    const int64_t in = size(x, 3);
    const int64_t out = channel_count();
    const Ints strides = {b_.pick(1, 3), b_.pick(1, 3)};
    const Ints kernel = {b_.pick(strides[0], 5), b_.pick(strides[1], 5)};
    if (elements(x) * out * kernel[0] * kernel[1] > kMostMacs) return {};
    const ir::TensorType y = random_type(is_wide(x) ? DataType::kI16 : random_dtype());
    const int64_t terms = in * kernel[0] * kernel[1] / (strides[0] * strides[1]);
    const ir::ValueId w = weights(x, weight_dtype(x), {out, kernel[0], kernel[1], in}, 0, terms, y);
    ir::Attributes attributes = {
        {"strides", strides},
        {"pads", Ints{b_.pick(0, kernel[0] / 2), b_.pick(0, kernel[1] / 2), b_.pick(0, 1), b_.pick(0, 1)}}};
    add_activation(attributes, y);
    std::vector<ir::ValueId> inputs = {x, w};
    if (b_.chance(60)) inputs.push_back(bias(x, out));
    return append("conv_transpose2d", std::move(inputs), std::move(attributes), y);
  }
  Value pointwise(ir::ValueId x, int64_t out, std::optional<ir::TensorType> wanted = {}) {
    Convolution c;
    c.out = out;
    return convolve(x, c, std::move(wanted));
  }
  // Expand, filter, project, add.
  void inverted_residual(ir::ValueId x) {
    const int64_t in = size(x, 3);
    const Value wide = pointwise(x, std::min<int64_t>(4 * in, 96));
    if (!wide) return;
    Convolution c;
    c.out = c.groups = size(*wide, 3);
    c.rows = c.columns = one_of({3, 3, 5});
    c.pads = Ints(4, c.rows / 2);
    const Value filtered = c.groups == 1 ? Value{} : convolve(*wide, c);
    if (!filtered) return keep(wide);
    const Value narrow = pointwise(*filtered, in);
    if (!narrow) return keep(filtered);
    keep(narrow);
    keep(append("add", {x, *narrow}, {}, random_type(b_.type(*narrow).dtype)));
  }
  Value mean(ir::ValueId x, int64_t keep_dims) {
    return append("reduce_mean", {x}, {{"axes", Ints{1, 2}}, {"keep_dims", keep_dims}}, random_type(b_.type(x).dtype));
  }
  void squeeze_excite(ir::ValueId x) {
    const Value squeezed = mean(x, 1);
    const Value hidden = squeezed ? pointwise(*squeezed, std::max<int64_t>(1, size(x, 3) / 4)) : Value{};
    const Value excited = hidden ? pointwise(*hidden, size(x, 3)) : Value{};
    if (!excited) return;
    const Value gate = append("hard_sigmoid", {*excited}, {}, random_type(b_.type(*excited).dtype));
    if (gate) keep(append("mul", b_.chance(50) ? std::vector{x, *gate} : std::vector{*gate, x}, {}, random_type()));
  }

  Value function_of(ir::ValueId x) {
    const auto& function =
        unary_functions()[static_cast<size_t>(b_.pick(0, static_cast<int64_t>(unary_functions().size()) - 1))];
    const bool clamps = function.name == "relu" || function.name == "relu6";
    return append(function.name, {x}, {}, clamps && b_.chance(60) ? same_type(x) : random_type());
  }
  void chain_of_functions(ir::ValueId x) {
    const Value wide = append("rescale", {x}, {}, random_type(DataType::kI16));
    const Value bent = wide ? append("tanh", {*wide}, {}, random_type(DataType::kI16)) : Value{};
    if (bent) keep(append("rescale", {*bent}, {}, random_type()));
    if (wide && b_.chance(40)) keep(wide);
  }

  Value slice(ir::ValueId x, Ints axes, Ints starts, Ints ends, Ints steps) {
    return append("slice", {x},
                  {{"axes", std::move(axes)},
                   {"starts", std::move(starts)},
                   {"ends", std::move(ends)},
                   {"steps", std::move(steps)}});
  }
  ir::ValueId constant(DataType dtype, const Ints& dims) {
    Shape shape;
    for (const int64_t dim : dims) shape.emplace_back(dim);
    std::vector<std::byte> bytes(static_cast<size_t>(bytes_for(dtype, Dims(dims).count())));
    for (std::byte& byte : bytes) byte = static_cast<std::byte>(b_.pick(0, 255));
    return b_.graph.add_constant("c", random_type(dtype, std::move(shape)),
                                 ir::ConstantData::copy_of(std::span<const std::byte>(bytes)));
  }
  // The other operand: of the same shape, one value a channel, one a pixel, one for all; a constant of these.
  Value partner_of(ir::ValueId x) {
    if (b_.chance(25)) {
      const int64_t rows = size(x, 1);
      const int64_t columns = size(x, 2);
      const int64_t channels = size(x, 3);
      return constant(random_dtype(), one_of<Ints>({{1, rows, columns, channels},
                                                    {rows, columns, channels},
                                                    {channels},
                                                    {1, 1, 1, channels},
                                                    {1, rows, columns, 1},
                                                    {1},
                                                    {1, 1, 1, 1}}));
    }
    const int64_t draw = b_.pick(0, 99);
    if (draw < 50) {
      for (const ir::ValueId candidate : values_) {
        if (candidate != x && b_.shape(candidate) == b_.shape(x)) return candidate;
      }
      return function_of(x);
    }
    if (draw < 70) return mean(x, 1);
    if (draw < 90) return b_.chance(50) ? pointwise(x, 1) : slice(x, {3}, {size(x, 3) - 1}, {size(x, 3)}, {1});
    const Value channels = mean(x, 1);
    return channels ? slice(*channels, {3}, {0}, {1}, {1}) : Value{};
  }
  Value two_operands(ir::ValueId x) {
    const Value other = partner_of(x);
    if (!other) return {};
    return append(one_of({"add", "add", "sub", "mul"}), b_.chance(50) ? std::vector{x, *other} : std::vector{*other, x},
                  {}, random_type());
  }

  Value pooled(ir::ValueId x) {
    const bool average = b_.chance(50);
    const Ints kernel = {b_.pick(1, 5), b_.pick(1, 5)};
    const auto pad = [&](size_t axis) { return b_.pick(0, (kernel[axis] - 1) / (b_.chance(50) ? 2 : 1)); };
    ir::Attributes attributes = {{"kernel", kernel},
                                 {"strides", Ints{b_.pick(1, 3), b_.pick(1, 3)}},
                                 {"pads", Ints{pad(0), pad(1), pad(0), pad(1)}},
                                 {"ceil_mode", b_.chance(30) ? int64_t{1} : int64_t{0}}};
    if (average) attributes["count_include_pad"] = b_.pick(0, 1);
    const bool same = !average || b_.chance(30);
    return append(average ? "average_pool" : "max_pool", {x}, std::move(attributes),
                  same ? same_type(x) : random_type(b_.type(x).dtype));
  }
  Value resized(ir::ValueId x) {
    const bool twice = b_.chance(50);
    const Ints sizes = {twice ? 2 * size(x, 1) : b_.pick(1, 30), twice ? 2 * size(x, 2) : b_.pick(1, 30)};
    if (sizes[0] * sizes[1] * size(x, 3) > kMostElements) return {};
    const bool linear = b_.chance(50);
    return append("resize", {x},
                  {{"mode", std::string(linear ? "linear" : "nearest")},
                   {"coordinates", std::string(one_of({"half_pixel", "asymmetric", "align_corners"}))},
                   {"sizes", sizes}},
                  linear && b_.chance(50) ? random_type(b_.type(x).dtype) : same_type(x));
  }
  Value padded(ir::ValueId x) {
    Ints pads(8, 0);
    for (size_t axis = 1; axis < 4; ++axis) {
      if (b_.chance(axis == 3 ? 30 : 70)) pads[axis] = b_.pick(0, 3);
      if (b_.chance(axis == 3 ? 30 : 70)) pads[axis + 4] = b_.pick(0, 3);
    }
    return append("pad", {x}, {{"pads", pads}, {"mode", std::string("constant")}, {"value", b_.chance(50) ? 0.0 : 0.4}},
                  same_type(x));
  }
  Value random_slice(ir::ValueId x) {
    Ints axes, starts, ends, steps;
    for (int64_t axis = 1; axis < 4; ++axis) {
      const int64_t extent = size(x, static_cast<size_t>(axis));
      if (extent < 3 || !b_.chance(50)) continue;
      axes.push_back(axis);
      starts.push_back(b_.pick(0, extent / 2));
      ends.push_back(b_.pick(extent / 2 + 1, extent));
      steps.push_back(b_.chance(40) ? 2 : 1);
    }
    return axes.empty() ? Value{} : slice(x, axes, starts, ends, steps);
  }
  void split(ir::ValueId x) {
    const int64_t axis = b_.chance(70) ? 3 : b_.pick(1, 2);
    const int64_t extent = size(x, static_cast<size_t>(axis));
    if (extent < 3) return;
    const int64_t first = b_.pick(1, extent - 1);
    for (const ir::ValueId part :
         append_many("split", {x}, {{"axis", axis}, {"sizes", Ints{first, extent - first}}}, std::nullopt, 2)) {
      keep(part);
    }
  }
  // Two groups of channels interleave, and are read as even ones and odd ones half of the times.
  Value shuffled(ir::ValueId x) {
    const int64_t channels = size(x, 3);
    const int64_t groups = channels % 4 == 0 && b_.chance(30) ? 4 : 2;
    if (channels % groups != 0 || channels == groups) return {};
    const Value apart = append("reshape", {x}, {{"shape", Ints{0, size(x, 1), size(x, 2), groups, channels / groups}}});
    const Value turned = apart ? append("transpose", {*apart}, {{"permutation", Ints{0, 1, 2, 4, 3}}}) : Value{};
    const Value whole =
        turned ? append("reshape", {*turned}, {{"shape", Ints{0, size(x, 1), size(x, 2), channels}}}) : Value{};
    if (!whole || b_.chance(50)) return whole;
    return slice(*whole, {3}, {b_.pick(0, 1)}, {channels}, {2});
  }
  Value joined(ir::ValueId x) {
    const int64_t axis = b_.chance(75) ? 3 : b_.pick(1, 2);
    std::vector<ir::ValueId> inputs = {x};
    for (const ir::ValueId candidate : values_) {
      bool fits = inputs.size() < 4 && b_.type(candidate).dtype == b_.type(x).dtype;
      for (int64_t other = 1; other < 4; ++other) {
        const auto at = static_cast<size_t>(other);
        fits = fits && (other == axis || size(candidate, at) == size(x, at));
      }
      if (fits && b_.chance(80)) inputs.push_back(candidate);
    }
    if (b_.chance(60)) {
      // With the result's scale, so that it may be written in its place; sometimes a concatenation itself.
      const ir::TensorType type = same_type(x);
      if (const Value more = b_.chance(50) ? pointwise(x, channel_count(), type)
                                           : append("concat", {x, x}, {{"axis", int64_t{3}}}, type)) {
        if (axis == 3) inputs.push_back(*more);
      }
    }
    return append("concat", std::move(inputs), {{"axis", axis}},
                  b_.chance(50) ? same_type(x) : random_type(b_.type(x).dtype));
  }
  Value moved(ir::ValueId x) {
    switch (b_.pick(0, 8)) {
      case 0:
        return padded(x);
      case 1:
        return resized(x);
      case 2:
        return random_slice(x);
      case 3:
        split(x);
        return {};
      case 4:
        return shuffled(x);
      case 5:
        return append("transpose", {x},
                      {{"permutation", one_of<Ints>({{0, 2, 1, 3}, {0, 3, 1, 2}, {0, 2, 3, 1}, {0, 1, 3, 2}})}});
      case 6:
        return append("reshape", {x}, {{"shape", Ints{0, size(x, 2), size(x, 1), size(x, 3)}}});
      default:
        return joined(x);
    }
  }
  // Matrix products over pixels: of rank 3, and of rank 2 on means.
  Value dense(ir::ValueId x) {
    const int64_t in = size(x, 3);
    const int64_t out = channel_count();
    const bool flat = b_.chance(40);
    const Value rows = flat ? mean(x, 0) : append("reshape", {x}, {{"shape", Ints{0, -1, in}}});
    if (!rows || elements(x) * out > kMostMacs) return {};
    const bool transposed = b_.chance(50);
    const ir::TensorType y = random_product(*rows);
    const ir::ValueId w = transposed ? weights(*rows, weight_dtype(*rows), {out, in}, 0, in, y)
                                     : weights(*rows, weight_dtype(*rows), {in, out}, 1, in, y);
    std::vector<ir::ValueId> inputs = {*rows, w};
    if (b_.chance(60)) inputs.push_back(bias(*rows, out));
    ir::Attributes attributes = {{"transpose_b", int64_t{transposed ? 1 : 0}}};
    add_activation(attributes, y);
    const Value product = append("matmul", std::move(inputs), std::move(attributes), y);
    if (!product) return {};
    if (b_.chance(30)) extra_outputs_.push_back(*product);
    return flat ? append("reshape", {*product}, {{"shape", Ints{0, 1, 1, out}}})
                : append("reshape", {*product}, {{"shape", Ints{0, size(x, 1), size(x, 2), out}}});
  }

  Value layer_norm(ir::ValueId x) {
    const int64_t channels = size(x, 3);
    const auto parameters = [&] {
      std::vector<float> values(static_cast<size_t>(channels));
      for (float& value : values) value = b_.uniform(-1.0F, 1.0F);
      const int64_t dims[1] = {channels};
      return ops::add_constant_f32(b_.graph, "p", dims, values);
    };
    std::vector<ir::ValueId> inputs = {x, parameters()};
    if (b_.chance(70)) inputs.push_back(parameters());
    return append("layer_norm", std::move(inputs), {{"epsilon", b_.chance(20) ? 0.0 : 1e-3}}, random_type());
  }
  Value softmax(ir::ValueId x) {
    const auto zero = [](DataType dtype) { return dtype == DataType::kI8 ? -128 : 0; };
    const DataType dtype = b_.chance(70) ? DataType::kI8 : DataType::kU8;
    return append("softmax", {x}, {{"axis", int64_t{-1}}},
                  ir::TensorType{dtype, {}, per_tensor_quantization(b_.uniform(0.002F, 0.004F), zero(dtype))});
  }

  // Heads side by side in the channels, apart as [N, heads, tokens, width] or [N, heads, width, tokens].
  Value heads_of(ir::ValueId x, int64_t heads, int64_t width, DataType dtype, bool turned) {
    const Value flat = pointwise(x, heads * width, random_type(dtype));
    const Value apart =
        flat ? append("reshape", {*flat}, {{"shape", Ints{0, size(x, 1) * size(x, 2), heads, width}}}) : Value{};
    return apart ? append("transpose", {*apart}, {{"permutation", turned ? Ints{0, 2, 3, 1} : Ints{0, 2, 1, 3}}})
                 : Value{};
  }
  // `b` is [.., K, N], or turned.
  Value product(ir::ValueId a, ir::ValueId b, bool turned) {
    ir::Attributes attributes = {{"transpose_b", int64_t{turned ? 1 : 0}}};
    const ir::TensorType y = random_type(is_wide(a) ? DataType::kI16 : DataType::kI8);
    if (b_.chance(30)) add_activation(attributes, y);
    return append("matmul", {a, b}, std::move(attributes), y);
  }
  // Products of two activations, with a softmax in between where the first is of 8 bits.
  Value attention(ir::ValueId x) {
    const int64_t tokens = size(x, 1) * size(x, 2);
    const int64_t heads = b_.pick(1, 3);
    const int64_t width = b_.pick(1, 20);
    if (heads * tokens * tokens * width > kMostMacs || heads * tokens * tokens > 4 * kMostElements) return {};
    if (is_wide(x)) {
      const Value narrow = append("rescale", {x}, {}, random_type(DataType::kI8));
      if (!narrow) return {};
      x = *narrow;
    }
    const bool key_turned = b_.chance(50);
    const bool value_turned = b_.chance(30);
    const auto bytes = [&] { return b_.chance(60) ? DataType::kI8 : DataType::kU8; };
    const DataType left = has_wide_ && b_.chance(25) ? DataType::kI16 : bytes();
    const Value query = heads_of(x, heads, width, left, false);
    const Value key = heads_of(x, heads, width, bytes(), key_turned);
    const Value value = heads_of(x, heads, width, bytes(), value_turned);
    const Value scores = query && key ? product(*query, *key, !key_turned) : Value{};
    if (!scores || !value) return {};
    if (b_.chance(20)) extra_outputs_.push_back(*scores);
    const Value shares = is_wide(*scores) ? scores : softmax(*scores);
    const Value mixed = shares ? product(*shares, *value, value_turned) : Value{};
    const Value back = mixed ? append("transpose", {*mixed}, {{"permutation", Ints{0, 2, 1, 3}}}) : Value{};
    return back ? append("reshape", {*back}, {{"shape", Ints{0, size(x, 1), size(x, 2), heads * width}}}) : Value{};
  }

  // Between integers and f16.
  Value converted(ir::ValueId x) {
    if (is_half(x)) return append("quantize", {x}, {}, random_type());
    ops::AppendOptions options;
    options.node_name = fmt::format("dequantize_{}", b_.graph.node_slots());
    // Not by append(): the NPU takes it for the sake of the cast that follows.
    const auto real = ops::append_value(b_.graph, "dequantize", {x}, {}, std::move(options));
    return real ? append("cast", {*real}, {{"dtype", std::string("f16")}}) : Value{};
  }

  void step() {
    const ir::ValueId x = any();
    if (has_half_ && b_.chance(20)) return keep(converted(x));
    switch (b_.pick(0, 18)) {
      case 0:
      case 1:
      case 2:
      case 3:
        if (b_.chance(is_half(x) ? 60 : 25)) return keep(winograd_convolution(x));
        return keep(b_.chance(15) ? transposed_convolution(x) : random_convolution(x));
      case 4:
        return inverted_residual(x);
      case 5:
        return squeeze_excite(x);
      case 6:
      case 7:
        return keep(two_operands(x));
      case 8:
        return keep(pooled(x));
      case 9:
      case 10:
      case 11:
        return keep(moved(x));
      case 12:
        return keep(function_of(x));
      case 13:
        return chain_of_functions(x);
      case 14:
        return keep(dense(x));
      case 15:
        return keep(layer_norm(x));
      case 16:
        return keep(softmax(x));
      default:
        return keep(attention(x));
    }
  }

  void finish() {
    Value last = values_.back();
    if (b_.graph.is_input(*last)) last = append("rescale", {*last}, {}, random_type());
    if (last && b_.chance(20)) {
      // A sum as a real number.
      ir::TensorType real{DataType::kF32, {}, {}};
      const ir::ValueId w = weights(*last, DataType::kI8, {5, 1, 1, size(*last, 3)}, 0, size(*last, 3), real);
      if (const Value y = append("conv2d", {*last, w, bias(*last, 5)}, {}, real)) extra_outputs_.push_back(*y);
    }
    if (last) b_.graph.add_output(*last);
    const auto add = [&](Value value) {
      if (value && !b_.graph.is_input(*value) && !b_.graph.is_output(*value)) b_.graph.add_output(*value);
    };
    for (const ir::ValueId value : extra_outputs_) add(value);
    if (b_.chance(50)) add(values_[values_.size() / 2]);
    if (b_.chance(30)) add(append("reshape", {any()}, {{"shape", Ints{0, -1}}}));
    if (b_.chance(20)) add(random_slice(b_.graph.inputs()[0]));
    if (b_.graph.outputs().empty())
      b_.graph.add_output(
          *append(is_half(values_[0]) ? "quantize" : "rescale", {values_[0]}, {}, random_type(DataType::kI8)));
    b_.graph.erase_dead();
  }

  passes::testing::GraphBuilder b_;
  bool has_wide_;
  bool has_half_;
  std::vector<ir::ValueId> values_;  // [N, H, W, C]
  std::vector<ir::ValueId> extra_outputs_;
};

}  // namespace hai::testing
