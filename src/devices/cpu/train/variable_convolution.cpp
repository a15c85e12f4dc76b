// Packing weights at run time, and the loops of the depthwise case.
//
// Packing is one pass over the weights, shared by the threads panel by panel; compared with the product it is small
// (one multiply-add in as many as there are output pixels). Results do not depend on the threads.
#include "devices/cpu/train/variable_convolution.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <numeric>

#include "base/checked.h"
#include "devices/cpu/exec/kernel_dispatch.h"
#include "devices/cpu/train/touch.h"
#include "types/transpose_phase.h"

namespace hai::cpu {
namespace {

constexpr int64_t kDepthBlock = 64;  // of a panel that stays in the first cache while its columns are written
constexpr int64_t kTasksPerThread = 4;
constexpr int64_t kMostPhases = 4096;
constexpr int64_t kLine = 16;  // elements of a cache line

HAI_KERNEL_FAMILY(hai_stream_copy_f32, void, (const float*, float*, int64_t));

std::vector<int64_t> count_to(int64_t count) {
  std::vector<int64_t> out(static_cast<size_t>(count));
  std::iota(out.begin(), out.end(), int64_t{0});
  return out;
}

int64_t pointer_bytes(const ConvolutionGeometry& g) {
  return align_up(g.kernel_rows * static_cast<int64_t>(sizeof(void*)), 64);
}

}  // namespace

std::vector<VariablePhase> forward_phase(const ConvolutionGeometry& geometry) {
  return {{geometry, count_to(geometry.kernel_rows), count_to(geometry.kernel_cols)}};
}

std::vector<VariablePhase> transposed_phases(const ConvolutionGeometry& g) {
  std::vector<VariablePhase> out;
  if (g.stride_rows * g.stride_cols > kMostPhases) return out;
  for (int64_t i = 0; i < g.stride_rows; ++i) {
    const PhaseAxis rows = phase_axis(i, g.kernel_rows, g.stride_rows, g.dilation_rows, g.pad_top, g.in_rows);
    for (int64_t j = 0; j < g.stride_cols; ++j) {
      const PhaseAxis cols = phase_axis(j, g.kernel_cols, g.stride_cols, g.dilation_cols, g.pad_left, g.in_cols);
      if (rows.outputs == 0 || cols.outputs == 0) continue;
      ConvolutionGeometry phase;
      phase.in_rows = g.out_rows;
      phase.in_cols = g.out_cols;
      phase.in_channels = g.out_channels;
      phase.out_rows = rows.outputs;
      phase.out_cols = cols.outputs;
      phase.out_channels = g.in_channels;
      phase.kernel_rows = std::max<int64_t>(1, static_cast<int64_t>(rows.taps.size()));
      phase.kernel_cols = std::max<int64_t>(1, static_cast<int64_t>(cols.taps.size()));
      phase.dilation_rows = rows.dilation;
      phase.dilation_cols = cols.dilation;
      phase.pad_top = rows.pad;
      phase.pad_left = cols.pad;
      phase.groups = g.groups;
      phase.store_rows = g.in_rows;
      phase.store_cols = g.in_cols;
      phase.out_row_step = g.stride_rows;
      phase.out_row_offset = i;
      phase.out_col_step = g.stride_cols;
      phase.out_col_offset = j;
      out.push_back({phase, rows.taps, cols.taps});
    }
  }
  return out;
}

Result<VariableConvolution> VariableConvolution::make(const KernelContext& context, size_t bias_operand,
                                                      size_t residual_operand, const WeightLayout& layout,
                                                      std::vector<VariablePhase> phases) {
  VariableConvolution out;
  out.isa_ = context.isa;
  out.layout_ = layout;
  const auto given = [&](size_t i) { return i < context.inputs.size() && context.inputs[i] != nullptr; };
  if (given(bias_operand)) out.bias_operand_ = bias_operand;
  if (given(residual_operand)) out.residual_operand_ = residual_operand;
  if (phases.empty()) return context.refuse("its strides are too large, or its output is empty");
  const ConvolutionGeometry& g = phases.front().geometry;
  const DataType f32 = DataType::kF32;
  if (context.inputs[0]->dtype != f32 || context.inputs[1]->dtype != f32 || context.outputs[0]->dtype != f32)
    return context.refuse("image and weights must be f32");
  const Shape channels = {Dim(g.out_channels)};
  if (given(bias_operand) &&
      (context.inputs[bias_operand]->dtype != f32 || context.inputs[bias_operand]->shape != channels))
    return context.refuse("the bias must be f32 with one entry a channel");
  const ProductOperands operands{0, 1, SIZE_MAX, out.residual_operand_};
  out.depthwise_ = g.groups == g.in_channels && g.groups == g.out_channels;
  if (out.depthwise_) {
    const int64_t padded = align_up(g.out_channels, 16);
    out.positions_ = count_to(g.out_channels);
    HAI_TRY(out.epilogue_, ProductEpilogue::make(context, operands, out.positions_, padded, {}, 0));
    out.depthwise_ = out.epilogue_.stores_in_kernel();
  }
  for (VariablePhase& phase : phases)
    out.phases_.push_back({std::move(phase), std::nullopt, std::nullopt, std::nullopt, 0});
  if (!out.depthwise_) {
    HAI_TRY_STATUS(out.make_products());
    const Convolution& product = *out.phases_.front().product;  // channels lie alike in all phases
    out.positions_ = product.channel_positions();
    HAI_TRY(out.epilogue_, ProductEpilogue::make(context, operands, out.positions_, product.padded_channels(), {}, 0));
    for (Phase& phase : out.phases_) {
      if (out.epilogue_.stores_in_kernel()) continue;
      phase.winograd.reset();
      phase.pointwise.reset();
    }
  } else {
    HAI_TRY(out.idle_row_, AlignedBuffer::zeros(g.in_cols * g.in_channels * 4));
  }
  HAI_TRY_STATUS(out.place(static_cast<int64_t>(out.epilogue_.bias_f32.size())));
  return out;
}

Status VariableConvolution::make_products() {
  for (Phase& phase : phases_) {
    const ConvolutionGeometry& g = phase.what.geometry;
    HAI_TRY(phase.product, Convolution::make(g, {}, DataType::kF32, 0, isa_));
    if (phases_.size() == 1 && WinogradTiles::fits(g)) {
      HAI_TRY(phase.winograd, WinogradProduct::make(g, isa_));
    }
    if (PointwiseProduct::fits(g)) phase.pointwise.emplace(g, isa_);
  }
  return {};
}

int64_t VariableConvolution::fixed_bytes() const {
  int64_t bytes = idle_row_.size_bytes() + epilogue_.bytes();
  for (const Phase& phase : phases_) bytes += phase.winograd ? phase.winograd->fixed_bytes() : 0;
  return bytes;
}

int64_t VariableConvolution::bytes_of_thread(const Phase& phase) const {
  const ConvolutionGeometry& g = phase.what.geometry;
  if (depthwise_)
    return pointer_bytes(g) + align_up(g.store_cols * g.out_channels * 4, 64);  // pointers, a result's row
  if (phase.winograd) return std::max(phase.winograd->scratch_bytes_per_thread(), phase.winograd->panel_bytes());
  const int64_t own = phase.product->scratch_bytes_per_thread();
  return phase.pointwise ? std::max(own, phase.pointwise->scratch_bytes_per_thread()) : own;
}

// Scratch: bias, the weights of the phases, then what each thread needs.
Status VariableConvolution::place(int64_t padded) {
  bias_bytes_ = align_up(padded * 4, 64);
  shared_bytes_ = bias_bytes_;
  for (Phase& phase : phases_) {
    const ConvolutionGeometry& g = phase.what.geometry;
    phase.packed = shared_bytes_;
    const auto bytes = depthwise_       ? checked_mul(padded * 4, g.kernel_rows * g.kernel_cols)
                       : phase.winograd ? std::optional(phase.winograd->packed_bytes())
                                        : checked_mul(phase.product->panel_bytes(), phase.product->panel_count());
    if (!bytes || *bytes > INT64_MAX / 2 - shared_bytes_ - 64) {
      return make_error(StatusCode::kUnsupported, "C043", "weights of a convolution take more bytes than there are");
    }
    shared_bytes_ += align_up(*bytes, 64);
    thread_bytes_ = std::max(thread_bytes_, bytes_of_thread(phase));
  }
  return {};
}

void VariableConvolution::pack_panel(const Phase& phase, const float* weights, int64_t number, float* to) const {
  const ConvolutionGeometry& g = phase.what.geometry;
  const int64_t nr = phase.product->panel_columns();
  const int64_t panels = phase.product->panel_count() / g.groups;
  const int64_t first = number % panels * nr;
  const int64_t columns = std::min(nr, g.out_channels / g.groups - first);
  const int64_t depth = g.in_channels / g.groups;
  const bool none = phase.what.row_taps.empty() || phase.what.col_taps.empty();
  if (columns < nr || none) std::fill_n(to, phase.product->panel_bytes() / 4, 0.0F);
  if (none) return;
  const float* from = weights + number / panels * layout_.group_step + first * layout_.output_step;
  for (const int64_t row : phase.what.row_taps) {
    for (const int64_t col : phase.what.col_taps) {
      const float* tap = from + row * layout_.row_step + col * layout_.col_step;
      for (int64_t begin = 0; begin < depth; begin += kDepthBlock) {
        const int64_t end = std::min(depth, begin + kDepthBlock);
        if (layout_.output_step == 1) {
          for (int64_t c = begin; c < end; ++c) std::copy_n(tap + c * layout_.depth_step, columns, to + c * nr);
          continue;
        }
        // Four columns at once: each line of the panel is written a quarter as often.
        int64_t n = 0;
        for (; n + 4 <= columns; n += 4) {
          const float* column = tap + n * layout_.output_step;
          for (int64_t c = begin; c < end; ++c) {
            const float* from_c = column + c * layout_.depth_step;
            const std::array<float, 4> four = {from_c[0], from_c[layout_.output_step], from_c[2 * layout_.output_step],
                                               from_c[3 * layout_.output_step]};
            std::memcpy(to + c * nr + n, four.data(), sizeof(four));
          }
        }
        for (; n < columns; ++n) {
          const float* column = tap + n * layout_.output_step;
          for (int64_t c = begin; c < end; ++c) to[c * nr + n] = column[c * layout_.depth_step];
        }
      }
      to += depth * nr;
    }
  }
}

// [taps][padded channels]
void VariableConvolution::pack_filter(const Phase& phase, const float* weights, float* to) const {
  const ConvolutionGeometry& g = phase.what.geometry;
  const auto padded = static_cast<int64_t>(epilogue_.bias_f32.size());
  std::fill_n(to, g.kernel_rows * g.kernel_cols * padded, 0.0F);
  for (const int64_t row : phase.what.row_taps) {
    for (const int64_t col : phase.what.col_taps) {
      const float* tap = weights + row * layout_.row_step + col * layout_.col_step;
      for (int64_t c = 0; c < g.out_channels; ++c) to[c] = tap[c * layout_.group_step];
      to += padded;
    }
  }
}

void VariableConvolution::pack(const float* weights, std::byte* scratch, ThreadPool& threads) const {
  for (const Phase& phase : phases_) {
    std::byte* packed = scratch + phase.packed;
    if (depthwise_) {
      pack_filter(phase, weights, reinterpret_cast<float*>(packed));
      continue;
    }
    if (phase.winograd) {
      threads.parallel(phase.winograd->panel_count(), [&](int64_t panel, int thread) {
        auto* taps = reinterpret_cast<float*>(scratch + shared_bytes_ + thread * thread_bytes_);
        pack_panel(phase, weights, panel, taps);
        phase.winograd->transform_panel(taps, panel, packed);
      });
      continue;
    }
    threads.parallel(phase.product->panel_count(), [&](int64_t panel, int) {
      pack_panel(phase, weights, panel, reinterpret_cast<float*>(packed + panel * phase.product->panel_bytes()));
    });
  }
}

void VariableConvolution::run(const RunContext& context) const {
  const auto* weights = data_of<float>(context.inputs[1]);
  pack(weights, context.scratch, context.threads);
  Convolution::Buffers buffers{
      context.inputs[0].data,     residual_operand_ == SIZE_MAX ? nullptr : context.inputs[residual_operand_].data,
      context.outputs[0].data,    context.scratch + shared_bytes_,
      context.outputs[0].dims[0], nullptr,
      epilogue_.bias_f32.data()};
  if (bias_operand_ != SIZE_MAX) {
    auto* bias = reinterpret_cast<float*>(context.scratch);
    std::fill_n(bias, bias_bytes_ / 4, 0.0F);
    const auto* values = data_of<float>(context.inputs[bias_operand_]);
    for (size_t c = 0; c < positions_.size(); ++c) bias[positions_[c]] = values[c];
    buffers.bias = bias;
  }
  buffers.panels = context.scratch;
  if (depthwise_) {
    run_depthwise(buffers, context.threads);
    return;
  }
  for (const Phase& phase : phases_) {
    buffers.panels = context.scratch + phase.packed;
    if (phase.winograd) {
      phase.winograd->run({epilogue_.lo, epilogue_.hi}, buffers, context.threads);
    } else if (phase.pointwise && phase.pointwise->is_large(buffers.images)) {
      phase.pointwise->run(epilogue_.lo, epilogue_.hi, buffers, context.threads);
    } else {
      phase.product->run(epilogue_, buffers, context.threads);
    }
  }
}

// Row by row of the output, all phases that store there: each row is written while it is in the cache.
void VariableConvolution::run_depthwise(const Convolution::Buffers& buffers, ThreadPool& threads) const {
  const int64_t image_rows = phases_.front().what.geometry.store_rows;
  const int64_t rows = buffers.images * image_rows;
  const int64_t wanted = threads.thread_count() == 1 ? 1 : kTasksPerThread * threads.thread_count();
  const int64_t rows_a_task = std::max<int64_t>(1, rows / wanted);
  const ConvolutionGeometry& stored = phases_.front().what.geometry;
  const int64_t row_elements = stored.store_cols * stored.out_channels;
  auto* y = reinterpret_cast<float*>(buffers.y);
  const bool streams = rows * row_elements * 4 >= kFarBytes && row_elements % kLine == 0 &&
                       stored.out_channels >= kTouchChannels && reinterpret_cast<uintptr_t>(y) % (kLine * 4) == 0;
  threads.parallel(ceil_div(rows, rows_a_task), [&](int64_t task, int thread) {
    std::byte* scratch = buffers.scratch + thread * thread_bytes_;
    auto* staged = reinterpret_cast<float*>(scratch + thread_bytes_ - align_up(row_elements * 4, 64));
    const int64_t end = std::min(rows, (task + 1) * rows_a_task);
    for (int64_t row = task * rows_a_task; row < end; ++row) {
      float* to = y + row * row_elements;
      for (const Phase& phase : phases_) {
        const ConvolutionGeometry& g = phase.what.geometry;
        const int64_t at = row % image_rows - g.out_row_offset;
        if (at < 0 || at % g.out_row_step != 0 || at / g.out_row_step >= g.out_rows) continue;
        run_row(phase, buffers, scratch, row / image_rows, at / g.out_row_step, streams ? staged : to);
      }
      if (streams) hai_stream_copy_f32_for(isa_)(staged, to, row_elements);
    }
  });
}

// `to`: the stored row.
void VariableConvolution::run_row(const Phase& phase, const Convolution::Buffers& buffers, std::byte* scratch,
                                  int64_t image, int64_t row, float* to) const {
  const ConvolutionGeometry& g = phase.what.geometry;
  const auto** rows = reinterpret_cast<const void**>(scratch);
  const int64_t row_bytes = g.in_cols * g.in_channels * 4;
  const bool far = g.in_channels >= kTouchChannels && buffers.images * g.in_rows * row_bytes >= kTouchBytes;
  for (int64_t k = 0; k < g.kernel_rows; ++k) {
    const int64_t y = row * g.stride_rows - g.pad_top + k * g.dilation_rows;
    rows[k] = y >= 0 && y < g.in_rows ? buffers.x + (image * g.in_rows + y) * row_bytes : idle_row_.data();
    // The kernel goes through the rows once for each vector of channels; rows above were read for the row before.
    const bool is_new = k >= g.kernel_rows - g.stride_rows && y >= 0 && y < g.in_rows;
    if (is_new && far) touch(static_cast<const float*>(rows[k]), row_bytes / 4);
  }
  hai_depthwise d = {};
  d.rows = rows;
  d.idle = idle_row_.data();
  d.image_cols = g.in_cols;
  d.channels = g.in_channels;
  d.channels_padded = static_cast<int64_t>(epilogue_.bias_f32.size());
  d.kernel_rows = g.kernel_rows;
  d.kernel_cols = g.kernel_cols;
  d.stride_cols = g.stride_cols;
  d.dilation_cols = g.dilation_cols;
  d.pad_left = g.pad_left;
  d.col_count = g.out_cols;
  d.weights = reinterpret_cast<const float*>(buffers.panels + phase.packed);
  d.bias = buffers.bias;
  d.lo = epilogue_.lo;
  d.hi = epilogue_.hi;
  d.out = to + g.out_col_offset * g.out_channels;
  d.out_stride = g.out_col_step * g.out_channels;
  depthwise_f32_for(isa_)(&d);
}

}  // namespace hai::cpu
