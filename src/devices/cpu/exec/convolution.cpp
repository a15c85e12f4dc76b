// Packing weights into panels, cutting the output into blocks and tiles, and calling the micro-kernels.
//
// A task is a block of output pixels (sized so that its part of the image stays in the second cache) with all panels of
// weights, or a share of them where blocks are fewer than threads. Within a block panels are the outer loop: a panel is
// read from far memory once a block. Each output element is the sum of one micro-kernel call over all of k, in order,
// so the result depends on neither blocks nor threads.
#include "devices/cpu/exec/convolution.h"

#include <algorithm>
#include <cstring>
#include <limits>

#include "base/checked.h"

namespace hai::cpu {
namespace {

constexpr int64_t kBlockBytes = 192 * 1024;       // of the image, for one task
constexpr int64_t kLargeBlockBytes = 384 * 1024;  // when the weights are far larger than the second cache
constexpr int64_t kLargeWeightBytes = 512 * 1024;
constexpr int64_t kTasksPerThread = 3;
constexpr int64_t kMaxScratchBytes = int64_t{1} << 30;
constexpr int64_t kMostParts = 32;
constexpr double kPartPenalty = 0.005;
constexpr int64_t kLargestWide = 32768;  // of an i16 activation
constexpr int64_t kSlackBytes = 64;      // a step may read past the last pixel of a copy
constexpr int64_t kCacheLine = 64;

// A tile reads a step of each of its rows in turn, an order that no hardware foresees: asks for those of the next tile.
void fetch_ahead(const std::byte* first, int64_t bytes) {
  for (int64_t at = 0; at < bytes; at += kCacheLine) __builtin_prefetch(first + at);
}

// Interleaves `count` weights of `columns` channels, `length` apart: [k / k_group][nr][k % k_group]. Reads run along
// each channel, writes along the panel.
template <typename T>
void pack_columns(const T* from, int64_t length, int64_t count, int64_t columns, int64_t nr, int64_t k_group, T* to) {
  for (int64_t k = 0; k < count; k += k_group, to += nr * k_group) {
    const int64_t present = std::min(k_group, count - k);
    for (int64_t column = 0; column < columns; ++column) {
      for (int64_t i = 0; i < present; ++i) to[column * k_group + i] = from[column * length + k + i];
    }
  }
}

}  // namespace

struct Convolution::Block {
  const Plan& plan;
  std::byte* scratch;
  int64_t image;
  int64_t row_begin, row_end, col_begin, col_end;  // output pixels
  int64_t panel_begin, panel_end;                  // over groups * panels_
  // Where the kernel reads: input pixel (row, col) relative to (first_row, first_col), in steps of (row_step,
  // col_step).
  const std::byte* base = nullptr;
  int64_t first_row = 0, first_col = 0;
  int64_t pitch_bytes = 0, pixel_bytes = 0;
  int64_t stride_rows = 1, stride_cols = 1;
};

Result<Convolution> Convolution::make(const ConvolutionGeometry& geometry, const ConvolutionWeights& weights,
                                      DataType x_dtype, int32_t x_zero_point, Isa isa) {
  Convolution out;
  out.geometry_ = geometry;
  out.isa_ = isa;
  out.integer_ = is_integer(x_dtype);
  out.zero_point_ = x_zero_point;
  out.choose_kernel(weights, x_dtype);
  const bool padded = out.covers_padding();
  const int64_t depth = geometry.in_channels / geometry.groups;
  const bool contiguous_rows = geometry.groups == 1 && geometry.dilation_cols == 1;
  out.segment_cols_ = contiguous_rows ? geometry.kernel_cols : 1;
  out.segment_count_ = geometry.kernel_rows * (contiguous_rows ? 1 : geometry.kernel_cols);
  out.segment_steps_ = ceil_div(out.segment_cols_ * depth, out.kernel_->k_group);
  const bool whole_steps = out.segment_cols_ * depth % out.kernel_->k_group == 0;
  const bool same_form = !out.integer_ || out.left_.same_form();
  const bool point = geometry.kernel_rows == 1 && geometry.kernel_cols == 1;
  out.copies_ = padded || !same_form || !whole_steps;
  out.subsamples_ = out.copies_ && point;
  out.flat_ = point && geometry.stride_rows == 1 && geometry.stride_cols == 1 && !padded &&
              geometry.in_rows == geometry.out_rows && geometry.in_cols == geometry.out_cols &&
              geometry.out_row_step == 1 && geometry.out_col_step == 1 && geometry.store_rows == geometry.out_rows &&
              geometry.store_cols == geometry.out_cols;
  HAI_TRY_STATUS(out.pack(weights));
  HAI_TRY_STATUS(out.choose_blocks());
  return out;
}

// The kernel, and the form in which it reads the image.
void Convolution::choose_kernel(const ConvolutionWeights& weights, DataType x_dtype) {
  kernel_ = gemm_f32_for(isa_)();
  if (!integer_) return;
  wide_ = x_dtype == DataType::kI16 || weights.i16 != nullptr;
  kernel_ = !wide_ ? gemm_s8_s8_s32_for(isa_)() : weights.i16 ? gemm_s16_s16_for(isa_)() : gemm_s16_s8_for(isa_)();
  x_element_bytes_ = x_dtype == DataType::kI16 ? 2 : 1;
  left_ = left_operand(*kernel_, x_dtype, zero_point_);
  if (left_.kind == HAI_STRIPE_BYTES) padding_ = static_cast<uint8_t>(zero_point_ + left_.offset);
}

// True when some window reaches outside of the image.
bool Convolution::covers_padding() const {
  const ConvolutionGeometry& g = geometry_;
  const int64_t last_row = (g.out_rows - 1) * g.stride_rows + (g.kernel_rows - 1) * g.dilation_rows - g.pad_top;
  const int64_t last_col = (g.out_cols - 1) * g.stride_cols + (g.kernel_cols - 1) * g.dilation_cols - g.pad_left;
  return g.pad_top > 0 || g.pad_left > 0 || last_row >= g.in_rows || last_col >= g.in_cols;
}

Status Convolution::pack(const ConvolutionWeights& weights) {
  const ConvolutionGeometry& g = geometry_;
  const int64_t nr = kernel_->nr;
  const int64_t group_of_k = kernel_->k_group;
  const int64_t outputs = g.out_channels / g.groups;
  const int64_t segment_length = segment_cols_ * (g.in_channels / g.groups);
  const int64_t length = segment_count_ * segment_length;  // of one channel's weights
  panels_ = ceil_div(outputs, nr);
  const int64_t panel_elements = segment_count_ * segment_steps_ * nr * group_of_k;
  nibbles_ = weights.nibbles;
  unpacks_ = nibbles_ || weights.scales != nullptr;
  panel_bytes_ = panel_elements * (!integer_ ? 4 : weights.i16 ? 2 : 1);
  if (nibbles_ && integer_) panel_bytes_ = align_up(panel_bytes_, HAI_NIBBLE_BLOCK);
  const int64_t element_bytes = weights.i8 ? 1 : weights.i16 ? 2 : 4;
  stored_panel_bytes_ = !unpacks_ ? panel_bytes_ : nibbles_ ? panel_bytes_ / (integer_ ? 2 : 8) : panel_elements;
  if (weights.f32 == nullptr && weights.i8 == nullptr && weights.i16 == nullptr) return {};
  HAI_TRY(packed_, AlignedBuffer::zeros(g.groups * panels_ * stored_panel_bytes_));
  HAI_TRY(AlignedBuffer staged, AlignedBuffer::zeros(align_up(panel_elements * element_bytes, HAI_NIBBLE_BLOCK)));
  for (int64_t panel = 0; panel < g.groups * panels_; ++panel) {
    const int64_t first = panel / panels_ * outputs + panel % panels_ * nr;
    const int64_t columns = std::min(nr, outputs - panel % panels_ * nr);
    std::memset(staged.data(), 0, static_cast<size_t>(staged.size_bytes()));
    for (int64_t s = 0; s < segment_count_; ++s) {
      const int64_t from = first * length + s * segment_length;
      const int64_t to = s * segment_steps_ * nr * group_of_k;
      const auto pack = [&]<typename T>(const T* values) {
        pack_columns(values + from, length, segment_length, columns, nr, group_of_k, staged.as<T>().data() + to);
      };
      if (weights.i8 != nullptr) pack(weights.i8);
      if (weights.i16 != nullptr) pack(weights.i16);
      if (weights.f32 != nullptr) pack(weights.f32);
    }
    store_panel(staged, panel);
  }
  if (weights.scales != nullptr) return pack_scales(*weights.scales);
  if (integer_) measure(weights, length);
  return {};
}

// Sums of the weights of each channel, and how many steps 32-bit sums of wide products hold.
void Convolution::measure(const ConvolutionWeights& weights, int64_t length) {
  channel_weights_.assign(static_cast<size_t>(geometry_.out_channels), {});
  int64_t largest = 1;
  for (int64_t o = 0; o < geometry_.out_channels; ++o) {
    ChannelWeights& channel = channel_weights_[static_cast<size_t>(o)];
    for (int64_t i = 0; i < length; ++i) {
      const int64_t weight = weights.i8 != nullptr ? weights.i8[o * length + i] : weights.i16[o * length + i];
      const int64_t size = weight < 0 ? -weight : weight;
      channel.sum += weight;
      channel.absolute_sum += size;
      largest = std::max(largest, size);
    }
  }
  // i16 weights are summed in two parts, of which the larger reaches 255.
  const int64_t part = weights.i16 != nullptr ? 255 : largest;
  most_steps_ = std::numeric_limits<int32_t>::max() / (kLargestWide * part * kernel_->k_group);
}

// From the form in which the kernel would read an i8 panel to the form in which it is kept.
void Convolution::store_panel(const AlignedBuffer& staged, int64_t number) {
  std::byte* to = packed_.data() + number * stored_panel_bytes_;
  if (!nibbles_) {
    std::memcpy(to, staged.data(), static_cast<size_t>(stored_panel_bytes_));
    return;
  }
  const int64_t half = integer_ ? HAI_NIBBLE_BLOCK / 2 : kernel_->nr / 2;
  for (int64_t i = 0; i < stored_panel_bytes_; ++i) {
    const int64_t low = i / half * 2 * half + i % half;
    const auto nibble = [&](int64_t at) { return static_cast<unsigned>(staged.data()[at]) & 0xfU; };
    to[i] = static_cast<std::byte>(nibble(low) | nibble(low + half) << 4);
  }
}

// [blocks][O] to [panel][blocks][nr].
Status Convolution::pack_scales(const WeightScales& scales) {
  const ConvolutionGeometry& g = geometry_;
  const int64_t steps = segment_count_ * segment_steps_;
  scale_blocks_ = static_cast<int64_t>(scales.scales.size()) / g.out_channels;
  scale_block_ = scales.block == 0 ? steps : scales.block;
  const int64_t nr = kernel_->nr;
  const int64_t outputs = g.out_channels / g.groups;
  HAI_TRY(scales_, AlignedBuffer::zeros(g.groups * panels_ * scale_blocks_ * nr * 4));
  const bool zeros = !scales.minus_zeros.empty();
  if (zeros) {
    HAI_TRY(minus_zeros_, AlignedBuffer::zeros(scales_.size_bytes()));
  }
  for (int64_t o = 0; o < g.out_channels; ++o) {
    const int64_t panel = o / outputs * panels_ + o % outputs / nr;
    for (int64_t block = 0; block < scale_blocks_; ++block) {
      const auto to = static_cast<size_t>((panel * scale_blocks_ + block) * nr + o % outputs % nr);
      const auto from = static_cast<size_t>(block * g.out_channels + o);
      scales_.as<float>()[to] = scales.scales[from];
      if (zeros) minus_zeros_.as<float>()[to] = scales.minus_zeros[from];
    }
  }
  return {};
}

void Convolution::unpack_panel(int64_t number, std::byte* out) const {
  const std::byte* stored = packed_.data() + number * stored_panel_bytes_;
  if (integer_) {
    unpack_s4_for(isa_)(reinterpret_cast<const uint8_t*>(stored), reinterpret_cast<int8_t*>(out), panel_bytes_);
    return;
  }
  hai_dequantize_panel d = {};
  d.packed = reinterpret_cast<const int8_t*>(stored);
  d.nibbles = nibbles_ ? 1 : 0;
  d.count = segment_count_ * segment_steps_;
  d.block = scale_block_;
  const int64_t scales = number * scale_blocks_ * kernel_->nr;
  d.scales = scales_.as<float>() + scales;
  d.minus_zeros = minus_zeros_.size_bytes() == 0 ? nullptr : minus_zeros_.as<float>() + scales;
  d.out = reinterpret_cast<float*>(out);
  dequantize_panel_for(isa_)(&d);
}

std::vector<int64_t> Convolution::channel_positions() const {
  const int64_t outputs = geometry_.out_channels / geometry_.groups;
  std::vector<int64_t> out(static_cast<size_t>(geometry_.out_channels));
  for (int64_t o = 0; o < geometry_.out_channels; ++o) {
    out[static_cast<size_t>(o)] = o / outputs * panels_ * kernel_->nr + o % outputs;
  }
  return out;
}

Status Convolution::choose_blocks() {
  const ConvolutionGeometry& g = geometry_;
  const int64_t budget = panel_count() * stored_panel_bytes_ > kLargeWeightBytes ? kLargeBlockBytes : kBlockBytes;
  const int64_t pixel_bytes = g.in_channels * left_.element_bytes;
  const int64_t window_rows = subsamples_ ? 1 : (g.kernel_rows - 1) * g.dilation_rows + 1;
  const int64_t window_cols = subsamples_ ? 1 : (g.kernel_cols - 1) * g.dilation_cols + 1;
  const int64_t stride_rows = subsamples_ ? 1 : g.stride_rows;
  const int64_t stride_cols = subsamples_ ? 1 : g.stride_cols;
  const auto copy_cols = [&](int64_t cols) { return (cols - 1) * stride_cols + window_cols; };
  const auto copy_rows = [&](int64_t rows) { return (rows - 1) * stride_rows + window_rows; };
  const auto fit = [&](int64_t window, int64_t stride, int64_t bytes) {
    return std::max<int64_t>(1, (budget / std::max<int64_t>(bytes, 1) - window) / stride + 1);
  };
  if (flat_) {
    block_rows_ = 1;
    block_cols_ = align_up(fit(1, 1, pixel_bytes), kernel_->mr);
  } else {
    // Of the ways to cut a row into equal parts, the one whose blocks copy the fewest pixels twice.
    double least = 0.0;
    for (int64_t parts = 1; parts <= kMostParts; ++parts) {
      const int64_t cols = ceil_div(g.out_cols, parts);
      if (parts > 1 && cols < 2 * kernel_->mr) break;
      const int64_t rows = std::min(g.out_rows, fit(window_rows, stride_rows, copy_cols(cols) * pixel_bytes));
      const double copied = static_cast<double>(copy_rows(rows)) * static_cast<double>(copy_cols(cols));
      const double cost = copied / static_cast<double>(rows * cols) * (1.0 + kPartPenalty * static_cast<double>(parts));
      if (parts > 1 && cost >= least) continue;
      least = cost;
      block_rows_ = rows;
      block_cols_ = cols;
    }
  }

  const auto aligned = [](int64_t bytes) { return align_up(bytes, 64); };
  scratch_.segments = 0;
  scratch_.offsets = aligned(segment_count_ * static_cast<int64_t>(sizeof(void*)));
  scratch_.sums = scratch_.offsets + aligned(segment_count_ * static_cast<int64_t>(sizeof(int64_t)));
  scratch_.panel = scratch_.sums + aligned(int64_t{kernel_->mr} * kernel_->nr * (wide_ ? 8 : 4));
  scratch_.copy = scratch_.panel + (unpacks_ ? aligned(panel_bytes_) : 0);
  const auto pixels = checked_mul(copy_rows(block_rows_), copy_cols(block_cols_));
  const auto copy = pixels ? checked_mul(*pixels, pixel_bytes) : std::nullopt;
  if (copies_ && (!copy || *copy > kMaxScratchBytes)) {
    return make_error(StatusCode::kUnsupported, "C040",
                      "a window of {} x {} pixels with {} channels needs more than {} bytes of scratch a thread",
                      window_rows, window_cols, g.in_channels, kMaxScratchBytes);
  }
  scratch_.total = scratch_.copy + (copies_ ? aligned(*copy + kSlackBytes) : 0);
  return {};
}

Convolution::Plan Convolution::plan(int64_t images, int thread_count) const {
  const ConvolutionGeometry& g = geometry_;
  Plan out{};
  out.images = flat_ ? 1 : images;
  out.rows = flat_ ? 1 : g.out_rows;
  out.cols = flat_ ? images * g.out_rows * g.out_cols : g.out_cols;
  out.in_rows = flat_ ? 1 : g.in_rows;
  out.in_cols = flat_ ? out.cols : g.in_cols;
  out.block_rows = std::min(block_rows_, out.rows);
  out.block_cols = std::min(block_cols_, out.cols);
  const int64_t wanted = thread_count > 1 ? kTasksPerThread * thread_count : 1;
  // Smaller blocks while threads would wait; then shares of the panels.
  const auto count = [&] {
    return out.images * ceil_div(out.rows, out.block_rows) * ceil_div(out.cols, out.block_cols);
  };
  const int64_t all_panels = g.groups * panels_;
  while (count() < wanted && out.block_rows > 4) out.block_rows = ceil_div(out.block_rows, 2);
  while (count() < wanted && out.rows == 1 && out.block_cols > 4 * kernel_->mr) {
    out.block_cols = align_up(ceil_div(out.block_cols, 2), kernel_->mr);
  }
  out.blocks_down = ceil_div(out.rows, out.block_rows);
  out.blocks_across = ceil_div(out.cols, out.block_cols);
  const int64_t blocks = count();
  out.panel_splits = blocks >= wanted || blocks == 0 ? 1 : std::min(all_panels, ceil_div(wanted, blocks));
  return out;
}

void Convolution::run(const ProductEpilogue& epilogue, const Buffers& buffers, ThreadPool& threads) const {
  const Plan steps = plan(buffers.images, threads.thread_count());
  if (steps.images * steps.rows * steps.cols == 0) return;
  const int64_t all_panels = geometry_.groups * panels_;
  const int64_t blocks = steps.images * steps.blocks_down * steps.blocks_across;
  threads.parallel(blocks * steps.panel_splits, [&](int64_t task, int thread) {
    const int64_t split = task % steps.panel_splits;
    const int64_t index = task / steps.panel_splits;
    const int64_t across = index % steps.blocks_across;
    const int64_t down = index / steps.blocks_across % steps.blocks_down;
    Block block{steps,
                buffers.scratch + thread * scratch_.total,
                index / steps.blocks_across / steps.blocks_down,
                down * steps.block_rows,
                std::min(steps.rows, (down + 1) * steps.block_rows),
                across * steps.block_cols,
                std::min(steps.cols, (across + 1) * steps.block_cols),
                split * all_panels / steps.panel_splits,
                (split + 1) * all_panels / steps.panel_splits};
    run_block(block, epilogue, buffers);
  });
}

void Convolution::copy_block(Block& block, const std::byte* image) const {
  const ConvolutionGeometry& g = geometry_;
  hai_stripe stripe = {};
  stripe.image = image;
  stripe.image_rows = block.plan.in_rows;
  stripe.image_cols = block.plan.in_cols;
  stripe.channels = g.in_channels;
  stripe.row_step = subsamples_ ? g.stride_rows : 1;
  stripe.col_step = subsamples_ ? g.stride_cols : 1;
  const int64_t rows = block.row_end - block.row_begin;
  const int64_t cols = block.col_end - block.col_begin;
  stripe.first_row = block.row_begin * g.stride_rows - g.pad_top;
  stripe.first_col = block.col_begin * g.stride_cols - g.pad_left;
  stripe.row_count = subsamples_ ? rows : (rows - 1) * g.stride_rows + (g.kernel_rows - 1) * g.dilation_rows + 1;
  stripe.col_count = subsamples_ ? cols : (cols - 1) * g.stride_cols + (g.kernel_cols - 1) * g.dilation_cols + 1;
  stripe.out = block.scratch + scratch_.copy;
  stripe.kind = left_.kind;
  stripe.zero_point = zero_point_;
  stripe.flip = left_.flip;
  stripe.padding = padding_;
  stripe_copy_for(isa_)(&stripe);
  block.base = static_cast<const std::byte*>(stripe.out);
  block.pitch_bytes = stripe.col_count * block.pixel_bytes;
  if (subsamples_) block.stride_rows = block.stride_cols = 1;
}

void Convolution::run_block(Block& block, const ProductEpilogue& epilogue, const Buffers& buffers) const {
  const ConvolutionGeometry& g = geometry_;
  block.pixel_bytes = g.in_channels * left_.element_bytes;
  block.stride_rows = g.stride_rows;
  block.stride_cols = g.stride_cols;
  const int64_t image_bytes = block.plan.in_rows * block.plan.in_cols * g.in_channels * x_element_bytes_;
  const std::byte* image = buffers.x + block.image * image_bytes;
  if (copies_) {
    copy_block(block, image);
  } else {
    block.pitch_bytes = block.plan.in_cols * block.pixel_bytes;
    block.base = image + (block.row_begin * g.stride_rows - g.pad_top) * block.pitch_bytes +
                 (block.col_begin * g.stride_cols - g.pad_left) * block.pixel_bytes;
  }
  auto* offsets = reinterpret_cast<int64_t*>(block.scratch + scratch_.offsets);
  const int64_t segments_across = segment_count_ / g.kernel_rows;
  for (int64_t s = 0; s < segment_count_; ++s) {
    offsets[s] = s / segments_across * g.dilation_rows * block.pitch_bytes +
                 s % segments_across * g.dilation_cols * block.pixel_bytes;
  }
  for (int64_t p = block.panel_begin; p < block.panel_end; ++p) {
    run_panel(block, epilogue, buffers, p / panels_, p % panels_);
  }
}

Convolution::Panel Convolution::prepare_panel(const Block& block, const ProductEpilogue& epilogue,
                                              const Buffers& buffers, int64_t group, int64_t panel) const {
  const int64_t outputs = geometry_.out_channels / geometry_.groups;
  const int64_t nr = kernel_->nr;
  Panel out = {};
  out.channel = group * outputs + panel * nr;
  out.position = (group * panels_ + panel) * nr;
  out.cols = static_cast<int32_t>(std::min(nr, outputs - panel * nr));
  out.out_stride = geometry_.out_col_step * geometry_.out_channels;
  hai_gemm_operands in = {};
  in.segments = reinterpret_cast<const void* const*>(block.scratch + scratch_.segments);
  in.segment_count = segment_count_;
  in.segment_steps = segment_steps_;
  in.row_stride_bytes = block.stride_cols * block.pixel_bytes;
  in.panel =
      (buffers.panels != nullptr ? buffers.panels : packed_.data()) + (group * panels_ + panel) * stored_panel_bytes_;
  if (unpacks_) {
    in.panel = block.scratch + scratch_.panel;
    unpack_panel(group * panels_ + panel, block.scratch + scratch_.panel);
  }
  in.cols = out.cols;
  std::byte* sums = block.scratch + scratch_.sums;
  const bool stores = epilogue.stores_in_kernel();
  if (wide_) {
    out.s16.in = in;
    out.s16.sums = reinterpret_cast<int64_t*>(sums);
    out.s16.most_steps = most_steps_;
    return out;
  }
  if (integer_) {
    out.i8.in = in;
    out.i8.sums = reinterpret_cast<int32_t*>(sums);
    out.i8.out_stride = out.out_stride;
    out.i8.bias = epilogue.bias.data() + out.position;
    out.i8.multiplier = epilogue.multiplier.data() + out.position;
    out.i8.lo = epilogue.lo;
    out.i8.hi = epilogue.hi;
    out.i8.zero_point = epilogue.zero_point;
    return out;
  }
  // The columns past the last channel are zeros: finish_f32 works on whole rows.
  if (!stores) in.cols = in.cols <= kernel_->nr / 2 ? kernel_->nr / 2 : kernel_->nr;
  out.f32.in = in;
  out.f32.bias = (buffers.bias != nullptr ? buffers.bias : epilogue.bias_f32.data()) + out.position;
  out.f32.lo = epilogue.lo;
  out.f32.hi = epilogue.hi;
  out.f32.out = reinterpret_cast<float*>(sums);
  out.f32.out_stride = stores ? out.out_stride : in.cols;
  return out;
}

void Convolution::run_panel(const Block& block, const ProductEpilogue& epilogue, const Buffers& buffers, int64_t group,
                            int64_t panel_number) const {
  const ConvolutionGeometry& g = geometry_;
  Panel panel = prepare_panel(block, epilogue, buffers, group, panel_number);
  const auto** segments = reinterpret_cast<const void**>(block.scratch + scratch_.segments);
  const auto* offsets = reinterpret_cast<const int64_t*>(block.scratch + scratch_.offsets);
  const int64_t pixel_step = block.stride_cols * block.pixel_bytes;
  const int64_t cols = block.col_end - block.col_begin;
  const int64_t tile_cols = ceil_div(cols, ceil_div(cols, kernel_->mr));          // even: short tiles hide less latency
  const bool far = flat_ && group * panels_ + panel_number == block.panel_begin;  // later panels find it in a cache
  for (int64_t row = block.row_begin; row < block.row_end; ++row) {
    const std::byte* row_base = block.base + (row - block.row_begin) * block.stride_rows * block.pitch_bytes +
                                group * (g.in_channels / g.groups) * left_.element_bytes;
    const int64_t first_pixel =
        flat_ ? block.col_begin
              : (block.image * g.store_rows + row * g.out_row_step + g.out_row_offset) * g.store_cols +
                    block.col_begin * g.out_col_step + g.out_col_offset;
    for (int64_t col = 0; col < cols; col += tile_cols) {
      const std::byte* corner = row_base + col * pixel_step;
      if (far) fetch_ahead(corner + tile_cols * pixel_step, std::min(tile_cols, cols - col) * pixel_step);
      for (int64_t s = 0; s < segment_count_; ++s) segments[s] = corner + offsets[s];
      run_tile(panel, epilogue, buffers, static_cast<int32_t>(std::min(tile_cols, cols - col)),
               first_pixel + col * g.out_col_step);
    }
    // Not tile by tile: a load that needs several stores still on their way waits for them.
    if (integer_ && !wide_ && epilogue.stores_in_kernel()) {
      epilogue.look_up(buffers.y + first_pixel * g.out_channels + panel.channel, panel.out_stride, cols, panel.cols);
    }
  }
}

void Convolution::run_tile(Panel& panel, const ProductEpilogue& epilogue, const Buffers& buffers, int32_t rows,
                           int64_t pixel) const {
  if (wide_) return run_wide_tile(panel, epilogue, buffers, rows, pixel);
  const int64_t first = pixel * geometry_.out_channels + panel.channel;
  std::byte* out = buffers.y + first * epilogue.output_element_bytes();
  const bool stores = epilogue.stores_in_kernel();
  if (integer_) {
    panel.i8.in.rows = rows;
    panel.i8.out = stores ? reinterpret_cast<uint8_t*>(out) : nullptr;
    kernel_->run_i8(&panel.i8);
    if (stores) return;
    epilogue.finish_i8(panel.i8.sums, kernel_->nr, rows, panel.cols, panel.position,
                       buffers.residual_at(first, epilogue), panel.out_stride, out, panel.out_stride);
    return;
  }
  panel.f32.in.rows = rows;
  if (stores) panel.f32.out = reinterpret_cast<float*>(out);
  kernel_->run_f32(&panel.f32);
  if (stores) return;
  const auto* residual = reinterpret_cast<const float*>(buffers.residual_at(first, epilogue));
  epilogue.finish_f32(panel.f32.out, panel.f32.out_stride, rows, panel.cols, residual, panel.out_stride,
                      reinterpret_cast<float*>(out), panel.out_stride);
}

void Convolution::run_wide_tile(Panel& panel, const ProductEpilogue& epilogue, const Buffers& buffers, int32_t rows,
                                int64_t pixel) const {
  const int64_t first = pixel * geometry_.out_channels + panel.channel;
  const std::byte* residual = buffers.residual_at(first, epilogue);
  std::byte* out = buffers.y + first * epilogue.output_element_bytes();
  panel.s16.in.rows = rows;
  kernel_->run_s16(&panel.s16);
  if (!epilogue.wide) {
    // 8-bit activations with weights of more than 8 bits: the sums have been proved to fit 32.
    auto* sums = reinterpret_cast<std::byte*>(panel.s16.sums);
    for (int64_t i = 0; i < int64_t{rows} * kernel_->nr; ++i) {
      const auto sum = static_cast<int32_t>(panel.s16.sums[i]);
      std::memcpy(sums + i * 4, &sum, 4);
    }
    epilogue.finish_i8(reinterpret_cast<int32_t*>(sums), kernel_->nr, rows, panel.cols, panel.position, residual,
                       panel.out_stride, out, panel.out_stride);
    return;
  }
  epilogue.store_s16(panel.s16.sums, kernel_->nr, rows, panel.cols, panel.position, out, panel.out_stride);
  epilogue.finish_s16(out, panel.out_stride, rows, panel.cols, residual, panel.out_stride);
}

}  // namespace hai::cpu
