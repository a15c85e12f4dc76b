// For tests: random networks that look like what importers and the quantizer give to the passes.
//
// random_float_graph: spatial operators in NHWC between NCHW transposes, as an ONNX importer leaves them; batch norms,
// spelled-out activations, squeeze-and-excitation, residuals, concatenations. random_integer_graph: i8 throughout,
// NHWC, with differing scales at every rounding point. A function of the seed alone.
#pragma once

#include "passes/testing/graph_builder.h"

namespace hai::passes::testing {

class RandomFloatGraph {
 public:
  explicit RandomFloatGraph(uint32_t seed) : b_(seed) {}

  ir::Graph build() {
    b_.graph.symbols = {{"batch", 1, 16}};
    const int64_t channels = b_.pick(2, 5);
    const int64_t size = b_.pick(9, 13);
    values_.push_back(b_.input({Dim(1, 0), Dim(channels), Dim(size), Dim(size + b_.pick(0, 2))}));
    const int64_t steps = b_.pick(4, 12);
    for (int64_t i = 0; i < steps; ++i) step();
    head();
    return std::move(b_.graph);
  }

 private:
  ir::ValueId any() {
    return b_.chance(75) ? values_.back()
                         : values_[static_cast<size_t>(b_.pick(0, static_cast<int64_t>(values_.size()) - 1))];
  }
  int64_t channels(ir::ValueId value) const { return b_.shape(value)[1].value; }
  bool spatial(ir::ValueId value, int64_t least) const {
    return b_.shape(value)[2].value >= least && b_.shape(value)[3].value >= least;
  }

  ir::ValueId convolution(ir::ValueId x, int64_t out, bool keep_size) {
    const int64_t in = channels(x);
    const int64_t kernel = spatial(x, 3) && b_.chance(70) ? 3 : 1;
    const bool depthwise = out == in && b_.chance(40);
    const int64_t groups = depthwise ? in : 1;
    const int64_t stride = !keep_size && b_.chance(30) ? 2 : 1;
    const int64_t pad = kernel / 2;
    std::vector<ir::ValueId> inputs{b_.to_nhwc(x), b_.constant({out, kernel, kernel, in / groups}, -0.5F, 0.5F)};
    if (b_.chance(50)) inputs.push_back(b_.constant({out}));
    const bool separate_pad = pad > 0 && b_.chance(25);
    if (separate_pad)
      inputs[0] = b_.node("pad", {inputs[0]},
                          {{"pads", std::vector<int64_t>{0, pad, pad, 0, 0, pad, pad, 0}},
                           {"mode", std::string("constant")},
                           {"value", 0.0}});
    const int64_t own = separate_pad ? 0 : pad;
    ir::ValueId y = b_.to_nchw(b_.node("conv2d", std::move(inputs),
                                       {{"strides", std::vector<int64_t>{stride, stride}},
                                        {"pads", std::vector<int64_t>{own, own, own, own}},
                                        {"groups", groups}}));
    if (b_.chance(50)) y = batch_norm(y);
    if (b_.chance(70)) y = activation(y);
    return y;
  }

  ir::ValueId batch_norm(ir::ValueId x) {
    const int64_t c = channels(x);
    return b_.to_nchw(b_.node(
        "batch_norm",
        {b_.to_nhwc(x), b_.constant({c}, 0.5F, 1.5F), b_.constant({c}), b_.constant({c}), b_.constant({c}, 0.5F, 2.0F)},
        {{"epsilon", 1e-5}}));
  }

  ir::ValueId activation(ir::ValueId x) {
    switch (b_.pick(0, 7)) {
      case 0:
        return b_.node("relu", {x});
      case 1:
        return b_.node("clip", {x}, {{"min", 0.0}, {"max", 6.0}});
      case 2:
        return b_.node("mul", {x, b_.node("sigmoid", {x})});
      case 3: {
        const ir::ValueId gate = b_.node("clip", {b_.node("add", {x, b_.scalar(3.0F)})}, {{"min", 0.0}, {"max", 6.0}});
        return b_.node("div", {b_.node("mul", {x, gate}), b_.scalar(6.0F)});
      }
      case 4:
        return b_.node("leaky_relu", {x}, {{"alpha", 0.1}});
      case 5: {
        const ir::ValueId erf = b_.node("erf", {b_.node("div", {x, b_.scalar(1.41421356F)})});
        return b_.node("mul", {b_.node("mul", {x, b_.node("add", {erf, b_.scalar(1.0F)})}), b_.scalar(0.5F)});
      }
      case 6:
        return b_.node("mul", {x, b_.node("tanh", {b_.node("softplus", {x})})});
      default:
        return b_.node("tanh", {x});
    }
  }

  // Squeeze and excitation, in the NCHW form of exporters.
  ir::ValueId excite(ir::ValueId x) {
    const int64_t c = channels(x);
    const ir::ValueId mean =
        b_.node("reduce_mean", {x}, {{"axes", std::vector<int64_t>{2, 3}}, {"keep_dims", int64_t{1}}});
    const ir::ValueId squeezed = b_.node("conv2d", {b_.to_nhwc(mean), b_.constant({c, 1, 1, c}), b_.constant({c})});
    return b_.node("mul", {x, b_.node("sigmoid", {b_.to_nchw(squeezed)})});
  }

  void step() {
    const ir::ValueId x = any();
    const int64_t c = channels(x);
    switch (b_.pick(0, 10)) {
      case 0:
      case 1:
      case 2:
        values_.push_back(convolution(x, b_.pick(2, 6), false));
        return;
      case 3: {
        const ir::ValueId y = convolution(x, c, true);
        ir::ValueId sum = b_.chance(50) ? b_.node("add", {x, y}) : b_.node("add", {y, x});
        if (b_.chance(50)) sum = b_.node("relu", {sum});
        values_.push_back(sum);
        return;
      }
      case 4:
        values_.push_back(b_.node("concat", {x, convolution(x, b_.pick(1, 3), true)}, {{"axis", int64_t{1}}}));
        return;
      case 5:
        values_.push_back(excite(x));
        return;
      case 6:
        if (!spatial(x, 4)) return;
        values_.push_back(
            b_.to_nchw(b_.node(b_.chance(50) ? "max_pool" : "average_pool", {b_.to_nhwc(x)},
                               {{"kernel", std::vector<int64_t>{2, 2}}, {"strides", std::vector<int64_t>{2, 2}}})));
        return;
      case 7: {
        if (c < 2) return;
        const auto parts =
            b_.nodes("split", {x}, {{"axis", int64_t{1}}, {"sizes", std::vector<int64_t>{1, c - 1}}}, {}, 2);
        values_.push_back(b_.node("concat", {b_.node("relu", {parts[1]}), parts[0]}, {{"axis", int64_t{1}}}));
        return;
      }
      case 8:
        values_.push_back(b_.node("mul", {x, b_.constant({1, c, 1, 1}, 0.5F, 1.5F)}));
        return;
      case 9:
        if (!spatial(x, 5)) return;
        values_.push_back(b_.node("slice", {x},
                                  {{"starts", std::vector<int64_t>{1, 0}},
                                   {"ends", std::vector<int64_t>{4, 4}},
                                   {"axes", std::vector<int64_t>{2, 3}},
                                   {"steps", std::vector<int64_t>{1, 1}}}));
        return;
      default:
        values_.push_back(
            b_.node("clip", {b_.node("add", {x, b_.constant({c, 1, 1})})}, {{"min", -3.0}, {"max", 3.0}}));
        return;
    }
  }

  // Global pooling, flatten, a dense layer, softmax; and sometimes a feature map in NCHW as a second output.
  void head() {
    const ir::ValueId x = values_.back();
    const int64_t c = channels(x);
    const ir::ValueId mean =
        b_.node("reduce_mean", {x}, {{"axes", std::vector<int64_t>{2, 3}}, {"keep_dims", int64_t{1}}});
    const ir::ValueId flat = b_.node("reshape", {mean}, {{"shape", std::vector<int64_t>{0, -1}}});
    ir::ValueId y = b_.node("matmul", {flat, b_.constant({c, 7})});
    y = b_.node("add", {y, b_.constant({7})});
    b_.graph.add_output(b_.chance(50) ? b_.node("softmax", {y}, {{"axis", int64_t{-1}}}) : y);
    if (b_.chance(50)) b_.graph.add_output(values_[values_.size() / 2]);
    // An input cannot be an output here: compile() makes such copies itself, and the passes leave them alone.
    if (b_.graph.is_input(b_.graph.outputs().back()))
      b_.graph.set_output(b_.graph.outputs().size() - 1, b_.node("relu", {x}));
  }

  GraphBuilder b_;
  std::vector<ir::ValueId> values_;  // NCHW
};

class RandomIntegerGraph {
 public:
  explicit RandomIntegerGraph(uint32_t seed) : b_(seed) {}

  ir::Graph build() {
    b_.graph.symbols = {{"batch", 1, 16}};
    const int64_t size = b_.pick(7, 13);
    values_.push_back(b_.input({Dim(1, 0), Dim(size), Dim(size), Dim(b_.pick(2, 5))}, b_.quantization()));
    const int64_t steps = b_.pick(4, 14);
    for (int64_t i = 0; i < steps; ++i) step();
    ir::ValueId y = values_.back();
    if (b_.chance(50))
      y = b_.node("reduce_mean", {y}, {{"axes", std::vector<int64_t>{1, 2}}, {"keep_dims", int64_t{0}}},
                  b_.quantization());
    b_.graph.add_output(b_.chance(50)     ? b_.node("dequantize", {y})
                        : y == values_[0] ? b_.node("relu", {y}, {}, b_.quantization())
                                          : y);
    return std::move(b_.graph);
  }

 private:
  ir::ValueId any() {
    return b_.chance(70) ? values_.back()
                         : values_[static_cast<size_t>(b_.pick(0, static_cast<int64_t>(values_.size()) - 1))];
  }
  int64_t channels(ir::ValueId value) const { return b_.shape(value)[3].value; }
  bool spatial(ir::ValueId value, int64_t least) const {
    return b_.shape(value)[1].value >= least && b_.shape(value)[2].value >= least;
  }
  const Quantization& q(ir::ValueId value) const { return *b_.type(value).quantization; }

  ir::ValueId convolution(ir::ValueId x, int64_t out, bool keep_size) {
    const int64_t in = channels(x);
    const int64_t kernel = spatial(x, 3) && b_.chance(70) ? 3 : 1;
    const int64_t groups = out == in && b_.chance(40) ? in : 1;
    const int64_t stride = !keep_size && b_.chance(30) ? 2 : 1;
    std::vector<ir::ValueId> inputs{x, b_.weights_i8({out, kernel, kernel, in / groups}, 0)};
    if (b_.chance(60)) inputs.push_back(b_.bias_i32(out));
    const int64_t pad = kernel / 2;
    const ir::ValueId y = b_.node("conv2d", std::move(inputs),
                                  {{"strides", std::vector<int64_t>{stride, stride}},
                                   {"pads", std::vector<int64_t>{pad, pad, pad, pad}},
                                   {"groups", groups}},
                                  b_.quantization());
    return activation(y);
  }

  // A clamp that shares the scale (it will fuse), one that does not, or a table.
  ir::ValueId activation(ir::ValueId x) {
    switch (b_.pick(0, 5)) {
      case 0:
        return b_.node("relu", {x}, {}, q(x));
      case 1:
        return b_.node("relu6", {x}, {}, q(x));
      case 2:
        return b_.node("relu", {x}, {}, b_.quantization());
      case 3:
        return b_.node("silu", {x}, {}, b_.quantization());
      case 4:
        return b_.node("hard_swish", {x}, {}, b_.quantization());
      default:
        return x;
    }
  }

  void step() {
    const ir::ValueId x = any();
    const int64_t c = channels(x);
    switch (b_.pick(0, 8)) {
      case 0:
      case 1:
      case 2:
        values_.push_back(convolution(x, b_.pick(2, 6), false));
        return;
      case 3: {
        const ir::ValueId y = convolution(x, c, true);
        ir::ValueId sum = b_.chance(50) ? b_.node("add", {x, y}, {}, b_.quantization())
                                        : b_.node("add", {y, x}, {}, b_.quantization());
        if (b_.chance(50)) sum = b_.node("relu", {sum}, {}, q(sum));
        values_.push_back(sum);
        return;
      }
      case 4:
        values_.push_back(
            b_.node("concat", {x, convolution(x, b_.pick(1, 3), true)}, {{"axis", int64_t{3}}}, b_.quantization()));
        return;
      case 5:
        if (!spatial(x, 4)) return;
        values_.push_back(b_.node(
            "max_pool", {x}, {{"kernel", std::vector<int64_t>{2, 2}}, {"strides", std::vector<int64_t>{2, 2}}}, q(x)));
        return;
      case 6:
        if (!spatial(x, 4)) return;
        values_.push_back(b_.node("average_pool", {x},
                                  {{"kernel", std::vector<int64_t>{2, 2}}, {"strides", std::vector<int64_t>{2, 2}}},
                                  b_.quantization()));
        return;
      case 7: {
        const ir::ValueId nchw = b_.to_nchw(x);
        const ir::ValueId y = b_.node("tanh", {nchw}, {}, per_tensor_quantization(1.0F / 128, 0));
        values_.push_back(b_.to_nhwc(y));
        return;
      }
      default:
        values_.push_back(b_.node("mul", {x, b_.node("sigmoid", {x}, {}, per_tensor_quantization(1.0F / 256, -128))},
                                  {}, b_.quantization()));
        return;
    }
  }

  GraphBuilder b_;
  std::vector<ir::ValueId> values_;  // NHWC
};

inline ir::Graph random_float_graph(uint32_t seed) { return RandomFloatGraph(seed).build(); }
inline ir::Graph random_integer_graph(uint32_t seed) { return RandomIntegerGraph(seed).build(); }

}  // namespace hai::passes::testing
