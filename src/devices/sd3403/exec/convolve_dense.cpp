// Dense convolutions: implicit matrix products over a tile in the scratchpad, as the CPU device's Convolution drives
// them.
//
// A task is a block of output pixels with all panels of weights, or a share of them where blocks are fewer than
// threads. The rows that a block reads are copied once, with padding, into the form that the kernel reads; where the
// tile has that form already and the block reads nothing outside, the kernel reads the tile itself. Panels are the
// outer loop within a block. Sums that stay or continue lie in the accumulators, those of 32 bits as
// [panel][pixel][column], those of 64 as [pixel][channel].
#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "base/checked.h"
#include "devices/cpu/exec/left_operand.h"
#include "devices/cpu/exec/product_kernels.h"
#include "devices/sd3403/exec/convolve.h"

namespace hai::sd3403 {
namespace {

constexpr int64_t kBlockBytes = 192 * 1024;  // of the copy, for one task: stays in the second cache
constexpr int64_t kTasksPerThread = 2;
constexpr int64_t kMostParts = 32;
constexpr int64_t kMostCopyBytes = int64_t{1} << 28;
constexpr int64_t kMostColumns = 64;        // of a kernel's panel
constexpr int64_t kSlackBytes = 64;         // a step may read past the last pixel of a copy
constexpr int64_t kTaskProducts = 1 << 17;  // less costs more to hand over than to do
constexpr int64_t kLargestWide = 32768;     // of an i16 input

const hai_gemm_kernel* kernel_for(const Convolve& c, cpu::Isa isa) {
  if (!is_wide(c.input_type)) return gemm_s8_s8_s32_for(isa)();
  return c.weights == kWeightI16 ? gemm_s16_s16_for(isa)() : gemm_s16_s8_for(isa)();
}

cpu::LeftOperand left_of(const Convolve& c, cpu::Isa isa) {
  const DataType type = c.input_type == kI8 ? DataType::kI8 : c.input_type == kU8 ? DataType::kU8 : DataType::kI16;
  return cpu::left_operand(*kernel_for(c, isa), type, static_cast<int32_t>(c.input_zero_point));
}

// The sum over k is cut into runs that lie in one piece: rows of the window, or its taps where columns are spread.
struct Segments {
  int64_t columns, count, steps;

  Segments(const Convolve& c, const hai_gemm_kernel& kernel)
      : columns(c.dilation_columns == 1 ? c.window_columns : 1),
        count(c.window_rows * c.window_columns / columns),
        steps(ceil_div(columns * c.input_channels, int64_t{kernel.k_group})) {}
};

class DenseConvolve final : public Step {
 public:
  DenseConvolve(const Convolve& command, SharedWeights weights, SharedEpilogue epilogue, cpu::Isa isa);

  Status choose_blocks();
  int64_t scratch_bytes() const override { return scratch_.total; }
  int64_t common_bytes() const override {
    if (!starts_) return 0;
    return (weights_->tile ? panels_ * panel_bytes_ : 0) +
           panels_ * kernel_->nr * static_cast<int64_t>(sizeof(int64_t));
  }
  int64_t accumulator_bytes() const override {
    if (!continues_ && !leaves_) return 0;
    const int64_t pixels = c_.output_rows * c_.output_columns;
    return wide_ ? pixels * align_up(c_.output_channels, kBlockChannels) * 8 : panels_ * pixels * kernel_->nr * 4;
  }
  void run(const StepContext& context) const override;

 private:
  struct Scratch {
    int64_t segments = 0, offsets = 0, sums = 0, words = 0, copy = 0, row_terms = 0;  // offsets in bytes
    int64_t total = 0;
  };
  struct Block {
    const StepContext& context;
    std::byte* scratch;
    int64_t row_begin, row_end, col_begin, col_end;  // output pixels
    int64_t panel_begin, panel_end;
    bool flat = false;  // tiles go on from row to row
    // Where the kernel reads: the first window's first tap, and the bytes from output row to row and pixel to pixel.
    const std::byte* base = nullptr;
    int64_t row_bytes = 0, step_bytes = 0;
  };
  struct Tiles {
    int64_t down, across, rows, cols, splits;
  };

  // Of a run: panels that are packed in it, then what the sums of each column start from.
  const std::byte* panels(const StepContext& context) const {
    return weights_->tile ? context.common : weights_->packed.data();
  }
  int64_t* column_terms(const StepContext& context) const {
    return reinterpret_cast<int64_t*>(context.common + (weights_->tile ? panels_ * panel_bytes_ : 0));
  }

  Tiles cut(int thread_count) const;
  void start_columns(const StepContext& context) const;
  void pack_panel(const StepContext& context, int64_t panel) const;
  void start_rows(const Block& block) const;
  void start_sums(const Block& block, int64_t panel, const int64_t* row_terms, int32_t rows, int32_t* sums) const;
  void run_block(Block& block) const;
  bool reads_directly(Block& block) const;
  void copy_rows(Block& block) const;
  void set_offsets(const Block& block, int64_t pitch_bytes, int64_t pixel_bytes) const;
  void run_panel(const Block& block, int64_t panel) const;
  void run_row(const Block& block, int64_t panel, int64_t row, int64_t first_col, int64_t cols) const;
  // `row_terms` are those of the tile's pixels, where sums start from any.
  void run_narrow(const Block& block, hai_gemm_i8_tile& tile, int64_t panel, int64_t pixel, const int64_t* row_terms,
                  const ResultPixels& results) const;
  void run_wide(const Block& block, hai_gemm_s16_tile& tile, int64_t panel, int64_t pixel, const int64_t* row_terms,
                const ResultPixels& results) const;
  ResultPixels results_at(const StepContext& context, int64_t row, int64_t col, int64_t channel) const;

  Convolve c_;
  Tile input_, output_, residual_;
  SharedWeights weights_;
  SharedEpilogue epilogue_;
  cpu::Isa isa_;
  const hai_gemm_kernel* kernel_;
  cpu::LeftOperand left_;
  Segments segments_;
  bool wide_;
  bool starts_;                // sums start from terms of their row and column
  bool continues_, leaves_;    // takes sums from the accumulators, leaves them there
  bool point_;                 // a window of one tap: a copy takes only the pixels that are read
  bool dense_results_ = true;  // rows of results follow each other
  int64_t panels_;
  int64_t panel_bytes_;
  int64_t most_steps_ = 1;
  int64_t block_rows_ = 1, block_cols_ = 1;
  Scratch scratch_;
};

bool rows_follow(const Tile& tile, int64_t rows, int64_t columns) {
  const bool wraps = tile.ring_rows != 0 && tile.ring_first + rows > tile.ring_rows;
  return rows == 1 || (!wraps && tile.row_stride == columns * tile.pixel_stride);
}

DenseConvolve::DenseConvolve(const Convolve& command, SharedWeights weights, SharedEpilogue epilogue, cpu::Isa isa)
    : c_(command),
      input_(input_tile(command)),
      output_(output_tile(command)),
      residual_(residual_tile(command)),
      weights_(std::move(weights)),
      epilogue_(std::move(epilogue)),
      isa_(isa),
      kernel_(kernel_for(command, isa)),
      left_(left_of(command, isa)),
      segments_(command, *kernel_),
      wide_(is_wide(command.input_type)),
      starts_(command.weight_zero_point != 0 || weights_->tile),
      continues_(command.first_sum == 0),
      leaves_(command.last_sum == 0),
      point_(command.window_rows == 1 && command.window_columns == 1),
      panels_(ceil_div(command.output_channels, int64_t{kernel_->nr})),
      panel_bytes_(weights_->tile ? align_up(segments_.steps * kernel_->nr * kernel_->k_group, int64_t{64})
                                  : weights_->packed.size_bytes() / panels_) {
  if (!leaves_) {
    dense_results_ = rows_follow(output_, c_.output_rows, c_.output_columns) &&
                     (c_.adds_residual == 0 || rows_follow(residual_, c_.output_rows, c_.output_columns));
  }
  if (!wide_) return;
  // i16 weights are summed in two parts, of which the larger reaches 255.
  const int64_t part = c_.weights == kWeightI16 ? 255 : weights_->largest;
  most_steps_ = std::numeric_limits<int32_t>::max() / (kLargestWide * part * kernel_->k_group);
}

// Pixels that a copy has for so many output pixels.
int64_t copied(bool point, int64_t pixels, int64_t stride, int64_t window, int64_t dilation) {
  return point ? pixels : (pixels - 1) * stride + (window - 1) * dilation + 1;
}

Status DenseConvolve::choose_blocks() {
  const int64_t pixel_bytes = c_.input_channels * left_.element_bytes;
  const auto copy_cols = [&](int64_t cols) {
    return copied(point_, cols, c_.stride_columns, c_.window_columns, c_.dilation_columns);
  };
  const auto copy_rows = [&](int64_t rows) {
    return copied(point_, rows, c_.stride_rows, c_.window_rows, c_.dilation_rows);
  };
  // Of the ways to cut a row into equal parts, the one whose blocks copy the fewest pixels twice.
  double least = 0.0;
  for (int64_t parts = 1; parts <= kMostParts; ++parts) {
    const int64_t cols = ceil_div(c_.output_columns, parts);
    if (parts > 1 && cols < 2 * kernel_->mr) break;
    int64_t rows = c_.output_rows;
    while (rows > 1 && copy_rows(rows) * copy_cols(cols) * pixel_bytes > kBlockBytes) rows = ceil_div(rows, int64_t{2});
    const bool fits = copy_rows(rows) * copy_cols(cols) * pixel_bytes <= kBlockBytes;
    const double cost = static_cast<double>(copy_rows(rows) * copy_cols(cols)) / static_cast<double>(rows * cols) +
                        0.02 * static_cast<double>(parts) + (fits ? 0.0 : 1.0);
    if (parts > 1 && cost >= least) continue;
    least = cost;
    block_rows_ = rows;
    block_cols_ = cols;
  }
  const int64_t copy_bytes = copy_rows(block_rows_) * copy_cols(block_cols_) * pixel_bytes;
  if (copy_bytes > kMostCopyBytes) {
    return make_error(StatusCode::kUnsupported, "N077", "a row of windows reads {} bytes, more than {}", copy_bytes,
                      kMostCopyBytes);
  }
  const auto place = [&](int64_t bytes) {
    const int64_t at = scratch_.total;
    scratch_.total += align_up(bytes, int64_t{64});
    return at;
  };
  const int64_t sums = int64_t{kernel_->mr} * kernel_->nr;
  scratch_.segments = place(segments_.count * static_cast<int64_t>(sizeof(void*)));
  scratch_.offsets = place(segments_.count * 8);
  scratch_.sums = place(sums * 8);
  scratch_.words = place(sums * 2);
  scratch_.copy = place(copy_bytes + kSlackBytes);
  if (starts_) scratch_.row_terms = place(block_rows_ * block_cols_ * 8);
  return {};
}

DenseConvolve::Tiles DenseConvolve::cut(int thread_count) const {
  const double products = static_cast<double>(c_.output_rows * c_.output_columns * c_.output_channels) *
                          static_cast<double>(c_.window_rows * c_.window_columns * c_.input_channels);
  Tiles out{0, 0, block_rows_, block_cols_, 1};
  const auto count = [&] { return ceil_div(c_.output_rows, out.rows) * ceil_div(c_.output_columns, out.cols); };
  int64_t wanted = 1;
  if (thread_count > 1 && products > kTaskProducts) {
    wanted = products > 8.0 * kTaskProducts ? kTasksPerThread * thread_count : thread_count;
  }
  const int64_t least_rows = point_ ? 1 : 4;
  while (count() < wanted && out.rows > least_rows) out.rows = ceil_div(out.rows, int64_t{2});
  const int64_t blocks = count();
  if (blocks < thread_count && wanted > 1)
    out.splits = std::min<int64_t>(panels_, ceil_div(int64_t{thread_count}, blocks));
  out.down = ceil_div(c_.output_rows, out.rows);
  out.across = ceil_div(c_.output_columns, out.cols);
  return out;
}

void DenseConvolve::run(const StepContext& context) const {
  if (starts_) start_columns(context);
  const Tiles tiles = cut(context.threads.thread_count());
  context.threads.parallel(tiles.down * tiles.across * tiles.splits, [&](int64_t task, int thread) {
    const int64_t split = task % tiles.splits;
    const int64_t index = task / tiles.splits;
    const int64_t row = index / tiles.across * tiles.rows;
    const int64_t col = index % tiles.across * tiles.cols;
    Block block{context,
                context.scratch + thread * context.scratch_bytes,
                row,
                std::min(c_.output_rows, row + tiles.rows),
                col,
                std::min(c_.output_columns, col + tiles.cols),
                split * panels_ / tiles.splits,
                (split + 1) * panels_ / tiles.splits};
    run_block(block);
  });
}

void DenseConvolve::run_block(Block& block) const {
  if (!reads_directly(block)) copy_rows(block);
  if (starts_) start_rows(block);
  for (int64_t panel = block.panel_begin; panel < block.panel_end; ++panel) run_panel(block, panel);
}

// The kernels sum l * w, where l = q + (what the left form adds) and w is as stored. With z_l and z_w the zero points,
//   sum (l - z_l)(w - z_w) = sum l w - z_w sum l - z_l sum w + K z_l z_w.
// The second term belongs to a row, the others to a column; those of constants are in the bias (SumBounds).
void DenseConvolve::start_columns(const StepContext& context) const {
  if (weights_->tile) {
    context.threads.parallel(panels_, [&](int64_t panel, int) { pack_panel(context, panel); });
  } else {
    std::fill_n(column_terms(context), panels_ * kernel_->nr, 0);
  }
}

void DenseConvolve::pack_panel(const StepContext& context, int64_t panel) const {
  const PackedTile& tile = *weights_->tile;
  const int64_t nr = kernel_->nr;
  const int64_t first = panel * nr;
  int32_t sums[kMostColumns] = {};
  hai_pack_right p = {};
  p.k_step = tile.by_outputs ? 1 : tile.outputs;
  p.column_step = tile.by_outputs ? tile.inputs : 1;
  p.from = reinterpret_cast<const uint8_t*>(context.packed + tile.address) + first * p.column_step;
  p.k_count = tile.inputs;
  p.columns = static_cast<int32_t>(std::min(nr, tile.outputs - first));
  p.nr = kernel_->nr;
  p.k_group = kernel_->k_group;
  p.flip = tile.flip;
  p.out = reinterpret_cast<int8_t*>(context.common + panel * panel_bytes_);
  p.sums = sums;
  pack_right_s8_for(isa_)(&p);
  const int64_t zero_left = c_.input_zero_point + left_.offset;
  for (int64_t j = 0; j < nr; ++j) {
    column_terms(context)[first + j] = zero_left * (tile.inputs * c_.weight_zero_point - sums[j]);
  }
}

template <typename T>
int64_t sum_of(const std::byte* values, int64_t count) {
  const auto* typed = reinterpret_cast<const T*>(values);
  int64_t sum = 0;
  for (int64_t i = 0; i < count; ++i) sum += typed[i];
  return sum;
}

void DenseConvolve::start_rows(const Block& block) const {
  auto* terms = reinterpret_cast<int64_t*>(block.scratch + scratch_.row_terms);
  const int64_t cols = block.col_end - block.col_begin;
  const int64_t pixels = (block.row_end - block.row_begin) * cols;
  if (c_.weight_zero_point == 0) {
    std::fill_n(terms, pixels, 0);
    return;
  }
  const auto* offsets = reinterpret_cast<const int64_t*>(block.scratch + scratch_.offsets);
  const int64_t length = segments_.columns * c_.input_channels;
  for (int64_t i = 0; i < pixels; ++i) {
    const std::byte* base = block.base + i / cols * block.row_bytes + i % cols * block.step_bytes;
    int64_t sum = 0;
    for (int64_t s = 0; s < segments_.count; ++s) {
      const std::byte* at = base + offsets[s];
      sum += left_.element_bytes == 2            ? sum_of<int16_t>(at, length)
             : kernel_->left == HAI_GEMM_LEFT_S8 ? sum_of<int8_t>(at, length)
                                                 : sum_of<uint8_t>(at, length);
    }
    terms[i] = -c_.weight_zero_point * sum;
  }
}

// Adds to sums that go on.
void DenseConvolve::start_sums(const Block& block, int64_t panel, const int64_t* row_terms, int32_t rows,
                               int32_t* sums) const {
  const int32_t nr = kernel_->nr;
  const int64_t* column_terms = this->column_terms(block.context) + panel * nr;
  if (!continues_) {
    const hai_start_sums start = {row_terms, column_terms, rows, nr, sums};
    start_sums_s32_for(isa_)(&start);
    return;
  }
  for (int32_t row = 0; row < rows; ++row) {
    for (int32_t j = 0; j < nr; ++j) {  // modulo 2^32, like the kernels
      const auto sum = static_cast<uint32_t>(sums[row * nr + j]);
      sums[row * nr + j] = static_cast<int32_t>(sum + static_cast<uint32_t>(row_terms[row] + column_terms[j]));
    }
  }
}

// True, and the block made ready, where the kernel can read the tile itself.
bool DenseConvolve::reads_directly(Block& block) const {
  if (!left_.same_form() || segments_.columns * c_.input_channels % kernel_->k_group != 0) return false;
  const bool dense = input_.pixel_stride == c_.input_channels * left_.element_bytes;
  if (segments_.columns > 1 && !dense) return false;
  const int64_t row = block.row_begin * c_.stride_rows - c_.pad_top;
  const int64_t col = block.col_begin * c_.stride_columns - c_.pad_left;
  const int64_t last_row = (block.row_end - 1) * c_.stride_rows - c_.pad_top + (c_.window_rows - 1) * c_.dilation_rows;
  const int64_t last_col =
      (block.col_end - 1) * c_.stride_columns - c_.pad_left + (c_.window_columns - 1) * c_.dilation_columns;
  if (row < 0 || col < 0 || last_row >= c_.input_rows || last_col >= c_.input_columns) return false;
  if (input_.ring_rows != 0 &&
      (input_.ring_first + row) / input_.ring_rows != (input_.ring_first + last_row) / input_.ring_rows) {
    return false;
  }
  block.base = block.context.sram + input_.row_address(row) + col * input_.pixel_stride;
  block.row_bytes = c_.stride_rows * input_.row_stride;
  block.step_bytes = c_.stride_columns * input_.pixel_stride;
  block.flat = dense_results_ && block.col_end - block.col_begin == c_.output_columns &&
               block.row_bytes == c_.output_columns * block.step_bytes;
  set_offsets(block, input_.row_stride, input_.pixel_stride);
  return true;
}

void DenseConvolve::copy_rows(Block& block) const {
  hai_stripe stripe = {};
  stripe.image_rows = 1;
  stripe.image_cols = c_.input_columns;
  stripe.channels = c_.input_channels;
  stripe.pixel_elements = input_.pixel_stride / element_bytes(c_.input_type);
  stripe.row_count = 1;
  stripe.row_step = 1;
  stripe.col_step = point_ ? c_.stride_columns : 1;
  stripe.first_col = block.col_begin * c_.stride_columns - c_.pad_left;
  stripe.col_count =
      copied(point_, block.col_end - block.col_begin, c_.stride_columns, c_.window_columns, c_.dilation_columns);
  stripe.kind = left_.kind;
  stripe.zero_point = static_cast<int32_t>(c_.input_zero_point);
  stripe.flip = left_.flip;
  stripe.padding = static_cast<uint8_t>(c_.input_zero_point + left_.offset);
  const int64_t rows =
      copied(point_, block.row_end - block.row_begin, c_.stride_rows, c_.window_rows, c_.dilation_rows);
  const int64_t pixel_bytes = c_.input_channels * left_.element_bytes;
  const int64_t pitch = stripe.col_count * pixel_bytes;
  const auto copy = stripe_copy_for(isa_);
  std::byte* out = block.scratch + scratch_.copy;
  for (int64_t i = 0; i < rows; ++i) {
    const int64_t row = block.row_begin * c_.stride_rows - c_.pad_top + i * (point_ ? c_.stride_rows : 1);
    const bool inside = row >= 0 && row < c_.input_rows;
    stripe.first_row = inside ? 0 : -1;  // -1: padding alone
    stripe.image = block.context.sram + input_.row_address(inside ? row : 0);
    stripe.out = out + i * pitch;
    copy(&stripe);
  }
  block.base = out;
  block.row_bytes = (point_ ? 1 : c_.stride_rows) * pitch;
  block.step_bytes = (point_ ? 1 : c_.stride_columns) * pixel_bytes;
  block.flat = dense_results_ && block.col_end - block.col_begin == c_.output_columns &&
               block.row_bytes == c_.output_columns * block.step_bytes;
  set_offsets(block, pitch, pixel_bytes);
}

void DenseConvolve::set_offsets(const Block& block, int64_t pitch_bytes, int64_t pixel_bytes) const {
  auto* offsets = reinterpret_cast<int64_t*>(block.scratch + scratch_.offsets);
  const int64_t across = segments_.count / c_.window_rows;
  for (int64_t s = 0; s < segments_.count; ++s) {
    offsets[s] = s / across * c_.dilation_rows * pitch_bytes + s % across * c_.dilation_columns * pixel_bytes;
  }
}

void DenseConvolve::run_panel(const Block& block, int64_t panel) const {
  const int64_t cols = block.col_end - block.col_begin;
  if (block.flat) {
    run_row(block, panel, block.row_begin, 0, (block.row_end - block.row_begin) * cols);
    return;
  }
  for (int64_t row = block.row_begin; row < block.row_end; ++row) run_row(block, panel, row, block.col_begin, cols);
}

ResultPixels DenseConvolve::results_at(const StepContext& context, int64_t row, int64_t col, int64_t channel) const {
  ResultPixels out{};
  if (leaves_) return out;
  const int64_t bytes = epilogue_->output_bytes();
  out.out = context.sram + output_.row_address(row) + col * output_.pixel_stride + channel * bytes;
  out.out_stride = output_.pixel_stride / bytes;
  if (c_.adds_residual == 0) return out;
  const int64_t residual_bytes = epilogue_->residual_bytes();
  out.residual = context.sram + residual_.row_address(row) + col * residual_.pixel_stride + channel * residual_bytes;
  out.residual_stride = residual_.pixel_stride / residual_bytes;
  return out;
}

// `cols` output pixels that follow each other.
void DenseConvolve::run_row(const Block& block, int64_t panel, int64_t row, int64_t first_col, int64_t cols) const {
  const auto** segments = reinterpret_cast<const void**>(block.scratch + scratch_.segments);
  const auto* offsets = reinterpret_cast<const int64_t*>(block.scratch + scratch_.offsets);
  const int64_t channel = panel * kernel_->nr;
  hai_gemm_operands in = {};
  in.segments = segments;
  in.segment_count = segments_.count;
  in.segment_steps = segments_.steps;
  in.row_stride_bytes = block.step_bytes;
  in.panel = panels(block.context) + panel * panel_bytes_;
  in.cols = static_cast<int32_t>(std::min<int64_t>(kernel_->nr, c_.output_channels - channel));
  const std::byte* base = block.base + (row - block.row_begin) * block.row_bytes;
  ResultPixels results = results_at(block.context, row, first_col, channel);
  std::byte* const first_out = results.out;
  const auto* row_terms = reinterpret_cast<const int64_t*>(block.scratch + scratch_.row_terms) +
                          (row - block.row_begin) * (block.col_end - block.col_begin);
  const int64_t tile_cols = ceil_div(cols, ceil_div(cols, int64_t{kernel_->mr}));  // even: short ones hide less latency
  for (int64_t col = 0; col < cols; col += tile_cols) {
    in.rows = static_cast<int32_t>(std::min(tile_cols, cols - col));
    for (int64_t s = 0; s < segments_.count; ++s) segments[s] = base + col * block.step_bytes + offsets[s];
    const int64_t pixel = row * c_.output_columns + first_col + col;
    if (wide_) {
      hai_gemm_s16_tile tile = {in, reinterpret_cast<int64_t*>(block.scratch + scratch_.sums), most_steps_};
      run_wide(block, tile, panel, pixel, row_terms + col, results);
    } else {
      hai_gemm_i8_tile tile = {};
      tile.in = in;
      run_narrow(block, tile, panel, pixel, row_terms + col, results);
    }
    if (leaves_) continue;
    results.out += in.rows * output_.pixel_stride;
    if (results.residual != nullptr) results.residual += in.rows * residual_.pixel_stride;
  }
  // Not tile by tile: a load that needs several stores still on their way waits for them.
  if (!leaves_ && epilogue_->stores_in_kernel()) epilogue_->look_up(first_out, output_.pixel_stride, cols, in.cols);
}

void DenseConvolve::run_narrow(const Block& block, hai_gemm_i8_tile& tile, int64_t panel, int64_t pixel,
                               const int64_t* row_terms, const ResultPixels& results) const {
  const int64_t nr = kernel_->nr;
  const int64_t pixels = c_.output_rows * c_.output_columns;
  tile.sums = reinterpret_cast<int32_t*>(block.scratch + scratch_.sums);
  if (continues_ || leaves_) {
    tile.sums = reinterpret_cast<int32_t*>(block.context.accumulators) + (panel * pixels + pixel) * nr;
  }
  if (starts_) start_sums(block, panel, row_terms, tile.in.rows, tile.sums);
  tile.accumulate = continues_ || starts_ ? 1 : 0;
  const bool stores = !leaves_ && epilogue_->stores_in_kernel();
  if (stores) {
    tile.out = reinterpret_cast<uint8_t*>(results.out);
    tile.out_stride = results.out_stride;
    tile.bias = epilogue_->bias() + panel * nr;
    tile.multiplier = epilogue_->multiplier() + panel * nr;
    tile.lo = epilogue_->lo();
    tile.hi = epilogue_->hi();
    tile.zero_point = epilogue_->zero_point();
  }
  kernel_->run_i8(&tile);
  if (leaves_ || stores) return;
  epilogue_->finish(tile.sums, nr, tile.in.rows, tile.in.cols, panel * nr, results,
                    reinterpret_cast<int16_t*>(block.scratch + scratch_.words));
}

void DenseConvolve::run_wide(const Block& block, hai_gemm_s16_tile& tile, int64_t panel, int64_t pixel,
                             const int64_t* row_terms, const ResultPixels& results) const {
  const int64_t nr = kernel_->nr;
  kernel_->run_s16(&tile);
  if (starts_) {
    const int64_t* columns = column_terms(block.context) + panel * nr;
    for (int32_t row = 0; row < tile.in.rows; ++row) {
      for (int64_t j = 0; j < nr; ++j) tile.sums[row * nr + j] += row_terms[row] + columns[j];
    }
  }
  if (continues_ || leaves_) {
    const int64_t padded = align_up(c_.output_channels, kBlockChannels);
    auto* kept = reinterpret_cast<int64_t*>(block.context.accumulators) + pixel * padded + panel * nr;
    for (int32_t row = 0; row < tile.in.rows; ++row) {
      for (int32_t c = 0; c < tile.in.cols; ++c) {
        int64_t& sum = tile.sums[row * nr + c];
        if (continues_) sum += kept[row * padded + c];
        if (leaves_) kept[row * padded + c] = sum;
      }
    }
  }
  if (leaves_) return;
  epilogue_->finish(tile.sums, nr, tile.in.rows, tile.in.cols, panel * nr, results,
                    reinterpret_cast<int16_t*>(block.scratch + scratch_.words));
}

template <typename T>
void pack_as(const Convolve& c, const hai_gemm_kernel& kernel, std::span<const int16_t> weights, T* to) {
  const Segments segments(c, kernel);
  const int64_t length = segments.columns * c.input_channels;  // of a segment
  const int64_t all = segments.count * length;
  for (int64_t first = 0; first < c.output_channels; first += kernel.nr) {
    const int64_t columns = std::min<int64_t>(kernel.nr, c.output_channels - first);
    for (int64_t s = 0; s < segments.count; ++s) {
      for (int64_t step = 0; step < segments.steps; ++step, to += kernel.nr * kernel.k_group) {
        const int64_t k = step * kernel.k_group;
        const int64_t present = std::min<int64_t>(kernel.k_group, length - k);
        for (int64_t column = 0; column < columns; ++column) {
          const int16_t* from = weights.data() + (first + column) * all + s * length + k;
          for (int64_t i = 0; i < present; ++i) to[column * kernel.k_group + i] = static_cast<T>(from[i]);
        }
      }
    }
  }
}

}  // namespace

int64_t padded_channels(const Convolve& c, cpu::Isa isa) {
  return align_up(c.output_channels, std::max<int64_t>(kernel_for(c, isa)->nr, kBlockChannels));
}

int64_t dense_left_offset(const Convolve& c, cpu::Isa isa) { return left_of(c, isa).offset; }

Result<cpu::AlignedBuffer> pack_panels(const Convolve& c, std::span<const int16_t> weights, cpu::Isa isa) {
  const hai_gemm_kernel& kernel = *kernel_for(c, isa);
  const Segments segments(c, kernel);
  const int64_t panels = ceil_div(c.output_channels, int64_t{kernel.nr});
  const bool words = c.weights == kWeightI16;
  const int64_t elements = panels * segments.count * segments.steps * kernel.nr * kernel.k_group;
  HAI_TRY(cpu::AlignedBuffer packed, cpu::AlignedBuffer::zeros(elements * (words ? 2 : 1)));
  if (words) {
    pack_as(c, kernel, weights, packed.as<int16_t>().data());
  } else {
    pack_as(c, kernel, weights, packed.as<int8_t>().data());
  }
  return packed;
}

Result<StepPointer> make_dense_convolve(const Convolve& command, SharedWeights weights, SharedEpilogue epilogue,
                                        cpu::Isa isa) {
  auto step = std::make_unique<DenseConvolve>(command, std::move(weights), std::move(epilogue), isa);
  HAI_TRY_STATUS(step->choose_blocks());
  return StepPointer(std::move(step));
}

}  // namespace hai::sd3403
