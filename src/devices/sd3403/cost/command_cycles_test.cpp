// Cycles and bytes of single commands, each worked out by hand beside it.
#include "devices/sd3403/cost/command_cycles.h"

#include <gtest/gtest.h>

#include <random>

namespace hai::sd3403 {
namespace {

const Machine kMachine;

CommandCycles count(CommandBody body, int64_t stream_bytes = -1, const Machine& machine = kMachine) {
  return cycles_of(machine, Command{0, 0, 0, body}, stream_bytes);
}

Tile packed(int64_t columns, int64_t channels, int64_t type = kI8) {
  const int64_t pixel = channels * element_bytes(type);
  return {0, columns * pixel, pixel, 0, 0, type};
}

Convolve convolution(int64_t input, int64_t output, int64_t channels, int64_t outputs, int64_t window,
                     int64_t type = kI8) {
  Convolve c;
  set_input_tile(c, packed(input, channels, type));
  set_output_tile(c, packed(output, outputs, type));
  set_residual_tile(c, packed(output, outputs, type));
  c.input_rows = c.input_columns = input;
  c.output_rows = c.output_columns = output;
  c.input_channels = channels;
  c.output_channels = outputs;
  c.window_rows = c.window_columns = window;
  c.pad_top = c.pad_left = window / 2;
  c.first_sum = c.last_sum = 1;
  return c;
}

TEST(CommandCycles, DenseWindow) {
  const CommandCycles c = count(convolution(20, 20, 16, 32, 3));
  EXPECT_EQ(c.array_cycles, 2 * 9 * 100);      // blocks of outputs, taps, groups of 4 pixels
  EXPECT_EQ(c.post_cycles, 400 * 32 / 64);     //
  EXPECT_EQ(c.write_cycles, 400 * 32 / 64);    //
  EXPECT_EQ(c.sram_read_bytes, 2 * 400 * 16);  // once a block of outputs: the line buffer holds 6400 bytes
  EXPECT_EQ(c.line_bytes, 2 * 400 * 16 + 2 * 9 * 400 * 16);
  EXPECT_EQ(c.drain_cycles, 400 * 16 / 64);
  EXPECT_EQ(c.cycles, 1900);
  EXPECT_EQ(c.products, 400 * 32 * 9 * 16);
  EXPECT_EQ(c.product_kind, ProductKind::kI8);
  EXPECT_EQ(c.cache_read_bytes, 2 * 9 * 256 + 32 * 8);
  EXPECT_EQ(c.sram_written_bytes, 12800);
  EXPECT_EQ(c.sum_bytes, 2 * 4 * 400 * 32 * 9);
}

TEST(CommandCycles, WindowThatTheLineBufferDoesNotHold) {
  Machine machine;
  machine.line_buffer_bytes = 6399;
  const CommandCycles c = count(convolution(20, 20, 16, 32, 3), -1, machine);
  EXPECT_EQ(c.sram_read_bytes, 2 * 9 * 400 * 16);
  EXPECT_EQ(c.line_bytes, 0);
  EXPECT_EQ(c.cycles, 1900);  // a word a pixel and cycle is what the array takes
}

TEST(CommandCycles, PointwiseInPassesAndResidual) {
  Convolve c = convolution(40, 40, 64, 64, 1);
  EXPECT_EQ(pass_pixels(kMachine, false), 512);  // 32 KB of 16 sums of 4 bytes
  CommandCycles cycles = count(c);
  EXPECT_EQ(cycles.array_cycles, 4 * 4 * (3 * 128 + 16));
  EXPECT_EQ(cycles.read_cycles, 6400);
  EXPECT_EQ(cycles.drain_cycles, 64 * 16 / 64);
  EXPECT_EQ(cycles.cycles, 6416);
  c.adds_residual = 1;
  cycles = count(c);
  EXPECT_EQ(cycles.read_cycles, 6400 + 1600);  // competes with the array's reads
  EXPECT_EQ(cycles.cycles, 8016);
}

TEST(CommandCycles, SumsThatStayHaveNoEpilogue) {
  Convolve c = convolution(20, 20, 16, 32, 3);
  c.last_sum = 0;
  const CommandCycles cycles = count(c);
  EXPECT_EQ(cycles.cycles, 1800);
  EXPECT_EQ(cycles.values, 0);
  EXPECT_EQ(cycles.sram_written_bytes, 0);
}

TEST(CommandCycles, OnePixelWaitsForWeightBlocks) {
  const CommandCycles c = count(convolution(1, 1, 1280, 1000, 1));
  EXPECT_EQ(c.array_cycles, 63 * 80 * 4);
  EXPECT_EQ(c.drain_cycles, 1);  // 8 channels in the last block
  EXPECT_EQ(c.cycles, 20161);
}

TEST(CommandCycles, FewChannelsFillALaneEach) {
  const CommandCycles c = count(convolution(20, 20, 3, 16, 3));
  EXPECT_EQ(c.array_cycles, 9 * 100);  // as many as 16 channels
  EXPECT_EQ(c.products, 400 * 16 * 9 * 3);
}

TEST(CommandCycles, WiderTypes) {
  Convolve c = convolution(8, 8, 16, 16, 1, kI16);
  c.weights = kWeightI8;
  EXPECT_EQ(pass_pixels(kMachine, true), 256);
  EXPECT_EQ(count(c).array_cycles, 16 * 4);  // sums of 64 bits at a quarter, though multipliers give half
  EXPECT_EQ(count(c).product_kind, ProductKind::kI16ByI8);
  EXPECT_EQ(count(c).write_cycles, 64 * 16 * 2 / 64);
  EXPECT_EQ(count(c).drain_cycles, 64 * 16 * 2 / 64);
  Machine machine;
  machine.wide_accumulator_rate = 1;
  EXPECT_EQ(count(c, -1, machine).array_cycles, 16 * 2);
  Convolve narrow = c;  // 8 lanes
  narrow.narrow_sums = 1;
  EXPECT_EQ(count(narrow).array_cycles, 16 * 2);
  EXPECT_EQ(count(narrow).sum_bytes * 4, count(c).sum_bytes);  // half as many steps of half as many bytes
  narrow.weights = kWeightI16;
  EXPECT_EQ(count(narrow).array_cycles, 16 * 4);
  c.weights = kWeightI16;
  EXPECT_EQ(count(c).array_cycles, 16 * 4);
  EXPECT_EQ(count(c, -1, machine).array_cycles, 16 * 4);
  c = convolution(8, 8, 16, 16, 1, kF16);
  c.weights = kWeightF16;
  EXPECT_EQ(count(c).array_cycles, 16 * 4);
  EXPECT_EQ(count(c).product_kind, ProductKind::kF16);
  c = convolution(8, 8, 16, 16, 1);
  c.weights = kWeightI4;
  EXPECT_EQ(count(c).array_cycles, 16);
  EXPECT_EQ(count(c).cache_read_bytes, 128 + 16 * 8);
}

Convolve transformed(int64_t size, int64_t channels, int64_t outputs, int64_t transform) {
  Convolve c = convolution(size, size, channels, outputs, 3);
  c.transform = transform;
  return c;
}

TEST(CommandCycles, WinogradOfFewChannels) {
  EXPECT_EQ(pass_tiles(kMachine, kWinograd4, kI8), 14);  // 32 KB of 36 taps of 16 sums of 4 bytes
  EXPECT_EQ(pass_tiles(kMachine, kWinograd2, kI8), 32);
  const CommandCycles c = count(transformed(20, 16, 32, kWinograd4));  // 25 tiles: passes of 14 and 11
  EXPECT_EQ(c.array_cycles, 2 * 36 * (4 + 4));                         // 11 tiles take 3, but a block loads in 4
  EXPECT_EQ(c.transform_cycles, 25 * 2 * 9);                           // of outputs; inputs are transformed once
  EXPECT_EQ(c.fill_cycles, 14 * 9);
  EXPECT_EQ(c.drain_cycles, 11 * 9);  // 11 * 16 pixels are post-processed in 44
  EXPECT_EQ(c.read_cycles, 25 * 36 * 16 / 64);
  EXPECT_EQ(c.post_cycles, 400 * 32 / 64);
  EXPECT_EQ(c.cycles, 576 + 126 + 99);  // 1900 of the direct window
  EXPECT_EQ(c.products, 25 * 36 * 32 * 16);
  EXPECT_EQ(c.product_kind, ProductKind::kI8);
  EXPECT_EQ(c.adds, 25 * 16 * 252 + 25 * 32 * 140);
  EXPECT_EQ(c.line_bytes, 36 * 16 * (25 + 25 * 2));
  EXPECT_EQ(c.sum_bytes, 2 * 4 * 25 * 36 * 32);
  EXPECT_EQ(c.cache_read_bytes, 2 * 36 * 256 * 2 + 72 + 32 * 16);
  EXPECT_EQ(c.values, 400 * 32);
}

TEST(CommandCycles, WinogradOfManyChannels) {
  // 14 * 36 * 64 bytes are more than half of the line buffer: inputs are transformed for each block of outputs.
  CommandCycles c = count(transformed(40, 64, 64, kWinograd4));
  EXPECT_EQ(c.array_cycles, 4 * 4 * 36 * (7 * 4 + 4));  // 7 passes of 14 tiles, and 2 tiles
  EXPECT_EQ(c.transform_cycles, 100 * 4 * 4 * 9);
  EXPECT_EQ(c.sram_read_bytes, 100 * 4 * 4 * 36 * 16);
  EXPECT_EQ(c.adds, 100 * 64 * 4 * 252 + 100 * 64 * 140);
  EXPECT_EQ(c.drain_cycles, 2 * 9);
  EXPECT_EQ(c.cycles, 18432 + 126 + 18);  // 57600 and 100 of the direct window
  c = count(transformed(40, 64, 64, kWinograd2));
  EXPECT_EQ(c.array_cycles, 4 * 4 * 16 * (12 * 8 + 4));
  EXPECT_EQ(c.transform_cycles, 400 * 4 * 4 * 4);  // as fast as the array
  EXPECT_EQ(c.fill_cycles, 32 * 4);
  EXPECT_EQ(c.products, 400 * 16 * 64 * 64);
  EXPECT_EQ(c.adds, 400 * 64 * 4 * 48 + 400 * 64 * 24);
  EXPECT_EQ(c.cycles, 25600 + 128 + 16 * 4);
}

TEST(CommandCycles, WinogradOfF16) {
  Convolve f16 = transformed(40, 64, 64, kWinograd4);
  f16.input_type = f16.output_type = kF16;
  f16.weights = kWeightF16;
  EXPECT_EQ(pass_tiles(kMachine, kWinograd4, kF16), 14);
  EXPECT_EQ(pass_tiles(kMachine, kWinograd2, kF16), 32);  // 16 KB of 16 taps of 16 inputs of 2 bytes
  CommandCycles c = count(f16);
  EXPECT_EQ(c.array_cycles, 4 * 36 * (7 * 4 * 16 + 16));  // 4 lanes: 16 steps, which hide the loads of 4 blocks
  EXPECT_EQ(c.transform_cycles, 100 * 4 * 4 * 9);
  EXPECT_EQ(c.sram_read_bytes, 100 * 4 * 4 * 36 * 16 * 2);
  EXPECT_EQ(c.line_bytes, 36 * 16 * 2 * (100 * 4 * 4 + 100 * 4 * 4));
  EXPECT_EQ(c.cache_read_bytes, 8 * 4 * 4 * 36 * 512 + 64 * 8);  // no tap table
  EXPECT_EQ(c.sum_bytes, 8 * 100 * 36 * 64 * 16);
  EXPECT_EQ(c.product_kind, ProductKind::kF16);
  EXPECT_EQ(c.products, 100 * 36 * 64 * 64);
  EXPECT_EQ(c.cycles, 66816 + 126 + 18);
  f16.transform = kDirect;
  EXPECT_EQ(count(f16).array_cycles, 230400);  // 3.4 times as many
}

TEST(CommandCycles, WinogradOnEdgesAndInParts) {
  Convolve c = transformed(7, 20, 17, kWinograd4);  // 2x2 tiles
  c.last_sum = 0;
  CommandCycles cycles = count(c);
  EXPECT_EQ(cycles.array_cycles, 2 * 2 * 36 * 4);
  EXPECT_EQ(cycles.transform_cycles, 4 * 2 * 9);  // 4 * 36 * 32 bytes stay in the line buffer
  EXPECT_EQ(cycles.drain_cycles, 0);
  EXPECT_EQ(cycles.values, 0);
  EXPECT_EQ(cycles.cycles, 576 + 36);
  c.last_sum = 1;
  cycles = count(c);
  EXPECT_EQ(cycles.products, 4 * 36 * 20 * 17);  // those of tiles beyond the image with them
  EXPECT_EQ(cycles.drain_cycles, 4 * 9);         // one channel is left in the last block
  EXPECT_EQ(cycles.values, 49 * 17);
  Machine machine;
  machine.line_buffer_bytes = 4 * 36 * 32;  // holds two tiles of 16 channels twice
  EXPECT_EQ(pass_tiles(machine, kWinograd4, kI8), 4);
  machine.line_buffer_bytes = 0;
  EXPECT_EQ(pass_tiles(machine, kWinograd4, kI8), 1);
}

TEST(CommandCycles, Depthwise) {
  Convolve c = convolution(10, 10, 24, 24, 3);
  c.connection = kDepthwise;
  CommandCycles cycles = count(c);
  EXPECT_EQ(cycles.array_cycles, 2 * 25);  // blocks of 16 channels, 64 outputs a cycle
  EXPECT_EQ(cycles.read_cycles, 38);       // 2400 bytes
  EXPECT_EQ(cycles.drain_cycles, 0);
  EXPECT_EQ(cycles.cycles, 50);
  EXPECT_EQ(cycles.products, 100 * 24 * 9);
  c.window_rows = c.window_columns = 5;
  EXPECT_EQ(count(c).array_cycles, 2 * 25 * 2);  // 25 taps in steps of 16
  c = convolution(20, 10, 16, 16, 3);
  c.connection = kDepthwise;
  c.stride_rows = c.stride_columns = 2;
  EXPECT_EQ(count(c).array_cycles, 25);
  EXPECT_EQ(count(c).cycles, 100);  // 6400 bytes to read
}

TEST(CommandCycles, GroupsOfTapsAndSteps) {
  Machine machine;
  machine.array_taps = 4;
  machine.array_steps = 8;
  EXPECT_EQ(count(convolution(20, 20, 16, 32, 3), -1, machine).array_cycles, 2 * 12 * 100);  // 9 taps are three groups
  EXPECT_EQ(count(convolution(20, 20, 160, 16, 1), -1, machine).array_cycles, 100 * 16);     // 10 steps are two groups
  EXPECT_EQ(count(convolution(20, 20, 128, 16, 1), -1, machine).array_cycles, 100 * 8);      // 8 fill one
  EXPECT_EQ(count(convolution(20, 20, 48, 16, 1), -1, machine).array_cycles, 100 * 3);       // fewer need none
  EXPECT_EQ(count(convolution(20, 20, 160, 16, 3), -1, machine).array_cycles, 12 * 100 * 10);  // of a window, no groups
}

TEST(CommandCycles, RatesAndStart) {
  Machine machine;
  machine.pool_values = 16;
  machine.table_values = 8;
  machine.copy_values = 4;
  machine.depthwise_taps = 4;
  machine.start_cycles = 100;
  Combine combine;
  set_left_tile(combine, packed(8, 16));
  set_output_tile(combine, packed(8, 16));
  combine.rows = combine.columns = 8;
  combine.channels = 16;
  combine.arithmetic = kLookUp;
  EXPECT_EQ(count(combine, -1, machine).cycles, 100 + 8 * 8 * 16 / 8);
  combine.arithmetic = kAdd;
  set_right_tile(combine, packed(8, 16));
  EXPECT_EQ(count(combine, -1, machine).cycles, 8 * 8 * 16 * 2 / 64);  // reads; no start
  Copy copy;
  set_input_tile(copy, packed(8, 16));
  set_output_tile(copy, packed(8, 16));
  copy.input_channel_stride = copy.output_channel_stride = 1;
  copy.rows = copy.columns = 8;
  copy.channels = 16;
  EXPECT_EQ(count(copy, -1, machine).cycles, 100 + 8 * 8 * 16 / 4);
  Pool pool;
  set_input_tile(pool, packed(8, 16));
  set_output_tile(pool, packed(4, 16));
  pool.input_rows = pool.input_columns = 8;
  pool.output_rows = pool.output_columns = 4;
  pool.channels = 16;
  pool.window_rows = pool.window_columns = pool.stride_rows = pool.stride_columns = 2;
  EXPECT_EQ(count(pool, -1, machine).cycles, 100 + 4 * 4 * 16 * 4 / 16);
  machine.pool_pixels = 10;
  EXPECT_EQ(count(pool, -1, machine).cycles, 100 + 20 * 16 * 4 / 16);
  EXPECT_EQ(count(pool, -1, machine).values, 4 * 4 * 16 * 4);
  Convolve depthwise = convolution(20, 20, 16, 16, 3);
  depthwise.connection = kDepthwise;
  const CommandCycles c = count(depthwise, -1, machine);
  EXPECT_EQ(c.array_cycles, 100 * 3);  // 9 taps in three rounds of 64 outputs
  EXPECT_EQ(c.cycles, 100 + c.array_cycles);
  machine.array_taps = 4;
  machine.depthwise_outputs = 256;
  machine.depthwise_taps = 1;
  EXPECT_EQ(count(depthwise, -1, machine).array_cycles, 25 * 12);
  set_input_tile(depthwise, packed(20, 16, kI16));
  depthwise.input_type = kI16;
  EXPECT_EQ(count(depthwise, -1, machine).array_cycles, 25 * 12 * 4);  // sums of 64 bits
}

TEST(CommandCycles, Combine) {
  Combine c;
  set_left_tile(c, packed(10, 24));
  set_right_tile(c, packed(10, 24));
  set_output_tile(c, packed(10, 24));
  c.rows = c.columns = 10;
  c.channels = 24;
  EXPECT_EQ(count(c).values, 2400);
  EXPECT_EQ(count(c).cycles, 75);  // two tensors of 2400 bytes
  c.arithmetic = kRescale;
  EXPECT_EQ(count(c).cycles, 38);
  c.left_pixel_stride = 48;  // channels of a wider tensor: 24 bytes move as 32
  c.left_row_stride = 480;
  EXPECT_EQ(count(c).cycles, 50);
}

TEST(CommandCycles, Pool) {
  Pool c;
  set_input_tile(c, packed(20, 32));
  set_output_tile(c, packed(20, 32));
  c.input_rows = c.input_columns = c.output_rows = c.output_columns = 20;
  c.channels = 32;
  c.window_rows = c.window_columns = 5;
  c.pad_top = c.pad_left = 2;
  EXPECT_EQ(count(c).values, 400 * 32 * 25);
  EXPECT_EQ(count(c).cycles, 400 * 32 * 25 / 64);
  EXPECT_EQ(count(c).sram_read_bytes, 400 * 32);
  c.window_rows = c.window_columns = 8191;  // what is not there is not read
  EXPECT_EQ(count(c).values, 400 * 32 * 400);
}

TEST(CommandCycles, ResizeAndCopy) {
  Resize r;
  set_input_tile(r, packed(10, 16));
  set_output_tile(r, packed(20, 16));
  r.input_rows = r.input_columns = 10;
  r.output_rows = r.output_columns = 20;
  r.channels = 16;
  EXPECT_EQ(count(r).cycles, 100);
  EXPECT_EQ(count(r).sram_read_bytes, 1600);
  r.interpolation = kLinear;
  EXPECT_EQ(count(r).cycles, 400);
  Copy c;
  set_input_tile(c, packed(10, 16));
  set_output_tile(c, packed(10, 16));
  c.input_channel_stride = c.output_channel_stride = 1;
  c.rows = c.columns = 10;
  c.channels = 16;
  EXPECT_EQ(count(c).cycles, 25);
  c.input_channel_stride = c.output_channel_stride = 0;  // the same: they follow each other
  EXPECT_EQ(count(c).cycles, 25);
  c.output_channel_stride = 100;  // planes: rows of 10 bytes move as 16
  c.output_row_stride = 10;
  c.output_pixel_stride = 1;
  EXPECT_EQ(count(c).cycles, 10 * 16 * 16 / 64);
  c.output_pixel_stride = 3;  // every third byte of rows of 28
  EXPECT_EQ(count(c).cycles, 10 * 16 * 32 / 64);
  c.output_pixel_stride = 1000;  // element by element
  EXPECT_EQ(count(c).cycles, 1600 * 16 / 64);
  c.output_pixel_stride = 32;  // every other channel of 32: both words of a pixel
  c.output_channel_stride = 2;
  EXPECT_EQ(count(c).cycles, 100 * 32 / 64);
  c.fills = 1;
  EXPECT_EQ(count(c).sram_read_bytes, 0);
}

TEST(CommandCycles, WhatTransformersNeed) {
  WeightPack pack;
  set_input_tile(pack, packed(10, 48));
  pack.rows = pack.columns = 10;
  pack.channels = 48;
  EXPECT_EQ(count(pack).cycles, 100 * 48 / 64);
  EXPECT_EQ(count(pack).cache_written_bytes, 4800);
  EXPECT_EQ(count(pack).values, 0);
  pack.transposes = 1;  // 100 outputs are 7 blocks
  EXPECT_EQ(count(pack).cache_written_bytes, 7 * 16 * 48);
  EXPECT_EQ(count(pack).cycles, 7 * 16 * 48 / 64);
  Softmax softmax;
  set_input_tile(softmax, packed(10, 48));
  set_output_tile(softmax, packed(10, 48));
  softmax.rows = softmax.columns = 10;
  softmax.channels = 48;
  EXPECT_EQ(count(softmax).cycles, 3 * 75);
  EXPECT_EQ(count(softmax).sram_read_bytes, 3 * 4800);
  LayerNorm norm;
  set_input_tile(norm, packed(10, 96));  // words: reading takes longer than computing
  norm.input_type = kI16;
  set_output_tile(norm, packed(10, 48));
  norm.rows = norm.columns = 10;
  norm.channels = 48;
  EXPECT_EQ(count(norm).values, 3 * 4800);
  EXPECT_EQ(count(norm).cycles, 3 * 150);
}

TEST(CommandCycles, Transfers) {
  DmaLoad load;
  load.row_bytes = 256;
  load.rows = 16;
  load.planes = 16;
  load.source_row_stride = load.source_plane_stride = 65536;
  CommandCycles c = count(load);
  EXPECT_EQ(c.ddr_read_bytes, 65536);
  EXPECT_EQ(c.ddr_ticks, 771012);  // 65536 / (25.6 * 0.85) = 3011.76 cycles
  EXPECT_EQ(c.cycles, 3012);
  EXPECT_EQ(c.latency_cycles, 200);
  load.row_bytes = 64;
  EXPECT_EQ(count(load).ddr_ticks, 273067);  // 16384 / (25.6 * 0.6) = 1066.67
  load.row_bytes = 16;                       // a burst each all the same
  EXPECT_EQ(count(load).ddr_ticks, 273067);
  EXPECT_EQ(count(load).ddr_read_bytes, 4096);
  EXPECT_EQ(count(load).ddr_bus_bytes, 16384);
  load.source_row_stride = 16;  // rows of a plane follow each other: 256 bytes
  EXPECT_EQ(count(load).cycles, 189);
  EXPECT_DOUBLE_EQ(ddr_efficiency(kMachine, 128), 0.725);
  EXPECT_DOUBLE_EQ(ddr_efficiency(kMachine, 192), 0.7875);
  EXPECT_DOUBLE_EQ(ddr_efficiency(kMachine, 1 << 20), 0.85);

  WeightLoad weights;
  weights.expanded_bytes = 65536;
  c = count(weights, 2176);
  EXPECT_EQ(c.decode_cycles, 2048);
  EXPECT_EQ(c.cycles, 2048);                 // decoder
  EXPECT_EQ(c.ddr_ticks, 1067 + 100 * 256);  // the entry as a burst of 64 at 15.36 a cycle, the stream at 21.76
  EXPECT_EQ(c.latency_cycles, 400);
  EXPECT_EQ(c.ddr_read_bytes, 2176 + 16);
  EXPECT_GT(count(weights).cycles, 3000);  // as long as what it expands to
}

TEST(CommandCycles, AnyFieldsWithinTheirBoundsGiveCountsWithinTheirs) {
  std::mt19937_64 random(11);
  for (int i = 0; i < 20000; ++i) {
    for (const CommandInfo& info : commands()) {
      std::vector<int64_t> values;
      for (const FieldInfo& field : info.fields) {
        const int64_t drawn = std::uniform_int_distribution<int64_t>(field.least, field.greatest)(random);
        values.push_back(random() % 4 == 0 ? field.greatest : drawn);
      }
      const CommandCycles c = count(*make_body(info.name, values));
      for (const int64_t value :
           {c.cycles, c.products, c.values, c.sram_read_bytes, c.sram_written_bytes, c.cache_read_bytes, c.line_bytes,
            c.sum_bytes, c.ddr_bus_bytes, c.ddr_ticks / kTicksPerCycle}) {
        ASSERT_GE(value, 0) << info.name;
        ASSERT_LE(value, 3 * kMostCount) << info.name;
      }
    }
  }
}

}  // namespace
}  // namespace hai::sd3403
