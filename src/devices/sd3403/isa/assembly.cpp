// Printing and parsing by the tables of command.h; no command is named here.
//
// A field that is left out has its default, the value of its bounds that is nearest to zero; what is printed is what
// differs from it. Parsing ends in encode(), so that no command with a field out of its bounds comes from a text.
#include "devices/sd3403/isa/assembly.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

namespace hai::sd3403 {
namespace {

bool is_hexadecimal(std::string_view kind) {
  return kind == "ddr" || kind == "sram" || kind == "cache" || kind == "real";
}

int64_t default_of(const FieldInfo& field) { return nearest_to_zero(field.least, field.greatest); }

std::string value_text(const FieldInfo& field, int64_t value) {
  const auto choices = choices_of(field.kind);
  if (!choices.empty()) return std::string(choices[static_cast<size_t>(value)]);
  return is_hexadecimal(field.kind) ? fmt::format("{:#x}", value) : fmt::format("{}", value);
}

std::optional<int64_t> parse_number(std::string_view text) {
  const bool negative = text.starts_with('-');
  if (negative) text.remove_prefix(1);
  const int base = text.starts_with("0x") ? 16 : 10;
  if (base == 16) text.remove_prefix(2);
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (text.empty() || text.front() == '-' || error != std::errc() || end != text.data() + text.size()) return {};
  return negative ? -value : value;
}

std::optional<int64_t> parse_value(const FieldInfo& field, std::string_view text) {
  const auto choices = choices_of(field.kind);
  if (choices.empty()) return parse_number(text);
  const auto at = std::find(choices.begin(), choices.end(), text);
  if (at == choices.end()) return {};
  return at - choices.begin();
}

std::string_view next_word(std::string_view& line) {
  constexpr std::string_view kSpace = " \t\r";
  const size_t begin = std::min(line.find_first_not_of(kSpace), line.size());
  const size_t end = std::min(line.find_first_of(kSpace, begin), line.size());
  const std::string_view word = line.substr(begin, end - begin);
  line.remove_prefix(end);
  return word;
}

// A field of every command's header or of the command itself.
struct Target {
  std::string_view name;
  int64_t limit;  // of header fields
};
constexpr Target kHeader[] = {{"core", 1}, {"layer", 0xffff}, {"tile", 0xffffffff}};

std::string range_text(int64_t least, int64_t greatest) {
  return fmt::format("a whole number from {} to {}", least, greatest);
}
std::string range_text(const FieldInfo& field) {
  const auto choices = choices_of(field.kind);
  if (choices.empty()) return range_text(field.least, field.greatest);
  return fmt::format("one of {}", fmt::join(choices, ", "));
}

Result<Command> parse_line(std::string_view line, int64_t number) {
  const std::string_view name = next_word(line);
  const CommandInfo* info = find_command(name);
  if (info == nullptr) {
    return make_error(StatusCode::kInvalidArgument, "N010", "line {}: there is no command \"{}\"", number,
                      name.substr(0, 60));
  }
  std::vector<int64_t> values;
  for (const FieldInfo& field : info->fields) values.push_back(default_of(field));
  std::vector<bool> given(info->fields.size() + std::size(kHeader), false);
  int64_t header[std::size(kHeader)] = {};
  for (std::string_view word = next_word(line); !word.empty(); word = next_word(line)) {
    const size_t equals = word.find('=');
    if (equals == std::string_view::npos) {
      return make_error(StatusCode::kInvalidArgument, "N011", "line {}: \"{}\" is no field=value", number,
                        word.substr(0, 60));
    }
    const std::string_view key = word.substr(0, equals);
    const std::string_view text = word.substr(equals + 1);
    const auto* own =
        std::find_if(std::begin(kHeader), std::end(kHeader), [&](const Target& t) { return t.name == key; });
    const auto field = std::find_if(info->fields.begin(), info->fields.end(),
                                    [&](const FieldInfo& known) { return known.name == key; });
    const bool in_header = own != std::end(kHeader);
    if (!in_header && field == info->fields.end()) {
      return make_error(StatusCode::kInvalidArgument, "N012", "line {}: {} has no field \"{}\"", number, info->name,
                        key.substr(0, 60));
    }
    const size_t slot = in_header ? info->fields.size() + static_cast<size_t>(own - std::begin(kHeader))
                                  : static_cast<size_t>(field - info->fields.begin());
    const std::optional<int64_t> value = in_header ? parse_number(text) : parse_value(*field, text);
    if (!value || (in_header && (*value < 0 || *value > own->limit))) {
      return make_error(StatusCode::kInvalidArgument, "N013", "line {}: {} cannot be \"{}\"; it is {}", number, key,
                        text.substr(0, 60), in_header ? range_text(0, own->limit) : range_text(*field));
    }
    if (given[slot]) {
      return make_error(StatusCode::kInvalidArgument, "N014", "line {}: {} is given twice", number, key);
    }
    given[slot] = true;
    (in_header ? header[own - std::begin(kHeader)] : values[slot]) = *value;
  }
  Command command{static_cast<uint8_t>(header[0]), static_cast<uint16_t>(header[1]), static_cast<uint32_t>(header[2]),
                  *make_body(info->name, values)};
  if (const auto word = encode(command); !word) return with_where(word.error(), fmt::format("line {}", number));
  return command;
}

std::string_view queue_text(QueueKind queue) {
  constexpr std::string_view kNames[] = {"load", "compute", "store", "any"};
  return kNames[static_cast<size_t>(queue)];
}

std::vector<std::string_view> choice_kinds() {
  std::vector<std::string_view> kinds;
  for (const CommandInfo& info : commands()) {
    for (const FieldInfo& field : info.fields) {
      const bool fresh = std::find(kinds.begin(), kinds.end(), field.kind) == kinds.end();
      if (fresh && !choices_of(field.kind).empty()) kinds.push_back(field.kind);
    }
  }
  return kinds;
}

}  // namespace

std::string disassemble(const Command& command) {
  const CommandInfo& info = info_of(command.body);
  std::string line(info.name);
  if (command.core != 0) line += fmt::format(" core={}", command.core);
  if (command.layer != 0) line += fmt::format(" layer={}", command.layer);
  if (command.tile != 0) line += fmt::format(" tile={}", command.tile);
  const std::vector<int64_t> values = field_values(command.body);
  for (size_t i = 0; i < values.size(); ++i) {
    if (values[i] == default_of(info.fields[i])) continue;
    line += fmt::format(" {}={}", info.fields[i].name, value_text(info.fields[i], values[i]));
  }
  return line;
}

Result<std::vector<Command>> assemble(std::string_view text) {
  if (text.size() > kMaxAssemblyBytes) {
    return make_error(StatusCode::kOutOfRange, "N015", "an assembly text of {} bytes; at most {} are read", text.size(),
                      kMaxAssemblyBytes);
  }
  std::vector<Command> out;
  int64_t number = 0;
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    ++number;
    line = line.substr(0, line.find('#'));
    if (line.find_first_not_of(" \t\r") == std::string_view::npos) continue;
    HAI_TRY(const Command command, parse_line(line, number));
    out.push_back(command);
  }
  return out;
}

std::string reference_markdown() {
  std::string out =
      "# Commands of the SD3403 NPU\n\nGenerated by `hai isa` from "
      "`src/devices/sd3403/isa/commands.def`.\n\n"
      "A word has 128 bytes, little-endian. Bits 0 to 7 are the opcode, 8 the core, 16 to 31 the layer and 32 to 63 "
      "the\n"
      "tile that a command belongs to; fields follow from bit 64. Bits that belong to no field are zero.\n";
  for (const CommandInfo& info : commands()) {
    out += fmt::format("\n## {}\n\nOpcode {:#04x}, queue {}. {}\n\n| field | bits | values | |\n|---|---|---|---|\n",
                       info.name, static_cast<int>(info.opcode), queue_text(info.queue), info.doc);
    for (const FieldInfo& field : info.fields) {
      std::string values = fmt::format("{}, {} to {}", field.kind, field.least, field.greatest);
      if (const auto choices = choices_of(field.kind); !choices.empty())
        values = fmt::format("{}", fmt::join(choices, ", "));
      out += fmt::format("| `{}` | {}..{} | {} | {} |\n", field.name, field.first_bit, field.first_bit + field.bits - 1,
                         values, field.doc);
    }
  }
  return out;
}

std::string reference_json() {
  // Names and docs are literals of commands.def without a character that JSON would escape.
  std::string out = fmt::format("{{\"word_bytes\": {}, \"choices\": {{", kWordBytes);
  bool first = true;
  for (const std::string_view kind : choice_kinds()) {
    out += fmt::format("{}\"{}\": [\"{}\"]", first ? "" : ", ", kind, fmt::join(choices_of(kind), "\", \""));
    first = false;
  }
  out += "}, \"commands\": [";
  first = true;
  for (const CommandInfo& info : commands()) {
    out += fmt::format("{}\n {{\"name\": \"{}\", \"opcode\": {}, \"queue\": \"{}\", \"doc\": \"{}\", \"fields\": [",
                       first ? "" : ",", info.name, static_cast<int>(info.opcode), queue_text(info.queue), info.doc);
    first = false;
    bool first_field = true;
    for (const FieldInfo& field : info.fields) {
      out += fmt::format(
          "{}\n  {{\"name\": \"{}\", \"kind\": \"{}\", \"first_bit\": {}, \"bits\": {}, \"least\": {}, \"greatest\": "
          "{}, "
          "\"doc\": \"{}\"}}",
          first_field ? "" : ",", field.name, field.kind, field.first_bit, field.bits, field.least, field.greatest,
          field.doc);
      first_field = false;
    }
    out += "]}";
  }
  return out + "\n]}\n";
}

}  // namespace hai::sd3403
