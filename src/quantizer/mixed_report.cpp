// The document of a mixed search: choice, mapping from damage to points, front, layers, cost table; and the same as
// text. Costs are given relative to 8 bits everywhere. Numbers that were not measured are marked as forecasts.
//
// The document is what programs read; the text is made from it, so that both say the same.
#include "quantizer/mixed_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "quantizer/mixed_cost.h"

namespace hai::quantizer {
namespace {

using Json = nlohmann::ordered_json;

constexpr size_t kFrontRows = 14;
constexpr double kLeastPoints = 1e-4;  // below it a logarithm says nothing

int weight_bits(const Precision& precision) { return precision.is_float ? 32 : precision.weight_bits; }

double cost_of_eight(const MixedFacts& facts) {
  double cost = 0;
  for (const MixableLayer& layer : facts.layers) cost += layer_cycles({8, 8, false}, layer.macs, layer.weights);
  return cost;
}

// Least squares; through the only point, with slope 1, where there is one.
DropMapping::Line line_through(const std::vector<std::pair<double, double>>& points) {
  DropMapping::Line line;
  if (points.empty()) return line;
  double x = 0;
  double y = 0;
  for (const auto& [damage, value] : points) {
    x += damage / static_cast<double>(points.size());
    y += value / static_cast<double>(points.size());
  }
  double product = 0;
  double square = 0;
  for (const auto& [damage, value] : points) {
    product += (damage - x) * (value - y);
    square += (damage - x) * (damage - x);
  }
  if (square > 1e-6) line.slope = std::max(product / square, 0.0);
  line.offset = y - line.slope * x;
  return line;
}

Json point_json(const MixedFacts& facts, const DropMapping& mapping, size_t index) {
  const FrontPoint& point = facts.front[index];
  const auto& m = point.measured();
  const double damage = m ? m->damage : point.mixture.damage;
  Json json{{"average_weight_bits", average_weight_bits(facts, point.mixture)},
            {"cost", point.mixture.cost / cost_of_eight(facts)},
            {"damage", damage},
            {"points", m ? m->points : mapping.points.at(damage)},
            {"points_low", m ? m->points_low : mapping.low.at(damage)},
            {"points_high", m ? m->points_high : mapping.high.at(damage)},
            {"measured", m.has_value()},
            {"verified", point.verified.has_value()},
            {"chosen", index == facts.chosen}};
  if (m && m->classes) {
    json["overturned"] = m->overturned;
    json["overturned_low"] = m->overturned_low;
    json["overturned_high"] = m->overturned_high;
    json["counted_points"] = m->counted_points;
    json["counted_overturned"] = m->counted_overturned;
  }
  return json;
}

Json mapping_json(const MixedFacts& facts, const DropMapping& mapping) {
  double least = INFINITY;
  double most = 0;
  for (const FrontPoint& point : facts.front) {
    if (!point.measured() || point.measured()->damage <= 0) continue;
    least = std::min(least, point.measured()->damage);
    most = std::max(most, point.measured()->damage);
  }
  Json rows = Json::array();
  if (most <= 0) return rows;
  for (const double share : {0.0, 0.25, 0.5, 0.75, 1.0}) {
    const double damage = least * std::pow(most / least, share);
    rows.push_back({{"damage", damage},
                    {"points", mapping.points.at(damage)},
                    {"points_low", mapping.low.at(damage)},
                    {"points_high", mapping.high.at(damage)}});
  }
  return rows;
}

Json layers_json(const MixedFacts& facts) {
  Json rows = Json::array();
  for (size_t i = 0; i < facts.layers.size(); ++i) {
    const Precision& chosen = facts.choices[i][facts.front[facts.chosen].mixture.choices[i]].precision;
    Json row{{"name", facts.layers[i].name},
             {"precision", to_string(chosen)},
             {"bits", weight_bits(chosen)},
             {"weights", facts.layers[i].weights},
             {"macs", facts.layers[i].macs}};
    for (const PrecisionChoice& choice : facts.choices[i]) row["damage"][to_string(choice.precision)] = choice.damage;
    rows.push_back(std::move(row));
  }
  return rows;
}

std::string choice_text(const MixedFacts& facts, const Json& choice) {
  const DropForecast& m = *facts.front[facts.chosen].measured();
  std::string text = fmt::format("Mixed precision: at most {:.3g} points, {} on {} samples held back{}\n",
                                 facts.max_drop, facts.reached ? "measured" : "NOT REACHED", m.samples,
                                 facts.views > 1 ? fmt::format(", {} views each", facts.views) : std::string());
  text += fmt::format("  {:.2f} bits a weight, modelled cost {:.2f} of 8 bits everywhere\n",
                      choice.at("average_weight_bits").get<double>(), choice.at("cost").get<double>());
  text += fmt::format("  drop {:.2f} points ({:.2f} to {:.2f})", m.points, m.points_low, m.points_high);
  if (m.classes) {
    text +=
        fmt::format(", {:.1f} % of the answers change ({:.1f} to {:.1f}); counted {:.2f} points, {:.1f} %\n  mean KL ",
                    100 * m.overturned, 100 * m.overturned_low, 100 * m.overturned_high, m.counted_points,
                    100 * m.counted_overturned);
  } else {
    text += "\n  error energy ";
  }
  text += fmt::format("{:.4f}\n", m.damage);
  std::vector<std::pair<std::string, int>> counts;
  for (const Json& layer : layers_json(facts)) {
    const std::string name = layer.at("precision");
    const auto known = std::find_if(counts.begin(), counts.end(), [&](const auto& c) { return c.first == name; });
    if (known == counts.end()) {
      counts.emplace_back(name, 1);
    } else {
      ++known->second;
    }
  }
  for (const auto& [name, count] : counts) text += fmt::format("  {} layers {}\n", count, name);
  return text;
}

std::string front_text(const MixedFacts& facts, const Json& front) {
  std::string text = "Pareto front (cheapest first)\n    bits    cost  damage  points  interval\n";
  for (size_t i = 0; i < facts.front.size(); ++i) {
    const FrontPoint& point = facts.front[i];
    const bool shown = point.measured() || i % std::max<size_t>(facts.front.size() / kFrontRows, 1) == 0;
    if (!shown) continue;
    const Json& row = front.at(i);
    text += fmt::format("{} {:5.2f}  {:6.3f}  {:6.4f}  {:6.2f}  {:.2f} to {:.2f} {}\n", i == facts.chosen ? " >" : "  ",
                        row.at("average_weight_bits").get<double>(), row.at("cost").get<double>(),
                        row.at("damage").get<double>(), row.at("points").get<double>(),
                        row.at("points_low").get<double>(), row.at("points_high").get<double>(),
                        point.verified  ? "verified"
                        : point.spliced ? "spliced"
                                        : "forecast");
  }
  return text;
}

}  // namespace

double DropMapping::Line::at(double damage) const {
  return damage > 0 ? std::exp(offset + slope * std::log(damage)) : 0.0;
}

DropMapping map_damage(const std::vector<FrontPoint>& front) {
  std::vector<std::pair<double, double>> points;
  std::vector<std::pair<double, double>> low;
  std::vector<std::pair<double, double>> high;
  for (const FrontPoint& point : front) {
    const auto& m = point.measured();
    if (!m || m->damage <= 0) continue;
    const double damage = std::log(m->damage);
    points.emplace_back(damage, std::log(std::max(m->points, kLeastPoints)));
    low.emplace_back(damage, std::log(std::max(m->points_low, kLeastPoints)));
    high.emplace_back(damage, std::log(std::max(m->points_high, kLeastPoints)));
  }
  return {line_through(points), line_through(low), line_through(high)};
}

double average_weight_bits(const MixedFacts& facts, const Mixture& mixture) {
  double bits = 0;
  double weights = 0;
  for (size_t i = 0; i < facts.layers.size(); ++i) {
    const auto count = static_cast<double>(facts.layers[i].weights);
    bits += count * weight_bits(facts.choices[i][mixture.choices[i]].precision);
    weights += count;
  }
  return weights > 0 ? bits / weights : 0;
}

std::string mixed_json(const MixedFacts& facts) {
  const DropMapping mapping = map_damage(facts.front);
  Json json{{"max_drop", facts.max_drop}, {"reached", facts.reached}, {"samples", facts.samples}};
  json["views"] = facts.views;
  json["rule"] = drop_rule(facts.classes);
  json["steered_by"] = facts.classes ? "mean KL of the outputs" : "error energy of the outputs";
  json["cost_table"] = Json::array();
  for (const PrecisionCost& cost : precision_costs()) {
    json["cost_table"].push_back({{"precision", cost.name},
                                  {"macs_per_cycle", cost.macs_per_cycle},
                                  {"bytes_per_weight", cost.bytes_per_weight}});
  }
  json["mapping"] = mapping_json(facts, mapping);
  json["front"] = Json::array();
  for (size_t i = 0; i < facts.front.size(); ++i) json["front"].push_back(point_json(facts, mapping, i));
  json["choice"] = json["front"][facts.chosen];
  json["layers"] = layers_json(facts);
  std::string text = choice_text(facts, json["choice"]);
  text += "Mapping of " + json["steered_by"].get<std::string>() + " to points\n";
  for (const Json& row : json["mapping"]) {
    text += fmt::format("  {:.4f}: {:.2f} ({:.2f} to {:.2f})\n", row.at("damage").get<double>(),
                        row.at("points").get<double>(), row.at("points_low").get<double>(),
                        row.at("points_high").get<double>());
  }
  json["text"] = text + front_text(facts, json["front"]);
  return json.dump();
}

}  // namespace hai::quantizer
