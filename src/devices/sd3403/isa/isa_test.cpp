// Round trips of words and text for every command and boundary value, random words, and hostile texts.
#include <gtest/gtest.h>

#include <random>

#include "devices/sd3403/isa/assembly.h"
#include "devices/sd3403/isa/command.h"

namespace hai::sd3403 {
namespace {

Command with_values(const CommandInfo& info, const std::vector<int64_t>& values) {
  Command command;
  command.core = 1;
  command.layer = 65535;
  command.tile = 0xfffffffe;
  command.body = *make_body(info.name, values);
  return command;
}

// Every field at its least, its greatest and random values, the others random.
std::vector<Command> boundary_commands() {
  std::mt19937_64 random(7);
  std::vector<Command> out;
  for (const CommandInfo& info : commands()) {
    const auto draw = [&](const FieldInfo& field) {
      return std::uniform_int_distribution<int64_t>(field.least, field.greatest)(random);
    };
    for (size_t f = 0; f < info.fields.size(); ++f) {
      for (const int64_t value : {info.fields[f].least, info.fields[f].greatest, draw(info.fields[f])}) {
        std::vector<int64_t> values;
        for (const FieldInfo& field : info.fields) values.push_back(draw(field));
        values[f] = value;
        out.push_back(with_values(info, values));
      }
    }
  }
  return out;
}

TEST(Commands, EveryBoundaryValueSurvivesItsWord) {
  for (const Command& command : boundary_commands()) {
    const auto word = encode(command);
    ASSERT_TRUE(word.has_value()) << word.error().to_string();
    const auto back = decode(*word);
    ASSERT_TRUE(back.has_value()) << back.error().to_string();
    EXPECT_EQ(*back, command) << disassemble(command);
  }
}

TEST(Commands, AssemblyOfADisassemblyIsTheProgram) {
  const std::vector<Command> program = boundary_commands();
  std::string text = "# a comment\n\n";
  for (const Command& command : program) text += disassemble(command) + "  # " + "trailing\n";
  const auto back = assemble(text);
  ASSERT_TRUE(back.has_value()) << back.error().to_string();
  EXPECT_EQ(*back, program);
}

TEST(Commands, ValuesOutsideOfTheirBoundsAreNotEncoded) {
  for (const CommandInfo& info : commands()) {
    for (size_t f = 0; f < info.fields.size(); ++f) {
      std::vector<int64_t> values;
      for (const FieldInfo& field : info.fields) values.push_back(nearest_to_zero(field.least, field.greatest));
      for (const int64_t value : {info.fields[f].least - 1, info.fields[f].greatest + 1}) {
        values[f] = value;
        const auto word = encode(with_values(info, values));
        ASSERT_FALSE(word.has_value()) << info.name << " " << info.fields[f].name;
        EXPECT_EQ(word.error().id, "N001");
      }
    }
  }
  Command command;
  EXPECT_EQ(encode(command).error().id, "N003");
  command.body = End{};
  command.core = 2;
  EXPECT_EQ(encode(command).error().id, "N002");
}

TEST(Commands, AnyWordIsDecodedOrRefused) {
  std::mt19937 random(11);
  int64_t decoded = 0;
  for (int i = 0; i < 200000; ++i) {
    CommandWord word;
    for (uint32_t& part : word) part = static_cast<uint32_t>(random());
    const auto known = commands()[random() % commands().size()];
    if (i % 2 == 0) word[0] = (word[0] & 0xffff0100U) | static_cast<uint32_t>(known.opcode);
    if (i % 4 == 0) std::fill(word.begin() + 2, word.end(), 0U);  // only some words with fields of zero are valid
    const auto command = decode(word);
    if (!command) continue;
    ++decoded;
    const auto again = encode(*command);
    ASSERT_TRUE(again.has_value());
    EXPECT_EQ(*again, word);
  }
  EXPECT_GT(decoded, 1000);
}

TEST(Commands, ReservedBitsMustBeZero) {
  const auto word = encode({.core = 0, .layer = 3, .tile = 9, .body = Signal{}});
  ASSERT_TRUE(word.has_value());
  int refused = 0;
  for (int bit = 0; bit < static_cast<int>(kWordBytes) * 8; ++bit) {
    CommandWord flipped = *word;
    flipped[static_cast<size_t>(bit / 32)] ^= 1U << (bit % 32);
    const auto command = decode(flipped);
    if (!command) {
      ++refused;
      continue;
    }
    EXPECT_EQ(*encode(*command), flipped);
  }
  EXPECT_GT(refused, 900);
}

TEST(Assembly, WhatAFieldCannotBeIsSaidWithWhatItCanBe) {
  const auto message = [](std::string_view text) { return assemble(text).error().to_string(); };
  EXPECT_EQ(message("end tile=-1"),
            "line 1: tile cannot be \"-1\"; it is a whole number from 0 to 4294967295 [HAI-N013]");
  EXPECT_EQ(message("end queue=fast"),
            "line 1: queue cannot be \"fast\"; it is one of load, compute, store [HAI-N013]");
  EXPECT_EQ(message("wait count=x"), "line 1: count cannot be \"x\"; it is a whole number from 1 to 255 [HAI-N013]");
  // What no terminal would show, or all of them would obey, is in the message to its end.
  EXPECT_EQ(message(std::string_view("wait count=1\0002\x1b[2J", 18)),
            "line 1: count cannot be \"1\\x002\\x1b[2J\"; it is a whole number from 1 to 255 [HAI-N013]");
}

TEST(Assembly, HostileLinesAreRefusedByNumber) {
  const auto refused = [](std::string_view text, std::string_view id) {
    const auto program = assemble(text);
    ASSERT_FALSE(program.has_value()) << text;
    EXPECT_EQ(program.error().id, id) << program.error().to_string();
    EXPECT_NE(program.error().to_string().find("line 2"), std::string::npos) << program.error().to_string();
  };
  refused("end\nendd", "N010");
  refused("end\nend queue", "N011");
  refused("end\nend speed=3", "N012");
  refused("end\nend queue=fast", "N013");
  refused("end\nend core=2", "N013");
  refused("end\nend tile=99999999999", "N013");
  refused("end\nwait count=0x", "N013");
  refused("end\nwait count=--1", "N013");
  refused("end\nwait count=99999999999999999999", "N013");
  refused("end\nwait count=1 count=2", "N014");
  refused("end\nwait count=256", "N001");
  EXPECT_TRUE(assemble("")->empty());
  EXPECT_TRUE(assemble("\r\n \t# nothing")->empty());
}

TEST(Commands, TheReferenceNamesEveryField) {
  const std::string markdown = reference_markdown();
  const std::string json = reference_json();
  for (const CommandInfo& info : commands()) {
    EXPECT_NE(markdown.find("## " + std::string(info.name)), std::string::npos);
    for (const FieldInfo& field : info.fields) {
      EXPECT_NE(markdown.find("`" + std::string(field.name) + "`"), std::string::npos);
      EXPECT_NE(json.find("\"" + std::string(field.name) + "\""), std::string::npos);
    }
  }
}

}  // namespace
}  // namespace hai::sd3403
