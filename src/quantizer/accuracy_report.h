// The accuracy report: one JSON document, and the text and the page that are made from it.
//
// The document is the interface: the command line, Python and the page read the same one, so they never disagree.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "quantizer/layer_errors.h"

namespace hai::quantizer {

inline constexpr std::string_view kAccuracyDocument = "hai accuracy report 1";

struct ReportFacts {
  std::string float_model;  // names for people
  std::string quantized_model;
  std::vector<std::pair<std::string, std::string>> skipped;  // samples left out, and why
  std::string quantization_report;                           // JSON of the quantizer; empty: none
  std::string mixed_report;                                  // JSON of the search; empty: none
};

std::string accuracy_json(const LayerErrors& errors, const ReportFacts& facts);

// Error Q071 or Q072 when the text is no such document. `layers`: how many rows, worst first; 0: all.
Result<std::string> accuracy_text(std::string_view json, int layers);
// One file without any reference to another.
Result<std::string> accuracy_html(std::string_view json);

}  // namespace hai::quantizer
