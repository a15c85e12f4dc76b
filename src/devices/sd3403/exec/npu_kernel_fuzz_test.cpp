// Damaged programs: thousands of sound ones with random words, fields, constants and cuts. Each is refused, or made and
// run; run memory has exactly its bytes, so that the address sanitizer sees any access outside.
#include <gtest/gtest.h>

#include "devices/sd3403/exec/processor.h"
#include "devices/sd3403/exec/processor_test_model.h"
#include "devices/sd3403/isa/access.h"

namespace hai::sd3403 {
namespace {

using testing::Bytes;
using testing::Instance;
using testing::kSramBytes;
using testing::ProgramBuilder;

constexpr double kMostWork = 3e7;  // of a program that a test runs

// A product of a tile of 5 x 5 x 18 with itself, a softmax and a normalization of it.
void add_attention(ProgramBuilder& b, const Tile& tile) {
  WeightPack pack;
  set_input_tile(pack, tile);
  pack.rows = pack.columns = 5;
  pack.channels = 18;
  pack.transposes = b.uniform(0, 1);
  pack.destination = b.reserve_cache(pack_bytes(pack));
  b.compute(pack);
  Convolve c;
  c.first_sum = c.last_sum = 1;
  c.input_channels = pack.transposes != 0 ? 18 : 25;
  c.output_channels = pack.transposes != 0 ? 25 : 18;
  c.weight_address = pack.destination;
  c.weight_zero_point = b.uniform(-3, 3);
  c.input_rows = c.output_rows = 7;
  set_input_tile(c, b.tile(kI8, 7, 1, 25));
  set_output_tile(c, b.tile(kI8, 7, 1, 25));
  c.least = -128;
  c.greatest = 127;
  Bytes channels(200);
  const float multiplier = 0.01F;
  for (size_t o = 0; o < 25; ++o) std::memcpy(channels.data() + 8 * o + 4, &multiplier, 4);
  c.channel_table = b.load(channels);
  b.compute(c);
  Softmax softmax;
  softmax.rows = 7;
  softmax.channels = 18;
  set_input_tile(softmax, output_tile(c));
  set_output_tile(softmax, b.tile(kU8, 7, 1, 18));
  Bytes exponentials(kExponentialsBytes);
  exponentials[2] = std::byte{0x80};  // 2^23
  softmax.exponentials = b.load(exponentials);
  softmax.scale = b.real(0.001, 0.01);
  softmax.greatest = 255;
  b.compute(softmax);
  LayerNorm norm;
  norm.rows = 7;
  norm.channels = 18;
  set_input_tile(norm, output_tile(softmax));
  set_output_tile(norm, b.tile(kI16, 7, 1, 18));
  norm.parameters = b.load(Bytes(static_cast<size_t>(layer_norm_bytes(18))));
  norm.greatest = 32767;
  b.compute(norm);
}

// Sums of f16 in two parts, direct or by tiles.
void add_halves(ProgramBuilder& b) {
  Convolve c;
  c.input_type = c.output_type = kF16;
  c.weights = kWeightF16;
  c.transform = b.uniform(0, 2);
  c.window_rows = c.window_columns = 3;
  c.pad_top = c.pad_left = 1;
  c.input_rows = c.output_rows = 6;
  c.input_columns = c.output_columns = 7;
  c.input_channels = 5;
  c.output_channels = 18;
  c.sum_least = c.least = 0xfc00;
  c.sum_greatest = c.greatest = 0x7c00;
  set_output_tile(c, b.tile(kF16, 6, 7, 18));
  Bytes channels(8 * 18);
  channels[3] = std::byte{0x3f};
  c.channel_table = b.load(channels);
  for (int64_t part = 0; part < 2; ++part) {
    c.first_sum = 1 - part;
    c.last_sum = part;
    set_input_tile(c, b.tile(kF16, 6, 7, 5));
    c.weight_address = b.load(Bytes(static_cast<size_t>(weight_bytes(c)), std::byte{0x30}));
    b.compute(c);
  }
}

// Every command once, over a few small tiles.
Instance sound(ProgramBuilder& b) {
  Convolve c;
  c.connection = b.chance(30) ? kDepthwise : kDense;
  c.input_type = b.one_of<int64_t>({kI8, kU8, kI16});
  c.weights = c.input_type == kI16 ? kWeightI16 : kWeightI8;
  c.window_rows = c.window_columns = 3;
  c.pad_top = c.pad_left = 1;
  c.input_rows = c.output_rows = 6;
  c.input_columns = c.output_columns = 7;
  c.input_channels = c.output_channels = 18;
  c.first_sum = c.last_sum = 1;
  c.least = c.sum_least = -128;
  c.greatest = c.sum_greatest = 127;
  set_input_tile(c, b.tile(c.input_type, 6, 7, 18));
  set_output_tile(c, b.tile(b.one_of<int64_t>({kI8, kI16}), 6, 7, 18));
  if (c.connection == kDense && c.input_type != kI16) c.transform = b.uniform(0, 2);
  if (c.transform != kDirect) c.tap_table = b.load(Bytes(static_cast<size_t>(tap_table_bytes(c)), std::byte{2}));
  c.weight_address = b.load(Bytes(static_cast<size_t>(weight_bytes(c)), std::byte{3}));
  const auto channel = static_cast<size_t>(channel_entry_bytes(has_wide_sums(c)));
  Bytes channels(18 * channel);
  const float multiplier = 0.01F;
  for (size_t o = 0; o < 18; ++o) std::memcpy(channels.data() + channel * o + channel / 2, &multiplier, 4);
  c.channel_table = b.load(channels);
  c.function = b.uniform(0, 1);
  c.function_entries = 256;
  c.function_first = -128;
  c.function_table = b.load(testing::random_bytes(512, b.random));
  b.compute(c);
  Combine add;
  add.arithmetic = b.uniform(0, 4);
  add.rows = 6;
  add.columns = 7;
  add.channels = 18;
  set_left_tile(add, output_tile(c));
  set_right_tile(add, output_tile(c));
  set_output_tile(add, b.tile(kI8, 6, 7, 18));
  add.left_multiplier = add.right_multiplier = b.real(0.01, 1.0);
  add.function_table = c.function_table;
  add.function_entries = 256;
  add.least = -128;
  add.greatest = 127;
  b.compute(add);
  Pool pool;
  pool.pooling = b.uniform(0, 1);
  pool.input_rows = 6;
  pool.input_columns = 7;
  pool.channels = 18;
  pool.window_rows = pool.window_columns = 2;
  pool.stride_rows = pool.stride_columns = 2;
  pool.output_rows = 3;
  pool.output_columns = 3;
  set_input_tile(pool, output_tile(add));
  set_output_tile(pool, b.tile(kI8, 3, 3, 18));
  pool.multiplier_table = c.channel_table + channel_entry_bytes(has_wide_sums(c)) / 2;
  pool.multiplier_first = 4;
  pool.multiplier_entries = 1;
  b.compute(pool);
  Resize resize;
  resize.interpolation = b.uniform(0, 1);
  resize.input_rows = resize.input_columns = 3;
  resize.output_rows = resize.output_columns = 5;
  resize.channels = 18;
  set_input_tile(resize, output_tile(pool));
  set_output_tile(resize, b.tile(kI8, 5, 5, 18));
  Bytes positions(40);
  for (size_t i = 0; i < 5; ++i) {
    const uint16_t entry[] = {static_cast<uint16_t>(i / 2), static_cast<uint16_t>(i / 2 + 1), 1024, 1024};
    std::memcpy(positions.data() + 8 * i, entry, 8);
  }
  resize.row_table = resize.column_table = b.load(positions);
  resize.multiplier = b.real(1e-7, 1e-6);
  b.compute(resize);
  Copy copy;
  copy.rows = copy.columns = 5;
  copy.channels = 18;
  set_input_tile(copy, output_tile(resize));
  set_output_tile(copy, b.tile(kI8, 5, 5, 18));
  b.compute(copy);
  add_attention(b, output_tile(copy));
  add_halves(b);
  return b.finish();
}

// Another value for a field: near to what it was, or anything that the field holds.
int64_t damaged(ProgramBuilder& b, int64_t value, const FieldInfo& field) {
  const int64_t near = value + b.one_of<int64_t>({-2, -1, 1, 2, 16, -16, value, 255});
  if (b.chance(70)) return std::clamp(near, field.least, field.greatest);
  return b.uniform(field.least, field.greatest);
}

void damage(ProgramBuilder& b, Instance& instance) {
  for (int64_t count = b.uniform(1, 3); count > 0; --count) {
    Command& command =
        instance.commands[static_cast<size_t>(b.uniform(0, static_cast<int64_t>(instance.commands.size()) - 1))];
    const CommandInfo& info = info_of(command.body);
    std::vector<int64_t> values = field_values(command.body);
    const auto f = static_cast<size_t>(b.uniform(0, static_cast<int64_t>(values.size()) - 1));
    values[f] = damaged(b, values[f], info.fields[f]);
    command.body = *make_body(info.name, values);
    if (b.chance(5)) command.core ^= 1;
    if (b.chance(20)) {
      const auto at = static_cast<size_t>(b.uniform(0, static_cast<int64_t>(instance.constants.size()) - 1));
      instance.constants[at] = static_cast<std::byte>(b.random());
    }
  }
  if (b.chance(90)) testing::put_checks_right(instance.commands, instance.constants);  // to get behind them
}

TEST(NpuKernelFuzz, DamagedProgramsAreRefusedOrRun) {
  const Bytes input = [] {
    std::mt19937 random(1);
    return testing::random_bytes(kSramBytes, random);
  }();
  int ran = 0;
  int refused = 0;
  for (uint32_t seed = 0; seed < 4000; ++seed) {
    ProgramBuilder b(seed);
    Instance instance = sound(b);
    if (seed % 50 != 0) damage(b, instance);
    const MemorySizes memory{{static_cast<int64_t>(instance.constants.size()), 0, kSramBytes, kSramBytes},
                             kSramBytes,
                             testing::kCacheBytes,
                             testing::kAccumulatorBytes};
    const cpu::Isa isa = cpu::available_isas()[seed % cpu::available_isas().size()];
    const auto processor = Processor::make(instance.commands, memory, 3, instance.constants, isa);
    ASSERT_TRUE(seed % 50 != 0 || processor.has_value()) << processor.error().to_string();
    const auto kernel = instance.make(isa);
    ASSERT_EQ(kernel.has_value(), processor.has_value());
    if (!kernel) {
      EXPECT_FALSE(kernel.error().message.empty());
      ++refused;
    } else if (processor->work() < kMostWork) {
      // Values do not depend on threads, whatever the program does.
      EXPECT_TRUE(instance.run(**kernel, input, 1) == instance.run(**kernel, input, 2)) << "seed " << seed;
      ++ran;
    }
  }
  EXPECT_GT(ran, 500);
  EXPECT_GT(refused, 500);
}

TEST(NpuKernelFuzz, RandomBytesAreRefusedOrRun) {
  for (uint32_t seed = 0; seed < 2000; ++seed) {
    ProgramBuilder b(seed);
    Instance instance = sound(b);
    for (const Command& command : instance.commands) {
      const CommandWord word = encode(command).value();
      const auto* bytes = reinterpret_cast<const std::byte*>(word.data());
      instance.raw_commands.insert(instance.raw_commands.end(), bytes, bytes + kWordBytes);
    }
    const auto size = static_cast<int64_t>(instance.raw_commands.size());
    if (b.chance(20)) {
      instance.raw_commands.resize(static_cast<size_t>(b.uniform(1, size)));
    } else {
      const auto at = static_cast<size_t>(b.uniform(0, size - 1));
      instance.raw_commands[at] ^= static_cast<std::byte>(1 << b.uniform(0, 7));
    }
    const auto kernel = instance.make(cpu::Isa::kScalar);
    EXPECT_TRUE(kernel.has_value() || !kernel.error().message.empty());
  }
}

}  // namespace
}  // namespace hai::sd3403
