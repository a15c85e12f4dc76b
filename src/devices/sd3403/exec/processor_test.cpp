// What the processor does around the commands' arithmetic: boxes that DMA moves, queues and semaphores, both cores,
// what the weight cache holds when, samples of a batch, and everything that it refuses.
#include "devices/sd3403/exec/processor.h"

#include <gtest/gtest.h>

#include "devices/sd3403/exec/processor_test_model.h"
#include "devices/sd3403/isa/assembly.h"
#include "devices/sd3403/isa/stream_coding.h"

namespace hai::sd3403 {
namespace {

using testing::Bytes;
using testing::expect_like_model;
using testing::Instance;
using testing::kSramBytes;
using testing::ProgramBuilder;

Instance assembled(std::string_view text) {
  Instance out;
  out.constants = Bytes(1 << 12);
  out.scratch_bytes = 1 << 16;
  auto commands = assemble(text);
  EXPECT_TRUE(commands.has_value()) << commands.error().to_string();
  out.commands = std::move(*commands);
  return out;
}

// A stream that expands to `bytes` at `offset`, whose entry is at `entry`.
void add_stream(Instance& instance, size_t entry, uint32_t offset, uint32_t bytes, uint32_t form = 0) {
  const uint32_t words[] = {offset, form == kCodedStream ? bytes - 1 : bytes, bytes, form};
  std::memcpy(instance.constants.data() + entry, words, sizeof words);
}

TEST(Processor, MovesBoxes) {
  for (uint32_t seed = 0; seed < 60; ++seed) {
    ProgramBuilder b(seed);
    Instance instance = b.finish();
    DmaLoad load;
    load.image = 2;
    load.row_bytes = b.uniform(1, 50);
    load.rows = b.uniform(1, 9);
    load.planes = b.uniform(1, 5);
    load.source = b.uniform(0, 900);
    load.source_row_stride = b.chance(40) ? load.row_bytes : b.uniform(0, 70);
    load.source_plane_stride = b.chance(40) ? load.rows * load.source_row_stride : b.uniform(0, 700);
    load.destination = b.uniform(0, 5000);
    // At times rows lie on each other: the last one stays.
    load.destination_row_stride = b.chance(40) ? load.row_bytes : b.uniform(0, 70);
    load.destination_plane_stride = b.chance(40) ? load.rows * load.destination_row_stride : b.uniform(0, 700);
    DmaStore store;
    store.image = b.chance(50) ? 1 : 3;
    store.source = load.destination;
    store.destination = b.uniform(0, 999);
    store.row_bytes = load.row_bytes;
    store.rows = load.rows;
    store.planes = load.planes;
    store.source_row_stride = load.destination_row_stride;
    store.source_plane_stride = load.destination_plane_stride;
    store.destination_row_stride = load.source_row_stride;
    store.destination_plane_stride = load.source_plane_stride;
    instance.scratch_bytes = 1 << 16;
    // Load, store, load what was stored, and store all.
    DmaLoad again = load;
    again.image = store.image;
    again.source = store.destination;
    again.destination = 60000;
    instance.commands.insert(instance.commands.begin() + 1, {0, 0, 0, load});
    const auto store_queue = std::find_if(instance.commands.begin(), instance.commands.end(),
                                          [](const Command& c) { return std::holds_alternative<DmaStore>(c.body); });
    const std::vector<Command> between = {
        {1, 0, 0, Wait{2, 20, 1}},   {1, 0, 0, store},          {1, 0, 0, Signal{2, 21, 1}},
        {1, 0, 0, End{2}},           {1, 0, 0, Wait{0, 21, 1}}, {1, 0, 0, again},
        {1, 0, 0, Signal{0, 22, 1}}, {1, 0, 0, End{0}},         {0, 0, 0, Wait{2, 22, 1}}};
    instance.commands.insert(store_queue, between.begin(), between.end());
    const auto end = std::find_if(instance.commands.begin(), instance.commands.end(),
                                  [](const Command& c) { return std::holds_alternative<Signal>(c.body); });
    instance.commands.insert(end, {0, 0, 0, Signal{0, 20, 1}});
    expect_like_model(instance, b.random, "box " + std::to_string(seed));
  }
}

TEST(Processor, QueuesGoOnUntilTheyWait) {
  const Instance instance = assembled(R"(
wait queue=store semaphore=2
end queue=store
wait queue=compute semaphore=1 count=2
signal queue=compute semaphore=2
end queue=compute
signal queue=load semaphore=1
signal core=1 queue=load semaphore=1
end queue=load
end core=1 queue=load
)");
  EXPECT_EQ(run_order(instance.commands).commands, (std::vector<size_t>{5, 7, 6, 8, 2, 3, 4, 0, 1}));
}

// The same cache bytes hold other weights by the time of the second convolution; a stream may be used in part.
TEST(Processor, WeightsAreThoseInTheCacheThen) {
  Instance instance = assembled(R"(
dma_load image=2 row_bytes=131072
weight_load entry=0x10 expanded_bytes=256 destination=0x100
signal queue=load semaphore=0
wait queue=load semaphore=1
weight_load entry=0x20 expanded_bytes=256 destination=0x180
signal queue=load semaphore=0
end queue=load
wait queue=compute semaphore=0
convolve input_pixel_stride=4 input_channels=4 input_columns=8 first_sum=1 last_sum=1 weight_address=0x100 channel_table=0x140 output_address=0x1000 output_pixel_stride=16 output_columns=8 output_channels=16 least=-128 greatest=127
convolve input_pixel_stride=4 input_channels=4 input_columns=8 first_sum=1 last_sum=1 weight_address=0x100 channel_table=0x140 output_address=0x1100 output_pixel_stride=16 output_columns=8 output_channels=16 least=-128 greatest=127
signal queue=compute semaphore=1
wait queue=compute semaphore=0
convolve input_pixel_stride=4 input_channels=4 input_columns=8 first_sum=1 last_sum=1 weight_address=0x160 channel_table=0x200 output_address=0x1200 output_pixel_stride=16 output_columns=8 output_channels=16 least=-128 greatest=127
signal queue=compute semaphore=2
end queue=compute
wait queue=store semaphore=2
dma_store image=3 row_bytes=131072
end queue=store
)");
  std::mt19937 random(5);
  for (size_t i = 0x100; i < 0x400; ++i) instance.constants[i] = static_cast<std::byte>(random());
  const auto put_table = [&](size_t at) {
    for (size_t o = 0; o < 16; ++o) {
      const auto bias = static_cast<int32_t>(random() % 100);
      const float multiplier = 0.01F;
      std::memcpy(instance.constants.data() + at + 8 * o, &bias, 4);
      std::memcpy(instance.constants.data() + at + 8 * o + 4, &multiplier, 4);
    }
  };
  put_table(0x140);
  put_table(0x280);
  add_stream(instance, 0x10, 0x100, 256);
  add_stream(instance, 0x20, 0x200, 256);
  testing::put_checks_right(instance.commands, instance.constants);
  expect_like_model(instance, random, "weights");
  // Coded streams are the same program.
  const Bytes input = testing::random_bytes(kSramBytes, random);
  const auto plain = instance.make(cpu::available_isas().back());
  Instance coded_instance = instance;
  for (const size_t stream : {size_t{1}, size_t{2}}) {
    const std::span<const std::byte> expanded(instance.constants.data() + 0x100 * stream, 256);
    const auto coded = compress_stream(expanded);
    ASSERT_FALSE(coded.empty());
    const auto offset = static_cast<uint32_t>(0x400 + 0x100 * stream);
    const uint32_t entry[] = {offset, static_cast<uint32_t>(coded.size()), 256, stream_form_word(kCodedStream, coded)};
    std::memcpy(coded_instance.constants.data() + 0x10 * stream, entry, sizeof entry);
    std::fill_n(coded_instance.constants.begin() + 0x100 * static_cast<std::ptrdiff_t>(stream), 256, std::byte{});
    std::copy(coded.begin(), coded.end(), coded_instance.constants.begin() + offset);
  }
  const auto expanding = coded_instance.make(cpu::available_isas().back());
  ASSERT_TRUE(plain.has_value() && expanding.has_value());
  EXPECT_TRUE(coded_instance.run(**expanding, input, 1) == instance.run(**plain, input, 1));
  // A gap in the cache is found, also behind a part that is there.
  for (const auto& [from, to] :
       {std::pair{"destination=0x180", "destination=0x280"}, std::pair{"channel_table=0x200", "channel_table=0x300"},
        std::pair{"weight_address=0x160", "weight_address=0x250"}}) {
    std::string text;
    for (const Command& command : instance.commands) text += disassemble(command) + "\n";
    text.replace(text.rfind(from), std::string_view(from).size(), to);
    Instance damaged = assembled(text);
    damaged.constants = instance.constants;
    const auto kernel = damaged.make(cpu::Isa::kScalar);
    ASSERT_FALSE(kernel.has_value()) << to;
    EXPECT_EQ(kernel.error().id, "N064") << kernel.error().to_string();
  }
}

// A bit of a stream or of its entry that is not what the compiler wrote.
TEST(Processor, SeesEveryWrongBitOfStreamsAndEntries) {
  ProgramBuilder b(3);
  Copy copy;
  copy.channels = 16;
  copy.output_address = 0x40;
  b.load(testing::random_bytes(64, b.random));
  b.compute(copy);
  Instance instance = b.finish();
  ASSERT_TRUE(instance.make(cpu::Isa::kScalar).has_value());
  for (size_t byte = 16; byte < instance.constants.size(); ++byte) {  // the first 16 belong to nothing
    for (int bit = 0; bit < 8; ++bit) {
      instance.constants[byte] ^= std::byte{1} << bit;
      const auto kernel = instance.make(cpu::Isa::kScalar);
      ASSERT_FALSE(kernel.has_value()) << byte << " " << bit;
      EXPECT_TRUE(kernel.error().id == "N055" || kernel.error().id == "N062") << kernel.error().to_string();
      EXPECT_NE(kernel.error().to_string().find("command 1 (weight_load"), std::string::npos);
      instance.constants[byte] ^= std::byte{1} << bit;
    }
  }
}

// Zeros are a byte of 128, and streams may overlap.
TEST(Processor, SmallFilesDoNotExpandToMuchMemory) {
  constexpr uint32_t kStreams = 1100;
  std::string text;
  for (uint32_t i = 0; i < kStreams; ++i)
    text += "weight_load entry=" + std::to_string(16 * i) + " expanded_bytes=65536\n";
  Instance instance = assembled(text + "end queue=load\n");
  instance.constants.assign(1 << 15, std::byte{0x80});
  const std::vector<std::byte> zeros(512, std::byte{0x80});
  for (uint32_t i = 0; i < kStreams; ++i) {
    const uint32_t entry[] = {16 * kStreams + i, 512, 65536, stream_form_word(kCodedStream, zeros)};
    std::memcpy(instance.constants.data() + 16 * i, entry, sizeof entry);
  }
  const auto kernel = instance.make(cpu::Isa::kScalar);
  ASSERT_FALSE(kernel.has_value());
  EXPECT_EQ(kernel.error().id, "N072") << kernel.error().to_string();
  instance.commands.erase(instance.commands.begin(), instance.commands.begin() + kStreams / 2);
  EXPECT_TRUE(instance.make(cpu::Isa::kScalar).has_value());
}

TEST(Processor, SamplesOfABatchRunOneByOne) {
  ProgramBuilder b(11);
  Combine add;
  add.rows = 3;
  add.columns = 5;
  add.channels = 20;
  set_left_tile(add, b.tile(kI8, 3, 5, 20));
  set_right_tile(add, b.tile(kU8, 3, 5, 20));
  set_output_tile(add, b.tile(kI8, 3, 5, 20));
  add.left_multiplier = add.right_multiplier = b.real(0.4, 0.6);
  add.least = -128;
  add.greatest = 127;
  b.compute(add);
  Instance instance = b.finish();
  instance.batched = true;
  const Bytes input = testing::random_bytes(3 * kSramBytes, b.random);
  const auto kernel = instance.make(cpu::available_isas().back());
  ASSERT_TRUE(kernel.has_value()) << kernel.error().to_string();
  const Bytes all = instance.run(**kernel, input, 2, 3);
  for (int64_t sample = 0; sample < 3; ++sample) {
    const Bytes one(input.begin() + sample * kSramBytes, input.begin() + (sample + 1) * kSramBytes);
    const Bytes output = instance.run(**kernel, one, 1);
    EXPECT_TRUE(std::equal(output.begin(), output.end(), all.begin() + sample * kSramBytes)) << "sample " << sample;
  }
}

// What nobody wrote is zero, in each sample anew.
TEST(Processor, MemoryStartsAsZeros) {
  Instance instance = assembled(R"(
dma_load image=1 row_bytes=256 destination=0x800
dma_load row_bytes=16 source=0x40 destination=0x10
signal queue=load semaphore=0
end queue=load
wait queue=store semaphore=0
dma_store image=3 row_bytes=131072
end queue=store
)");
  for (size_t i = 0x40; i < 0x50; ++i) instance.constants[i] = std::byte{7};
  const auto kernel = instance.make(cpu::Isa::kScalar);
  ASSERT_TRUE(kernel.has_value()) << kernel.error().to_string();
  EXPECT_TRUE((*kernel)->needs_constant(1));
  const Bytes output = instance.run(**kernel, Bytes(kSramBytes), 1);
  Bytes want(kSramBytes);
  std::fill(want.begin() + 0x10, want.begin() + 0x20, std::byte{7});
  EXPECT_TRUE(output == want);
}

// Each damage to a sound program, and the error that names it.
TEST(Processor, Refuses) {
  const std::string sound = R"(
dma_load image=2 row_bytes=131072
weight_load entry=0x10 expanded_bytes=512
signal queue=load semaphore=0
end queue=load
wait queue=compute semaphore=0
convolve input_pixel_stride=4 input_channels=4 input_columns=8 first_sum=1 last_sum=1 channel_table=0x100 output_address=0x1000 output_pixel_stride=16 output_columns=8 output_channels=16 least=-128 greatest=127
pool pooling=average input_pixel_stride=4 input_columns=8 channels=4 output_address=0x1800 multiplier_table=0x104 multiplier_first=1 multiplier_entries=1 greatest=127
resize interpolation=linear input_pixel_stride=4 input_columns=8 channels=4 output_address=0x1c00 output_columns=1 row_table=0x180 column_table=0x180 multiplier=0x30000000 greatest=127
combine left_address=0x1000 right_address=0x1010 left_multiplier=0x3f000000 right_multiplier=0x3f000000 channels=16 output_address=0x2000 greatest=127
signal queue=compute semaphore=2
end queue=compute
wait queue=store semaphore=2
dma_store image=3 row_bytes=131072
end queue=store
)";
  const auto make = [&](const std::string& text, uint32_t form = 0, uint32_t weight = 1) {
    Instance instance = assembled(text);
    add_stream(instance, 0x10, 0x100, 512, form);
    add_stream(instance, 0x20, 0xf00, 512);
    add_stream(instance, 0x30, 0x100, 512, 7);
    std::memset(instance.constants.data() + 0x100, static_cast<int>(weight), 64);
    for (size_t o = 0; o < 16; ++o) {
      const float multiplier = 0.01F;
      std::memcpy(instance.constants.data() + 0x200 + 8 * o + 4, &multiplier, 4);
    }
    const uint16_t position[] = {0, 0, 2000, 48};
    std::memcpy(instance.constants.data() + 0x280, position, sizeof position);
    testing::put_checks_right(instance.commands, instance.constants);
    return instance.make(cpu::available_isas().back());
  };
  const auto accepted = make(sound);
  ASSERT_TRUE(accepted.has_value()) << accepted.error().to_string();
  EXPECT_EQ(make(sound, 1).error().id, "N063");
  EXPECT_EQ(make(sound, 2).error().id, "N062");
  const auto halves = [&](uint32_t byte) {
    std::string text = sound;
    const std::string from = "output_pixel_stride=16 output_columns=8";
    text.replace(text.find(from), from.size(),
                 "output_pixel_stride=64 output_columns=8 input_type=f16 weights=f16 output_type=f32");
    return make(text, 0, byte);
  };
  EXPECT_TRUE(halves(0x3C).has_value());
  EXPECT_EQ(halves(0xFF).error().id, "N084") << "weights that are no numbers";
  const auto refused = [&](const std::string& from, const std::string& to, std::string_view id) {
    std::string text = sound;
    const size_t at = text.find(from);
    ASSERT_NE(at, std::string::npos) << from;
    const auto kernel = make(text.replace(at, from.size(), to));
    ASSERT_FALSE(kernel.has_value()) << to << " was accepted";
    EXPECT_EQ(kernel.error().id, id) << to << ": " << kernel.error().to_string();
    EXPECT_NE(kernel.error().to_string().find("test"), std::string::npos) << "the layer is not named";
  };
  refused("entry=0x10", "entry=0x20", "N062");
  refused("entry=0x10", "entry=0x30", "N062");
  refused("expanded_bytes=512", "expanded_bytes=256", "N062");
  refused("image=3", "image=2", "N075");
  refused("image=3", "image=4", "N028");
  refused("end queue=store", "", "N022");
  refused("convolve ", "convolve input_zero_point=200 ", "N065");
  refused("channel_table=0x100", "channel_table=0xf8", "N065");
  refused("channel_table=0x100", "channel_table=0x1000", "N064");
  refused("output_address=0x1000 output_pixel_stride=16", "output_address=0x1000 output_pixel_stride=15", "N073");
  refused("output_address=0x1000", "output_address=0x10", "N074");
  refused("convolve ",
          "convolve adds_residual=1 residual_multiplier=0x3f000000 addend_multiplier=0x3f000000 "
          "residual_address=0x4000 addend_zero_point=1 ",
          "N069");
  refused(
      "convolve ",
      "convolve adds_residual=1 residual_multiplier=0x7f800000 addend_multiplier=0x3f000000 residual_address=0x4000 ",
      "N065");
  refused(
      "convolve ",
      "convolve adds_residual=1 residual_multiplier=0x3f000000 addend_multiplier=0x7fc00000 residual_address=0x4000 ",
      "N065");
  refused("multiplier_first=1", "multiplier_first=2", "N067");
  refused("multiplier_table=0x104", "multiplier_table=0x100", "N065");
  refused("row_table=0x180", "row_table=0x188", "N068");
  refused("multiplier=0x30000000", "multiplier=0x43c00000", "N065");
  refused("left_multiplier=0x3f000000", "left_multiplier=0x7fc00000", "N065");
  refused("combine ", "combine left_type=u8 left_zero_point=-1 ", "N065");
  refused("combine ", "combine right_zero_point=128 ", "N065");
  refused("output_address=0x2000", "output_address=0x1001", "N074");
  refused("combine ", "combine arithmetic=table function_table=0x400 function_entries=5 ", "N064");
  refused("combine ", "copy output_type=f32 fills=1 fill_value=3 output_address=0x3000 \ncombine ", "N066");
  refused("dma_load image=2 row_bytes=131072",
          "dma_load image=2 row_bytes=131072\ndma_load image=2 row_bytes=131072 rows=65535 planes=65535", "N072");
}

TEST(Processor, SumsThatMayNotFitAreRefused) {
  for (const auto& [wide, narrow] : {std::pair{false, false}, std::pair{true, false}, std::pair{true, true}}) {
    ProgramBuilder b(3);
    Convolve c;
    c.narrow_sums = narrow ? 1 : 0;
    c.input_type = wide ? kI16 : kU8;
    c.weights = wide ? kWeightI16 : kWeightI8;
    c.input_channels = 1;
    c.output_channels = 1;
    set_input_tile(c, b.tile(c.input_type, 1, 1, 1));
    set_output_tile(c, b.tile(kI16, 1, 1, 1));
    c.least = -32768;
    c.greatest = 32767;
    c.first_sum = c.last_sum = 1;
    Bytes weights(wide ? 32 : 16);
    weights[0] = std::byte{100};
    c.weight_address = b.load(weights);
    const auto with_bias = [&](int64_t bias) {
      ProgramBuilder own = b;
      Bytes channels(16);
      const float multiplier = 0.01F;
      std::memcpy(channels.data(), &bias, wide ? 8 : 4);
      std::memcpy(channels.data() + (wide ? 8 : 4), &multiplier, 4);
      c.channel_table = own.load(channels);
      own.compute(c);
      return own.finish().make(cpu::available_isas().back());
    };
    const int64_t limit = wide && !narrow ? (int64_t{1} << 53) - 1 : INT32_MAX;
    const int64_t reach = wide ? 100 * 32768 : 100 * 255;
    for (const int64_t sign : {-1, 1}) {
      const auto fits = with_bias(sign * (limit - reach));
      EXPECT_TRUE(fits.has_value()) << fits.error().to_string();
      const auto passes = with_bias(sign * (limit - reach + 1));
      ASSERT_FALSE(passes.has_value());
      EXPECT_EQ(passes.error().id, "N070") << passes.error().to_string();
    }
  }
}

}  // namespace
}  // namespace hai::sd3403
