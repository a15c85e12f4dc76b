// Convolve against plain loops: every type, connection, window, epilogue and layout that the command has.
#include <gtest/gtest.h>

#include <cmath>

#include "devices/sd3403/exec/processor_test_model.h"
#include "devices/sd3403/isa/access.h"
#include "devices/sd3403/isa/assembly.h"

namespace hai::sd3403 {
namespace {

using testing::Bytes;
using testing::expect_like_model;
using testing::ProgramBuilder;

template <typename T>
void append(Bytes& bytes, T value) {
  const auto* at = reinterpret_cast<const std::byte*>(&value);
  bytes.insert(bytes.end(), at, at + sizeof value);
}

// What a random convolution may be; the rest is drawn.
struct Wanted {
  int64_t input_type = kI8;
  int64_t weights = kWeightI8;
  int64_t connection = kDense;
  int64_t output_type = kI8;
  bool function = false;
  int64_t residual_type = -1;  // none
  bool narrow_sums = false;
  int64_t most_window = 3;
  int64_t most_channels = 40;
  int64_t most_columns = 9;
  int64_t least_rows = 1;
  bool any_bounds = false;  // zero points and bounds that fit no type
  int64_t bias = 0;         // of all channels, where not 0
  bool packs = false;       // most weights come from a WeightPack
  int64_t transform = kDirect;
  int64_t least_channels = 1;
};

void draw_window(ProgramBuilder& b, const Wanted& wanted, Convolve& c) {
  c.transform = wanted.transform;
  const bool plain = c.transform != kDirect;
  c.window_rows = plain ? 3 : b.uniform(1, wanted.most_window);
  c.window_columns = plain ? 3 : b.uniform(1, wanted.most_window);
  c.stride_rows = plain || wanted.least_rows > 1 ? 1 : b.uniform(1, 3);
  c.stride_columns = plain || wanted.least_rows > 1 ? 1 : b.uniform(1, 3);
  c.dilation_rows = plain || b.chance(70) ? 1 : b.uniform(2, 3);
  c.dilation_columns = plain || b.chance(70) ? 1 : b.uniform(2, 3);
  c.output_rows = b.uniform(wanted.least_rows, wanted.least_rows + 4);
  c.output_columns = b.uniform(wanted.least_rows, wanted.most_columns);
  c.pad_top = b.chance(50) ? 0 : b.uniform(0, 3);
  c.pad_left = b.chance(50) ? 0 : b.uniform(0, 3);
  // Often the rows that the windows need, often fewer, so that windows reach below and beyond the tile.
  const int64_t rows = (c.output_rows - 1) * c.stride_rows + (c.window_rows - 1) * c.dilation_rows + 1 - c.pad_top;
  const int64_t columns =
      (c.output_columns - 1) * c.stride_columns + (c.window_columns - 1) * c.dilation_columns + 1 - c.pad_left;
  c.input_rows = std::max<int64_t>(1, rows - (b.chance(50) ? 0 : b.uniform(0, 2)));
  c.input_columns = std::max<int64_t>(1, columns - (b.chance(50) ? 0 : b.uniform(0, 2)));
}

Bytes draw_weights(ProgramBuilder& b, const Convolve& c) {
  Bytes bytes = testing::random_bytes(weight_bytes(c), b.random);
  const int64_t depth = c.connection == kDepthwise ? 1 : c.input_channels;
  const int64_t taps = taps_of(c) * depth;
  // Channels that are not there are zero.
  for (int64_t o = c.output_channels; o < (c.output_channels + 15) / 16 * 16; ++o) {
    for (int64_t k = 0; k < taps; ++k) {
      const int64_t at = o / 16 * taps * 16 + k * 16 + o % 16;
      if (c.weights == kWeightI4) {
        bytes[static_cast<size_t>(at / 2)] &= at % 2 == 0 ? std::byte{0xf0} : std::byte{0x0f};
      } else {
        const int64_t size = c.weights == kWeightI16 ? 2 : 1;
        std::memset(bytes.data() + at * size, 0, static_cast<size_t>(size));
      }
    }
  }
  return bytes;
}

Bytes draw_channels(ProgramBuilder& b, const Wanted& wanted, const Convolve& c, double sum_steps, double result_steps) {
  Bytes bytes;
  for (int64_t o = 0; o < c.output_channels; ++o) {
    const auto drawn = b.uniform(static_cast<int64_t>(-sum_steps), static_cast<int64_t>(sum_steps));
    const int64_t bias = wanted.bias != 0 ? wanted.bias + drawn : drawn;
    const double multiplier = result_steps / sum_steps;
    const auto real = static_cast<uint32_t>(b.real(multiplier / 2, multiplier * 2));
    if (has_wide_sums(c)) {
      append(bytes, bias);
      append(bytes, real);
      append(bytes, uint32_t{0});
    } else {
      append(bytes, static_cast<int32_t>(bias));
      append(bytes, real);
    }
  }
  return bytes;
}

void draw_epilogue(ProgramBuilder& b, const Wanted& wanted, Convolve& c, int64_t taps) {
  const double left = c.input_type == kI16 ? 10000.0 : 70.0;
  const double right = c.weights == kWeightI16 ? 10000.0 : c.weights == kWeightI8 ? 70.0 : 4.0;
  // Taps are shifted up by a few bits and weighted by up to 64.
  const double transformed = c.transform == kDirect ? 1.0 : 100.0;
  const double sum = transformed * left * right * std::sqrt(static_cast<double>(taps)) + 10.0;
  const bool words = wanted.output_type == kI16;
  const bool inner_words = (wanted.function || wanted.residual_type >= 0) && (words || b.chance(40));
  const double steps = inner_words || words ? 8000.0 : 70.0;
  c.channel_table = b.load(draw_channels(b, wanted, c, sum, wanted.output_type == kF32 ? 1.0 : steps));
  const auto bounds = [&](int64_t type, int64_t& zero, int64_t& least, int64_t& greatest) {
    zero = b.zero_point(type);
    least = type == kI8 ? -128 : type == kU8 ? 0 : -32768;
    greatest = type == kI8 ? 127 : type == kU8 ? 255 : 32767;
    if (b.chance(40)) least = std::min(greatest, std::max(least, zero));  // as relu
    if (!wanted.any_bounds) return;
    zero = b.uniform(-32768, 65535);
    least = b.uniform(-32768, 65535);
    greatest = b.uniform(least, 65535);
  };
  if (wanted.output_type == kF32) return;
  bounds(wanted.output_type, c.zero_point, c.least, c.greatest);
  bounds(inner_words ? int64_t{kI16} : wanted.output_type, c.sum_zero_point, c.sum_least, c.sum_greatest);
  if (wanted.function) {
    c.function = kTable;
    const bool all = !wanted.any_bounds && b.chance(50);
    c.function_first = all ? c.sum_least : c.sum_least + b.uniform(0, 50);
    c.function_entries = all && !inner_words ? c.sum_greatest - c.sum_least + 1 : b.uniform(1, 3000);
    Bytes entries;
    for (int64_t i = 0; i < c.function_entries; ++i) {
      const bool small = wanted.output_type != kI16;
      append(entries, static_cast<int16_t>(wanted.output_type == kU8 ? b.uniform(0, 255)
                                           : small                   ? b.uniform(-128, 127)
                                                                     : b.uniform(-32768, 32767)));
    }
    c.function_table = b.load(entries);
  }
  if (wanted.residual_type < 0) return;
  c.adds_residual = 1;
  c.residual_zero_point = b.zero_point(wanted.residual_type);
  c.addend_zero_point = wanted.function ? b.zero_point(wanted.output_type) : c.sum_zero_point;
  const bool wide_addend = words || (inner_words && !wanted.function);
  c.addend_multiplier = wide_addend == words ? b.real(0.3, 2.0) : b.real(0.004, 0.03);
  c.residual_multiplier = (wanted.residual_type == kI16) == words ? b.real(0.3, 2.0)
                          : words                                 ? b.real(50.0, 200.0)
                                                                  : b.real(0.004, 0.03);
}

Bytes draw_taps(ProgramBuilder& b, const Convolve& c) {
  Bytes bytes;
  const int64_t most = b.one_of<int64_t>({0, 4, 9});
  for (int64_t t = 0; t < taps_of(c); ++t) {
    append(bytes, static_cast<uint8_t>(b.chance(5) ? b.uniform(0, 15) : b.uniform(1, 7)));
    append(bytes, static_cast<uint8_t>(b.uniform(0, most)));
  }
  return bytes;
}

// Weights that the program itself makes of a tile.
int64_t pack_weights(ProgramBuilder& b, const Convolve& c) {
  WeightPack pack;
  pack.transposes = b.uniform(0, 1);
  const int64_t pixels = pack.transposes != 0 ? c.output_channels : c.input_channels;
  pack.channels = pack.transposes != 0 ? c.input_channels : c.output_channels;
  pack.columns = b.uniform(1, pixels);
  while (pixels % pack.columns != 0) --pack.columns;
  pack.rows = pixels / pack.columns;
  set_input_tile(pack, b.tile(b.one_of<int64_t>({kI8, kU8}), pack.rows, pack.columns, pack.channels));
  pack.destination = b.reserve_cache(pack_bytes(pack));
  b.compute(pack);
  return pack.destination;
}

// One convolution, or a chain of them over parts of the input channels.
void add_convolution(ProgramBuilder& b, const Wanted& wanted, int parts) {
  Convolve c;
  c.connection = wanted.connection;
  c.weights = wanted.weights;
  c.narrow_sums = wanted.narrow_sums ? 1 : 0;
  draw_window(b, wanted, c);
  c.output_channels = b.uniform(1, wanted.most_channels);
  int64_t taps = 0;
  for (int part = 0; part < parts; ++part) {
    c.input_channels =
        wanted.connection == kDepthwise ? c.output_channels : b.uniform(wanted.least_channels, wanted.most_channels);
    taps += taps_of(c) * (c.connection == kDepthwise ? 1 : c.input_channels);
    set_input_tile(c, b.tile(wanted.input_type, c.input_rows, c.input_columns, c.input_channels));
    c.input_zero_point = b.zero_point(wanted.input_type);
    const bool bytes = wanted.connection == kDense && wanted.weights != kWeightI16 && c.transform == kDirect;
    if (c.transform != kDirect) c.tap_table = b.load(draw_taps(b, c));
    c.weight_zero_point = bytes && b.chance(40) ? b.uniform(-128, 127) : 0;
    c.weight_address = wanted.packs && b.chance(80) ? pack_weights(b, c) : b.load(draw_weights(b, c));
    c.first_sum = part == 0 ? 1 : 0;
    c.last_sum = part + 1 == parts ? 1 : 0;
    if (c.last_sum != 0) {
      draw_epilogue(b, wanted, c, taps);
      set_output_tile(c, b.tile(wanted.output_type, c.output_rows, c.output_columns, c.output_channels));
      if (wanted.residual_type >= 0) {
        const bool same = element_bytes(wanted.residual_type) == element_bytes(wanted.output_type) && b.chance(30);
        Tile residual =
            same ? output_tile(c) : b.tile(wanted.residual_type, c.output_rows, c.output_columns, c.output_channels);
        residual.type = wanted.residual_type;
        set_residual_tile(c, residual);
      }
    }
    b.compute(c);
  }
}

void compare(const Wanted& wanted, int count, const std::string& what, int parts = 1) {
  for (int i = 0; i < count; ++i) {
    ProgramBuilder b(static_cast<uint32_t>(i) * 7919 + 17, static_cast<uint8_t>(i % 2));
    add_convolution(b, wanted, parts);
    const testing::Instance instance = b.finish();
    expect_like_model(instance, b.random, what + " " + std::to_string(i));
    if (::testing::Test::HasFatalFailure()) {
      for (const Command& command : instance.commands) {
        if (std::holds_alternative<Convolve>(command.body)) std::cerr << disassemble(command) << "\n";
      }
      return;
    }
  }
}

TEST(Convolve, BytesOfEveryPairOfTypes) {
  for (const int64_t input : {kI8, kU8}) {
    for (const int64_t output : {kI8, kU8, kI16, kF32}) {
      for (const int64_t weights : {kWeightI8, kWeightI4}) {
        compare({.input_type = input, .weights = weights, .output_type = output}, 8,
                fmt::format("input {} weights {} output {}", input, weights, output));
      }
    }
  }
}

TEST(Convolve, Words) {
  for (const int64_t output : {kI8, kU8, kI16, kF32}) {
    for (const int64_t weights : {kWeightI8, kWeightI16}) {
      compare({.input_type = kI16, .weights = weights, .output_type = output}, 15,
              fmt::format("i16 input, weights {} output {}", weights, output));
    }
  }
}

// 16 channels and a window of 2x2 keep sums of i16 and i8 within 31 bits.
TEST(Convolve, NarrowSums) {
  for (const int64_t connection : {kDense, kDepthwise}) {
    for (const int parts : {1, 3}) {
      if (connection == kDepthwise && parts > 1) continue;
      compare({.input_type = kI16,
               .connection = connection,
               .output_type = kI16,
               .narrow_sums = true,
               .most_window = 2,
               .most_channels = 16},
              15, fmt::format("narrow sums, connection {}, {} parts", connection, parts), parts);
    }
  }
}

TEST(Convolve, Depthwise) {
  for (const int64_t input : {kI8, kU8, kI16}) {
    for (const int64_t output : {kI8, kU8, kI16, kF32}) {
      compare({.input_type = input, .connection = kDepthwise, .output_type = output, .most_window = 5}, 15,
              fmt::format("depthwise, input {} output {}", input, output));
    }
  }
  compare({.weights = kWeightI4, .connection = kDepthwise}, 10, "depthwise i4");
  compare({.input_type = kI16, .weights = kWeightI16, .connection = kDepthwise, .output_type = kI16}, 10,
          "depthwise i16");
}

TEST(Convolve, Points) {
  for (const int64_t input : {kI8, kU8, kI16}) {
    compare({.input_type = input, .output_type = input, .most_window = 1, .most_channels = 90, .most_columns = 20}, 20,
            fmt::format("1x1, input {}", input));
  }
}

TEST(Convolve, FunctionsAndResiduals) {
  for (const int64_t input : {kI8, kU8, kI16}) {
    for (const int64_t output : {kI8, kU8, kI16}) {
      for (const int64_t residual : {int64_t{-1}, int64_t{kI8}, int64_t{kU8}, int64_t{kI16}}) {
        for (const bool function : {false, true}) {
          for (const int64_t connection : {kDense, kDepthwise}) {
            compare({.input_type = input,
                     .connection = connection,
                     .output_type = output,
                     .function = function,
                     .residual_type = residual},
                    3, fmt::format("{} to {}, residual {}, function {}", input, output, residual, function));
          }
        }
      }
    }
  }
}

TEST(Convolve, SumsOverSeveralCommands) {
  for (const int64_t input : {kI8, kU8, kI16}) {
    for (const int64_t connection : {kDense, kDepthwise}) {
      compare({.input_type = input, .connection = connection, .output_type = input, .most_channels = 24}, 10,
              fmt::format("chain of input {}", input), 3);
      compare({.input_type = input, .connection = connection, .output_type = kF32, .most_channels = 24}, 4,
              fmt::format("chain of input {} to f32", input), 2);
      compare({.input_type = input,
               .connection = connection,
               .output_type = input,
               .function = true,
               .residual_type = input,
               .most_channels = 24},
              6, fmt::format("chain of input {} with all", input), 2);
    }
  }
}

TEST(Convolve, WeightsThatTheProgramPacks) {
  for (const int64_t input : {kI8, kU8, kI16}) {
    for (const int64_t output : {kI8, kU8, kI16, kF32}) {
      for (const int parts : {1, 3}) {
        compare({.input_type = input, .output_type = output, .most_window = 1, .most_channels = 75, .packs = true}, 12,
                fmt::format("packed weights, input {} output {}, {} parts", input, output, parts), parts);
      }
    }
    compare({.input_type = input,
             .output_type = input,
             .function = true,
             .residual_type = input,
             .most_window = 1,
             .most_channels = input == kI16 ? 24 : 70,
             .most_columns = 18,
             .least_rows = 14,
             .packs = true},
            4, fmt::format("packed weights, large, input {}", input));
  }
}

TEST(Convolve, Transformed) {
  for (const int64_t transform : {kWinograd2, kWinograd4}) {
    for (const int64_t input : {kI8, kU8}) {
      for (const int64_t output : {kI8, kU8, kI16, kF32}) {
        compare({.input_type = input, .output_type = output, .transform = transform}, 12,
                fmt::format("transform {}, input {} output {}", transform, input, output));
        if (output == kF32) continue;
        for (const int64_t residual : {int64_t{-1}, int64_t{kI8}, int64_t{kU8}, int64_t{kI16}}) {
          for (const bool function : {false, true}) {
            for (const bool any_bounds : {false, true}) {
              compare({.input_type = input,
                       .output_type = output,
                       .function = function,
                       .residual_type = residual,
                       .any_bounds = any_bounds,
                       .transform = transform},
                      2,
                      fmt::format("transform {}, {} to {}, residual {}, function {}, any bounds {}", transform, input,
                                  output, residual, function, any_bounds));
            }
          }
        }
      }
    }
    compare({.function = true,
             .residual_type = kI8,
             .most_channels = 34,
             .most_columns = 45,
             .least_rows = 22,
             .transform = transform,
             .least_channels = 21},
            6, fmt::format("transform {}, large", transform));
    for (const int parts : {2, 3}) {
      compare({.most_channels = 24, .transform = transform}, 10, fmt::format("transform {}, chain", transform), parts);
      compare({.input_type = kU8,
               .output_type = kU8,
               .function = true,
               .residual_type = kI8,
               .most_channels = 16,
               .transform = transform},
              6, fmt::format("transform {}, chain with all", transform), parts);
    }
  }
}

// One channel with a weight of 100 at one tap: 128 * 100 is the most that its sum reaches there, which the tap's place
// in A^T multiplies by 1 to 64 and its shift by a power of 2.
TEST(Convolve, TransformedSumsThatMayNotFitAreRefused) {
  const auto make = [](int64_t tap, uint8_t input_shift, uint8_t sum_shift, int64_t bias) {
    ProgramBuilder b(3);
    Convolve c;
    c.transform = kWinograd4;
    c.window_rows = c.window_columns = 3;
    set_input_tile(c, b.tile(kI8, 1, 1, 1));
    set_output_tile(c, b.tile(kI8, 1, 1, 1));
    c.least = -128;
    c.greatest = 127;
    c.first_sum = c.last_sum = 1;
    Bytes weights(static_cast<size_t>(weight_bytes(c)));
    weights[static_cast<size_t>(tap) * 16] = std::byte{100};
    c.weight_address = b.load(weights);
    Bytes taps(72);
    taps[static_cast<size_t>(2 * tap)] = std::byte{input_shift};
    taps[static_cast<size_t>(2 * tap + 1)] = std::byte{sum_shift};
    c.tap_table = b.load(taps);
    Bytes channels;
    append(channels, bias);
    append(channels, 0.01F);
    append(channels, uint32_t{0});
    c.channel_table = b.load(channels);
    b.compute(c);
    const auto made = b.finish().make(cpu::available_isas().back());
    return made ? std::string() : made.error().id;
  };
  constexpr int64_t kLimit = (int64_t{1} << 53) - 1;
  for (const int64_t sign : {-1, 1}) {
    EXPECT_EQ(make(0, 15, 0, sign * (kLimit - 12800)), "");
    EXPECT_EQ(make(0, 15, 0, sign * (kLimit - 12799)), "N087");
    EXPECT_EQ(make(3 * 6 + 4, 0, 5, sign * (kLimit - 64 * 32 * 12800)),
              "");  // (3, 4): 8 * 8 of the last row and column
    EXPECT_EQ(make(3 * 6 + 4, 0, 5, sign * (kLimit - 64 * 32 * 12800 + 1)), "N087");
  }
  EXPECT_EQ(make(0, 0, 38, 0), "");
  EXPECT_EQ(make(3 * 6 + 3, 0, 38, 0), "N087");
  EXPECT_EQ(make(0, 16, 0, 0), "N076");
  EXPECT_EQ(make(0, 0, 39, 0), "N076");
}

// Large enough to be cut into blocks and shared by threads.
TEST(Convolve, LargeTiles) {
  for (const int64_t connection : {kDense, kDepthwise}) {
    for (const int64_t window : {1, 3}) {
      compare({.connection = connection,
               .function = true,
               .most_window = window,
               .most_channels = 70,
               .most_columns = 30,
               .least_rows = 14},
              3, fmt::format("large, connection {}, window {}", connection, window));
      compare({.input_type = kI16,
               .connection = connection,
               .output_type = kI16,
               .residual_type = kI16,
               .most_window = window,
               .most_channels = 24,
               .most_columns = 20,
               .least_rows = 14},
              3, fmt::format("large of i16, connection {}, window {}", connection, window));
    }
  }
}

// Sums that the depthwise kernels would not add exactly.
TEST(Convolve, LargeSums) {
  for (const int64_t sign : {-1, 1}) {
    compare({.connection = kDepthwise, .bias = sign << 25}, 4, "bias of 2^25");
    compare({.connection = kDepthwise, .output_type = kF32, .bias = sign << 25}, 4, "bias of 2^25 to f32");
    compare({.input_type = kI16, .connection = kDepthwise, .output_type = kI16, .bias = sign << 40}, 4, "bias of 2^40");
  }
}

TEST(Convolve, BoundsThatFitNoType) {
  for (const int64_t input : {kI8, kI16}) {
    for (const int64_t output : {kI8, kU8, kI16}) {
      for (const int64_t residual : {int64_t{-1}, int64_t{kU8}, int64_t{kI16}}) {
        for (const int64_t connection : {kDense, kDepthwise}) {
          for (const bool function : {false, true}) {
            compare({.input_type = input,
                     .connection = connection,
                     .output_type = output,
                     .function = function,
                     .residual_type = residual,
                     .any_bounds = true},
                    3,
                    fmt::format("any bounds, {} to {}, residual {}, function {}", input, output, residual, function));
          }
        }
      }
    }
  }
}

}  // namespace
}  // namespace hai::sd3403
