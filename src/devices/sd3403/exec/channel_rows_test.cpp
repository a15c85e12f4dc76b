// Softmax and LayerNorm against plain loops, and what they and WeightPack refuse.
#include <gtest/gtest.h>

#include <limits>

#include "devices/sd3403/exec/processor.h"
#include "devices/sd3403/exec/processor_test_model.h"
#include "devices/sd3403/isa/access.h"
#include "devices/sd3403/isa/assembly.h"

namespace hai::sd3403 {
namespace {

using testing::Bytes;
using testing::expect_like_model;
using testing::ProgramBuilder;

constexpr int64_t kIntegers[] = {kI8, kU8, kI16};

template <typename T>
void append(Bytes& bytes, T value) {
  const auto* at = reinterpret_cast<const std::byte*>(&value);
  bytes.insert(bytes.end(), at, at + sizeof value);
}

// `draw(builder)` gives one command.
template <typename Draw>
void compare(int count, const std::string& what, Draw draw) {
  for (int i = 0; i < count; ++i) {
    ProgramBuilder b(static_cast<uint32_t>(i) * 7907 + 5, static_cast<uint8_t>(i % 2));
    const CommandBody body = draw(b);
    b.compute(body);
    expect_like_model(b.finish(), b.random, what + " " + std::to_string(i));
    if (!::testing::Test::HasFatalFailure()) continue;
    std::cerr << disassemble({0, 0, 0, body}) << "\n";
    return;
  }
}

template <typename C>
void draw_tiles(ProgramBuilder& b, int64_t input, int64_t output, C& c) {
  c.rows = b.uniform(1, 6);
  c.columns = b.uniform(1, 9);
  c.channels = b.chance(20) ? 1 : b.uniform(2, 211);
  set_input_tile(c, b.tile(input, c.rows, c.columns, c.channels));
  set_output_tile(c, b.tile(output, c.rows, c.columns, c.channels));
  c.zero_point = b.zero_point(output);
  c.least = output == kI8 ? -128 : output == kU8 ? 0 : -32768;
  c.greatest = output == kI8 ? 127 : output == kU8 ? 255 : 32767;
  if (!b.chance(30)) return;
  c.zero_point = b.uniform(-32768, 65535);  // of no type: low bits are stored
  c.least = b.uniform(-32768, 65535);
  c.greatest = b.uniform(c.least, 65535);
}

Bytes exponentials(float s_x) {
  Bytes out;
  for (int32_t distance = 0; distance < 256; ++distance) append(out, hai_softmax_table_entry(distance, s_x));
  return out;
}

Softmax draw_softmax(ProgramBuilder& b, int64_t input, int64_t output) {
  Softmax c;
  draw_tiles(b, input, output, c);
  c.exponentials = b.load(exponentials(static_cast<float>(b.uniform(1, 40)) / 100.0F));
  c.scale = b.real(0.0005, 0.01);
  return c;
}

Bytes draw_parameters(ProgramBuilder& b, int64_t channels, int64_t output) {
  Bytes out;
  append(out, b.chance(20) ? 0.0 : static_cast<double>(b.uniform(1, 1000)) * 0.37);
  for (int64_t c = 0; c < channels; ++c) {
    const float steps = output == kI16 ? 9000.0F : 40.0F;
    append(out, steps * static_cast<float>(b.uniform(-100, 100)) / 100.0F);
    append(out, steps * static_cast<float>(b.uniform(-100, 100)) / 100.0F);
  }
  return out;
}

TEST(Softmax, EveryPairOfTypes) {
  for (const int64_t input : {kI8, kU8}) {
    for (const int64_t output : {kI8, kU8}) {
      compare(30, fmt::format("softmax of {} to {}", input, output),
              [&](ProgramBuilder& b) { return draw_softmax(b, input, output); });
    }
  }
}

TEST(LayerNorm, EveryPairOfTypes) {
  for (const int64_t input : kIntegers) {
    for (const int64_t output : kIntegers) {
      compare(20, fmt::format("layer_norm of {} to {}", input, output), [&](ProgramBuilder& b) {
        LayerNorm c;
        draw_tiles(b, input, output, c);
        c.parameters = b.load(draw_parameters(b, c.channels, output));
        return c;
      });
    }
  }
}

std::string refusal_of(ProgramBuilder& b) {
  const auto kernel = b.finish().make(cpu::Isa::kScalar);
  return kernel ? "none" : kernel.error().id;
}

TEST(Softmax, RefusesTablesThatItsSumCannotTake) {
  const auto with = [](size_t entry, int32_t value) {
    ProgramBuilder b(1);
    Softmax c = draw_softmax(b, kI8, kI8);
    Bytes table = exponentials(0.1F);
    std::memcpy(table.data() + 4 * entry, &value, sizeof value);
    c.exponentials = b.load(table);
    b.compute(c);
    return refusal_of(b);
  };
  EXPECT_EQ(with(255, 0), "none");
  EXPECT_EQ(with(255, -1), "N079");
  EXPECT_EQ(with(3, (1 << 23) + 1), "N079");
  EXPECT_EQ(with(0, 0), "N079");
  ProgramBuilder b(1);
  Softmax c = draw_softmax(b, kI8, kI8);
  c.scale = 0;
  b.compute(c);
  EXPECT_EQ(refusal_of(b), "N065");
}

TEST(LayerNorm, RefusesParametersThatAreNoNumbers) {
  const auto with = [](double epsilon, float gain) {
    ProgramBuilder b(1);
    LayerNorm c;
    draw_tiles(b, kI8, kI8, c);
    Bytes parameters = draw_parameters(b, c.channels, kI8);
    std::memcpy(parameters.data(), &epsilon, sizeof epsilon);
    std::memcpy(parameters.data() + parameters.size() - 8, &gain, sizeof gain);
    c.parameters = b.load(parameters);
    b.compute(c);
    return refusal_of(b);
  };
  EXPECT_EQ(with(0.0, 1.0F), "none");
  EXPECT_EQ(with(-1.0, 1.0F), "N079");
  EXPECT_EQ(with(std::numeric_limits<double>::quiet_NaN(), 1.0F), "N079");
  EXPECT_EQ(with(1.0, std::numeric_limits<float>::infinity()), "N079");
}

// A pack of 20 rows and 24 channels, and a convolution over it that `change` may change.
template <typename Change>
std::string packed(Change change) {
  ProgramBuilder b(2);
  WeightPack pack;
  pack.rows = 20;
  pack.channels = 24;
  set_input_tile(pack, b.tile(kI8, 20, 1, 24));
  pack.destination = b.reserve_cache(4096);
  Convolve c;
  c.first_sum = c.last_sum = 1;
  c.input_channels = 20;
  c.output_channels = 24;
  c.input_rows = c.output_rows = 5;
  c.greatest = 127;
  c.weight_address = pack.destination;
  set_input_tile(c, b.tile(kI8, 5, 1, 24));
  set_output_tile(c, b.tile(kI8, 5, 1, 48));
  Bytes table;
  for (int i = 0; i < 48; ++i) {
    append(table, int32_t{0});
    append(table, 0.01F);
  }
  c.channel_table = b.load(table);
  WeightPack other = pack;  // what may come between
  other.rows = 0;
  change(pack, c, other);
  b.compute(pack);
  if (other.rows > 0) b.compute(other);
  b.compute(c);
  return refusal_of(b);
}

TEST(WeightPack, IsReadByDenseConvolutionsOverAllOfIt) {
  EXPECT_EQ(packed([](auto&, auto&, auto&) {}), "none");
  EXPECT_EQ(packed([](auto&, Convolve& c, auto&) { c.output_channels = 20; }), "N078");
  EXPECT_EQ(packed([](auto&, Convolve& c, auto&) { c.input_channels = 10; }), "N078");
  EXPECT_EQ(packed([](auto&, Convolve& c, auto&) {
              c.input_channels = 10;
              c.window_rows = 2;
            }),
            "N078");
  EXPECT_EQ(packed([](auto&, Convolve& c, auto&) { c.weights = kWeightI4; }), "N078");
  EXPECT_EQ(packed([](auto&, Convolve& c, auto&) { c.weight_address += 16; }), "N078");
  EXPECT_EQ(packed([](auto&, Convolve& c, auto&) { c.channel_table = c.weight_address; }), "N078");
  EXPECT_EQ(packed([](auto&, Convolve& c, auto&) { c.weight_address += 2048; }), "N064");
  // Another pack over the end, over the beginning, or over all of it.
  EXPECT_EQ(packed([](auto&, auto&, WeightPack& other) {
              other.rows = 20;
              other.destination += 320;
            }),
            "N078");
  EXPECT_EQ(packed([](auto&, auto&, WeightPack& other) { other.rows = 10; }), "N078");
  EXPECT_EQ(packed([](auto&, auto&, WeightPack& other) { other.rows = 20; }), "none");
}

}  // namespace
}  // namespace hai::sd3403
