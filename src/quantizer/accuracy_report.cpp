// The document and its text form.
//
// Numbers that are not finite (no error at all: an infinite SQNR) are null in the document and "exact" for people.
// Layers are sorted by isolated SQNR, worst first, since that names the layer to change; accumulated errors grow along
// the network and say how much of it arrives. The advice is computed here, from measured effects only.
#include "quantizer/accuracy_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/utf8.h"
#include "quantizer/accuracy_sizes.h"

namespace hai::quantizer {
namespace {

using Json = nlohmann::ordered_json;

constexpr double kUsefulKl = 1e-4;   // nats: below it, changes of the divergence are noise
constexpr double kWorthwhile = 0.1;  // of the divergence or noise: less is not worth wider words

Json number(double value) { return std::isfinite(value) ? Json(value) : Json(nullptr); }

Json errors_json(const TensorErrors& errors) {
  return {{"cosine", number(errors.cosine())},
          {"sqnr_db", number(errors.sqnr_db())},
          {"max_abs_error", number(errors.max_abs_error())}};
}

Json layer_json(const LayerError& layer, size_t index) {
  Json json{{"index", index},
            {"name", layer.name},
            {"op", layer.op},
            {"weight_bits", layer.weight_bits},
            {"activation_bits", layer.activation_bits},
            {"weights", layer.weight_count},
            {"macs", layer.macs},
            {"weight_sqnr_db", number(layer.weight_sqnr_db)},
            {"equalized", layer.equalized},
            {"accumulated", errors_json(layer.accumulated)},
            {"isolated", layer.isolated ? errors_json(*layer.isolated) : Json(nullptr)}};
  json["histogram"] = {{"low", layer.histogram.low},
                       {"high", layer.histogram.high},
                       {"float", layer.histogram.reference},
                       {"quantized", layer.histogram.actual}};
  json["at_16_bits"] = nullptr;
  if (layer.wider) {
    json["at_16_bits"] = {{"kl_before", layer.wider->kl_before},
                          {"kl_after", layer.wider->kl_after},
                          {"sqnr_before_db", number(layer.wider->sqnr_before_db)},
                          {"sqnr_after_db", number(layer.wider->sqnr_after_db)}};
  }
  return json;
}

Json outputs_json(const LayerErrors& errors) {
  Json outputs = Json::array();
  for (const OutputScore& output : errors.outputs) {
    Json json = errors_json(output.errors);
    json["name"] = output.name;
    json["classes"] = output.classes;
    if (output.classes) {
      json["answers"] = output.answers.size();
      json["mean_kl"] = number(output.mean_kl());
      json["agreement"] = output.agreement();
    }
    outputs.push_back(std::move(json));
  }
  return outputs;
}

// The share of divergence (or of noise, without classes) that widening this layer would take away.
double gain_of(const WiderEffect& effect) {
  const double less_noise = 1 - std::pow(10, (effect.sqnr_before_db - effect.sqnr_after_db) / 10);
  if (effect.kl_before < kUsefulKl) return less_noise;
  // A divergence that falls while the noise grows is chance.
  const double less_kl = 1 - effect.kl_after / effect.kl_before;
  return less_noise > 0 ? less_kl : std::min(less_kl, less_noise);
}

std::string effect_text(const WiderEffect& effect) {
  if (effect.kl_before >= kUsefulKl) {
    return fmt::format("mean KL of the outputs from {:.4g} to {:.4g} ({:.0f} % less)", effect.kl_before,
                       effect.kl_after, 100 * (1 - effect.kl_after / effect.kl_before));
  }
  return fmt::format("SQNR of the outputs from {:.1f} to {:.1f} dB", effect.sqnr_before_db, effect.sqnr_after_db);
}

double share_of_macs(const LayerErrors& errors, const LayerError& layer) {
  int64_t all = 0;
  for (const LayerError& other : errors.layers) all += other.macs;
  return all == 0 ? 0 : static_cast<double>(layer.macs) / static_cast<double>(all);
}

Json advice(const LayerErrors& errors) {
  Json lines = Json::array();
  const LayerError* best = nullptr;
  int64_t examined = 0;
  for (const LayerError& layer : errors.layers) {
    if (!layer.wider) continue;
    ++examined;
    if (best == nullptr || gain_of(*layer.wider) > gain_of(*best->wider)) best = &layer;
  }
  if (best != nullptr && gain_of(*best->wider) >= kWorthwhile) {
    lines.push_back(fmt::format("Keep layer \"{}\" ({}) at 16 bits: {}. It holds {:.1f} % of the multiply-accumulates.",
                                best->name, best->op, effect_text(*best->wider), 100 * share_of_macs(errors, *best)));
  } else if (best != nullptr) {
    lines.push_back(fmt::format(
        "No single layer is to blame: of the {} worst, 16 bits in \"{}\" would bring most, {}. What is left is spread "
        "over the network; more calibration samples, another observer or a mixed search change more than one layer.",
        examined, best->name, effect_text(*best->wider)));
  }
  for (const OutputScore& output : errors.outputs) {
    if (output.classes && output.answers.size() < 100) {
      lines.push_back(fmt::format(
          "Agreement of \"{}\" comes from {} answers: one more or less is {:.1f} points. Compare models by mean KL.",
          output.name, output.answers.size(), 100.0 / static_cast<double>(output.answers.size())));
    }
  }
  if (!errors.unpaired.empty()) {
    lines.push_back(
        fmt::format("{} layers of the quantized model have no counterpart in the float model (listed below).",
                    errors.unpaired.size()));
  }
  return lines;
}

Json parse_or_null(const std::string& text) {
  if (text.empty()) return nullptr;
  Json json = Json::parse(text, nullptr, false);
  return json.is_discarded() ? Json(nullptr) : json;
}

// A number of the document for people.
std::string decibels(const Json& value) {
  return value.is_number() ? fmt::format("{:.1f}", value.get<double>()) : "exact";
}

std::string bits_text(const Json& layer) {
  const int weight = layer.at("weight_bits");
  const int activation = layer.at("activation_bits");
  const auto word = [](int bits) { return bits == 32 ? std::string("f32") : fmt::format("{}", bits); };
  return weight == 0 ? word(activation) : word(weight) + "x" + word(activation);
}

std::string effect_cell(const Json& effect) {
  if (effect.is_null()) return "";
  const double before = effect.at("kl_before");
  const double after = effect.at("kl_after");
  if (before >= kUsefulKl) return fmt::format("KL {:+.0f} %", 100 * (after / before - 1));
  if (!effect.at("sqnr_before_db").is_number() || !effect.at("sqnr_after_db").is_number()) return "";
  return fmt::format("{:+.1f} dB",
                     effect.at("sqnr_after_db").get<double>() - effect.at("sqnr_before_db").get<double>());
}

// The ends of a long name; the document has all of it.
std::string shown_name(const std::string& name) {
  constexpr size_t kMost = 56;
  constexpr size_t kEnd = (kMost - 3) / 2;
  return name.size() <= kMost ? name : name.substr(0, kEnd) + "..." + name.substr(name.size() - kEnd);
}

// Columns as wide as their widest cell; numbers go right.
std::string align(const std::vector<std::vector<std::string>>& rows, size_t left_columns) {
  std::vector<size_t> widths(rows.front().size(), 0);
  for (const auto& row : rows) {
    for (size_t c = 0; c < row.size(); ++c) widths[c] = std::max(widths[c], row[c].size());
  }
  std::string text;
  for (size_t r = 0; r < rows.size(); ++r) {
    std::string line;
    for (size_t c = 0; c < widths.size(); ++c) {
      line += c == 0 ? "" : "  ";
      line += c < left_columns ? fmt::format("{:<{}}", rows[r][c], widths[c])
                               : fmt::format("{:>{}}", rows[r][c], widths[c]);
    }
    line.erase(line.find_last_not_of(' ') + 1);
    text += line + "\n";
    if (r > 0) continue;
    for (size_t c = 0; c < widths.size(); ++c) text += (c == 0 ? "" : "  ") + std::string(widths[c], '-');
    text += "\n";
  }
  return text;
}

std::string outputs_text(const Json& document) {
  std::vector<std::vector<std::string>> rows{{"output", "cosine", "SQNR dB", "max error", "mean KL", "agreement"}};
  for (const Json& output : document.at("outputs")) {
    const bool classes = output.at("classes");
    rows.push_back({output.at("name"), fmt::format("{:.5f}", output.at("cosine").get<double>()),
                    decibels(output.at("sqnr_db")), fmt::format("{:.4g}", output.at("max_abs_error").get<double>()),
                    classes ? fmt::format("{:.5f}", output.at("mean_kl").get<double>()) : "",
                    classes ? fmt::format("{:.1f} %", 100 * output.at("agreement").get<double>()) : ""});
  }
  return align(rows, 1);
}

double isolated_sqnr(const Json& layer) {
  const Json& isolated = layer.at("isolated");
  const bool known = isolated.is_object() && isolated.at("sqnr_db").is_number();
  return known ? isolated.at("sqnr_db").get<double>() : HUGE_VAL;
}

std::string layers_text(const Json& document, int wanted) {
  std::vector<const Json*> layers;
  for (const Json& layer : document.at("layers")) layers.push_back(&layer);
  std::stable_sort(layers.begin(), layers.end(),
                   [](const Json* a, const Json* b) { return isolated_sqnr(*a) < isolated_sqnr(*b); });
  const size_t count = wanted <= 0 ? layers.size() : std::min(layers.size(), static_cast<size_t>(wanted));
  std::vector<std::vector<std::string>> rows{{"layer", "op", "bits", "isolated dB", "cosine", "max", "accumulated dB",
                                              "cosine", "max", "weights dB", "at 16 bits"}};
  for (size_t i = 0; i < count; ++i) {
    const Json& layer = *layers[i];
    std::vector<std::string> row{shown_name(layer.at("name")), layer.at("op"), bits_text(layer)};
    for (const char* kind : {"isolated", "accumulated"}) {
      const Json& errors = layer.at(kind);
      const bool known = errors.is_object();
      row.push_back(known ? decibels(errors.at("sqnr_db")) : "");
      row.push_back(known ? fmt::format("{:.5f}", errors.at("cosine").get<double>()) : "");
      row.push_back(known ? fmt::format("{:.3g}", errors.at("max_abs_error").get<double>()) : "");
    }
    row.push_back(layer.at("weight_sqnr_db").is_number() ? decibels(layer.at("weight_sqnr_db")) : "");
    row.push_back(effect_cell(layer.at("at_16_bits")));
    rows.push_back(std::move(row));
  }
  std::string text = align(rows, 3);
  if (count < layers.size())
    text +=
        fmt::format("... and {} layers with less error of their own (--layers 0 shows all)\n", layers.size() - count);
  return text;
}

// Names as a terminal can show them; "text" is ours, of several lines. What lies deeper than a report goes is not
// shown, and a file must not choose how deep we go.
void make_printable(Json& json, int depth = 0) {
  constexpr int kDeepest = 32;
  if (json.is_string()) json = printable(json.get<std::string>());
  if (!json.is_structured() || depth == kDeepest) return;
  for (auto& [key, value] : json.items()) {
    if (key != "text") make_printable(value, depth + 1);
  }
}

std::string document_text(const Json& document, int layers) {
  std::string text = fmt::format("{} against {}, {} samples", document.at("quantized_model").get<std::string>(),
                                 document.at("float_model").get<std::string>(), document.at("samples").get<int64_t>());
  const Json& skipped = document.at("skipped");
  if (!skipped.empty()) text += fmt::format(", {} skipped", skipped.size());
  const std::string sizes =
      size_text(document.value("quantization", Json()).dump(), document.value("file", Json()).dump());
  text += "\n" + sizes + (sizes.empty() ? "\n" : "\n\n") + outputs_text(document) + "\n";
  text += "Layers, worst first. Isolated: this layer alone is quantized. Accumulated: all up to here.\n";
  text += layers_text(document, layers);
  for (const Json& layer : document.at("unpaired")) {
    text += fmt::format("not paired: {} ({}): {}\n", layer.at("name").get<std::string>(),
                        layer.at("op").get<std::string>(), layer.at("reason").get<std::string>());
  }
  for (const Json& sample : skipped) {
    text += fmt::format("skipped: {}: {}\n", sample.at("sample").get<std::string>(),
                        sample.at("reason").get<std::string>());
  }
  if (document.at("mixed").is_object()) text += "\n" + document.at("mixed").at("text").get<std::string>();
  text += "\nNext step\n";
  for (const Json& line : document.at("advice")) text += "  " + line.get<std::string>() + "\n";
  return text;
}

}  // namespace

std::string accuracy_json(const LayerErrors& errors, const ReportFacts& facts) {
  Json document{{"document", kAccuracyDocument},
                {"float_model", facts.float_model},
                {"quantized_model", facts.quantized_model},
                {"samples", errors.samples}};
  document["skipped"] = Json::array();
  for (const auto& [name, reason] : facts.skipped)
    document["skipped"].push_back({{"sample", name}, {"reason", reason}});
  document["outputs"] = outputs_json(errors);
  document["advice"] = advice(errors);
  double bits = 0;
  double weights = 0;
  document["layers"] = Json::array();
  for (size_t i = 0; i < errors.layers.size(); ++i) {
    const LayerError& layer = errors.layers[i];
    document["layers"].push_back(layer_json(layer, i));
    bits += static_cast<double>(layer.weight_count) * layer.weight_bits;
    weights += static_cast<double>(layer.weight_count);
  }
  document["average_weight_bits"] = weights > 0 ? Json(bits / weights) : Json(nullptr);
  document["unpaired"] = Json::array();
  for (const UnpairedLayer& layer : errors.unpaired)
    document["unpaired"].push_back({{"name", layer.name}, {"op", layer.op}, {"reason", layer.reason}});
  document["quantization"] = parse_or_null(facts.quantization_report);
  document["mixed"] = parse_or_null(facts.mixed_report);
  // The quantizer leaves the search's report in its own.
  if (document["mixed"].is_null() && document["quantization"].is_object() && document["quantization"].contains("mixed"))
    document["mixed"] = document["quantization"]["mixed"];
  return document.dump(1, ' ', false, Json::error_handler_t::replace);
}

Result<std::string> accuracy_text(std::string_view json, int layers) {
  Json document = Json::parse(json, nullptr, false);
  try {
    make_printable(document);
    if (document.is_object() && document.value("document", "") == kAccuracyDocument)
      return document_text(document, layers);
  } catch (const Json::exception& problem) {
    return make_error(StatusCode::kCorrupt, "Q071", "the accuracy report is damaged: {}; measure again",
                      problem.what());
  }
  return make_error(StatusCode::kCorrupt, "Q072",
                    "this is no accuracy report; make one with `hai compare --json FILE`");
}

}  // namespace hai::quantizer
