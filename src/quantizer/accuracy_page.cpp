// The accuracy report as one HTML page.
//
// Self-contained: style, script and pictures are inline, nothing is fetched, and all but the sorting works without the
// script. Pictures are SVG: one distribution a layer (float as an area, quantized as a line, counts on a logarithmic
// scale, since activations crowd at zero), the errors along the network, and the front of a mixed search. Every text
// from a model is escaped. It computes nothing: all numbers come from the document.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/html.h"
#include "quantizer/accuracy_page_style.h"
#include "quantizer/accuracy_report.h"
#include "quantizer/accuracy_sizes.h"

namespace hai::quantizer {
namespace {

using Json = nlohmann::ordered_json;

constexpr size_t kLargePictures = 12;
constexpr double kUsefulKl = 1e-4;  // nats: below it, changes of the divergence are noise
constexpr double kSharpDb = 80;     // errors smaller than this are drawn here

std::string text_of(const Json& json, const char* key) { return html_escaped(json.at(key).get<std::string>()); }

std::optional<double> number_of(const Json& json) {
  return json.is_number() ? std::optional(json.get<double>()) : std::nullopt;
}

std::string figure(std::string_view value, std::string_view name) {
  return fmt::format("<div class=\"card figure\"><b>{}</b><span>{}</span></div>\n", value, name);
}

std::string decibels(const Json& value) {
  return value.is_number() ? fmt::format("{:.1f}", value.get<double>()) : "exact";
}

std::string header(const Json& document) {
  std::string html = fmt::format(
      "<h1>Where accuracy goes</h1>\n<p class=\"soft\"><code>{}</code> against <code>{}</code>, {} samples",
      text_of(document, "quantized_model"), text_of(document, "float_model"), document.at("samples").get<int64_t>());
  if (!document.at("skipped").empty()) html += fmt::format(", {} skipped", document.at("skipped").size());
  html += "</p>\n";
  const std::string sizes =
      size_text(document.value("quantization", Json()).dump(), document.value("file", Json()).dump());
  if (!sizes.empty()) html += "<p class=\"soft\">" + html_escaped(sizes) + "</p>\n";
  for (const Json& output : document.at("outputs")) {
    html += "<div class=\"cards\">\n";
    if (document.at("outputs").size() > 1) html += figure(text_of(output, "name"), "output");
    if (output.at("classes").get<bool>()) {
      html += figure(fmt::format("{:.1f} %", 100 * output.at("agreement").get<double>()),
                     fmt::format("same first class, {} answers", output.at("answers").get<int64_t>()));
      html += figure(fmt::format("{:.4f}", output.at("mean_kl").get<double>()), "mean KL, nats");
    }
    html += figure(decibels(output.at("sqnr_db")) + " dB", "SQNR of the output");
    html += figure(fmt::format("{:.5f}", output.at("cosine").get<double>()), "cosine");
    html += figure(fmt::format("{:.3g}", output.at("max_abs_error").get<double>()), "largest error");
    if (document.at("average_weight_bits").is_number() && &output == &document.at("outputs").front())
      html += figure(fmt::format("{:.2f}", document.at("average_weight_bits").get<double>()), "bits a weight");
    html += "</div>\n";
  }
  html += "<div class=\"next\"><b>Next step</b><ul>\n";
  for (const Json& line : document.at("advice")) html += "<li>" + html_escaped(line.get<std::string>()) + "</li>\n";
  return html + "</ul></div>\n";
}

// --- pictures ---

// Heights of one histogram in 0..1, logarithmic.
std::vector<double> heights(const Json& counts, double largest) {
  std::vector<double> out;
  for (const Json& count : counts) out.push_back(std::log1p(count.get<double>()) / std::log1p(std::max(largest, 1.0)));
  return out;
}

std::string steps(const std::vector<double>& values, bool closed) {
  std::string path = closed ? "M0 100" : "";
  for (size_t i = 0; i < values.size(); ++i) {
    const double y = 100 - 96 * values[i];
    path += fmt::format("{}{} {:.1f}H{}", path.empty() ? "M" : "L", i * 10, y, (i + 1) * 10);
  }
  return closed ? path + "V100Z" : path;
}

// Each distribution once, as a symbol that table and large pictures show at their own size.
std::string distribution_symbols(const Json& layers) {
  std::string html = "<svg width=\"0\" height=\"0\" style=\"position:absolute\" aria-hidden=\"true\">\n";
  for (const Json& layer : layers) {
    const Json& histogram = layer.at("histogram");
    double largest = 0;
    for (const char* kind : {"float", "quantized"}) {
      for (const Json& count : histogram.at(kind)) largest = std::max(largest, count.get<double>());
    }
    html += fmt::format(
        "<symbol id=\"d{}\" viewBox=\"0 0 {} 100\" preserveAspectRatio=\"none\"><path class=\"area\" d=\"{}\"/><path "
        "class=\"line\" d=\"{}\"/></symbol>\n",
        layer.at("index").get<int64_t>(), std::max<size_t>(histogram.at("float").size(), 1) * 10,
        steps(heights(histogram.at("float"), largest), true),
        steps(heights(histogram.at("quantized"), largest), false));
  }
  return html + "</svg>\n";
}

struct Plane {
  double width = 1180;
  double height = 240;
  double left = 46;
  double bottom = 26;
  double x_low = 0, x_high = 1, y_low = 0, y_high = 1;
  double x(double value) const { return left + (value - x_low) / (x_high - x_low) * (width - left - 14); }
  double y(double value) const { return height - bottom - (value - y_low) / (y_high - y_low) * (height - bottom - 12); }
};

std::string open_plane(const Plane& plane, double y_step, std::string_view y_format) {
  std::string svg = fmt::format("<svg viewBox=\"0 0 {} {}\" width=\"100%\" role=\"img\">\n", plane.width, plane.height);
  for (double v = std::ceil(plane.y_low / y_step) * y_step; v <= plane.y_high + 1e-9; v += y_step) {
    svg += fmt::format(
        "<path class=\"axis\" d=\"M{:.1f} {:.1f}H{:.1f}\"/><text x=\"{:.1f}\" y=\"{:.1f}\" "
        "text-anchor=\"end\">{}</text>\n",
        plane.left, plane.y(v), plane.width - 14, plane.left - 6, plane.y(v) + 4,
        fmt::format(fmt::runtime(y_format), v));
  }
  return svg;
}

std::optional<double> sqnr_of(const Json& layer, const char* kind) {
  const Json& errors = layer.at(kind);
  if (!errors.is_object()) return std::nullopt;
  return std::clamp(number_of(errors.at("sqnr_db")).value_or(kSharpDb), -20.0, kSharpDb);
}

std::string errors_along_network(const Json& layers) {
  Plane plane;
  plane.x_high = std::max<double>(static_cast<double>(layers.size()) - 1, 1);
  double least = 20;
  double greatest = 40;
  for (const Json& layer : layers) {
    for (const char* kind : {"isolated", "accumulated"}) {
      if (const auto db = sqnr_of(layer, kind)) {
        least = std::min(least, *db);
        greatest = std::max(greatest, *db);
      }
    }
  }
  plane.y_low = std::floor(least / 10) * 10;
  plane.y_high = std::ceil(greatest / 10) * 10;
  std::string svg = open_plane(plane, plane.y_high - plane.y_low > 60 ? 20 : 10, "{:.0f} dB");
  std::string line;
  std::string dots;
  for (const Json& layer : layers) {
    const double x = plane.x(layer.at("index").get<double>());
    if (const auto db = sqnr_of(layer, "accumulated"))
      line += fmt::format("{}{:.1f} {:.1f}", line.empty() ? "M" : "L", x, plane.y(*db));
    if (const auto db = sqnr_of(layer, "isolated")) {
      dots += fmt::format(
          "<circle class=\"isolated\" cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"3.4\"><title>{}: isolated {} dB, accumulated {} "
          "dB</title></circle>\n",
          x, plane.y(*db), text_of(layer, "name"), decibels(layer.at("isolated").at("sqnr_db")),
          decibels(layer.at("accumulated").at("sqnr_db")));
    }
  }
  svg += fmt::format("<path class=\"accumulated\" d=\"{}\"/>\n{}", line, dots);
  svg += fmt::format(
      "<text x=\"{}\" y=\"{}\">first layer</text><text x=\"{}\" y=\"{}\" text-anchor=\"end\">last layer</text></svg>\n",
      plane.left, plane.height - 6, plane.width - 14, plane.height - 6);
  return "<h2>Errors along the network</h2>\n<p class=\"soft\">Signal over quantization noise of each layer's result; "
         "higher is "
         "better. <span class=\"key\"><i style=\"background:var(--quantized)\"></i>isolated: only this layer "
         "quantized</span>"
         "<span class=\"key\"><i style=\"background:var(--accent)\"></i>accumulated: all up to here</span></p>\n<div "
         "class=\"card\">" +
         svg + "</div>\n";
}

// --- the table ---

std::string cell(const Json& value, std::string_view format) {
  if (!value.is_number()) return "<td data-value=\"\"></td>";
  return fmt::format("<td data-value=\"{}\">{}</td>", value.get<double>(),
                     fmt::format(fmt::runtime(format), value.get<double>()));
}

// An SQNR that is not there at all is empty; one without any error is the best.
std::string sqnr_cell(const Json& errors) {
  if (!errors.is_object()) return "<td data-value=\"\"></td>";
  const Json& db = errors.at("sqnr_db");
  return db.is_number() ? cell(db, "{:.1f}") : "<td data-value=\"999\">exact</td>";
}

std::string bits_cell(const Json& layer) {
  const int weight = layer.at("weight_bits");
  const int activation = layer.at("activation_bits");
  const auto word = [](int bits) { return bits == 32 ? std::string("f32") : fmt::format("{}", bits); };
  const std::string text = weight == 0 ? word(activation) : word(weight) + " &times; " + word(activation);
  return fmt::format("<td data-value=\"{}\"><span class=\"tag b{}\">{}</span></td>", weight == 0 ? activation : weight,
                     weight == 0 ? activation : weight, text);
}

std::string effect_cell(const Json& effect) {
  if (!effect.is_object()) return "<td data-value=\"\"></td>";
  const double before = effect.at("kl_before");
  const double after = effect.at("kl_after");
  const auto first = number_of(effect.at("sqnr_before_db"));
  const auto second = number_of(effect.at("sqnr_after_db"));
  if (before >= kUsefulKl) {
    const double change = 100 * (after / before - 1);
    return fmt::format("<td data-value=\"{}\" class=\"{}\">KL {:+.0f} %</td>", change, change <= -10 ? "gain" : "",
                       change);
  }
  if (!first || !second) return "<td data-value=\"\"></td>";
  return fmt::format("<td data-value=\"{}\" class=\"{}\">{:+.1f} dB</td>", *first - *second,
                     *second - *first >= 0.5 ? "gain" : "", *second - *first);
}

std::string layer_row(const Json& layer) {
  const Json& isolated = layer.at("isolated");
  const Json& accumulated = layer.at("accumulated");
  const auto part = [](const Json& errors, const char* key) {
    return errors.is_object() ? errors.at(key) : Json(nullptr);
  };
  std::string row = fmt::format("<tr><td data-value=\"{0}\">{0}</td>", layer.at("index").get<int64_t>());
  row += fmt::format("<td class=\"left name\" data-value=\"{0}\" title=\"{0}\">{0}{1}</td>", text_of(layer, "name"),
                     layer.at("equalized").get<bool>() ? " <span class=\"tag\">equalized</span>" : "");
  row += fmt::format("<td class=\"left\" data-value=\"{0}\">{0}</td>", text_of(layer, "op"));
  row += bits_cell(layer);
  row +=
      sqnr_cell(isolated) + cell(part(isolated, "cosine"), "{:.5f}") + cell(part(isolated, "max_abs_error"), "{:.3g}");
  row += sqnr_cell(accumulated) + cell(part(accumulated, "cosine"), "{:.5f}") +
         cell(part(accumulated, "max_abs_error"), "{:.3g}");
  row += cell(layer.at("weight_sqnr_db"), "{:.1f}") + effect_cell(layer.at("at_16_bits"));
  row += fmt::format(
      "<td data-value=\"\"><svg width=\"150\" height=\"26\"><use href=\"#d{}\" width=\"150\" "
      "height=\"26\"/></svg></td></tr>\n",
      layer.at("index").get<int64_t>());
  return row;
}

std::vector<const Json*> worst_first(const Json& layers) {
  std::vector<const Json*> order;
  for (const Json& layer : layers) order.push_back(&layer);
  const auto key = [](const Json* layer) {
    const Json& isolated = layer->at("isolated");
    return isolated.is_object() ? number_of(isolated.at("sqnr_db")).value_or(HUGE_VAL) : HUGE_VAL;
  };
  std::stable_sort(order.begin(), order.end(), [&](const Json* a, const Json* b) { return key(a) < key(b); });
  return order;
}

std::string layer_table(const std::vector<const Json*>& layers) {
  static constexpr std::pair<const char*, const char*> kHeads[] = {
      {"#", "number"},           {"layer", "text"},    {"op", "text"},           {"bits", "number"},
      {"isolated dB", "number"}, {"cosine", "number"}, {"max", "number"},        {"accum. dB", "number"},
      {"cosine", "number"},      {"max", "number"},    {"weights dB", "number"}, {"at 16 bits", "number"},
      {"distribution", "plain"}};
  std::string html =
      "<h2>Layers, worst first</h2>\n<p class=\"soft\">Click a column to sort. <i>At 16 bits</i>: the change of the "
      "model's outputs when this layer's weights and inputs are not rounded, tried for the worst layers.</p>\n"
      "<div class=\"scroll\"><table><thead><tr>";
  for (size_t i = 0; i < std::size(kHeads); ++i) {
    const auto& [name, kind] = kHeads[i];
    const bool plain = std::string_view(kind) == "plain";
    html += plain ? fmt::format("<th class=\"plain left\">{}</th>", name)
                  : fmt::format("<th data-column=\"{}\" data-kind=\"{}\"{}{}>{}</th>", i, kind,
                                i == 1 || i == 2 ? " class=\"left\"" : "", i == 4 ? " data-order=\"up\"" : "", name);
  }
  html += "</tr></thead><tbody>\n";
  for (const Json* layer : layers) html += layer_row(*layer);
  return html + "</tbody></table></div>\n";
}

std::string large_distributions(const std::vector<const Json*>& layers) {
  std::string html =
      "<h2>Distributions of the worst layers</h2>\n<p class=\"soft\">Counts on a logarithmic scale. <span "
      "class=\"key\"><i "
      "style=\"background:var(--float)\"></i>float</span><span class=\"key\"><i "
      "style=\"background:var(--quantized)\"></i>quantized</span></p>\n<div class=\"grid\">\n";
  for (size_t i = 0; i < std::min(layers.size(), kLargePictures); ++i) {
    const Json& layer = *layers[i];
    const Json& histogram = layer.at("histogram");
    html += fmt::format(
        "<div class=\"card\"><b title=\"{0}\">{0}</b><span class=\"soft\">{1}, isolated {2} dB, accumulated {3} "
        "dB</span><svg width=\"100%\" "
        "height=\"120\" role=\"img\"><title>{0}: float and quantized values</title><use href=\"#d{4}\" width=\"100%\" "
        "height=\"120\"/></svg><div "
        "class=\"ends\"><span>{5:.4g}</span><span>{6:.4g}</span></div></div>\n",
        text_of(layer, "name"), text_of(layer, "op"),
        layer.at("isolated").is_object() ? decibels(layer.at("isolated").at("sqnr_db")) : "-",
        decibels(layer.at("accumulated").at("sqnr_db")), layer.at("index").get<int64_t>(),
        histogram.at("low").get<double>(), histogram.at("high").get<double>());
  }
  return html + "</div>\n";
}

// --- mixed search ---

std::string mixed_front(const Json& mixed) {
  const Json& front = mixed.at("front");
  Plane plane;
  plane.height = 280;
  const double goal = mixed.at("max_drop");
  double most = goal * 2;
  plane.x_low = HUGE_VAL;
  plane.x_high = -HUGE_VAL;
  for (const Json& point : front) {
    plane.x_low = std::min(plane.x_low, point.at("cost").get<double>());
    plane.x_high = std::max(plane.x_high, point.at("cost").get<double>());
  }
  if (front.empty() || plane.x_high <= plane.x_low) return "";
  const double margin = 0.04 * (plane.x_high - plane.x_low);
  plane.x_low -= margin;
  plane.x_high += margin;
  for (const Json& point : front) {
    if (point.at("chosen").get<bool>()) most = std::max(most, point.at("points_high").get<double>() * 1.3);
  }
  plane.y_high = most;
  double step = std::pow(10, std::floor(std::log10(most)));
  if (most / step < 3) step /= 4;
  std::string svg = open_plane(plane, step, "{:.3g}");
  svg += fmt::format(
      "<path class=\"goal\" d=\"M{:.1f} {:.1f}H{:.1f}\"/><text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"end\">goal: "
      "{:.3g} points</text>\n",
      plane.left, plane.y(goal), plane.width - 14, plane.width - 16, plane.y(goal) - 5, goal);
  for (const Json& point : front) {
    const double points = std::min(point.at("points").get<double>(), most);
    const double x = plane.x(point.at("cost").get<double>());
    const bool chosen = point.at("chosen");
    if (point.at("measured").get<bool>()) {
      svg += fmt::format("<path class=\"whisker\" d=\"M{0:.1f} {1:.1f}V{2:.1f}\"/>\n", x,
                         plane.y(std::min(point.at("points_low").get<double>(), most)),
                         plane.y(std::min(point.at("points_high").get<double>(), most)));
    }
    svg += fmt::format(
        "<circle class=\"{}\" cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"{}\"><title>{:.2f} bits a weight, cost {:.3f}, {} {:.2f} "
        "points</title></circle>\n",
        chosen ? "chosen" : "dot", x, plane.y(points), chosen ? 6 : 3.5, point.at("average_weight_bits").get<double>(),
        point.at("cost").get<double>(), point.at("measured").get<bool>() ? "measured" : "forecast",
        point.at("points").get<double>());
  }
  svg += fmt::format(
      "<text x=\"{}\" y=\"{}\">cost {:.2f} of 8 bits everywhere</text><text x=\"{}\" y=\"{}\" "
      "text-anchor=\"end\">{:.2f}</text></svg>\n",
      plane.left, plane.height - 6, plane.x_low, plane.width - 14, plane.height - 6, plane.x_high);
  return "<div class=\"card\">" + svg + "</div>\n";
}

std::string mixed_section(const Json& mixed) {
  if (!mixed.is_object()) return "";
  return "<h2>Mixed precision</h2>\n<p class=\"soft\">Each dot is a choice of bits for every layer: modelled cost "
         "against the "
         "drop in points. Green: chosen. Bars: intervals of those that were measured.</p>\n" +
         mixed_front(mixed) + "<pre>" + text_of(mixed, "text") + "</pre>\n";
}

std::string warning_text(const Json& warning) {
  if (warning.is_string()) return warning.get<std::string>();
  if (!warning.is_object()) return warning.dump();
  std::string text = warning.value("layer", "");
  text += (text.empty() ? "" : ": ") + warning.value("message", "");
  const std::string remedy = warning.value("remedy", "");
  return text + (remedy.empty() ? "" : "; " + remedy);
}

std::string remarks(const Json& document) {
  std::string html;
  const Json& quantization = document.at("quantization");
  if (quantization.is_object() && quantization.contains("warnings") && !quantization.at("warnings").empty()) {
    html += "<h2>Warnings of the quantizer</h2>\n<ul>\n";
    for (const Json& warning : quantization.at("warnings"))
      html += "<li>" + html_escaped(warning_text(warning)) + "</li>\n";
    html += "</ul>\n";
  }
  if (!document.at("unpaired").empty()) {
    html += "<h2>Not paired</h2>\n<ul>\n";
    for (const Json& layer : document.at("unpaired"))
      html += fmt::format("<li><code>{}</code> ({}): {}</li>\n", text_of(layer, "name"), text_of(layer, "op"),
                          text_of(layer, "reason"));
    html += "</ul>\n";
  }
  if (!document.at("skipped").empty()) {
    html += "<h2>Skipped samples</h2>\n<ul>\n";
    for (const Json& sample : document.at("skipped"))
      html += fmt::format("<li><code>{}</code>: {}</li>\n", text_of(sample, "sample"), text_of(sample, "reason"));
    html += "</ul>\n";
  }
  return html;
}

std::string page(const Json& document) {
  const Json& layers = document.at("layers");
  const std::vector<const Json*> worst = worst_first(layers);
  std::string html =
      "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" "
      "content=\"width=device-width,initial-scale=1\"><meta name=\"color-scheme\" content=\"light dark\">\n";
  html += fmt::format("<title>Accuracy of {}</title>\n<style>{}</style></head>\n<body><main>\n",
                      text_of(document, "quantized_model"), kPageStyle);
  html += distribution_symbols(layers) + header(document) + mixed_section(document.at("mixed")) +
          errors_along_network(layers) + layer_table(worst) + large_distributions(worst) + remarks(document);
  return html + fmt::format("</main><script>{}</script></body></html>\n", kPageScript);
}

}  // namespace

Result<std::string> accuracy_html(std::string_view json) {
  const Json document = Json::parse(json, nullptr, false);
  try {
    if (document.is_object() && document.value("document", "") == kAccuracyDocument) return page(document);
  } catch (const Json::exception& problem) {
    return make_error(StatusCode::kCorrupt, "Q073", "the accuracy report is damaged: {}; measure again",
                      problem.what());
  }
  return make_error(StatusCode::kCorrupt, "Q074",
                    "this is no accuracy report; make one with `hai compare --json FILE`");
}

}  // namespace hai::quantizer
