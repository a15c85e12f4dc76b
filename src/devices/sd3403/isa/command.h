// HAI_CMD: the commands of the NPU as structs, as words of 128 bytes, and as tables for everything that prints or
// checks them. All of it comes from commands.def.
//
// A decoded command has every field within the bounds of its line; where it reads and writes is for the program
// verifier (program_verifier.h). Thread-safe: nothing here has state.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/result.h"

namespace hai::sd3403 {

inline constexpr size_t kWordBytes = 128;
using CommandWord = std::array<uint32_t, kWordBytes / sizeof(uint32_t)>;

enum class Opcode : uint8_t {
#define HAI_COMMAND(Type, name, opcode, queue, timing, doc) k##Type = (opcode),
#include "devices/sd3403/isa/commands.def"
};

// One struct a command; a field is made valid by its bounds: it starts at the value of them that is nearest to zero.
constexpr int64_t nearest_to_zero(int64_t least, int64_t greatest) {
  return least > 0 ? least : greatest < 0 ? greatest : 0;
}
#define HAI_COMMAND(Type, name, opcode, queue, timing, doc) \
  struct Type {                                             \
    static constexpr Opcode kOpcode = Opcode::k##Type;
#define HAI_FIELD(Type, name, kind, bits, least, greatest, doc) int64_t name = nearest_to_zero(least, greatest);
#define HAI_COMMAND_END(Type)                   \
  bool operator==(const Type&) const = default; \
  }                                             \
  ;
#include "devices/sd3403/isa/commands.def"

using CommandBody = std::variant<
#define HAI_COMMAND(Type, name, opcode, queue, timing, doc) Type,
#include "devices/sd3403/isa/commands.def"
    std::monostate>;  // no command: an instance of it is refused everywhere

struct Command {
  uint8_t core = 0;    // 0 or 1
  uint16_t layer = 0;  // for tables and traces
  uint32_t tile = 0;
  CommandBody body = std::monostate{};
  bool operator==(const Command&) const = default;
};

// Values of the choices, in the order of commands.def.
enum Element : int64_t { kI8, kU8, kI16, kI32, kF16, kF32 };
enum Weight : int64_t { kWeightI8, kWeightI4, kWeightI16, kWeightF16 };
enum Connection : int64_t { kDense, kDepthwise };
enum Transform : int64_t { kDirect, kWinograd2, kWinograd4 };
enum Function : int64_t { kNoFunction, kTable, kCurve, kReal };
enum Arithmetic : int64_t { kAdd, kSubtract, kMultiply, kRescale, kLookUp, kLookUpCurve, kRealFunction };
enum Pooling : int64_t { kMaximum, kAverage };
enum Interpolation : int64_t { kNearest, kLinear };

constexpr int64_t element_bytes(int64_t element) {
  constexpr int64_t kBytes[] = {1, 1, 2, 4, 2, 4};
  return kBytes[element];
}
inline constexpr int64_t kBlockChannels = 16;  // output channels of a block of weights
// Sums of i16 input, and those of a transform of integers behind its taps, have 64 bits.
constexpr bool has_wide_sums(int64_t input_type, int64_t transform) {
  return input_type == kI16 || (transform != kDirect && input_type != kF16);
}
constexpr bool has_wide_sums(const Convolve& c) { return has_wide_sums(c.input_type, c.transform); }
// Of an entry of Convolve's channel table.
constexpr int64_t channel_entry_bytes(bool wide_sums) { return wide_sums ? 16 : 8; }

// Output rows, and columns, of a tile of a transform; its taps, those of a direct window too; bytes of its tap table.
constexpr int64_t transform_tile(int64_t transform) {
  return transform == kWinograd2 ? 2 : transform == kWinograd4 ? 4 : 1;
}
constexpr int64_t transform_taps(int64_t transform) {
  const int64_t side = transform_tile(transform) + 2;
  return side * side;
}
constexpr int64_t taps_of(const Convolve& c) {
  return c.transform == kDirect ? c.window_rows * c.window_columns : transform_taps(c.transform);
}
// None of f16, whose taps are not scaled.
constexpr bool has_tap_table(const Convolve& c) { return c.transform != kDirect && c.input_type != kF16; }
constexpr int64_t tap_table_bytes(const Convolve& c) { return has_tap_table(c) ? 2 * transform_taps(c.transform) : 0; }
// The command of a chain that reads the channel table: sums of f16 start from their bias, but those of taps, to which
// it is added behind the transform.
constexpr bool reads_channel_table(const Convolve& c) {
  return c.input_type == kF16 && c.transform == kDirect ? c.first_sum != 0 : c.last_sum != 0;
}
inline constexpr int64_t kMostInputShift = 15;  // of a tap table
inline constexpr int64_t kMostSumShift = 38;
constexpr int64_t weight_bits(int64_t weights) { return weights == kWeightI4 ? 4 : weights == kWeightI8 ? 8 : 16; }
// Whether entries lie at function_table.
inline bool has_table(const Convolve& c) { return c.function == kTable || c.function == kCurve; }
inline bool has_table(const Combine& c) { return c.arithmetic == kLookUp || c.arithmetic == kLookUpCurve; }
// Whether the accumulators hold sums of 64 bits.
inline bool accumulates_wide(const Convolve& c) { return c.input_type == kI16 && c.narrow_sums == 0; }
inline constexpr int64_t kPositionBytes = 8;            // of an entry of Resize's tables
inline constexpr int64_t kExponentialsBytes = 4 * 256;  // of Softmax's table
constexpr int64_t layer_norm_bytes(int64_t channels) { return 8 + 8 * channels; }
inline constexpr int64_t kStreamEntryBytes = 16;  // of a WeightLoad's entry

// Where a tile of a tensor lies in the scratchpad (commands.def, HAI_TILE).
struct Tile {
  int64_t address = 0;
  int64_t row_stride = 0;
  int64_t pixel_stride = 0;
  int64_t ring_rows = 0;
  int64_t ring_first = 0;
  int64_t type = kI8;

  // First byte of a row.
  int64_t row_address(int64_t row) const {
    const int64_t at = ring_rows == 0 ? row : (ring_first + row) % ring_rows;
    return address + at * row_stride;
  }
};
#define HAI_TILE_OF(name)                                                   \
  template <typename CommandType>                                           \
  Tile name##_tile(const CommandType& c) {                                  \
    return {c.name##_address,   c.name##_row_stride, c.name##_pixel_stride, \
            c.name##_ring_rows, c.name##_ring_first, c.name##_type};        \
  }                                                                         \
  template <typename CommandType>                                           \
  void set_##name##_tile(CommandType& c, const Tile& tile) {                \
    c.name##_address = tile.address;                                        \
    c.name##_row_stride = tile.row_stride;                                  \
    c.name##_pixel_stride = tile.pixel_stride;                              \
    c.name##_ring_rows = tile.ring_rows;                                    \
    c.name##_ring_first = tile.ring_first;                                  \
    c.name##_type = tile.type;                                              \
  }
HAI_TILE_OF(input)
HAI_TILE_OF(output)
HAI_TILE_OF(residual)
HAI_TILE_OF(left)
HAI_TILE_OF(right)
#undef HAI_TILE_OF

enum class QueueKind : uint8_t { kLoad, kCompute, kStore, kAny };

struct FieldInfo {
  std::string_view name;
  std::string_view kind;  // image, ddr, sram, cache, count, stride, integer, real, semaphore, or the name of a choice
  int bits;
  int64_t least;
  int64_t greatest;
  std::string_view doc;
  int first_bit;  // of the word
};
struct CommandInfo {
  std::string_view name;
  Opcode opcode;
  QueueKind queue;
  std::string_view timing;  // issue, dma, weights, products or values
  std::string_view doc;
  std::span<const FieldInfo> fields;  // in the order of the struct
};

std::span<const CommandInfo> commands();
const CommandInfo* find_command(std::string_view name);
// Precondition: the body is a command.
const CommandInfo& info_of(const CommandBody& body);
// Names of a choice, from value 0; empty: `kind` is no choice.
std::span<const std::string_view> choices_of(std::string_view kind);
// Of kWait, kSignal and kEnd the field; else the command's own.
QueueKind queue_of(const CommandBody& body);

// For messages: "command 12 (wait, core 1, compute queue, layer 3, tile 7)". Precondition: the body is a command.
std::string command_text(const Command& command, size_t number);
// "load", "compute", "store".
std::string_view queue_name(QueueKind queue);

// In the order of the info's fields.
std::vector<int64_t> field_values(const CommandBody& body);
// A command of this name with these fields; std::nullopt when their number is another.
std::optional<CommandBody> make_body(std::string_view name, std::span<const int64_t> values);

// Errors: N001 a field out of its bounds, N002 no such core, N003 no command.
Result<CommandWord> encode(const Command& command);
// Errors: N004 unknown opcode, N005 reserved bits that are set, N001.
Result<Command> decode(const CommandWord& word);

// Words one after the other, little-endian. Errors: N006 no whole number of words, or more than kMostCommands; those of
// decode(), with the command's number.
inline constexpr size_t kMostCommands = size_t{1} << 22;
Result<std::vector<Command>> decode_words(std::span<const std::byte> bytes);
// Precondition: encode() takes every command.
std::vector<std::byte> encode_words(std::span<const Command> commands);

}  // namespace hai::sd3403
