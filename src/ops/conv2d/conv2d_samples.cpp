// Samples of conv2d.
//
// Shapes that split tiles unevenly (13, 19, 127, channels that are no multiple of 4 or 16), every
// kind of window, every epilogue, every type.
#include <utility>

#include "ops/conv2d/conv2d.h"
#include "ops/product_samples.h"

namespace hai::ops {
namespace {

using Geometry = ConvSampleGeometry;

Sample make_sample(const Geometry& g, const std::string& suffix, const ProductTypes& types,
                   const EpilogueSample& epilogue) {
  const int64_t depth = g.c / g.groups;
  Sample sample = product_sample(g.name + suffix, types, {g.n, g.h, g.w, g.c}, {g.o, g.kh, g.kw, depth},
                                 {g.n, g.out_rows(), g.out_cols(), g.o}, 0, g.kh * g.kw * depth, epilogue, true);
  for (const auto& [name, value] : g.attributes()) sample.attributes[name] = value;
  return sample;
}

const Geometry& geometry(const std::string& name) {
  for (const Geometry& g : conv_sample_geometries()) {
    if (name == g.name) return g;
  }
  return conv_sample_geometries().front();
}

// Rounding points and results finer than the operands.
void add_finer_samples(std::vector<Sample>& out) {
  constexpr ProductTypes kInt8Points{DataType::kI8, DataType::kI8, DataType::kI8, true, true, false, 0, true};
  constexpr ProductTypes kUint8Points{DataType::kU8, DataType::kU8, DataType::kI8, true, true, false, 0, true};
  constexpr ProductTypes kInt8To16{DataType::kI8, DataType::kI16, DataType::kI8, true, true};
  constexpr ProductTypes kUint8To16Points{DataType::kU8, DataType::kI16, DataType::kI8, true, true, false, 0, true};
  constexpr std::pair<const char*, ProductTypes> kFiner[] = {{"_i8_points_i16", kInt8Points},
                                                             {"_u8_points_i16", kUint8Points},
                                                             {"_i8_to_i16", kInt8To16},
                                                             {"_u8_to_i16", kUint8To16Points}};
  for (const char* shape : {"3x3", "1x1_odd_channels", "3x3_deep", "depthwise_odd_channels", "grouped_odd"}) {
    for (const char* activation : {"none", "relu6", "silu", "hard_swish", "gelu", "sigmoid", "sin"}) {
      for (const auto& [suffix, types] : kFiner) {
        for (const bool residual : {false, true}) {
          out.push_back(make_sample(geometry(shape),
                                    "_" + std::string(activation) + suffix + (residual ? "_residual" : ""), types,
                                    {activation, residual, residual ? "relu" : "none"}));
        }
      }
    }
  }
}

}  // namespace

const std::vector<ConvSampleGeometry>& conv_sample_geometries() {
  static const std::vector<ConvSampleGeometry> kGeometries = {
      {"1x1", 1, 13, 19, 24, 40, 1, 1},
      {"1x1_odd_channels", 2, 7, 9, 19, 13, 1, 1},
      {"1x1_one_pixel", 1, 1, 1, 127, 35, 1, 1},
      {"1x1_stride2", 1, 13, 15, 32, 17, 1, 1, 2},
      {"1x1_stride2_even", 1, 14, 14, 16, 33, 1, 1, 2},
      {"1x1_padded", 1, 5, 6, 8, 8, 1, 1, 1, {1, 0, 2, 1}},
      {"3x3_first_layer_stride2", 1, 33, 31, 3, 32, 3, 3, 2, {1, 1, 1, 1}},
      {"3x3_first_layer_same_upper", 1, 32, 32, 3, 16, 3, 3, 2, {0, 0, 1, 1}},
      {"6x6_first_layer_stride2", 1, 28, 36, 3, 16, 6, 6, 2, {2, 2, 2, 2}},
      {"7x7_first_layer", 1, 27, 25, 3, 37, 7, 7, 2, {3, 3, 3, 3}},
      {"one_channel", 2, 19, 13, 1, 8, 3, 3, 1, {1, 1, 1, 1}},
      {"3x3", 1, 19, 20, 16, 33, 3, 3, 1, {1, 1, 1, 1}},
      {"3x3_batch3", 3, 7, 7, 20, 64, 3, 3, 1, {1, 1, 1, 1}},
      {"3x3_no_padding", 1, 13, 33, 12, 31, 3, 3},
      {"3x3_deep", 1, 4, 5, 150, 70, 3, 3, 1, {1, 1, 1, 1}},
      {"3x3_stride2_odd", 1, 19, 13, 9, 16, 3, 3, 2, {1, 1, 1, 1}},
      {"3x3_stride3", 1, 20, 20, 8, 5, 3, 3, 3, {1, 1, 1, 1}},
      {"3x3_asymmetric", 1, 13, 14, 5, 7, 3, 3, 1, {2, 0, 1, 3}},
      {"3x3_very_wide", 1, 2, 450, 16, 17, 3, 3, 1, {2, 0, 1, 3}},
      {"3x3_dilated", 1, 19, 19, 8, 12, 3, 3, 1, {2, 2, 2, 2}, {2, 2}},
      {"3x3_dilated_rows", 1, 19, 13, 6, 10, 3, 3, 1, {3, 1, 3, 1}, {3, 1}},
      {"1x7", 1, 13, 17, 8, 9, 1, 7, 1, {0, 3, 0, 3}},
      {"7x1", 1, 17, 13, 8, 9, 7, 1, 1, {3, 0, 3, 0}},
      {"5x5", 1, 13, 13, 8, 24, 5, 5, 1, {2, 2, 2, 2}},
      {"11x9_big", 1, 15, 14, 4, 6, 11, 9, 1, {5, 4, 5, 4}},
      {"window_is_image", 1, 7, 6, 13, 19, 7, 6},
      {"tiny_image_in_padding", 1, 1, 2, 5, 6, 3, 3, 1, {1, 1, 1, 1}},
      {"2x2_image", 1, 2, 2, 16, 16, 3, 3, 2, {1, 1, 1, 1}},
      {"wide_127", 1, 3, 127, 4, 8, 3, 3, 1, {1, 1, 1, 1}},
      {"3x3_many_blocks", 1, 21, 190, 80, 5, 3, 3, 1, {1, 1, 1, 1}},
      {"grouped_2", 1, 9, 11, 8, 12, 3, 3, 1, {1, 1, 1, 1}, {1, 1}, 2},
      {"grouped_odd", 1, 9, 9, 15, 21, 3, 3, 1, {1, 1, 1, 1}, {1, 1}, 3},
      {"grouped_1x1", 1, 9, 9, 24, 36, 1, 1, 1, {0, 0, 0, 0}, {1, 1}, 4},
      {"grouped_stride2_dilated", 1, 17, 17, 8, 8, 3, 3, 2, {2, 2, 2, 2}, {2, 2}, 4},
      {"depthwise", 1, 13, 19, 32, 32, 3, 3, 1, {1, 1, 1, 1}, {1, 1}, 32},
      {"depthwise_odd_channels", 2, 9, 7, 19, 19, 3, 3, 1, {1, 1, 1, 1}, {1, 1}, 19},
      {"depthwise_stride2", 1, 15, 16, 40, 40, 3, 3, 2, {1, 1, 1, 1}, {1, 1}, 40},
      {"depthwise_stride2_same_upper", 1, 14, 14, 24, 24, 3, 3, 2, {0, 0, 1, 1}, {1, 1}, 24},
      {"depthwise_5x5", 1, 11, 13, 21, 21, 5, 5, 1, {2, 2, 2, 2}, {1, 1}, 21},
      {"depthwise_5x5_stride2", 1, 13, 11, 16, 16, 5, 5, 2, {2, 2, 2, 2}, {1, 1}, 16},
      {"depthwise_5x5_wide", 2, 9, 12, 37, 37, 5, 5, 1, {2, 2, 2, 2}, {1, 1}, 37},
      {"depthwise_5x7_stride3", 1, 12, 17, 70, 70, 5, 7, 3, {1, 2, 3, 4}, {1, 1}, 70},
      {"depthwise_dilated", 1, 13, 13, 17, 17, 3, 3, 1, {2, 2, 2, 2}, {2, 2}, 17},
      {"depthwise_7x3", 1, 9, 8, 8, 8, 7, 3, 1, {3, 1, 3, 1}, {1, 1}, 8},
      {"depthwise_no_padding", 1, 8, 23, 33, 33, 3, 3, 1, {0, 0, 0, 0}, {1, 1}, 33},
      {"depthwise_tiny", 1, 2, 1, 20, 20, 5, 5, 1, {2, 2, 2, 2}, {1, 1}, 20},
      {"depthwise_1x1", 1, 6, 5, 20, 20, 1, 1, 1, {0, 0, 0, 0}, {1, 1}, 20},
      {"depthwise_multiplier2", 1, 9, 10, 12, 24, 3, 3, 1, {1, 1, 1, 1}, {1, 1}, 12},
      {"depthwise_multiplier2_one_channel", 1, 9, 10, 1, 2, 3, 3, 2, {1, 1, 1, 1}},
  };
  return kGeometries;
}

ir::Attributes ConvSampleGeometry::attributes() const {
  return {
      {"strides", std::vector<int64_t>{stride, stride}}, {"pads", pads}, {"dilations", dilations}, {"groups", groups}};
}

std::vector<Sample> conv2d_samples(const OpSchema&) {
  constexpr ProductTypes kFloat{};
  constexpr ProductTypes kInt8{DataType::kI8, DataType::kI8, DataType::kI8, true, true};
  constexpr ProductTypes kUint8{DataType::kU8, DataType::kU8, DataType::kI8, true, true};
  std::vector<Sample> out;
  constexpr ProductTypes kInt16{DataType::kI16, DataType::kI16, DataType::kI16, true, true};
  constexpr ProductTypes kInt16Weights8{DataType::kI16, DataType::kI16, DataType::kI8, true, true};
  constexpr ProductTypes kHalf{DataType::kF16, DataType::kF16, DataType::kF16, true, true};
  for (const Geometry& g : conv_sample_geometries()) {
    out.push_back(make_sample(g, "_f16", kHalf, {}));
    out.push_back(make_sample(g, "_i16_i8", kInt16Weights8, {}));
    out.push_back(make_sample(g, "_i16_i16", kInt16, {}));
    out.push_back(make_sample(g, "_f32", kFloat, {}));
    out.push_back(make_sample(g, "_i8", kInt8, {}));
    out.push_back(make_sample(g, "_u8", kUint8, {}));
  }
  const char* activations[] = {"none", "relu", "relu6", "clip", "silu", "hard_swish", "leaky_relu"};
  for (const char* shape : {"3x3", "1x1_odd_channels", "depthwise_odd_channels"}) {
    for (const char* activation : activations) {
      for (const ProductTypes& types : {kFloat, kHalf, kInt8, kUint8, kInt16}) {
        const std::string suffix = "_" + std::string(activation) + "_" + std::string(data_type_name(types.x));
        out.push_back(make_sample(geometry(shape), suffix, types, {activation, false, "none"}));
        out.push_back(make_sample(geometry(shape), suffix + "_residual", types, {activation, true, "none"}));
        out.push_back(make_sample(geometry(shape), suffix + "_residual_relu", types, {activation, true, "relu"}));
        out.push_back(make_sample(geometry(shape), suffix + "_residual_clip", types, {activation, true, "clip"}));
      }
    }
  }
  add_finer_samples(out);
  for (const char* shape : {"3x3", "1x1", "depthwise", "depthwise_5x5_stride2", "grouped_odd"}) {
    const Geometry& g = geometry(shape);
    out.push_back(make_sample(g, "_i8_to_u8", {DataType::kI8, DataType::kU8, DataType::kI8, true, true}, {}));
    out.push_back(make_sample(g, "_u8_to_i8", {DataType::kU8, DataType::kI8, DataType::kI8, true, true}, {}));
    out.push_back(
        make_sample(g, "_i8_one_scale_no_bias", {DataType::kI8, DataType::kI8, DataType::kI8, false, false}, {}));
    out.push_back(make_sample(g, "_i8_to_f32", {DataType::kI8, DataType::kF32, DataType::kI8, true, true}, {}));
    out.push_back(make_sample(g, "_f32_no_bias", {DataType::kF32, DataType::kF32, DataType::kF32, true, false}, {}));
    for (const char* activation : {"none", "relu6", "hard_swish"}) {
      for (const bool residual : {false, true}) {
        for (const ProductTypes& types : {kInt8, kUint8}) {
          Sample sample = make_sample(g,
                                      "_fixed_point_" + std::string(activation) + (residual ? "_residual_" : "_") +
                                          std::string(data_type_name(types.x)),
                                      types, {activation, residual, "none"});
          sample.attributes["rounding"] = std::string("fixed_point");
          out.push_back(std::move(sample));
        }
      }
    }
    out.push_back(make_sample(g, "_i4", {DataType::kI8, DataType::kI8, DataType::kI4, true, true}, {}));
    for (const DataType weights : {DataType::kI8, DataType::kI4, DataType::kU8, DataType::kU4}) {
      const std::string type(data_type_name(weights));
      out.push_back(make_sample(g, "_f32_" + type, {DataType::kF32, DataType::kF32, weights, true, true, true},
                                {"silu", true, "none"}));
      out.push_back(make_sample(g, "_zero_points_i8_" + type, {DataType::kI8, DataType::kI8, weights, true, true, true},
                                {"none", true, "relu"}));
      out.push_back(
          make_sample(g, "_zero_points_u8_" + type, {DataType::kU8, DataType::kU8, weights, true, true, true}, {}));
    }
    out.push_back(make_sample(g, "_zero_point_u8_u8", {DataType::kU8, DataType::kU8, DataType::kU8, false, true, true},
                              {"relu6"}));
    out.push_back(
        make_sample(g, "_zero_points_u8_to_f32", {DataType::kU8, DataType::kF32, DataType::kU8, true, true, true}, {}));
    out.push_back(
        make_sample(g, "_f32_one_scale_i8", {DataType::kF32, DataType::kF32, DataType::kI8, false, false}, {}));
    out.push_back(
        make_sample(g, "_zero_points_i16_u8", {DataType::kI16, DataType::kI16, DataType::kU8, true, true, true}, {}));
    out.push_back(make_sample(g, "_i16_i4", {DataType::kI16, DataType::kI16, DataType::kI4, true, true}, {}));
    out.push_back(
        make_sample(g, "_i16_one_scale_no_bias", {DataType::kI16, DataType::kI16, DataType::kI8, false, false}, {}));
    out.push_back(make_sample(g, "_i16_to_f32", {DataType::kI16, DataType::kF32, DataType::kI16, true, true}, {}));
    out.push_back(make_sample(g, "_f16_no_bias", {DataType::kF16, DataType::kF16, DataType::kF16, true, false}, {}));
    out.push_back(make_sample(g, "_f64", {DataType::kF64, DataType::kF64, DataType::kF64, true, true}, {}));
  }
  for (const Geometry& g : conv_sample_geometries()) {
    for (const bool bias : {false, true}) {
      Sample sample = make_sample(g, bias ? "_f32_variable_bias" : "_f32_variable",
                                  {DataType::kF32, DataType::kF32, DataType::kF32, true, bias}, {});
      for (SampleInput& input : sample.inputs) input.constant = false;
      out.push_back(std::move(sample));
    }
  }
  for (const char* shape : {"3x3", "1x1_odd_channels", "depthwise_odd_channels", "grouped_odd"}) {
    for (const char* activation : {"relu6", "silu"}) {
      for (const bool residual : {false, true}) {
        Sample sample = make_sample(geometry(shape),
                                    "_f32_variable_" + std::string(activation) + (residual ? "_residual_relu" : ""),
                                    kFloat, {activation, residual, residual ? "relu" : "none"});
        for (SampleInput& input : sample.inputs) input.constant = false;
        out.push_back(std::move(sample));
      }
    }
  }
  return out;
}

}  // namespace hai::ops
