// The line on the size of weights that text and page of an accuracy report share.
#pragma once

#include <string>
#include <string_view>

namespace hai::quantizer {

// What quantizing and storing did to the size of the weights, from a report's "quantization" and "file" as JSON; empty
// when neither says it. Throws nlohmann::json::exception for damaged ones.
std::string size_text(std::string_view quantization_json, std::string_view file_json);

}  // namespace hai::quantizer
