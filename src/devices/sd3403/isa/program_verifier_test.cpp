// What a program must not do: leave its memories, mix types, end early, drop sums, deadlock.
#include "devices/sd3403/isa/program_verifier.h"

#include <gtest/gtest.h>

#include <random>
#include <string>

#include "devices/sd3403/isa/assembly.h"

namespace hai::sd3403 {
namespace {

// Constants, scratch.
const MemorySizes kMemory{{1 << 20, 1 << 20}, 64 << 10, 16 << 10, 4 << 10};

// Loads a tile, convolves it, stores the result; the queues hand over by semaphores 0 and 1.
constexpr std::string_view kSound = R"(
dma_load source=0x100 row_bytes=256 rows=8 source_row_stride=256 destination_row_stride=256
weight_load entry=0x8000 expanded_bytes=2432
signal queue=load semaphore=0
end queue=load
wait queue=compute semaphore=0
convolve input_row_stride=256 input_pixel_stride=16 input_rows=8 input_columns=16 input_channels=16 window_rows=3 window_columns=3 pad_top=1 pad_left=1 last_sum=1 first_sum=1 output_address=0x2000 output_row_stride=256 output_pixel_stride=16 output_rows=8 output_columns=16 output_channels=16 channel_table=0x900 greatest=127
signal queue=compute semaphore=1
end queue=compute
wait queue=store semaphore=1
dma_store image=1 source=0x2000 destination=0x10000 row_bytes=256 rows=8 source_row_stride=256 destination_row_stride=256
end queue=store
)";

std::vector<Command> sound() { return assemble(kSound).value(); }

Status verify_text(const std::string& from, const std::string& to) {
  std::string text(kSound);
  const size_t at = text.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  text.replace(at, from.size(), to);
  const auto program = assemble(text);
  EXPECT_TRUE(program.has_value()) << program.error().to_string();
  return verify_commands(*program, kMemory);
}

TEST(ProgramVerifier, ASoundProgramPasses) {
  const Status status = verify_commands(sound(), kMemory);
  EXPECT_TRUE(status.has_value()) << status.error().to_string();
  EXPECT_TRUE(verify_commands({}, kMemory).has_value());
}

TEST(ProgramVerifier, DamageIsNamed) {
  const auto refused = [](const char* from, const char* to, std::string_view id) {
    const Status status = verify_text(from, to);
    ASSERT_FALSE(status.has_value()) << to << " was accepted";
    EXPECT_EQ(status.error().id, id) << status.error().to_string();
  };
  refused("source=0x100 ", "source=0xfff00 ", "N020");
  refused("rows=8 source_row", "rows=300 source_row", "N020");
  refused("expanded_bytes=2432", "expanded_bytes=20000", "N020");
  refused("source=0x100 ", "image=2 source=0x100 ", "N028");
  refused("entry=0x8000", "entry=0xffff8", "N027");
  refused("entry=0x8000", "entry=0xfffffff0", "N020");
  refused("output_address=0x2000", "output_address=0x2000 output_ring_rows=7", "N020");
  refused("output_address=0x2000", "output_address=0x2000 output_ring_first=1", "N020");
  refused("output_address=0x2000", "output_address=0xf000 output_ring_rows=17 output_ring_first=10", "N020");
  refused("greatest=127", "greatest=127 least=128", "N021");
  refused("window_rows=3", "window_rows=99", "N020");
  refused("channel_table=0x900", "channel_table=0x3ff0", "N020");
  refused("output_address=0x2000", "output_address=0xf900", "N020");
  refused("convolve ", "convolve weights=i16 ", "N021");
  refused("convolve ", "convolve narrow_sums=1 ", "N021");
  refused("convolve ", "convolve function=real ", "N021");
  refused("convolve ", "convolve input_type=f16 weights=f16 ", "N021");
  refused("convolve ", "convolve input_type=f16 weights=f16 output_type=f16 function=table function_entries=1 ",
          "N021");
  refused("convolve ", "convolve input_type=f16 weights=f16 output_type=f16 adds_residual=1 ", "N021");
  refused("convolve ", "convolve input_type=f16 weights=f16 output_type=f32 function=real ", "N021");
  refused("signal queue=compute", "combine arithmetic=real\nsignal queue=compute", "N021");
  refused("signal queue=compute", "combine arithmetic=add left_type=f16 output_type=f16\nsignal queue=compute", "N021");
  refused("signal queue=compute", "combine arithmetic=rescale left_type=f32\nsignal queue=compute", "N021");
  refused("signal queue=compute", "combine arithmetic=rescale output_type=f16\nsignal queue=compute", "N021");
  refused("signal queue=compute", "combine arithmetic=table left_type=f16 function_entries=1\nsignal queue=compute",
          "N021");
  refused("signal queue=compute", "pool input_type=f16\nsignal queue=compute", "N021");
  refused("convolve ", "convolve output_type=i32 ", "N021");
  refused("convolve ", "convolve function=table ", "N021");
  refused("convolve ", "convolve connection=depthwise output_type=f32 adds_residual=1 ", "N021");
  refused("convolve ", "convolve connection=depthwise weight_zero_point=1 ", "N021");
  refused("convolve ", "convolve input_type=i16 weights=i16 weight_zero_point=1 ", "N021");
  refused("convolve ", "convolve transform=winograd_4 stride_rows=2 ", "N021");
  refused("convolve ", "convolve transform=winograd_4 dilation_columns=2 ", "N021");
  refused("convolve ", "convolve transform=winograd_4 weights=i4 ", "N021");
  refused("convolve ", "convolve transform=winograd_4 input_type=i16 ", "N021");
  refused("convolve ", "convolve transform=winograd_4 connection=depthwise ", "N021");
  refused("convolve ", "convolve transform=winograd_4 input_type=f16 weights=i8 ", "N021");
  refused("convolve ", "convolve transform=winograd_4 input_type=f16 weights=f16 output_type=i8 ", "N021");
  refused("convolve ", "convolve transform=winograd_4 weight_zero_point=1 ", "N021");
  refused("input_pixel_stride=16", "input_pixel_stride=0", "N021");
  refused("window_columns=3", "window_columns=2 transform=winograd_2", "N021");
  refused("convolve ", "convolve transform=winograd_4 tap_table=0x3fc0 ", "N020");
  refused("convolve ", "convolve transform=winograd_4 tap_table=8 ", "N027");
  refused("signal queue=compute", "weight_pack input_type=i16\nsignal queue=compute", "N021");
  refused("signal queue=compute", "weight_pack rows=2 destination=0x3ff0\nsignal queue=compute", "N020");
  refused("signal queue=compute", "weight_pack rows=2 input_ring_rows=1\nsignal queue=compute", "N020");
  refused("signal queue=compute", "weight_pack channels=17 destination=0x3ff0\nsignal queue=compute", "N020");
  refused("signal queue=compute", "weight_pack destination=8\nsignal queue=compute", "N027");
  refused("signal queue=compute", "softmax input_type=i16\nsignal queue=compute", "N021");
  refused("signal queue=compute", "softmax output_type=f32\nsignal queue=compute", "N021");
  refused("signal queue=compute", "softmax exponentials=0x3d00\nsignal queue=compute", "N020");
  refused("signal queue=compute", "softmax least=5\nsignal queue=compute", "N021");
  refused("signal queue=compute", "layer_norm input_type=f16\nsignal queue=compute", "N021");
  refused("signal queue=compute", "layer_norm channels=2000 parameters=0x1000\nsignal queue=compute", "N020");
  refused("signal queue=compute", "layer_norm output_address=0xffff channels=2\nsignal queue=compute", "N020");
  refused("first_sum=1", "first_sum=0", "N020");
  refused("end queue=store", "", "N022");
  refused("wait queue=compute semaphore=0", "end queue=compute", "N022");
  refused("wait queue=store semaphore=1", "wait queue=store semaphore=0", "N024");
  refused("signal queue=load semaphore=0", "signal queue=load semaphore=2", "N025");
  refused("wait queue=store semaphore=1", "wait queue=store semaphore=1 count=2", "N025");
  refused("signal queue=compute semaphore=1", "signal queue=compute semaphore=1 count=3", "N026");
}

TEST(ProgramVerifier, SumsContinueOrStartAnew) {
  std::vector<Command> program = sound();
  auto& first = std::get<Convolve>(program[5].body);
  first.output_rows = first.output_columns = 8;
  std::vector<Command> split = program;
  split.insert(split.begin() + 6, program[5]);
  std::get<Convolve>(split[5].body).last_sum = 0;
  std::get<Convolve>(split[6].body).first_sum = 0;
  EXPECT_TRUE(verify_commands(split, kMemory).has_value());
  std::vector<Command> broken = split;
  std::get<Convolve>(broken[6].body).first_sum = 1;
  EXPECT_EQ(verify_commands(broken, kMemory).error().id, "N023");
  broken = split;
  std::get<Convolve>(broken[6].body).output_rows = 4;
  EXPECT_EQ(verify_commands(broken, kMemory).error().id, "N023");
  broken = split;
  broken.erase(broken.begin() + 6);
  EXPECT_EQ(verify_commands(broken, kMemory).error().id, "N023");
}

TEST(ProgramVerifier, RandomProgramsNeverCrash) {
  std::mt19937_64 random(3);
  for (int i = 0; i < 3000; ++i) {
    std::vector<Command> program = sound();
    for (int damage = 0; damage < 3; ++damage) {
      Command& command = program[random() % program.size()];
      const CommandInfo& info = random() % 4 == 0 ? commands()[random() % commands().size()] : info_of(command.body);
      std::vector<int64_t> values = field_values(command.body);
      values.resize(info.fields.size(), 0);
      for (size_t f = 0; f < values.size(); ++f) {
        const FieldInfo& field = info.fields[f];
        const bool keep = info.opcode == info_of(command.body).opcode && random() % 3 != 0;
        if (!keep) values[f] = std::uniform_int_distribution<int64_t>(field.least, field.greatest)(random);
      }
      command.body = *make_body(info.name, values);
      command.core = static_cast<uint8_t>(random() % 3);
    }
    const Status status = verify_commands(program, kMemory);
    EXPECT_TRUE(status.has_value() || !status.error().message.empty());
  }
}

}  // namespace
}  // namespace hai::sd3403
