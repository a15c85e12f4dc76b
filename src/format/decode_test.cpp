// Decoding of FlatBuffers that no encoder of ours makes: shared bytes, wrong alignment, cut ends.
#include <gtest/gtest.h>

#include <cstring>

#include "format/codec.h"
#include "format/program_generated.h"
#include "format/test_model.h"

namespace hai::format {
namespace {

struct alignas(64) Block {
  std::byte bytes[64];
};

// A copy at a 64-byte boundary, as read_section gives it.
class Aligned {
 public:
  explicit Aligned(std::span<const std::byte> bytes) : blocks_(bytes.size() / 64 + 1), size_(bytes.size()) {
    std::memcpy(blocks_.data(), bytes.data(), bytes.size());
  }
  std::span<std::byte> view() { return {reinterpret_cast<std::byte*>(blocks_.data()), size_}; }

 private:
  std::vector<Block> blocks_;
  size_t size_;
};

TEST(DecodeTest, CutEnds) {
  const auto encoded = encode_program(testing::make_test_program(true));
  Aligned copy(encoded);
  EXPECT_EQ(decode_program(copy.view()).value(), testing::make_test_program(true));
  for (size_t size = 0; size < encoded.size(); ++size) {
    Aligned part({encoded.data(), size});
    (void)decode_program(part.view()).has_value();
  }
}

TEST(DecodeTest, ManyTablesThatShareOneVectorAreRefused) {
  flatbuffers::FlatBufferBuilder builder;
  const auto inputs = builder.CreateVector(std::vector<uint32_t>(1 << 16, 0));
  const auto kernel = builder.CreateString("k");
  std::vector<flatbuffers::Offset<fb::Instruction>> instructions;
  for (int i = 0; i < 10000; ++i)
    instructions.push_back(fb::CreateInstruction(builder, kernel, kernel, inputs, inputs));
  const auto device = builder.CreateString("cpu");
  const auto all = builder.CreateVector(instructions);
  fb::FinishProgramBuffer(builder, fb::CreateProgram(builder, device, 0, 0, all));
  Aligned copy({reinterpret_cast<const std::byte*>(builder.GetBufferPointer()), builder.GetSize()});
  const auto program = decode_program(copy.view());  // would be 5 GB
  ASSERT_FALSE(program);
  EXPECT_EQ(program.error().id, "F023");
}

TEST(DecodeTest, MisalignedVectorsOfLongsAreRefused) {
  // FlatBuffers' verifier takes a vector of longs at any multiple of 4: point `ints` at the odd half of its data.
  flatbuffers::FlatBufferBuilder builder;
  const auto key = builder.CreateString("pads");
  const auto ints = builder.CreateVector(std::vector<int64_t>{1, 1, 1, 1});
  const auto attribute = fb::CreateAttribute(builder, key, fb::AttributeKind::Ints, 0, 0, 0, ints);
  const auto attributes = builder.CreateVector(&attribute, 1);
  const auto kernel = builder.CreateString("k");
  const auto instruction = fb::CreateInstruction(builder, kernel, kernel, 0, 0, attributes);
  const auto instructions = builder.CreateVector(&instruction, 1);
  const auto device = builder.CreateString("cpu");
  fb::FinishProgramBuffer(builder, fb::CreateProgram(builder, device, 0, 0, instructions));
  Aligned copy({reinterpret_cast<const std::byte*>(builder.GetBufferPointer()), builder.GetSize()});
  const auto* program = fb::GetProgram(copy.view().data());
  const auto* table = program->instructions()->Get(0)->attributes()->Get(0);
  ASSERT_TRUE(decode_program(copy.view()));
  // The field that holds the offset from itself to the vector; 4 more makes the low half of an element its length.
  const auto* vector = reinterpret_cast<const uint8_t*>(table->ints());
  auto* field = const_cast<uint8_t*>(reinterpret_cast<const uint8_t*>(table));
  uint32_t offset = 0;
  for (std::memcpy(&offset, field, 4); field + offset != vector; std::memcpy(&offset, field, 4)) field += 4;
  offset += 4;
  std::memcpy(field, &offset, 4);
  const auto decoded = decode_program(copy.view());
  ASSERT_FALSE(decoded);
  EXPECT_TRUE(decoded.error().id == "F022" || decoded.error().id == "F023") << decoded.error().to_string();
}

TEST(DecodeTest, UnknownNumbersAreNamed) {
  flatbuffers::FlatBufferBuilder builder;
  const auto name = builder.CreateString("t");
  const auto tensor = fb::CreateTensor(builder, name, 99);
  const auto tensors = builder.CreateVector(&tensor, 1);
  const auto device = builder.CreateString("cpu");
  fb::FinishProgramBuffer(builder, fb::CreateProgram(builder, device, 0, tensors));
  Aligned copy({reinterpret_cast<const std::byte*>(builder.GetBufferPointer()), builder.GetSize()});
  const auto program = decode_program(copy.view());
  ASSERT_FALSE(program);
  EXPECT_EQ(program.error().code, StatusCode::kUnsupported);
  EXPECT_NE(program.error().message.find("data type 99"), std::string::npos) << program.error().message;
}

}  // namespace
}  // namespace hai::format
