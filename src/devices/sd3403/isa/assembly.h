// The text form of commands, one a line: `convolve core=1 layer=3 tile=7 weights=i4 input_address=0x400 ...`.
//
// Fields that have their default are left out; choices are written by name, addresses and reals in hexadecimal. A line
// may end in a comment from '#'. assemble(disassemble(p)) == p.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "devices/sd3403/isa/command.h"

namespace hai::sd3403 {

// Precondition: the body is a command.
std::string disassemble(const Command& command);

// Errors name the line: N010 unknown command, N011 not name=value, N012 unknown field, N013 no such value, N014 a field
// given twice, N015 a text of more than kMaxAssemblyBytes, N001 and N002 of encode().
inline constexpr size_t kMaxAssemblyBytes = size_t{1} << 30;
Result<std::vector<Command>> assemble(std::string_view text);

// All commands, fields and choices, for people (Markdown) and for other programs (JSON).
std::string reference_markdown();
std::string reference_json();

}  // namespace hai::sd3403
