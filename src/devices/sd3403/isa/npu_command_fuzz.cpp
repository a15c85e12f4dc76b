// Fuzz target: commands as words and as text. The first byte chooses. Words that decode must come back as they were,
// from words and from their text, and must survive the verifier; a text that assembles must come back from its
// disassembly.
#include <cstdlib>
#include <string>
#include <vector>

#include "devices/sd3403/isa/assembly.h"
#include "devices/sd3403/isa/program_verifier.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace hai::sd3403 {
namespace {

void require(bool holds) {
  if (!holds) std::abort();
}

std::string text_of(std::span<const Command> commands) {
  std::string text;
  for (const Command& command : commands) text += disassemble(command) + "\n";
  return text;
}

// A machine of little memory and one of much.
void verify(std::span<const Command> commands) {
  const MemorySizes small{{256, 0, 64}, 1 << 14, 1 << 12, 1 << 10};
  const MemorySizes large{{1 << 20, 1 << 20, 1 << 20, 1 << 20}, 1 << 24, 1 << 20, 1 << 24};
  for (const MemorySizes& memory : {small, large}) {
    const Status status = verify_commands(commands, memory);
    require(status.has_value() || !status.error().message.empty());
  }
}

void check_words(std::span<const std::byte> bytes) {
  const auto commands = decode_words(bytes);
  if (!commands) return;
  const std::vector<std::byte> again = encode_words(*commands);
  require(std::equal(again.begin(), again.end(), bytes.begin(), bytes.end()));
  const auto assembled = assemble(text_of(*commands));
  require(assembled.has_value() && *assembled == *commands);
  verify(*commands);
}

void check_text(std::string_view text) {
  const auto commands = assemble(text);
  if (!commands) return;
  const auto again = assemble(text_of(*commands));
  require(again.has_value() && *again == *commands);
  check_words(encode_words(*commands));
}

}  // namespace
}  // namespace hai::sd3403

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  if (data[0] % 2 == 0) {
    // A part of a word at the end is zeros, so that a mutation that changes the size is not refused for that alone.
    std::vector<std::byte> bytes(reinterpret_cast<const std::byte*>(data + 1),
                                 reinterpret_cast<const std::byte*>(data + size));
    bytes.resize((bytes.size() + hai::sd3403::kWordBytes - 1) / hai::sd3403::kWordBytes * hai::sd3403::kWordBytes);
    hai::sd3403::check_words(bytes);
  } else {
    hai::sd3403::check_text({reinterpret_cast<const char*>(data + 1), size - 1});
  }
  return 0;
}
