// Options from JSON.
//
// Method: one table of fields, each with a reader that checks type and range; what the table does not name is an error
// that lists what it does. Numbers are never converted silently: 8.5 is no integer, "true" is no truth value. The text
// comes from users, so nothing here trusts its size or nesting.
#include "quantizer/options.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cfloat>
#include <cmath>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <utility>

namespace hai::quantizer {
namespace {

using Json = nlohmann::json;

constexpr size_t kMaxTextBytes = size_t{16} << 20;
constexpr int kMaxDepth = 8;

struct NamedPrecision {
  std::string_view name;
  Precision precision;
};

constexpr std::array<NamedPrecision, 11> kPrecisions = {{
    {"w8a8", {8, 8, false}},
    {"w4a8", {4, 8, false}},
    {"w8a16", {8, 16, false}},
    {"w16a16", {16, 16, false}},
    {"w8", {8, 32, false}},
    {"w4", {4, 32, false}},
    {"f16", {16, 16, false, true}},
    {"float", {8, 8, true}},
    {"int8", {8, 8, false}},
    {"int4", {4, 8, false}},
    {"int16", {16, 16, false}},
}};

constexpr std::array<std::pair<std::string_view, Observer>, 4> kObservers = {{
    {"minmax", Observer::kMinMax},
    {"mse", Observer::kMse},
    {"percentile", Observer::kPercentile},
    {"kl", Observer::kKl},
}};

constexpr std::array<std::pair<std::string_view, Winograd>, 3> kWinograd = {{
    {"off", Winograd::kOff},
    {"auto", Winograd::kAuto},
    {"all", Winograd::kAll},
}};

// What stands for a number that is none, or that no double holds: beyond every range.
constexpr std::string_view kNotFinite = "1.7976931348623157e308";
static_assert(1.7976931348623157e308 == DBL_MAX);

std::string excerpt(const Json& value) {
  if (value.is_number_float() && std::abs(value.get<double>()) >= DBL_MAX) return "no finite number";
  std::string text = value.dump(-1, ' ', true, Json::error_handler_t::replace);
  if (text.size() > 60) text = text.substr(0, 57) + "...";
  return text;
}

Error wrong_type(std::string_view name, const Json& value, std::string_view wanted) {
  return make_error(StatusCode::kInvalidArgument, "Q050", "option \"{}\" is {}; give {}", name, excerpt(value), wanted);
}

Status read_bool(std::string_view name, const Json& value, bool& out) {
  if (!value.is_boolean()) return wrong_type(name, value, "true or false");
  out = value.get<bool>();
  return {};
}

Status read_text(std::string_view name, const Json& value, std::string& out) {
  if (!value.is_string()) return wrong_type(name, value, "text");
  out = value.get<std::string>();
  return {};
}

template <typename T>
Status read_integer(std::string_view name, const Json& value, int64_t low, int64_t high, T& out) {
  // A number beyond 2^63 is unsigned to the parser and never in range.
  const bool fits = value.is_number_integer() && (!value.is_number_unsigned() || value.get<uint64_t>() <= INT64_MAX);
  if (!fits || value.get<int64_t>() < low || value.get<int64_t>() > high)
    return wrong_type(name, value, fmt::format("a whole number in [{}, {}]", low, high));
  out = static_cast<T>(value.get<int64_t>());
  return {};
}

// In (0, 100].
Status read_points(std::string_view name, const Json& value, double& out) {
  const double number = value.is_number() ? value.get<double>() : std::nan("");
  if (!(number > 0 && number <= 100)) return wrong_type(name, value, "a number in (0, 100]: points of accuracy");
  out = number;
  return {};
}

// In [low, high], or in [low, high) when `below`.
Status read_number(std::string_view name, const Json& value, double low, double high, bool below, double& out) {
  const double number = value.is_number() ? value.get<double>() : std::nan("");
  if (!(number >= low && (below ? number < high : number <= high)))
    return wrong_type(name, value, fmt::format("a number in [{}, {}{}", low, high, below ? ")" : "]"));
  out = number;
  return {};
}

Result<Precision> read_precision(std::string_view name, const Json& value) {
  if (value.is_string()) {
    auto parsed = parse_precision(value.get_ref<const std::string&>());
    if (!parsed) return with_where(std::move(parsed).error(), fmt::format("option \"{}\"", name));
    return *parsed;
  }
  if (!value.is_object()) return wrong_type(name, value, "a name such as \"w4a8\", or an object with weight_bits");
  Precision wanted;
  for (const auto& [key, entry] : value.items()) {
    const std::string full = fmt::format("{}.{}", name, key);
    if (key == "weight_bits") {
      HAI_TRY_STATUS(read_integer(full, entry, 4, 16, wanted.weight_bits));
    } else if (key == "activation_bits") {
      HAI_TRY_STATUS(read_integer(full, entry, 8, 32, wanted.activation_bits));
    } else if (key == "float") {
      HAI_TRY_STATUS(read_bool(full, entry, wanted.is_float));
    } else {
      return make_error(StatusCode::kInvalidArgument, "Q052",
                        "option \"{}\" does not exist; a precision has weight_bits, activation_bits and float", full);
    }
  }
  if (wanted.is_float) return Precision{8, 8, true};
  for (const NamedPrecision& known : kPrecisions) {
    if (known.precision == wanted) return wanted;
  }
  return make_error(StatusCode::kUnsupported, "Q053",
                    "option \"{}\": {}-bit weights with {}-bit activations do not exist; there are 4x8, 8x8, 8x16, "
                    "16x16, and 4 or 8 with 32 (weight-only)",
                    name, wanted.weight_bits, wanted.activation_bits);
}

Status read_layers(std::string_view name, const Json& value, std::map<std::string, Precision>& out) {
  if (!value.is_object()) return wrong_type(name, value, "an object: layer name to precision");
  for (const auto& [layer, entry] : value.items()) {
    HAI_TRY(out[layer], read_precision(fmt::format("{}[{}]", name, layer), entry));
  }
  return {};
}

Status read_names(std::string_view name, const Json& value, std::vector<std::string>& out) {
  if (!value.is_array()) return wrong_type(name, value, "a list of node names");
  for (const Json& entry : value) {
    if (!entry.is_string()) return wrong_type(name, entry, "a list of node names");
    out.push_back(entry.get<std::string>());
  }
  return {};
}

Status read_observer(std::string_view name, const Json& value, Observer& out) {
  for (const auto& [text, observer] : kObservers) {
    if (value.is_string() && value.get_ref<const std::string&>() == text) {
      out = observer;
      return {};
    }
  }
  return wrong_type(name, value, "one of \"minmax\", \"mse\", \"percentile\", \"kl\"");
}

Status read_winograd(std::string_view name, const Json& value, Winograd& out) {
  for (const auto& [text, choice] : kWinograd) {
    if (value.is_string() && value.get_ref<const std::string&>() == text) {
      out = choice;
      return {};
    }
  }
  return wrong_type(name, value, "one of \"off\", \"auto\", \"all\"");
}

Status read_adaround(std::string_view name, const Json& value, QuantizeOptions& out) {
  if (value.is_boolean()) return read_bool(name, value, out.adaround);
  if (!value.is_object()) return wrong_type(name, value, "true, false, or an object with iterations, ...");
  out.adaround = true;
  AdaRoundOptions& wanted = out.adaround_options;
  for (const auto& [key, entry] : value.items()) {
    const std::string full = fmt::format("{}.{}", name, key);
    if (key == "iterations") {
      HAI_TRY_STATUS(read_integer(full, entry, 0, 1000000, wanted.iterations));
    } else if (key == "batch_rows") {
      HAI_TRY_STATUS(read_integer(full, entry, 1, 65536, wanted.batch_rows));
    } else if (key == "learning_rate") {
      HAI_TRY_STATUS(read_number(full, entry, 1e-6, 1, false, wanted.learning_rate));
    } else if (key == "regularization") {
      HAI_TRY_STATUS(read_number(full, entry, 0, 100, false, wanted.regularization));
    } else if (key == "max_rows") {
      HAI_TRY_STATUS(read_integer(full, entry, 1, int64_t{1} << 24, wanted.max_rows));
    } else {
      return make_error(StatusCode::kInvalidArgument, "Q054",
                        "option \"{}\" does not exist; adaround has iterations, batch_rows, learning_rate, "
                        "regularization and max_rows",
                        full);
    }
  }
  return {};
}

using Reader = Status (*)(std::string_view name, const Json& value, QuantizeOptions& out);

struct Field {
  std::string_view name;
  Reader read;
};

constexpr std::array<Field, 24> kFields = {{
    {"observer", [](std::string_view n, const Json& v, QuantizeOptions& o) { return read_observer(n, v, o.observer); }},
    {"percentile", [](std::string_view n, const Json& v,
                      QuantizeOptions& o) { return read_number(n, v, 50, 100, false, o.percentile); }},
    {"symmetric", [](std::string_view n, const Json& v, QuantizeOptions& o) { return read_bool(n, v, o.symmetric); }},
    {"bias_correction",
     [](std::string_view n, const Json& v, QuantizeOptions& o) { return read_bool(n, v, o.bias_correction); }},
    {"precision",
     [](std::string_view n, const Json& v, QuantizeOptions& o) -> Status {
       HAI_TRY(o.precision, read_precision(n, v));
       return {};
     }},
    {"layers", [](std::string_view n, const Json& v, QuantizeOptions& o) { return read_layers(n, v, o.layers); }},
    {"keep_float",
     [](std::string_view n, const Json& v, QuantizeOptions& o) { return read_names(n, v, o.keep_float); }},
    {"largest_scales",
     [](std::string_view n, const Json& v, QuantizeOptions& o) { return read_bool(n, v, o.largest_scales); }},
    {"equalize", [](std::string_view n, const Json& v, QuantizeOptions& o) { return read_bool(n, v, o.equalize); }},
    {"widen", [](std::string_view n, const Json& v, QuantizeOptions& o) { return read_bool(n, v, o.widen); }},
    {"wide_points",
     [](std::string_view n, const Json& v, QuantizeOptions& o) { return read_bool(n, v, o.wide_points); }},
    {"smooth", [](std::string_view n, const Json& v, QuantizeOptions& o) { return read_bool(n, v, o.smooth); }},
    {"adaround", read_adaround},
    {"winograd", [](std::string_view n, const Json& v, QuantizeOptions& o) { return read_winograd(n, v, o.winograd); }},
    {"winograd_loss_db", [](std::string_view n, const Json& v,
                            QuantizeOptions& o) { return read_number(n, v, 0, 200, false, o.winograd_loss_db); }},
    {"max_drop", [](std::string_view n, const Json& v, QuantizeOptions& o) { return read_points(n, v, o.max_drop); }},
    {"sparsity",
     [](std::string_view n, const Json& v, QuantizeOptions& o) { return read_number(n, v, 0, 1, true, o.sparsity); }},
    {"self_check", [](std::string_view n, const Json& v, QuantizeOptions& o) { return read_bool(n, v, o.self_check); }},
    {"sample_memory_bytes",
     [](std::string_view n, const Json& v, QuantizeOptions& o) {
       return read_integer(n, v, 0, int64_t{1} << 46, o.sample_memory_bytes);
     }},
    {"threads",
     [](std::string_view n, const Json& v, QuantizeOptions& o) { return read_integer(n, v, 0, 1024, o.threads); }},
    {"seed",
     [](std::string_view n, const Json& v, QuantizeOptions& o) { return read_integer(n, v, 0, INT64_MAX, o.seed); }},
    {"trainable", [](std::string_view n, const Json& v, QuantizeOptions& o) { return read_text(n, v, o.trainable); }},
    {"rebuild", [](std::string_view n, const Json& v, QuantizeOptions& o) { return read_bool(n, v, o.rebuild); }},
    {"force", [](std::string_view n, const Json& v, QuantizeOptions& o) { return read_bool(n, v, o.force); }},
}};

// JSON has no NaN and no infinity, but Python writes them, and 1e999 is an infinity to every reader: each becomes
// kNotFinite, so that the option's own reader refuses it with name and range. Names in strings stay as they are.
std::string with_finite_numbers(std::string_view text, bool& found) {
  constexpr std::string_view kLetters = "+-.0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
  std::string out;
  for (size_t i = 0; i < text.size();) {
    size_t end = i + 1;
    bool none = false;
    if (text[i] == '"') {
      while (end < text.size() && text[end] != '"') end += text[end] == '\\' ? 2 : 1;
      end = std::min(end + 1, text.size());
    } else if (kLetters.find(text[i]) != std::string_view::npos) {
      end = std::min(text.find_first_not_of(kLetters, i), text.size());
      const std::string word(text.substr(i, end - i));
      char* rest = nullptr;
      none = !std::isfinite(std::strtod(word.c_str(), &rest)) && *rest == '\0';
    }
    out += none ? kNotFinite : text.substr(i, end - i);
    found = found || none;
    i = end;
  }
  return out;
}

// Refuses deep nesting before it costs stack; otherwise lets the parser go on.
Json parse_bounded(std::string_view text, bool& too_deep) {
  const Json::parser_callback_t check = [&](int depth, Json::parse_event_t, Json&) {
    too_deep = too_deep || depth > kMaxDepth;
    return !too_deep;
  };
  return Json::parse(text.begin(), text.end(), check, false);
}

}  // namespace

std::string to_string(const Precision& precision) {
  if (precision.is_float) return "float";
  for (const NamedPrecision& known : kPrecisions) {
    if (known.precision == precision) return std::string(known.name);
  }
  return fmt::format("w{}a{}", precision.weight_bits, precision.activation_bits);
}

Result<Precision> parse_precision(std::string_view text) {
  std::string names;
  for (const NamedPrecision& known : kPrecisions) {
    if (known.name == text) return known.precision;
    names += (names.empty() ? "" : ", ") + std::string(known.name);
  }
  return make_error(StatusCode::kInvalidArgument, "Q051", "there is no precision \"{}\"; choose one of {}",
                    text.substr(0, 60), names);
}

std::string_view observer_name(Observer observer) {
  for (const auto& [name, known] : kObservers) {
    if (known == observer) return name;
  }
  return "?";
}

std::string_view winograd_name(Winograd choice) {
  for (const auto& [name, known] : kWinograd) {
    if (known == choice) return name;
  }
  return "?";
}

Result<QuantizeOptions> options_from_json(std::string_view text) {
  QuantizeOptions options;
  if (text.empty()) return options;
  if (text.size() > kMaxTextBytes) {
    return make_error(StatusCode::kOutOfRange, "Q055", "quantization options of {} bytes; at most {} are read",
                      text.size(), kMaxTextBytes);
  }
  bool too_deep = false;
  bool not_finite = false;
  const Json document = parse_bounded(with_finite_numbers(text, not_finite), too_deep);
  if (too_deep || document.is_discarded() || !document.is_object()) {
    return make_error(StatusCode::kInvalidArgument, "Q056",
                      "quantization options are no JSON object (\"{}\"{}); give one such as {{\"observer\": \"mse\"}}",
                      text.substr(0, 40), too_deep ? ", nested too deeply" : "");
  }
  for (const auto& [key, value] : document.items()) {
    const Field* field = nullptr;
    std::string names;
    for (const Field& known : kFields) {
      if (known.name == key) field = &known;
      names += (names.empty() ? "" : ", ") + std::string(known.name);
    }
    if (field == nullptr) {
      return make_error(StatusCode::kInvalidArgument, "Q057", "option \"{}\" does not exist; there are {}",
                        key.substr(0, 60), names);
    }
    HAI_TRY_STATUS(field->read(key, value, options));
  }
  if (document.contains("max_drop") && document.contains("precision")) {
    return make_error(
        StatusCode::kInvalidArgument, "Q058",
        "options \"max_drop\" and \"precision\" exclude each other: max_drop chooses the precision of each "
        "layer; fix single ones with \"layers\"");
  }
  if (options.winograd != Winograd::kOff && (options.adaround || options.max_drop > 0)) {
    return make_error(StatusCode::kInvalidArgument, "Q076",
                      "options \"winograd\" and \"{}\" exclude each other: what that learns about weights of conv2d "
                      "says nothing of the taps of winograd_conv2d",
                      options.adaround ? "adaround" : "max_drop");
  }
  if (!options.trainable.empty() && (options.max_drop > 0 || options.sparsity > 0)) {
    return make_error(StatusCode::kInvalidArgument, "Q097",
                      "options \"trainable\" and \"{}\" exclude each other: that looks at the whole model, and what is "
                      "trained changes; do it before, or after the training",
                      options.max_drop > 0 ? "max_drop" : "sparsity");
  }
  for (const std::string& name : options.keep_float) {
    const auto layer = options.layers.find(name);
    if (layer == options.layers.end() || layer->second.is_float) continue;
    return make_error(StatusCode::kInvalidArgument, "Q048",
                      "\"{}\" is in \"layers\" as {} and in \"keep_float\"; name it in one of them", name,
                      to_string(layer->second));
  }
  if (not_finite) {  // in a name that comes twice: only the last of them was read
    return make_error(StatusCode::kInvalidArgument, "Q049",
                      "quantization options hold a number that is not finite (\"{}\"); take it out",
                      text.substr(0, 40));
  }
  return options;
}

}  // namespace hai::quantizer
