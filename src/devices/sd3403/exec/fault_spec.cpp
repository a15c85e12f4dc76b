// Reading specifications of faults: words with values, each once, none missing, none too many.
//
// Whatever is wrong with one is answered with all the forms that there are. Whether a program has the place is for
// those who know the program.
#include "devices/sd3403/exec/fault_spec.h"

#include <fmt/format.h>

#include <charconv>
#include <map>

#include "devices/sd3403/exec/run_order.h"

namespace hai::sd3403 {
namespace {

constexpr int64_t kMostBytes = int64_t{1} << 40;
constexpr int64_t kMostTransfers = int64_t{1} << 22;

Error refuse(std::string_view spec, std::string_view what) {
  return make_error(StatusCode::kInvalidArgument, "N093",
                    "fault \"{}\": {}; write flip,image=IMAGE,byte=N,bit=0..7 or flip,seed=N[,image=IMAGE] or "
                    "semaphore,number=0..63 or dma,core=0..1,channel=0..1,transfer=N, each with segment=NAME where it "
                    "is not for the first",
                    spec, what);
}

std::vector<std::string_view> split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find(separator, begin), text.size());
    parts.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return parts;
}

// The words of one specification; what is taken is gone.
class Words {
 public:
  static Result<Words> read(std::string_view spec) {
    Words out;
    out.spec_ = spec;
    const std::vector<std::string_view> parts = split(spec, ',');
    out.kind_ = parts[0];
    for (size_t i = 1; i < parts.size(); ++i) {
      const size_t equals = parts[i].find('=');
      if (equals == std::string_view::npos || equals == 0 || equals + 1 == parts[i].size())
        return refuse(spec, fmt::format("\"{}\" is not word=value", parts[i]));
      if (!out.values_.emplace(parts[i].substr(0, equals), parts[i].substr(equals + 1)).second)
        return refuse(spec, fmt::format("{} is given twice", parts[i].substr(0, equals)));
    }
    return out;
  }

  std::string_view kind() const { return kind_; }
  bool has(std::string_view word) const { return values_.count(word) != 0; }
  std::string text(std::string_view word) {
    const auto at = values_.find(word);
    if (at == values_.end()) return {};
    std::string out(at->second);
    values_.erase(at);
    return out;
  }
  Result<int64_t> number(std::string_view word, int64_t greatest) {
    if (!has(word)) return refuse(spec_, fmt::format("{} is missing", word));
    const std::string value = text(word);
    int64_t out = 0;
    const auto [end, failure] = std::from_chars(value.data(), value.data() + value.size(), out);
    if (failure == std::errc() && end == value.data() + value.size() && out >= 0 && out <= greatest) return out;
    return refuse(spec_, fmt::format("{}={} is not a whole number from 0 to {}", word, value, greatest));
  }
  Status nothing_left() const {
    if (values_.empty()) return {};
    return refuse(spec_, fmt::format("{} means nothing here", values_.begin()->first));
  }

 private:
  std::string_view spec_, kind_;
  std::map<std::string_view, std::string_view> values_;
};

Result<FaultSpec> parse_fault(std::string_view text) {
  HAI_TRY(Words words, Words::read(text));
  FaultSpec out;
  out.text = text;
  out.segment = words.text("segment");
  if (words.kind() == "flip") {
    out.image = words.text("image");
    if (words.has("seed")) {
      HAI_TRY(const int64_t seed, words.number("seed", INT64_MAX));
      out.seed = static_cast<uint64_t>(seed);
    } else {
      if (out.image.empty() && !words.has("byte") && !words.has("bit"))
        return refuse(text, "neither a place (image, byte and bit) nor a seed that decides it");
      if (out.image.empty()) return refuse(text, "image is missing");
      HAI_TRY(out.byte, words.number("byte", kMostBytes));
      HAI_TRY(const int64_t bit, words.number("bit", 7));
      out.bit = static_cast<int>(bit);
    }
  } else if (words.kind() == "semaphore") {
    out.kind = FaultKind::kSemaphore;
    HAI_TRY(out.semaphore, words.number("number", kSemaphores - 1));
  } else if (words.kind() == "dma") {
    out.kind = FaultKind::kDma;
    HAI_TRY(out.core, words.number("core", 1));
    HAI_TRY(out.channel, words.number("channel", 1));
    HAI_TRY(out.transfer, words.number("transfer", kMostTransfers));
  } else {
    return refuse(text, fmt::format("there is no fault \"{}\"", words.kind()));
  }
  HAI_TRY_STATUS(words.nothing_left());
  return out;
}

}  // namespace

Result<std::vector<FaultSpec>> parse_faults(std::string_view text) {
  std::vector<FaultSpec> out;
  for (const std::string_view spec : split(text, ';')) {
    if (out.size() == kMostFaults) return refuse(spec, fmt::format("more than {} faults", kMostFaults));
    HAI_TRY(FaultSpec fault, parse_fault(spec));
    out.push_back(std::move(fault));
  }
  return out;
}

}  // namespace hai::sd3403
