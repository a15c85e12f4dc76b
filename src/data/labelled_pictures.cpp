// Listing labelled pictures, and splitting them.
//
// Method: names are compared as bytes, so that class numbers are the same on every machine whatever its language. What
// is held out is drawn within each class, from random numbers of the seed and the class alone: another class more does
// not change it. Pictures are tried before anything is split, so that shares and the number of steps are those of
// pictures that exist.
#include "data/labelled_pictures.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>
#include <new>
#include <optional>
#include <set>

#include "base/file.h"
#include "base/thread_pool.h"
#include "data/image.h"
#include "data/preprocess.h"
#include "data/random_stream.h"

namespace hai::data {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kMaxListBytes = int64_t{1} << 30;

Result<std::vector<std::string>> class_folders(const fs::path& folder) {
  std::vector<std::string> names;
  std::error_code failure;
  fs::directory_iterator it(folder, failure);
  for (; !failure && it != fs::directory_iterator(); it.increment(failure)) {
    std::error_code unknown;
    const std::string name = it->path().filename().string();
    if (it->is_directory(unknown) && !name.starts_with('.')) names.push_back(name);
  }
  if (failure) {
    return make_error(StatusCode::kNotFound, "D081", "{}: cannot list the folder of classes: {}", folder.string(),
                      failure.message());
  }
  if (names.empty()) {
    return make_error(StatusCode::kNotFound, "D070",
                      "{}: no subfolders; put the pictures of each class into a folder of its name", folder.string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

Result<LabelledSet> from_folder(const fs::path& folder) {
  LabelledSet set;
  HAI_TRY(set.classes, class_folders(folder));
  for (size_t label = 0; label < set.classes.size(); ++label) {
    auto paths = list_images(folder / set.classes[label]);
    if (!paths) {
      return make_error(paths.error().code, "D071", "class \"{}\" has no pictures; add some, or remove the class: {}",
                        set.classes[label], paths.error().message);
    }
    for (fs::path& path : *paths) set.pictures.push_back({std::move(path), static_cast<int32_t>(label)});
  }
  return set;
}

// The fields of one line; std::nullopt where quotes are not closed or something follows them.
std::optional<std::vector<std::string>> fields_of(std::string_view line) {
  std::vector<std::string> fields(1);
  bool quoted = false;
  for (size_t i = 0; i < line.size(); ++i) {
    const char c = line[i];
    if (quoted && c == '"' && i + 1 < line.size() && line[i + 1] == '"') {
      fields.back() += line[i++];
    } else if (quoted && c == '"') {
      quoted = false;
      if (i + 1 < line.size() && line[i + 1] != ',') return std::nullopt;
    } else if (!quoted && c == '"' && fields.back().empty()) {
      quoted = true;
    } else if (!quoted && c == ',') {
      fields.emplace_back();
    } else {
      fields.back() += c;
    }
  }
  if (quoted) return std::nullopt;
  return fields;
}

struct Row {
  std::string path;
  std::string label;
  int64_t line = 0;
};

Result<std::vector<Row>> rows_of(const fs::path& list) {
  HAI_TRY(const std::string text, read_file(list.string(), kMaxListBytes));
  std::vector<Row> rows;
  int64_t number = 0;
  const size_t mark = text.starts_with("\xef\xbb\xbf") ? 3 : 0;  // spreadsheets begin UTF-8 so
  for (size_t begin = mark; begin < text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    std::string_view line = std::string_view(text).substr(begin, end - begin);
    begin = end + 1;
    ++number;
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (line.empty() || (number == 1 && line == "path,label")) continue;
    const auto fields = fields_of(line);
    if (!fields || fields->size() != 2 || (*fields)[0].empty() || (*fields)[1].empty()) {
      return make_error(StatusCode::kCorrupt, "D072", "{}: line {} is \"{}\"; a line is path,label", list.string(),
                        number, line.substr(0, 200));
    }
    rows.push_back({(*fields)[0], (*fields)[1], number});
  }
  if (rows.empty())
    return make_error(StatusCode::kNotFound, "D082", "{}: the list is empty; a line is path,label", list.string());
  return rows;
}

std::optional<int64_t> whole_number(std::string_view text) {
  int64_t value = 0;
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (failure == std::errc::result_out_of_range) return text.front() == '-' ? INT64_MIN : INT64_MAX;
  if (failure != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

Status number_labels(const fs::path& list, const std::vector<Row>& rows, int64_t class_count, LabelledSet& set) {
  set.numbered = true;
  for (int64_t i = 0; i < class_count; ++i) set.classes.push_back(std::to_string(i));
  for (size_t i = 0; i < rows.size(); ++i) {
    const int64_t label = *whole_number(rows[i].label);
    if (label < 0 || label >= class_count) {
      return make_error(StatusCode::kOutOfRange, "D073", "{}: line {}: label {}: the model has {} classes, 0 to {}",
                        list.string(), rows[i].line, rows[i].label, class_count, class_count - 1);
    }
    set.pictures[i].label = static_cast<int32_t>(label);
  }
  return {};
}

void name_labels(const std::vector<Row>& rows, LabelledSet& set) {
  std::map<std::string, int32_t> number;
  for (const Row& row : rows) number[row.label] = 0;
  for (auto& [name, label] : number) {
    label = static_cast<int32_t>(set.classes.size());
    set.classes.push_back(name);
  }
  for (size_t i = 0; i < rows.size(); ++i) set.pictures[i].label = number[rows[i].label];
}

Result<LabelledSet> from_list(const fs::path& list, int64_t class_count) {
  HAI_TRY(const std::vector<Row> rows, rows_of(list));
  LabelledSet set;
  std::set<std::string> seen;
  for (const Row& row : rows) {
    const fs::path path = (list.parent_path() / row.path).lexically_normal();
    if (!seen.insert(path.string()).second) {
      return make_error(StatusCode::kInvalidArgument, "D074",
                        "{}: line {}: {} is listed before; give each picture one label", list.string(), row.line,
                        row.path);
    }
    set.pictures.push_back({path, 0});
  }
  if (std::all_of(rows.begin(), rows.end(), [](const Row& row) { return whole_number(row.label).has_value(); })) {
    HAI_TRY_STATUS(number_labels(list, rows, class_count, set));
  } else {
    name_labels(rows, set);
  }
  return set;
}

std::vector<int64_t> count_by_class(const LabelledSet& set) {
  std::vector<int64_t> counts(set.classes.size(), 0);
  for (const LabelledPicture& picture : set.pictures) ++counts[static_cast<size_t>(picture.label)];
  return counts;
}

// What is wrong with one picture, if anything.
Status try_picture(const fs::path& path, const Preprocessing& rule, std::vector<float>& scratch) {
  try {
    HAI_TRY(const Image image, read_image(path));
    const auto made = preprocess(image, rule, scratch);
    if (!made) return with_where(made.error(), path.string());
    return {};
  } catch (const std::bad_alloc&) {
    return make_error(StatusCode::kResourceExhausted, "D080", "{}: no memory left to decode it", path.string());
  }
}

}  // namespace

Result<LabelledSet> list_labelled(const fs::path& source, int64_t class_count) {
  std::error_code unknown;
  const bool is_list = !fs::is_directory(source, unknown) && source.extension() == ".csv";
  HAI_TRY(LabelledSet set, is_list ? from_list(source, class_count) : from_folder(source));
  if (set.classes.size() < 2) {
    return make_error(StatusCode::kInvalidArgument, "D076",
                      "{}: one class, \"{}\"; there is nothing to learn below two", source.string(),
                      set.classes.empty() ? std::string() : set.classes.front());
  }
  if (static_cast<int64_t>(set.classes.size()) != class_count) {
    return make_error(StatusCode::kInvalidArgument, "D075",
                      "{}: {} classes, and the model has {} outputs; both must be as many. Give the model another last "
                      "layer, or other folders",
                      source.string(), set.classes.size(), class_count);
  }
  const std::vector<int64_t> counts = count_by_class(set);
  const auto empty = std::find(counts.begin(), counts.end(), 0);
  if (empty != counts.end()) {
    return make_error(StatusCode::kNotFound, "D071", "class \"{}\" has no pictures; add some, or remove the class: {}",
                      set.classes[static_cast<size_t>(empty - counts.begin())], source.string());
  }
  return set;
}

Result<LabelledSet> list_growing(const fs::path& source, int64_t class_count, std::vector<std::string>& known) {
  std::error_code unknown;
  const bool is_list = !fs::is_directory(source, unknown) && source.extension() == ".csv";
  HAI_TRY(LabelledSet set, is_list ? from_list(source, class_count) : from_folder(source));
  if (set.numbered) {
    int32_t most = -1;
    for (const LabelledPicture& picture : set.pictures) most = std::max(most, picture.label);
    for (auto i = static_cast<int32_t>(known.size()); i <= most; ++i) known.push_back(std::to_string(i));
    return set;
  }
  std::vector<int32_t> row;
  for (const std::string& name : set.classes) {
    const auto found = std::find(known.begin(), known.end(), name);
    row.push_back(static_cast<int32_t>(found - known.begin()));
    if (found == known.end()) known.push_back(name);
  }
  if (static_cast<int64_t>(known.size()) > class_count) {
    return make_error(StatusCode::kInvalidArgument, "D075",
                      "{}: {} classes, and the model has {} outputs; both must be as many. Give the model another last "
                      "layer, or other folders",
                      source.string(), known.size(), class_count);
  }
  for (LabelledPicture& picture : set.pictures) picture.label = row[static_cast<size_t>(picture.label)];
  set.classes = known;
  set.classes.resize(static_cast<size_t>(class_count));
  return set;
}

Result<PictureReport> drop_unreadable(LabelledSet& set, const Preprocessing& rule, int threads) {
  HAI_TRY_STATUS(verify(rule));
  const size_t numbers =
      static_cast<size_t>(rule.width) * static_cast<size_t>(rule.height) * static_cast<size_t>(rule.channels());
  ThreadPool pool(std::max(threads, 1));
  std::vector<std::vector<float>> scratch(static_cast<size_t>(pool.thread_count()), std::vector<float>(numbers));
  std::vector<Status> found(set.pictures.size());
  const std::vector<int64_t> before = count_by_class(set);
  pool.parallel(static_cast<int64_t>(set.pictures.size()), [&](int64_t i, int thread) {
    const auto slot = static_cast<size_t>(i);
    found[slot] = try_picture(set.pictures[slot].path, rule, scratch[static_cast<size_t>(thread)]);
  });
  PictureReport report;
  report.wanted_count = static_cast<int64_t>(set.pictures.size());
  std::vector<LabelledPicture> good;
  for (size_t i = 0; i < found.size(); ++i) {
    if (found[i]) {
      good.push_back(std::move(set.pictures[i]));
    } else {
      report.skipped.push_back({set.pictures[i].path, std::move(found[i]).error()});
    }
  }
  report.read_count = static_cast<int64_t>(good.size());
  set.pictures = std::move(good);
  const std::vector<int64_t> counts = count_by_class(set);
  auto empty = counts.begin();
  while (empty != counts.end() && (*empty > 0 || before[static_cast<size_t>(empty - counts.begin())] == 0)) ++empty;
  if (empty == counts.end()) return report;
  return make_error(StatusCode::kCorrupt, "D077",
                    "none of the pictures of class \"{}\" could be read; {} pictures in all could not, the first: {}",
                    set.classes[static_cast<size_t>(empty - counts.begin())], report.skipped.size(),
                    report.skipped.front().error.to_string());
}

Result<Split> split_by_class(const LabelledSet& set, double share, uint64_t seed) {
  if (!(share >= 0 && share < 1)) {
    return make_error(StatusCode::kOutOfRange, "D078", "the held-out share is {}: it must be at least 0 and below 1",
                      share);
  }
  std::vector<std::vector<size_t>> by_class(set.classes.size());
  for (size_t i = 0; i < set.pictures.size(); ++i) by_class[static_cast<size_t>(set.pictures[i].label)].push_back(i);
  Split split;
  for (size_t label = 0; label < by_class.size(); ++label) {
    std::vector<size_t>& members = by_class[label];
    const auto count = static_cast<int64_t>(members.size());
    int64_t out = 0;
    if (share > 0 && count > 0) {
      if (count < 2) {
        return make_error(StatusCode::kInvalidArgument, "D079",
                          "class \"{}\" has {} picture, of which none can be held out; add some, or hold none out "
                          "(--held-out 0)",
                          set.classes[label], count);
      }
      out = std::clamp<int64_t>(std::llround(share * static_cast<double>(count)), 1, count - 1);
    }
    RandomStream random(seed, RandomStream::Purpose::kSplit, label);
    random.shuffle(members);
    split.held_out.insert(split.held_out.end(), members.begin(), members.begin() + out);
    split.training.insert(split.training.end(), members.begin() + out, members.end());
  }
  std::sort(split.training.begin(), split.training.end());
  std::sort(split.held_out.begin(), split.held_out.end());
  return split;
}

}  // namespace hai::data
