// conv_transpose2d on the CPU: one ordinary convolution for each phase of rows and columns (types/transpose_phase.h),
// whose results are stored `stride` pixels apart. Nothing is added up in memory.
//
// A phase without taps is a convolution with one tap of zero weights.
#include <algorithm>

#include "base/checked.h"
#include "devices/cpu/exec/product_operands.h"
#include "types/transpose_phase.h"

namespace hai::cpu {
namespace {

struct Phase {
  Convolution product;
  ProductEpilogue epilogue;
};

class ConvTranspose2d final : public CpuKernel {
 public:
  explicit ConvTranspose2d(std::vector<Phase> phases) : phases_(std::move(phases)) {}

  int64_t scratch_bytes(int64_t, int thread_count) const override {
    int64_t most = 0;
    for (const Phase& phase : phases_) most = std::max(most, phase.product.scratch_bytes_per_thread());
    return most * thread_count;
  }
  int64_t packed_bytes() const override {
    int64_t sum = 0;
    for (const Phase& phase : phases_) sum += phase.product.packed_bytes() + phase.epilogue.bytes();
    return sum;
  }
  void run(const RunContext& context) const override {
    for (const Phase& phase : phases_) {
      phase.product.run(phase.epilogue, product_buffers(context, SIZE_MAX), context.threads);
    }
  }

 private:
  std::vector<Phase> phases_;
};

struct TransposeGeometry {
  Shape x, w, y;
  std::vector<int64_t> strides, pads, dilations;
  int64_t groups = 1;
};

Result<TransposeGeometry> read_geometry(const KernelContext& context) {
  constexpr int64_t kMaxExtent = 1 << 20;
  TransposeGeometry out;
  HAI_TRY(out.strides, context.ints_attribute_or("strides", {1, 1}, 1, kMaxExtent));
  HAI_TRY(out.pads, context.ints_attribute_or("pads", {0, 0, 0, 0}, 0, kMaxExtent));
  HAI_TRY(out.dilations, context.ints_attribute_or("dilations", {1, 1}, 1, kMaxExtent));
  HAI_TRY(const auto output_padding, context.ints_attribute_or("output_padding", {0, 0}, 0, kMaxExtent));
  HAI_TRY(out.groups, context.int_attribute("groups", 1, 1, kMaxExtent));
  out.x = context.inputs[0]->shape;
  out.w = context.inputs[1]->shape;
  out.y = context.outputs[0]->shape;
  const bool lists =
      out.strides.size() == 2 && out.pads.size() == 4 && out.dilations.size() == 2 && output_padding.size() == 2;
  if (!lists || out.x.size() != 4 || out.w.size() != 4 || out.y.size() != 4) {
    return context.refuse("x, weights and y need four dimensions; lists of attributes two entries, pads four");
  }
  const Shape& x = out.x;
  const Shape& w = out.w;
  const bool fixed = is_static({x.begin() + 1, x.end()}) && is_static(w);
  const bool sound = fixed && std::min({w[0].value, w[1].value, w[2].value, w[3].value}) >= 1 &&
                     w[0].value % out.groups == 0 && w[3].value <= INT32_MAX && w[3].value * out.groups == x[3].value &&
                     std::max(w[1].value, w[2].value) <= kMaxExtent && std::min(x[1].value, x[2].value) >= 1 &&
                     std::max(x[1].value, x[2].value) <= INT32_MAX && out.strides[0] * out.strides[1] <= 4096;
  if (!sound) return context.refuse("weights must be [O, KH, KW, C / groups], O a multiple of groups");
  Shape expected = {x[0], 0, 0, w[0]};
  for (size_t axis = 0; axis < 2; ++axis) {
    expected[axis + 1] = (x[axis + 1].value - 1) * out.strides[axis] - out.pads[axis] - out.pads[axis + 2] +
                         out.dilations[axis] * (w[axis + 1].value - 1) + output_padding[axis] + 1;
  }
  if (out.y != expected || expected[1].value < 1 || expected[2].value < 1) {
    return context.refuse("y has another shape than x, weights, strides and pads give");
  }
  return out;
}

// Weights [O][rows.taps][cols.taps][depth]; zeros when an axis has no tap.
template <typename T>
std::vector<T> phase_weights(const T* from, const Shape& w, const PhaseAxis& rows, const PhaseAxis& cols) {
  const size_t row_count = std::max<size_t>(1, rows.taps.size());
  const size_t col_count = std::max<size_t>(1, cols.taps.size());
  const auto depth = static_cast<size_t>(w[3].value);
  std::vector<T> out(static_cast<size_t>(w[0].value) * row_count * col_count * depth, T{0});
  if (rows.taps.empty() || cols.taps.empty()) return out;
  size_t to = 0;
  for (int64_t o = 0; o < w[0].value; ++o) {
    for (const int64_t ky : rows.taps) {
      for (const int64_t kx : cols.taps) {
        const T* taps = from + ((o * w[1].value + ky) * w[2].value + kx) * w[3].value;
        std::copy(taps, taps + depth, out.begin() + static_cast<std::ptrdiff_t>(to));
        to += depth;
      }
    }
  }
  return out;
}

Result<Phase> make_phase(const KernelContext& context, const ProductInputs& inputs, const TransposeGeometry& t,
                         const PhaseAxis& rows, const PhaseAxis& cols, int64_t row_offset, int64_t col_offset) {
  ConvolutionGeometry g;
  g.in_rows = t.x[1].value;
  g.in_cols = t.x[2].value;
  g.in_channels = t.x[3].value;
  g.out_rows = rows.outputs;
  g.out_cols = cols.outputs;
  g.out_channels = t.w[0].value;
  g.kernel_rows = std::max<int64_t>(1, static_cast<int64_t>(rows.taps.size()));
  g.kernel_cols = std::max<int64_t>(1, static_cast<int64_t>(cols.taps.size()));
  g.dilation_rows = rows.dilation;
  g.dilation_cols = cols.dilation;
  g.pad_top = rows.pad;
  g.pad_left = cols.pad;
  g.groups = t.groups;
  g.store_rows = t.y[1].value;
  g.store_cols = t.y[2].value;
  g.out_row_step = t.strides[0];
  g.out_row_offset = row_offset;
  g.out_col_step = t.strides[1];
  g.out_col_offset = col_offset;
  std::vector<float> f32;
  std::vector<int8_t> i8;
  std::vector<int16_t> i16;
  ConvolutionWeights weights = inputs.weights;
  if (inputs.weights.f32 != nullptr) {
    f32 = phase_weights(inputs.weights.f32, t.w, rows, cols);
    weights.f32 = f32.data();
  } else if (inputs.weights.i16 != nullptr) {
    i16 = phase_weights(inputs.weights.i16, t.w, rows, cols);
    weights.i16 = i16.data();
  } else {
    i8 = phase_weights(inputs.weights.i8, t.w, rows, cols);
    weights.i8 = i8.data();
  }
  HAI_TRY(Convolution product, Convolution::make(g, weights, inputs.x_dtype, inputs.x_zero_point, context.isa));
  HAI_TRY(ProductEpilogue epilogue,
          ProductEpilogue::make(context, inputs.operands, product.channel_positions(), product.padded_channels(),
                                product.channel_weights(), product.left_offset()));
  return Phase{std::move(product), std::move(epilogue)};
}

Result<std::unique_ptr<CpuKernel>> make_conv_transpose2d(const KernelContext& context) {
  HAI_TRY(const ProductInputs inputs, read_product_inputs(context, SIZE_MAX, 0));
  HAI_TRY(const TransposeGeometry t, read_geometry(context));
  std::vector<Phase> phases;
  for (int64_t i = 0; i < t.strides[0]; ++i) {
    const PhaseAxis rows = phase_axis(i, t.w[1].value, t.strides[0], t.dilations[0], t.pads[0], t.y[1].value);
    for (int64_t j = 0; j < t.strides[1]; ++j) {
      const PhaseAxis cols = phase_axis(j, t.w[2].value, t.strides[1], t.dilations[1], t.pads[1], t.y[2].value);
      if (rows.outputs == 0 || cols.outputs == 0) continue;
      HAI_TRY(Phase phase, make_phase(context, inputs, t, rows, cols, i, j));
      phases.push_back(std::move(phase));
    }
  }
  return std::unique_ptr<CpuKernel>(std::make_unique<ConvTranspose2d>(std::move(phases)));
}

}  // namespace

void register_conv_transpose2d_exec(ExecRegistry& registry);
void register_conv_transpose2d_exec(ExecRegistry& registry) { registry.add("conv_transpose2d", make_conv_transpose2d); }

}  // namespace hai::cpu
