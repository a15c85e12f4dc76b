// The tables of commands, and packing and unpacking words by them.
//
// Method: commands.def expands to one array of field descriptions a command, whose bit positions are the running sum of
// their widths. Packing walks a description and a struct side by side.
#include "devices/sd3403/isa/command.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

namespace hai::sd3403 {
namespace {

constexpr int kHeaderBits = 64;
constexpr int kOpcodeBits = 8;
constexpr int kLayerBit = 16;
constexpr int kTileBit = 32;

#define HAI_COMMAND(Type, name, opcode, queue, timing, doc) constexpr FieldInfo k##Type##Fields[] = {
#define HAI_FIELD(Type, name, kind, bits, least, greatest, doc) {#name, #kind, bits, least, greatest, doc, 0},
#define HAI_COMMAND_END(Type) \
  }                           \
  ;
#include "devices/sd3403/isa/commands.def"

template <size_t N>
constexpr std::array<FieldInfo, N> placed(const FieldInfo (&fields)[N]) {
  std::array<FieldInfo, N> out{};
  int bit = kHeaderBits;
  for (size_t i = 0; i < N; ++i) {
    out[i] = fields[i];
    out[i].first_bit = bit;
    bit += fields[i].bits;
  }
  return out;
}

template <size_t N>
constexpr bool fits(const FieldInfo (&fields)[N]) {
  int bits = kHeaderBits;
  for (const FieldInfo& field : fields) {
    const int64_t reach = int64_t{1} << field.bits;
    const bool holds =
        field.least < 0 ? field.least >= -reach / 2 && field.greatest < reach / 2 : field.greatest < reach;
    if (field.bits < 1 || field.bits > 32 || field.least > field.greatest || !holds) return false;
    bits += field.bits;
  }
  return bits <= static_cast<int>(kWordBytes) * 8;
}

#define HAI_COMMAND(Type, name, opcode, queue, timing, doc)                     \
  static_assert(fits(k##Type##Fields), #name " does not fit its word or bits"); \
  constexpr auto k##Type##Placed = placed(k##Type##Fields);
#include "devices/sd3403/isa/commands.def"

constexpr QueueKind queue_named(std::string_view name) {
  return name == "load"      ? QueueKind::kLoad
         : name == "compute" ? QueueKind::kCompute
         : name == "store"   ? QueueKind::kStore
                             : QueueKind::kAny;
}

constexpr CommandInfo kCommands[] = {
#define HAI_COMMAND(Type, name, opcode, queue, timing, doc) \
  {#name, Opcode::k##Type, queue_named(#queue), #timing, doc, k##Type##Placed},
#include "devices/sd3403/isa/commands.def"
};

struct Choice {
  std::string_view kind;
  std::string_view name;
};
constexpr Choice kChoices[] = {
#define HAI_CHOICE(kind, name) {#kind, #name},
#include "devices/sd3403/isa/commands.def"
};
constexpr std::array<std::string_view, std::size(kChoices)> kChoiceNames = [] {
  std::array<std::string_view, std::size(kChoices)> names{};
  for (size_t i = 0; i < names.size(); ++i) names[i] = kChoices[i].name;
  return names;
}();

// Calls use(field) for each field of a struct, in order.
#define HAI_COMMAND(Type, name, opcode, queue, timing, doc)    \
  template <typename Struct, typename Use>                     \
    requires std::is_same_v<std::remove_const_t<Struct>, Type> \
  void visit_fields(Struct& command, Use use) {
#define HAI_FIELD(Type, name, kind, bits, least, greatest, doc) use(command.name);
#define HAI_COMMAND_END(Type) }
#include "devices/sd3403/isa/commands.def"

template <typename Use>
void visit_fields(const std::monostate&, Use) {}
template <typename Use>
void visit_fields(std::monostate&, Use) {}

uint64_t bits_at(const CommandWord& word, int first, int count) {
  uint64_t out = 0;
  for (int done = 0; done < count;) {
    const int bit = first + done;
    const int take = std::min(count - done, 32 - bit % 32);
    const uint64_t part = word[static_cast<size_t>(bit / 32)] >> (bit % 32) & ((uint64_t{1} << take) - 1);
    out |= part << done;
    done += take;
  }
  return out;
}

void set_bits(CommandWord& word, int first, int count, uint64_t value) {
  for (int done = 0; done < count;) {
    const int bit = first + done;
    const int take = std::min(count - done, 32 - bit % 32);
    const auto part = static_cast<uint32_t>(value >> done & ((uint64_t{1} << take) - 1));
    word[static_cast<size_t>(bit / 32)] |= part << (bit % 32);
    done += take;
  }
}

int64_t value_at(const CommandWord& word, const FieldInfo& field) {
  const uint64_t raw = bits_at(word, field.first_bit, field.bits);
  const bool negative = field.least < 0 && (raw >> (field.bits - 1) & 1) != 0;
  return negative ? static_cast<int64_t>(raw) - (int64_t{1} << field.bits) : static_cast<int64_t>(raw);
}

Status check_bounds(const CommandInfo& info, const FieldInfo& field, int64_t value) {
  if (value >= field.least && value <= field.greatest) return {};
  return make_error(StatusCode::kOutOfRange, "N001", "{}: {} is {}, outside of {} to {}", info.name, field.name, value,
                    field.least, field.greatest);
}

}  // namespace

std::span<const CommandInfo> commands() { return kCommands; }

const CommandInfo* find_command(std::string_view name) {
  for (const CommandInfo& info : kCommands) {
    if (info.name == name) return &info;
  }
  return nullptr;
}

const CommandInfo& info_of(const CommandBody& body) {
  HAI_CHECK(body.index() < std::size(kCommands));
  return kCommands[body.index()];
}

std::span<const std::string_view> choices_of(std::string_view kind) {
  size_t first = 0;
  while (first < std::size(kChoices) && kChoices[first].kind != kind) ++first;
  size_t count = 0;
  while (first + count < std::size(kChoices) && kChoices[first + count].kind == kind) ++count;
  return std::span(kChoiceNames).subspan(first, count);
}

QueueKind queue_of(const CommandBody& body) {
  if (const auto* wait = std::get_if<Wait>(&body)) return static_cast<QueueKind>(wait->queue);
  if (const auto* signal = std::get_if<Signal>(&body)) return static_cast<QueueKind>(signal->queue);
  if (const auto* end = std::get_if<End>(&body)) return static_cast<QueueKind>(end->queue);
  return info_of(body).queue;
}

std::string_view queue_name(QueueKind queue) { return choices_of("queue")[static_cast<size_t>(queue)]; }

std::string command_text(const Command& command, size_t number) {
  const CommandInfo& info = info_of(command.body);
  const std::string queue =
      info.queue == QueueKind::kAny ? fmt::format(", {} queue", queue_name(queue_of(command.body))) : "";
  return fmt::format("command {} ({}, core {}{}, layer {}, tile {})", number, info.name, command.core, queue,
                     command.layer, command.tile);
}

std::vector<int64_t> field_values(const CommandBody& body) {
  std::vector<int64_t> values;
  std::visit([&](const auto& command) { visit_fields(command, [&](int64_t value) { values.push_back(value); }); },
             body);
  return values;
}

std::optional<CommandBody> make_body(std::string_view name, std::span<const int64_t> values) {
  std::optional<CommandBody> body;
#define HAI_COMMAND(Type, text, opcode, queue, timing, doc) \
  if (name == #text) body = Type{};
#include "devices/sd3403/isa/commands.def"
  if (!body || info_of(*body).fields.size() != values.size()) return std::nullopt;
  size_t at = 0;
  std::visit([&](auto& command) { visit_fields(command, [&](int64_t& field) { field = values[at++]; }); }, *body);
  return body;
}

Result<CommandWord> encode(const Command& command) {
  if (std::holds_alternative<std::monostate>(command.body)) {
    return make_error(StatusCode::kInvalidArgument, "N003", "there is no command to encode");
  }
  const CommandInfo& info = info_of(command.body);
  if (command.core > 1) {
    return make_error(StatusCode::kOutOfRange, "N002", "{}: core {}; there are 0 and 1", info.name, command.core);
  }
  CommandWord word{};
  set_bits(word, 0, kOpcodeBits, static_cast<uint64_t>(info.opcode));
  set_bits(word, kOpcodeBits, 1, command.core);
  set_bits(word, kLayerBit, 16, command.layer);
  set_bits(word, kTileBit, 32, command.tile);
  const std::vector<int64_t> values = field_values(command.body);
  for (size_t i = 0; i < values.size(); ++i) {
    HAI_TRY_STATUS(check_bounds(info, info.fields[i], values[i]));
    set_bits(word, info.fields[i].first_bit, info.fields[i].bits, static_cast<uint64_t>(values[i]));
  }
  return word;
}

Result<Command> decode(const CommandWord& word) {
  const uint64_t opcode = bits_at(word, 0, kOpcodeBits);
  const auto* info = std::find_if(std::begin(kCommands), std::end(kCommands), [&](const CommandInfo& known) {
    return static_cast<uint64_t>(known.opcode) == opcode;
  });
  if (info == std::end(kCommands)) {
    return make_error(StatusCode::kCorrupt, "N004", "no command has the opcode {:#04x}", opcode);
  }
  Command command;
  command.core = static_cast<uint8_t>(bits_at(word, kOpcodeBits, 1));
  command.layer = static_cast<uint16_t>(bits_at(word, kLayerBit, 16));
  command.tile = static_cast<uint32_t>(bits_at(word, kTileBit, 32));
  std::vector<int64_t> values;
  for (const FieldInfo& field : info->fields) {
    values.push_back(value_at(word, field));
    HAI_TRY_STATUS(check_bounds(*info, field, values.back()));
  }
  command.body = *make_body(info->name, values);
  HAI_TRY(const CommandWord again, encode(command));
  if (again == word) return command;
  return make_error(StatusCode::kCorrupt, "N005", "{}: bits that belong to no field are set; they must be zero",
                    info->name);
}

Result<std::vector<Command>> decode_words(std::span<const std::byte> bytes) {
  if (bytes.size() % kWordBytes != 0 || bytes.size() / kWordBytes > kMostCommands) {
    return make_error(StatusCode::kCorrupt, "N006", "{} bytes of commands; they are words of {} bytes, at most {}",
                      bytes.size(), kWordBytes, kMostCommands);
  }
  std::vector<Command> commands;
  commands.reserve(bytes.size() / kWordBytes);
  for (size_t at = 0; at < bytes.size(); at += kWordBytes) {
    CommandWord word;
    std::memcpy(word.data(), bytes.data() + at, kWordBytes);
    Result<Command> command = decode(word);
    if (!command) return with_where(command.error(), fmt::format("command {}", at / kWordBytes));
    commands.push_back(std::move(*command));
  }
  return commands;
}

std::vector<std::byte> encode_words(std::span<const Command> commands) {
  std::vector<std::byte> bytes(commands.size() * kWordBytes);
  for (size_t i = 0; i < commands.size(); ++i) {
    const Result<CommandWord> word = encode(commands[i]);
    HAI_CHECK(word.has_value());
    std::memcpy(bytes.data() + i * kWordBytes, word->data(), kWordBytes);
  }
  return bytes;
}

}  // namespace hai::sd3403
