// DmaLoad, DmaStore and Copy: moving bytes.
//
// Method: the longest runs that are in one piece on both sides are copied at once: planes and rows of a box collapse
// where they follow each other. Large boxes are shared among the session's threads.
#include <cstring>

#include "devices/cpu/exec/parallel_range.h"
#include "devices/sd3403/exec/processor_step.h"

namespace hai::sd3403 {
namespace {

struct Box {
  int64_t planes, rows, row_bytes;
  int64_t from_plane, from_row;
  int64_t to_plane, to_row;
};

template <typename Dma>
Box box_of(const Dma& c) {
  Box box{c.planes,
          c.rows,
          c.row_bytes,
          c.source_plane_stride,
          c.source_row_stride,
          c.destination_plane_stride,
          c.destination_row_stride};
  const bool one_run = box.rows == 1 || (box.from_row == box.row_bytes && box.to_row == box.row_bytes);
  if (!one_run) return box;
  box.row_bytes *= box.rows;
  box.rows = box.planes;  // planes are the rows now
  box.planes = 1;
  box.from_row = box.from_plane;
  box.to_row = box.to_plane;
  if (box.from_row != box.row_bytes || box.to_row != box.row_bytes) return box;
  box.row_bytes *= box.rows;
  box.rows = 1;
  return box;
}

void copy_box(const Box& box, const std::byte* from, std::byte* to, ThreadPool& threads) {
  // Rows of which each lies behind the one before; else their order decides what is left, and one thread keeps it.
  const bool apart = box.to_row >= box.row_bytes && (box.planes == 1 || box.to_plane >= box.rows * box.to_row);
  const auto copy = [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t plane = i / box.rows;
      const int64_t row = i % box.rows;
      std::memcpy(to + plane * box.to_plane + row * box.to_row, from + plane * box.from_plane + row * box.from_row,
                  static_cast<size_t>(box.row_bytes));
    }
  };
  if (apart) {
    cpu::parallel_range(threads, box.planes * box.rows, box.row_bytes, copy);
  } else {
    copy(0, box.planes * box.rows);
  }
}

class DmaLoadStep final : public Step {
 public:
  explicit DmaLoadStep(const DmaLoad& c)
      : box_(box_of(c)), image_(static_cast<size_t>(c.image)), source_(c.source), destination_(c.destination) {}
  void run(const StepContext& context) const override {
    copy_box(box_, context.images[image_].read + source_, context.sram + destination_, context.threads);
  }

 private:
  Box box_;
  size_t image_;
  int64_t source_, destination_;
};

class DmaStoreStep final : public Step {
 public:
  explicit DmaStoreStep(const DmaStore& c)
      : box_(box_of(c)), image_(static_cast<size_t>(c.image)), source_(c.source), destination_(c.destination) {}
  void run(const StepContext& context) const override {
    copy_box(box_, context.sram + source_, context.images[image_].write + destination_, context.threads);
  }

 private:
  Box box_;
  size_t image_;
  int64_t source_, destination_;
};

// Channels of one pixel, one by one.
template <int64_t kBytes>
void copy_channels(const std::byte* x, int64_t x_step, std::byte* y, int64_t y_step, int64_t count) {
  for (int64_t c = 0; c < count; ++c) std::memcpy(y + c * y_step, x + c * x_step, kBytes);
}

class CopyStep final : public Step {
 public:
  explicit CopyStep(const Copy& c)
      : rows_(c.rows),
        columns_(c.columns),
        channels_(c.channels),
        input_(input_tile(c)),
        output_(output_tile(c)),
        bytes_(element_bytes(c.output_type)),
        input_step_(c.input_channel_stride == 0 ? bytes_ : c.input_channel_stride),
        output_step_(c.output_channel_stride == 0 ? bytes_ : c.output_channel_stride),
        fills_(c.fills != 0) {
    const auto value = static_cast<int32_t>(c.fill_value);
    std::memcpy(fill_, &value, sizeof fill_);
  }

  void run(const StepContext& context) const override {
    cpu::parallel_range(context.threads, rows_, columns_ * channels_ * bytes_, [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) {
        std::byte* y = context.sram + output_.row_address(row);
        if (fills_) {
          fill_row(y);
        } else {
          copy_row(context.sram + input_.row_address(row), y);
        }
      }
    });
  }

 private:
  bool in_one_piece(const Tile& tile, int64_t step) const {
    return step == bytes_ && tile.pixel_stride == channels_ * bytes_;
  }

  void fill_row(std::byte* y) const {
    if (bytes_ == 1 && in_one_piece(output_, output_step_)) {
      std::memset(y, std::to_integer<int>(fill_[0]), static_cast<size_t>(columns_ * channels_));
      return;
    }
    for (int64_t i = 0; i < columns_; ++i) copy_pixel(fill_, 0, y + i * output_.pixel_stride);
  }

  void copy_row(const std::byte* x, std::byte* y) const {
    if (in_one_piece(input_, input_step_) && in_one_piece(output_, output_step_)) {
      std::memcpy(y, x, static_cast<size_t>(columns_ * channels_ * bytes_));
      return;
    }
    const bool runs = input_step_ == bytes_ && output_step_ == bytes_;
    for (int64_t i = 0; i < columns_; ++i) {
      const std::byte* from = x + i * input_.pixel_stride;
      std::byte* to = y + i * output_.pixel_stride;
      if (runs) {
        std::memcpy(to, from, static_cast<size_t>(channels_ * bytes_));
      } else {
        copy_pixel(from, input_step_, to);
      }
    }
  }

  void copy_pixel(const std::byte* from, int64_t from_step, std::byte* to) const {
    if (bytes_ == 1) {
      copy_channels<1>(from, from_step, to, output_step_, channels_);
    } else if (bytes_ == 2) {
      copy_channels<2>(from, from_step, to, output_step_, channels_);
    } else {
      copy_channels<4>(from, from_step, to, output_step_, channels_);
    }
  }

  int64_t rows_, columns_, channels_;
  Tile input_, output_;
  int64_t bytes_, input_step_, output_step_;
  bool fills_;
  std::byte fill_[4];
};

}  // namespace

Result<StepPointer> make_step(const DmaLoad& command, const StepSources&) {
  return StepPointer(std::make_unique<DmaLoadStep>(command));
}

Result<StepPointer> make_step(const DmaStore& command, const StepSources&) {
  return StepPointer(std::make_unique<DmaStoreStep>(command));
}

Result<StepPointer> make_step(const Copy& command, const StepSources&) {
  if (command.fills != 0 && command.output_type == kF32 && command.fill_value != 0) {
    return make_error(StatusCode::kUnsupported, "N066", "f32 is filled with 0 only, not with {}", command.fill_value);
  }
  return StepPointer(std::make_unique<CopyStep>(command));
}

}  // namespace hai::sd3403
