// Sizes of weights: as f32, as integers, and in the file, compressed or not.
//
// All numbers come from the document: "quantization" says what the quantizer made, "file" what was written, when
// something was.
#include "quantizer/accuracy_sizes.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

namespace hai::quantizer {
namespace {

using Json = nlohmann::ordered_json;

std::string megabytes(const Json& bytes) { return fmt::format("{:.2f} MB", bytes.get<double>() / 1e6); }

}  // namespace

std::string size_text(std::string_view quantization_json, std::string_view file_json) {
  std::string text;
  const Json quantization = Json::parse(quantization_json);
  const Json file = Json::parse(file_json);
  if (quantization.is_object() && quantization.contains("weights")) {
    const Json& weights = quantization.at("weights");
    text = fmt::format("Weights: {} as f32, {} as integers", megabytes(weights.at("float_bytes")),
                       megabytes(weights.at("integer_bytes")));
  }
  if (file.is_object()) {
    const double stored = file.at("stored_weights_bytes");
    const double whole = file.at("weights_bytes");
    text +=
        fmt::format("{}{} in the file", text.empty() ? "Weights: " : ", ", megabytes(file.at("stored_weights_bytes")));
    text += stored < whole ? fmt::format(" ({:.1f} % less, compressed without loss)", 100 * (1 - stored / whole))
                           : std::string(" (not compressed)");
    text += fmt::format(" of {}", megabytes(file.at("file_bytes")));
  }
  return text;
}

}  // namespace hai::quantizer
