// Reading and writing profiles.
//
// The text comes from users: its size is limited before it is parsed, keys that stand twice are refused (the library
// would take the last), every key must be known, and numbers are held against machine.def by check_machine(). The
// library's exceptions end here.
#include "devices/sd3403/profile/machine_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>
#include <vector>

#include "base/file.h"
#include "base/utf8.h"
#include "devices/sd3403/machine/profiles.h"

namespace hai::sd3403 {
namespace {

using Json = nlohmann::ordered_json;
constexpr size_t kMostNameBytes = 64;

std::string excerpt(const Json& value) {
  std::string text = value.dump(-1, ' ', true, Json::error_handler_t::replace);
  if (text.size() > 60) text = text.substr(0, 57) + "...";
  return text;
}

std::string short_key(std::string_view key) { return printable(key.substr(0, 60)); }

Error wrong_type(std::string_view key, const Json& value, std::string_view wanted) {
  return make_error(StatusCode::kInvalidArgument, "N052", "\"{}\" is {}; give {}", key, excerpt(value), wanted);
}

Result<Json> parse_text(std::string_view text) {
  if (static_cast<int64_t>(text.size()) > kMostProfileBytes) {
    return make_error(StatusCode::kOutOfRange, "N050", "{} bytes; a profile has at most {}: is it one?", text.size(),
                      kMostProfileBytes);
  }
  std::vector<std::set<std::string>> keys;
  std::string twice;
  const auto watch = [&](int, Json::parse_event_t event, Json& parsed) {
    if (event == Json::parse_event_t::object_start) keys.emplace_back();
    if (event == Json::parse_event_t::object_end) keys.pop_back();
    if (event == Json::parse_event_t::key) {
      const auto& key = parsed.get_ref<const std::string&>();
      if (!keys.back().insert(key).second && twice.empty()) twice = short_key(key) + " ";
    }
    return true;
  };
  Json json;
  try {
    json = Json::parse(text, watch);
  } catch (const Json::parse_error& error) {
    return make_error(StatusCode::kInvalidArgument, "N050",
                      "no JSON: see byte {} (numbers are finite, and there are no comments)", error.byte);
  } catch (const Json::exception&) {
    return make_error(StatusCode::kInvalidArgument, "N050", "a number that no double holds; write a smaller one");
  }
  if (!twice.empty()) {
    twice.pop_back();
    return make_error(StatusCode::kInvalidArgument, "N053", "\"{}\" stands twice; keep one", twice);
  }
  if (!json.is_object()) return wrong_type("profile", json, "an object: {\"profile\": name, \"values\": {...}}");
  return json;
}

Status known_keys(const Json& object, std::string_view where, std::initializer_list<std::string_view> known) {
  for (const auto& [key, value] : object.items()) {
    if (std::find(known.begin(), known.end(), std::string_view(key)) != known.end()) continue;
    return make_error(StatusCode::kInvalidArgument, "N051", "{} has no \"{}\"; it has {}", where, short_key(key),
                      fmt::join(known, ", "));
  }
  return {};
}

Result<double> number_of(const Json& object, const std::string& key) {
  if (!object.contains(key)) {
    return make_error(StatusCode::kInvalidArgument, "N052", "\"{}\" is missing in {}; give a number", key,
                      excerpt(object));
  }
  const Json& value = object[key];
  if (!value.is_number()) return wrong_type(key, value, "a number");
  return value.get<double>();
}

Status read_values(const Json& values, Machine& machine) {
  if (!values.is_object()) return wrong_type("values", values, "an object of names and numbers");
  for (const auto& [key, value] : values.items()) {
    const auto infos = machine_values();
    const auto info =
        std::find_if(infos.begin(), infos.end(), [&](const MachineValueInfo& known) { return known.name == key; });
    if (info == infos.end()) {
      std::vector<std::string_view> names;
      for (const MachineValueInfo& known : infos) names.push_back(known.name);
      return make_error(StatusCode::kInvalidArgument, "N051", "a machine has no value \"{}\"; it has {}",
                        short_key(key), fmt::join(names, ", "));
    }
    HAI_TRY(machine.*info->value, number_of(values, key));
  }
  return {};
}

Status read_points(const Json& points, Machine& machine) {
  if (!points.is_array()) return wrong_type("operating_points", points, "a list of clocks and volts");
  machine.points.clear();
  for (const Json& point : points) {
    if (!point.is_object()) return wrong_type("operating_points", point, "{\"clock_mhz\": number, \"volts\": number}");
    HAI_TRY_STATUS(known_keys(point, "an operating point", {"clock_mhz", "volts"}));
    HAI_TRY(const double clock_mhz, number_of(point, "clock_mhz"));
    HAI_TRY(const double volts, number_of(point, "volts"));
    machine.points.push_back({clock_mhz, volts});
  }
  return {};
}

Result<std::string> text_of(const Json& json, const std::string& key) {
  const Json& value = json[key];
  const bool fits = value.is_string() && !value.get_ref<const std::string&>().empty() &&
                    value.get_ref<const std::string&>().size() <= kMostNameBytes;
  if (!fits) return wrong_type(key, value, fmt::format("a name of 1 to {} bytes", kMostNameBytes));
  return value.get<std::string>();
}

}  // namespace

Result<Machine> parse_machine(std::string_view text) {
  HAI_TRY(const Json json, parse_text(text));
  HAI_TRY_STATUS(known_keys(json, "a profile", {"profile", "based_on", "values", "operating_points"}));
  if (!json.contains("profile")) {
    return make_error(StatusCode::kInvalidArgument, "N052", "\"profile\" is missing; give the profile's name");
  }
  Machine machine;
  if (json.contains("based_on")) {
    HAI_TRY(const std::string base, text_of(json, "based_on"));
    HAI_TRY(machine, find_machine(base));
  }
  HAI_TRY(machine.name, text_of(json, "profile"));
  const OperatingPoint clock{machine.clock_mhz, machine.clock_volts};
  if (json.contains("values")) HAI_TRY_STATUS(read_values(json["values"], machine));
  const OperatingPoint set{machine.clock_mhz, machine.clock_volts};
  if (json.contains("operating_points")) {
    HAI_TRY_STATUS(read_points(json["operating_points"], machine));
  } else if (set != clock) {
    machine.points = {set};
  }
  HAI_TRY_STATUS(check_machine(machine));
  // Reports say a machine by its name, and a figure of sd3403 must be one of sd3403.
  if (const auto built_in = find_machine(machine.name); built_in && *built_in != machine) {
    return make_error(
        StatusCode::kInvalidArgument, "N095",
        "\"{}\" is the name of a built-in machine, and this one has other values; call it otherwise, as in "
        "{{\"profile\": \"my-{}\", \"based_on\": \"{}\", ...}}",
        machine.name, machine.name, machine.name);
  }
  return machine;
}

Result<Machine> read_machine(const std::string& path) {
  HAI_TRY(const std::shared_ptr<const ByteSource> file, open_file(path));
  if (file->size_bytes() > kMostProfileBytes) {
    return make_error(StatusCode::kOutOfRange, "N050", "{}: {} bytes; a profile has at most {}: is it one?", path,
                      file->size_bytes(), kMostProfileBytes);
  }
  std::string text(static_cast<size_t>(file->size_bytes()), '\0');
  HAI_TRY_STATUS(file->read_at(0, std::as_writable_bytes(std::span(text))));
  Result<Machine> machine = parse_machine(text);
  if (!machine) return with_where(machine.error(), path);
  return machine;
}

Result<Machine> load_machine(const std::string& name_or_path) {
  Result<Machine> built_in = find_machine(name_or_path);
  const bool is_path = name_or_path.find('/') != std::string::npos || name_or_path.ends_with(".json");
  if (built_in || !is_path) return built_in;
  return read_machine(name_or_path);
}

std::string machine_json(const Machine& machine) {
  Json json;
  json["profile"] = machine.name;
  for (const MachineValueInfo& info : machine_values()) json["values"][std::string(info.name)] = machine.*info.value;
  json["operating_points"] = Json::array();
  for (const OperatingPoint& point : machine.points)
    json["operating_points"].push_back({{"clock_mhz", point.clock_mhz}, {"volts", point.volts}});
  return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace hai::sd3403
