// Random words: each is refused with a reason, or is a command that comes back from its word and its text. What decodes
// goes through the verifier too. Words lie in memory of exactly their size, so that the address sanitizer sees any read
// beyond. HAI_RANDOM_WORDS=count tries more (docs/reference/npu_faults.md).
#include <gtest/gtest.h>

#include <cstdlib>
#include <cstring>
#include <random>

#include "devices/sd3403/isa/assembly.h"
#include "devices/sd3403/isa/program_verifier.h"

namespace hai::sd3403 {
namespace {

constexpr size_t kBlockWords = 64;

// Bits of three kinds: all random; a known opcode before random bits; a sound command with a few bits turned over.
CommandWord random_word(std::mt19937_64& random) {
  CommandWord word;
  for (uint32_t& part : word) part = static_cast<uint32_t>(random());
  const uint64_t kind = random() % 8;
  if (kind < 3) return word;
  const CommandInfo& info = commands()[random() % commands().size()];
  if (kind == 3) {
    word[0] = (word[0] & 0xffff0100U) | static_cast<uint32_t>(info.opcode);
    return word;
  }
  std::vector<int64_t> values;
  for (const FieldInfo& field : info.fields) {
    const auto range = static_cast<uint64_t>(field.greatest - field.least) + 1;
    const bool small = random() % 2 == 0;
    const int64_t from = small ? nearest_to_zero(field.least, field.greatest) : field.least;
    values.push_back(std::min(from + static_cast<int64_t>(random() % (small ? 4 : range)), field.greatest));
  }
  Command command;
  command.core = static_cast<uint8_t>(random() % 2);
  command.layer = static_cast<uint16_t>(random());
  command.tile = static_cast<uint32_t>(random());
  command.body = *make_body(info.name, values);
  word = encode(command).value();
  for (uint64_t flips = random() % 3; flips > 0; --flips) word[random() % word.size()] ^= 1U << random() % 32;
  return word;
}

TEST(RandomWords, AreRefusedOrComeBack) {
  const char* given = std::getenv("HAI_RANDOM_WORDS");
  const uint64_t count = given == nullptr ? 200000 : std::strtoull(given, nullptr, 10);
  const MemorySizes memory{{1 << 16, 1 << 12, 1 << 20, 1 << 20}, 1 << 21, 1 << 17, 1 << 16};
  std::mt19937_64 random(20261128);
  uint64_t decoded = 0;
  uint64_t blocks = 0;
  for (uint64_t done = 0; done < count; done += kBlockWords) {
    std::vector<std::byte> bytes(kBlockWords * kWordBytes);
    std::vector<Command> sound;
    for (size_t i = 0; i < kBlockWords; ++i) {
      const CommandWord word = random_word(random);
      std::memcpy(bytes.data() + i * kWordBytes, word.data(), kWordBytes);
      const auto command = decode(word);
      if (!command) {
        ASSERT_FALSE(command.error().message.empty());
        continue;
      }
      ++decoded;
      ASSERT_EQ(encode(*command).value(), word);
      const auto text = assemble(disassemble(*command));
      ASSERT_TRUE(text.has_value() && text->size() == 1 && (*text)[0] == *command) << disassemble(*command);
      const Status verified = verify_commands(std::span(&*command, 1), memory);
      ASSERT_TRUE(verified.has_value() || !verified.error().message.empty());
      sound.push_back(*command);
    }
    const auto all = decode_words(bytes);
    ASSERT_EQ(all.has_value(), sound.size() == kBlockWords);
    for (int64_t queue = 0; queue < 6; ++queue) {
      sound.push_back({static_cast<uint8_t>(queue / 3), 0, 0, End{queue % 3}});
    }
    const Status verified = verify_commands(sound, memory);
    ASSERT_TRUE(verified.has_value() || !verified.error().message.empty());
    ++blocks;
  }
  RecordProperty("words", std::to_string(blocks * kBlockWords));
  RecordProperty("decoded", std::to_string(decoded));
  EXPECT_GT(decoded, count / 8);
  EXPECT_LT(decoded, count);
}

}  // namespace
}  // namespace hai::sd3403
