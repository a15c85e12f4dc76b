// Combine, Pool, Resize, Copy against plain loops: every mix of types, layouts with gaps, rings that wrap, operands
// that repeat, results in place.
#include "devices/sd3403/exec/elementwise.h"

#include <gtest/gtest.h>

#include "devices/sd3403/exec/processor_test_model.h"
#include "devices/sd3403/isa/assembly.h"

namespace hai::sd3403 {
namespace {

using testing::Bytes;
using testing::expect_like_model;
using testing::ProgramBuilder;

constexpr int64_t kIntegers[] = {kI8, kU8, kI16};

// `draw(builder, i)` gives one command.
template <typename Draw>
void compare(int count, const std::string& what, Draw draw) {
  for (int i = 0; i < count; ++i) {
    ProgramBuilder b(static_cast<uint32_t>(i) * 104729 + 3, static_cast<uint8_t>(i % 2));
    const CommandBody body = draw(b);
    b.compute(body);
    expect_like_model(b.finish(), b.random, what + " " + std::to_string(i));
    if (!::testing::Test::HasFatalFailure()) continue;
    std::cerr << disassemble({0, 0, 0, body}) << "\n";
    return;
  }
}

template <typename C>
void draw_range(ProgramBuilder& b, int64_t type, C& c) {
  c.zero_point = b.zero_point(type);
  c.least = type == kI8 ? -128 : type == kU8 ? 0 : -32768;
  c.greatest = type == kI8 ? 127 : type == kU8 ? 255 : 32767;
  if (b.chance(30)) c.least = std::min(c.greatest, std::max(c.least, c.zero_point));
  if (!b.chance(15)) return;
  c.zero_point = b.uniform(-32768, 65535);  // of no type: low bits are stored
  c.least = b.uniform(-32768, 65535);
  c.greatest = b.uniform(c.least, 65535);
}

// From steps of one type to steps of another.
int64_t draw_multiplier(ProgramBuilder& b, int64_t from, int64_t to) {
  if ((from == kI16) == (to == kI16)) return b.real(0.3, 2.0);
  return from == kI16 ? b.real(0.004, 0.03) : b.real(30.0, 200.0);
}

Bytes draw_table(ProgramBuilder& b, int64_t type, int64_t entries) {
  return testing::random_bytes(entries * element_bytes(type), b.random);
}

TEST(Combine, EveryArithmeticOfEveryTypes) {
  for (const int64_t arithmetic : {kAdd, kSubtract, kMultiply, kRescale, kLookUp}) {
    for (const int64_t left : kIntegers) {
      for (const int64_t right : kIntegers) {
        if (arithmetic >= kRescale && right != kI8) continue;
        for (const int64_t output : kIntegers) {
          compare(8, fmt::format("arithmetic {} of {} and {} to {}", arithmetic, left, right, output),
                  [&](ProgramBuilder& b) {
                    Combine c;
                    c.arithmetic = arithmetic;
                    c.rows = b.uniform(1, 6);
                    c.columns = b.uniform(1, 9);
                    c.channels = b.uniform(1, 70);
                    set_left_tile(c, b.tile(left, c.rows, c.columns, c.channels));
                    c.right_repeats = arithmetic <= kMultiply && b.chance(20) ? 1 : 0;
                    Tile two = b.tile(right, c.rows, c.columns, c.right_repeats != 0 ? 1 : c.channels);
                    if (b.chance(20)) two.row_stride = two.pixel_stride = two.ring_rows = two.ring_first = 0;
                    if (arithmetic <= kMultiply) set_right_tile(c, two);
                    Tile to = b.tile(output, c.rows, c.columns, c.channels);
                    const bool in_place = element_bytes(left) == element_bytes(output) && b.chance(20);
                    if (in_place) to = left_tile(c);
                    to.type = output;
                    set_output_tile(c, to);
                    c.left_zero_point = b.zero_point(left);
                    c.right_zero_point = b.zero_point(right);
                    draw_range(b, output, c);
                    c.left_multiplier = draw_multiplier(b, left, output);
                    c.right_multiplier = draw_multiplier(b, right, output);
                    if (arithmetic <= kSubtract && b.chance(20)) c.left_multiplier |= int64_t{1} << 31;  // its sign
                    if (arithmetic == kMultiply) c.left_multiplier = b.real(0.0001, 0.02);
                    if (arithmetic == kLookUp) {
                      c.function_first = b.chance(50) ? (left == kI16  ? -3000
                                                         : left == kI8 ? -128
                                                                       : 0)
                                                      : b.uniform(-90, 90);
                      c.function_entries = b.uniform(1, left == kI16 ? 6000 : 300);
                      c.function_table = b.load(draw_table(b, output, c.function_entries));
                    }
                    return c;
                  });
        }
      }
    }
  }
}

Pool draw_pool(ProgramBuilder& b, int64_t input, int64_t output) {
  Pool c;
  c.window_rows = b.uniform(1, 5);
  c.window_columns = b.uniform(1, 5);
  c.stride_rows = b.uniform(1, 3);
  c.stride_columns = b.uniform(1, 3);
  c.pad_top = b.uniform(0, c.window_rows - 1);
  c.pad_left = b.uniform(0, c.window_columns - 1);
  c.input_rows = b.uniform(1, 9);
  c.input_columns = b.uniform(1, 9);
  // Every window has an element: the last starts inside.
  c.output_rows = b.uniform(1, (c.input_rows - 1 + c.pad_top) / c.stride_rows + 1);
  c.output_columns = b.uniform(1, (c.input_columns - 1 + c.pad_left) / c.stride_columns + 1);
  c.channels = b.chance(10) ? b.uniform(500, 700) : b.uniform(1, 40);
  c.input_zero_point = b.zero_point(input);
  set_input_tile(c, b.tile(input, c.input_rows, c.input_columns, c.channels));
  set_output_tile(c, b.tile(output, c.output_rows, c.output_columns, c.channels));
  return c;
}

TEST(Pool, Maximum) {
  for (const int64_t input : kIntegers) {
    for (const int64_t output : kIntegers) {
      compare(20, fmt::format("maximum of {} to {}", input, output), [&](ProgramBuilder& b) {
        Pool c = draw_pool(b, input, output);
        if (input == output && b.chance(50)) return c;
        c.multiplier = draw_multiplier(b, input, output);
        draw_range(b, output, c);
        return c;
      });
    }
  }
}

TEST(Pool, MaximumOfNothingIsTheLeast) {
  compare(10, "windows outside of the tile", [&](ProgramBuilder& b) {
    Pool c = draw_pool(b, kI8, kI8);
    c.output_rows = 6;
    c.window_rows = 2;
    c.pad_top = 7;
    c.stride_rows = 3;
    set_output_tile(c, b.tile(kI8, c.output_rows, c.output_columns, c.channels));
    return c;
  });
}

TEST(Pool, Average) {
  for (const int64_t input : kIntegers) {
    for (const int64_t output : kIntegers) {
      compare(20, fmt::format("mean of {} to {}", input, output), [&](ProgramBuilder& b) {
        Pool c = draw_pool(b, input, output);
        c.pooling = kAverage;
        c.counts_padding = b.uniform(0, 1);
        c.multiplier_first = 1;
        c.multiplier_entries = 25;
        Bytes table;
        for (int i = 1; i <= 25; ++i) {
          const auto bits = static_cast<uint32_t>(draw_multiplier(b, input, output));
          const auto* at = reinterpret_cast<const std::byte*>(&bits);
          table.insert(table.end(), at, at + sizeof bits);
        }
        c.multiplier_table = b.load(table);
        draw_range(b, output, c);
        return c;
      });
    }
  }
}

int64_t load_positions(ProgramBuilder& b, int64_t count, int64_t size) {
  Bytes table;
  int64_t at = 0;
  for (int64_t i = 0; i < count; ++i) {
    at = b.chance(10) ? 60000 : b.chance(50) ? at : b.uniform(0, size - 1);  // some lie outside, and are brought inside
    const auto weight = static_cast<uint16_t>(b.uniform(0, 2048));
    const uint16_t entry[] = {static_cast<uint16_t>(at), static_cast<uint16_t>(b.uniform(0, size)),
                              static_cast<uint16_t>(2048 - weight), weight};
    const auto* bytes = reinterpret_cast<const std::byte*>(entry);
    table.insert(table.end(), bytes, bytes + sizeof entry);
  }
  return b.load(table);
}

TEST(Resize, NearestAndLinear) {
  for (const int64_t interpolation : {kNearest, kLinear}) {
    for (const int64_t input : kIntegers) {
      for (const int64_t output : kIntegers) {
        compare(15, fmt::format("resize {} of {} to {}", interpolation, input, output), [&](ProgramBuilder& b) {
          Resize c;
          c.interpolation = interpolation;
          c.input_rows = b.uniform(1, 6);
          c.input_columns = b.uniform(1, 6);
          c.output_rows = b.uniform(1, 12);
          c.output_columns = b.uniform(1, 12);
          c.channels = b.uniform(1, 40);
          set_input_tile(c, b.tile(input, c.input_rows, c.input_columns, c.channels));
          set_output_tile(c, b.tile(output, c.output_rows, c.output_columns, c.channels));
          c.row_table = load_positions(b, c.output_rows, c.input_rows);
          c.column_table = load_positions(b, c.output_columns, c.input_columns);
          if (interpolation == kNearest && input == output && b.chance(50)) return c;
          c.input_zero_point = b.zero_point(input);
          draw_range(b, output, c);
          c.multiplier = draw_multiplier(b, input, output);
          if (interpolation == kLinear) {
            float value;
            const auto bits = static_cast<uint32_t>(c.multiplier);
            std::memcpy(&value, &bits, sizeof value);
            value /= 4194304.0F;
            uint32_t word;
            std::memcpy(&word, &value, sizeof word);
            c.multiplier = word;
          }
          return c;
        });
      }
    }
  }
}

TEST(Copy, MovesTransposesAndFills) {
  for (const int64_t type : {kI8, kU8, kI16, kI32, kF16, kF32}) {
    compare(40, fmt::format("copy of {}", type), [&](ProgramBuilder& b) {
      Copy c;
      c.rows = b.uniform(1, 6);
      c.columns = b.uniform(1, 9);
      c.channels = b.uniform(1, 40);
      const int64_t bytes = element_bytes(type);
      Tile from = b.tile(type, c.rows, c.columns, c.channels);
      Tile to = b.tile(type, c.rows, c.columns, c.channels);
      if (b.chance(30)) {  // columns and channels change places
        to = b.tile(type, c.rows, c.channels, c.columns);
        c.output_channel_stride = to.pixel_stride;
        to.pixel_stride = bytes;
      }
      if (b.chance(30)) {
        from = b.tile(type, c.rows, c.channels, c.columns);
        c.input_channel_stride = from.pixel_stride;
        from.pixel_stride = bytes;
      }
      set_input_tile(c, from);
      set_output_tile(c, to);
      c.fills = b.chance(30) ? 1 : 0;
      if (c.fills != 0 && type != kF16 && type != kF32) c.fill_value = b.uniform(-32768, 65535);
      return c;
    });
  }
}

}  // namespace
}  // namespace hai::sd3403
