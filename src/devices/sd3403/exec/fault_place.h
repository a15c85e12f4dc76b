// Where a bit in external memory is, and what it belongs to.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "devices/sd3403/exec/fault_spec.h"
#include "devices/sd3403/isa/command.h"

namespace hai::sd3403 {

// The words of the program as an image, which no command can name.
inline constexpr int64_t kCommandsImage = -1;

struct ImageName {
  int64_t image = 0;
  std::string name;
  int64_t bytes = 0;
};

struct BitPlace {
  int64_t image = 0;
  int64_t byte = 0;
  int bit = 0;
  std::string image_name;
};

// Error N088: no such image, or it is shorter, or there is nothing at all.
Result<BitPlace> place_of(const FaultSpec& flip, std::span<const ImageName> images);

// "constants, byte 12, bit 3: entry of the stream that command 5 (...) loads". `constants` is image 0.
std::string describe(const BitPlace& place, std::span<const Command> commands, std::span<const std::byte> constants);

// The last command, in the order that is given, that writes the byte of this image to external memory.
std::optional<size_t> last_writer(int64_t image, int64_t byte, std::span<const Command> commands,
                                  std::span<const size_t> order);

}  // namespace hai::sd3403
