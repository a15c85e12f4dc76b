// JSON strings for what writes JSON by hand, where a library would be larger than what it writes: traces and reports of
// the runtime. Nothing here reads JSON.
#pragma once

#include <string>
#include <string_view>

namespace hai {

// Appends `text` in quotes. Control characters, quotes and backslashes are escaped, bytes that are not UTF-8 replaced,
// so that the result is valid JSON whatever a file called its layers.
void append_json_string(std::string& out, std::string_view text);

}  // namespace hai
