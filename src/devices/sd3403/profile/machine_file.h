// Machines from files: profiles as JSON.
//
//   {"profile": "my-board", "based_on": "sd3403", "values": {"sram_bytes": 1048576, "ddr_gigabytes": 12.8},
//    "operating_points": [{"clock_mhz": 500, "volts": 0.62}, {"clock_mhz": 1000, "volts": 0.8}]}
//
// "profile" is its name; "based_on" a built-in whose values hold where "values" has none (sd3403); values are those of
// machine.def. Without "operating_points" a machine has those it is based on, or its clock alone where the file sets
// that. A room of its own since the runtime, which runs machines, links no JSON library.
#pragma once

#include <string>
#include <string_view>

#include "devices/sd3403/machine/machine.h"

namespace hai::sd3403 {

inline constexpr int64_t kMostProfileBytes = 65536;

// Errors: N050 no JSON, or too large; N051 an unknown key, with those there are; N052 a wrong type; N053 a key that
// stands twice; N044 nothing built in of that name; those of check_machine().
Result<Machine> parse_machine(std::string_view json);
// The same of a file; errors name it.
Result<Machine> read_machine(const std::string& path);
// The machine of a flag: a built-in by name, else the path of a file.
Result<Machine> load_machine(const std::string& name_or_path);

// All values, ending in a newline. parse_machine(machine_json(m)) == m.
std::string machine_json(const Machine& machine);

}  // namespace hai::sd3403
