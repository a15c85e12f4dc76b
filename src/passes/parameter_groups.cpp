// Groups are read from the right, since names of parameters may have colons of their own: what follows the last ones
// must be rate=, decay= or frozen.
//
// Matching of patterns with * is the usual greedy walk with one place to go back to, so it is never worse than the
// product of the two lengths.
#include "passes/parameter_groups.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <optional>
#include <string>

namespace hai::passes {
namespace {

constexpr double kMostRate = 1e6;

struct Group {
  std::string_view pattern;
  double rate_factor = 1;
  std::optional<double> weight_decay;
  bool frozen = false;
  bool used = false;
};

bool matches(std::string_view pattern, std::string_view name) {
  size_t p = 0;
  size_t n = 0;
  size_t star = std::string_view::npos;
  size_t from = 0;
  while (n < name.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      from = n;
    } else if (p < pattern.size() && pattern[p] == name[n]) {
      ++p, ++n;
    } else if (star != std::string_view::npos) {
      p = star + 1;
      n = ++from;
    } else {
      return false;
    }
  }
  while (p < pattern.size() && pattern[p] == '*') ++p;
  return p == pattern.size();
}

// A number after "key=", or none.
std::optional<double> number_after(std::string_view text, std::string_view key) {
  if (!text.starts_with(key)) return std::nullopt;
  text.remove_prefix(key.size());
  double number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size() || !(number >= 0 && number <= kMostRate))
    return std::nullopt;
  return number;
}

bool take_choice(std::string_view choice, Group& group) {
  if (choice == "frozen") {
    group.frozen = true;
    return true;
  }
  if (const auto rate = number_after(choice, "rate=")) {
    group.rate_factor = *rate;
    return true;
  }
  if (const auto decay = number_after(choice, "decay=")) {
    group.weight_decay = decay;
    return true;
  }
  return false;
}

Result<Group> parse_group(std::string_view text) {
  Group group;
  group.pattern = text;
  for (size_t colon = text.rfind(':'); colon != std::string_view::npos; colon = group.pattern.rfind(':')) {
    if (!take_choice(group.pattern.substr(colon + 1), group)) break;
    group.pattern = group.pattern.substr(0, colon);
  }
  if (!group.pattern.empty() && group.pattern.size() < text.size()) return group;
  return make_error(StatusCode::kInvalidArgument, "P549",
                    "\"{}\" is no group of parameters; write NAME:rate=0.1, NAME:decay=0.01 or NAME:frozen, with * in "
                    "NAME for any text and ; between groups",
                    text);
}

Result<std::vector<Group>> parse_groups(std::string_view text) {
  std::vector<Group> groups;
  while (!text.empty()) {
    const std::string_view part = text.substr(0, text.find(';'));
    text.remove_prefix(std::min(text.size(), part.size() + 1));
    HAI_TRY(Group group, parse_group(part));
    groups.push_back(group);
  }
  return groups;
}

}  // namespace

Status apply_groups(const ir::Graph& graph, std::string_view text, std::vector<Parameter>& parameters) {
  HAI_TRY(std::vector<Group> groups, parse_groups(text));
  std::vector<Parameter> kept;
  for (Parameter parameter : parameters) {
    const std::string& name = graph.value(parameter.value).name;
    bool frozen = false;
    const auto group =
        std::find_if(groups.begin(), groups.end(), [&](const Group& g) { return matches(g.pattern, name); });
    if (group != groups.end()) {
      group->used = true;
      parameter.rate_factor = group->rate_factor;
      parameter.weight_decay = group->weight_decay;
      frozen = group->frozen;
    }
    if (!frozen) kept.push_back(parameter);
  }
  for (const Group& group : groups) {
    if (group.used) continue;
    std::string some;
    for (size_t i = 0; i < parameters.size() && i < 8; ++i)
      some += fmt::format("{}\"{}\"", i == 0 ? "" : ", ", graph.value(parameters[i].value).name);
    return make_error(StatusCode::kNotFound, "P550",
                      "the group \"{}\" has none of the {} parameters that are trained and in no group before it: {}{}",
                      group.pattern, parameters.size(), some, parameters.size() > 8 ? ", ..." : "");
  }
  if (kept.empty()) return make_error(StatusCode::kInvalidArgument, "P551", "the groups freeze every parameter");
  parameters = std::move(kept);
  return {};
}

}  // namespace hai::passes
