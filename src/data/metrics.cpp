// Average precision by COCO's protocol, and shares and divergences of classifiers.
//
// Method: as in pycocotools (Lin et al. 2014), decision by decision: per picture and category the best `max_detections`
// answers, best first, each take the free true box of largest overlap at or above the threshold, a counted one before
// an ignored one; crowds take any number; precision is made monotonous and read at 101 recalls. Matching is done once;
// the bootstrap (Efron 1979) repeats only the counting, in which a picture drawn n times stands n times.
// Invariants: order of input decides between equal scores; sums are f64 in a fixed order. It reads no files.
#include "data/metrics.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <utility>

namespace hai::data {
namespace {

// numpy.linspace(0.5, 0.95, 10), to the last bit.
double iou_threshold(int index) {
  constexpr double kStep = (0.95 - 0.5) / 9;
  return index == kIouThresholds - 1 ? 0.95 : 0.5 + index * kStep;
}

double recall_point(int index) { return index == kRecallPoints - 1 ? 1.0 : index * 0.01; }

// Over the union; over the answer's own area where the truth is a crowd.
double overlap(const std::array<double, 4>& answer, const TrueBox& truth) {
  const double width = std::min(answer[0] + answer[2], truth.box[0] + truth.box[2]) - std::max(answer[0], truth.box[0]);
  const double height =
      std::min(answer[1] + answer[3], truth.box[1] + truth.box[3]) - std::max(answer[1], truth.box[1]);
  if (width <= 0 || height <= 0) return 0;
  const double shared = width * height;
  const double own = answer[2] * answer[3];
  return shared / (truth.crowd ? own : own + truth.box[2] * truth.box[3] - shared);
}

template <typename Box>
Status check_box(const Box& box, int64_t picture_count, const char* what, size_t index) {
  if (box.picture < 0 || box.picture >= picture_count) {
    return make_error(StatusCode::kOutOfRange, "D040", "{} box {} is of picture {}: there are {}", what, index,
                      box.picture, picture_count);
  }
  const bool finite = std::all_of(box.box.begin(), box.box.end(), [](double x) { return std::isfinite(x); });
  if (!finite || box.box[2] < 0 || box.box[3] < 0) {
    return make_error(StatusCode::kInvalidArgument, "D041",
                      "{} box {} of picture {} is ({}, {}, {}, {}): x, y, width and height must be finite and the "
                      "sides not negative",
                      what, index, box.picture, box.box[0], box.box[1], box.box[2], box.box[3]);
  }
  return {};
}

Status check_scores(Scores scores, const char* what) {
  if (scores.classes < 1 || scores.values.empty() || scores.values.size() % static_cast<size_t>(scores.classes) != 0) {
    return make_error(StatusCode::kInvalidArgument, "D043", "{}: {} numbers do not make rows of {} classes", what,
                      scores.values.size(), scores.classes);
  }
  for (size_t i = 0; i < scores.values.size(); ++i) {
    if (!(scores.values[i] < std::numeric_limits<float>::infinity())) {
      return make_error(StatusCode::kInvalidArgument, "D044", "{}: the score of class {} in row {} is {}, not a number",
                        what, i % static_cast<size_t>(scores.classes), i / static_cast<size_t>(scores.classes),
                        scores.values[i]);
    }
  }
  return {};
}

// The logarithm of the softmax of one row.
void log_softmax(std::span<const float> row, std::vector<double>& out) {
  const double largest = std::max(*std::max_element(row.begin(), row.end()), std::numeric_limits<float>::lowest());
  double sum = 0;
  for (const float x : row) sum += std::exp(x - largest);
  const double shift = largest + std::log(sum);
  out.resize(row.size());
  for (size_t i = 0; i < row.size(); ++i) out[i] = row[i] - shift;
}

uint64_t mixed(uint64_t x) {  // splitmix64's finalizer
  x = (x ^ (x >> 30U)) * 0xbf58476d1ce4e5b9U;
  x = (x ^ (x >> 27U)) * 0x94d049bb133111ebU;
  return x ^ (x >> 31U);
}

}  // namespace

void BoxMatches::match_picture(std::span<const TrueBox> truth, std::span<const ScoredBox> answers,
                               const CocoOptions& options, Category& category) {
  const auto is_ignored = [&](const TrueBox& box) {
    return box.crowd || box.area < options.min_area || box.area > options.max_area;
  };
  std::vector<const TrueBox*> ordered;
  for (const TrueBox& box : truth) ordered.push_back(&box);
  std::stable_sort(ordered.begin(), ordered.end(),
                   [&](const TrueBox* a, const TrueBox* b) { return !is_ignored(*a) && is_ignored(*b); });
  const auto counted = std::count_if(truth.begin(), truth.end(), [&](const TrueBox& b) { return !is_ignored(b); });
  if (counted > 0) category.positives.emplace_back(truth[0].picture, static_cast<int32_t>(counted));

  std::vector<const ScoredBox*> best;
  for (const ScoredBox& box : answers) best.push_back(&box);
  std::stable_sort(best.begin(), best.end(),
                   [](const ScoredBox* a, const ScoredBox* b) { return a->score > b->score; });
  best.resize(std::min(best.size(), static_cast<size_t>(std::max(options.max_detections, 0))));
  std::vector<uint16_t> taken(ordered.size(), 0);
  for (const ScoredBox* answer : best) {
    Answer entry{answer->score, answer->picture, 0, 0};
    std::vector<double> overlaps;
    for (const TrueBox* box : ordered) overlaps.push_back(overlap(answer->box, *box));
    const double area = answer->box[2] * answer->box[3];
    const bool out_of_range = area < options.min_area || area > options.max_area;
    for (int t = 0; t < kIouThresholds; ++t) {
      const auto bit = static_cast<uint16_t>(1U << static_cast<unsigned>(t));
      double least = std::min(iou_threshold(t), 1 - 1e-10);
      size_t match = ordered.size();
      for (size_t g = 0; g < ordered.size(); ++g) {
        if ((taken[g] & bit) != 0 && !ordered[g]->crowd) continue;
        if (match < ordered.size() && !is_ignored(*ordered[match]) && is_ignored(*ordered[g])) break;
        if (overlaps[g] < least) continue;
        least = overlaps[g];
        match = g;
      }
      if (match < ordered.size()) {
        taken[match] |= bit;
        entry.hit |= bit;
      }
      if (match < ordered.size() ? is_ignored(*ordered[match]) : out_of_range) entry.ignored |= bit;
    }
    category.answers.push_back(entry);
  }
}

Result<BoxMatches> BoxMatches::match(int64_t picture_count, std::span<const TrueBox> truth,
                                     std::span<const ScoredBox> answers, const CocoOptions& options) {
  struct Group {
    std::vector<TrueBox> truth;
    std::vector<ScoredBox> answers;
  };
  std::map<std::pair<int32_t, int64_t>, Group> groups;  // by category, then picture
  for (size_t i = 0; i < truth.size(); ++i) {
    HAI_TRY_STATUS(check_box(truth[i], picture_count, "true", i));
    groups[{truth[i].category, truth[i].picture}].truth.push_back(truth[i]);
  }
  for (size_t i = 0; i < answers.size(); ++i) {
    HAI_TRY_STATUS(check_box(answers[i], picture_count, "answered", i));
    if (std::isnan(answers[i].score)) {
      return make_error(StatusCode::kInvalidArgument, "D042", "answered box {} of picture {} has no number as score", i,
                        answers[i].picture);
    }
    groups[{answers[i].category, answers[i].picture}].answers.push_back(answers[i]);
  }
  BoxMatches matches;
  matches.picture_count_ = picture_count;
  for (const auto& [key, group] : groups) {
    if (matches.categories_.empty() || matches.categories_.back().number != key.first)
      matches.categories_.push_back({key.first, {}, {}});
    match_picture(group.truth, group.answers, options, matches.categories_.back());
  }
  for (Category& category : matches.categories_) {
    std::stable_sort(category.answers.begin(), category.answers.end(),
                     [](const Answer& a, const Answer& b) { return a.score > b.score; });
  }
  return matches;
}

// False where the drawn pictures hold no true box of the category.
bool BoxMatches::figures_of(const Category& category, std::span<const int32_t> copies, Curve& curve,
                            std::array<double, kIouThresholds>& precision, double& recall) {
  const auto copies_of = [&](int64_t picture) { return copies.empty() ? 1 : copies[static_cast<size_t>(picture)]; };
  int64_t positives = 0;
  for (const auto& [picture, count] : category.positives) positives += int64_t{count} * copies_of(picture);
  if (positives == 0) return false;
  recall = 0;
  for (int t = 0; t < kIouThresholds; ++t) {
    curve.clear();
    double hits = 0;
    double misses = 0;
    for (const Answer& answer : category.answers) {
      if (((answer.ignored >> static_cast<unsigned>(t)) & 1U) != 0) continue;
      const bool hit = ((answer.hit >> static_cast<unsigned>(t)) & 1U) != 0;
      for (int32_t copy = copies_of(answer.picture); copy > 0; --copy) {
        (hit ? hits : misses) += 1;
        curve.emplace_back(hits / static_cast<double>(positives),
                           hits / (misses + hits + std::numeric_limits<double>::epsilon()));
      }
    }
    recall += hits / static_cast<double>(positives) / kIouThresholds;
    for (size_t i = curve.size(); i > 1; --i) curve[i - 2].second = std::max(curve[i - 2].second, curve[i - 1].second);
    double sum = 0;
    size_t at = 0;
    for (int point = 0; point < kRecallPoints; ++point) {
      while (at < curve.size() && curve[at].first < recall_point(point)) ++at;
      if (at == curve.size()) break;
      sum += curve[at].second;
    }
    precision[static_cast<size_t>(t)] = sum / kRecallPoints;
  }
  return true;
}

AveragePrecision BoxMatches::average_precision(std::span<const int32_t> copies) const {
  HAI_CHECK(copies.empty() || static_cast<int64_t>(copies.size()) == picture_count_);
  AveragePrecision mean{0, 0, 0, 0};
  Curve curve;
  std::array<double, kIouThresholds> precision{};
  int64_t count = 0;
  for (const Category& category : categories_) {
    double recall = 0;
    if (!figures_of(category, copies, curve, precision, recall)) continue;
    ++count;
    mean.map += std::accumulate(precision.begin(), precision.end(), 0.0) / kIouThresholds;
    mean.map50 += precision[0];
    mean.map75 += precision[5];
    mean.recall += recall;
  }
  if (count == 0) return {};
  for (double* figure : {&mean.map, &mean.map50, &mean.map75, &mean.recall}) *figure /= static_cast<double>(count);
  return mean;
}

std::vector<std::pair<int32_t, double>> BoxMatches::by_category() const {
  std::vector<std::pair<int32_t, double>> result;
  Curve curve;
  std::array<double, kIouThresholds> precision{};
  for (const Category& category : categories_) {
    double recall = 0;
    if (!figures_of(category, {}, curve, precision, recall)) continue;
    result.emplace_back(category.number, std::accumulate(precision.begin(), precision.end(), 0.0) / kIouThresholds);
  }
  return result;
}

Result<std::vector<uint8_t>> top_k_hits(Scores scores, std::span<const int64_t> labels, int64_t k) {
  HAI_TRY_STATUS(check_scores(scores, "scores"));
  if (scores.rows() != static_cast<int64_t>(labels.size())) {
    return make_error(StatusCode::kInvalidArgument, "D045", "{} rows of scores and {} labels: there must be as many",
                      scores.rows(), labels.size());
  }
  if (k < 1 || k > scores.classes)
    return make_error(StatusCode::kOutOfRange, "D046", "top-{} of {} classes does not exist", k, scores.classes);
  std::vector<uint8_t> hits(labels.size());
  for (size_t row = 0; row < labels.size(); ++row) {
    const int64_t label = labels[row];
    if (label < 0 || label >= scores.classes) {
      return make_error(StatusCode::kOutOfRange, "D047",
                        "the label of row {} is {}: the model has {} classes, numbered from 0", row, label,
                        scores.classes);
    }
    const auto values =
        scores.values.subspan(row * static_cast<size_t>(scores.classes), static_cast<size_t>(scores.classes));
    const float own = values[static_cast<size_t>(label)];
    int64_t before = 0;
    for (int64_t c = 0; c < scores.classes; ++c) {
      const float other = values[static_cast<size_t>(c)];
      before += other > own || (other == own && c < label) ? 1 : 0;
    }
    hits[row] = before < k ? 1 : 0;
  }
  return hits;
}

Result<std::vector<int64_t>> best_classes(Scores scores) {
  HAI_TRY_STATUS(check_scores(scores, "scores"));
  std::vector<int64_t> best;
  for (size_t from = 0; from < scores.values.size(); from += static_cast<size_t>(scores.classes)) {
    const auto row = scores.values.subspan(from, static_cast<size_t>(scores.classes));
    best.push_back(std::max_element(row.begin(), row.end()) - row.begin());
  }
  return best;
}

Result<std::vector<double>> divergences(Scores reference, Scores other) {
  HAI_TRY_STATUS(check_scores(reference, "reference"));
  HAI_TRY_STATUS(check_scores(other, "scores"));
  if (reference.classes != other.classes || reference.values.size() != other.values.size()) {
    return make_error(StatusCode::kInvalidArgument, "D048",
                      "{} rows of {} classes against {} rows of {}: they must be of one shape", reference.rows(),
                      reference.classes, other.rows(), other.classes);
  }
  std::vector<double> result;
  std::vector<double> p;
  std::vector<double> q;
  for (size_t from = 0; from < reference.values.size(); from += static_cast<size_t>(reference.classes)) {
    log_softmax(reference.values.subspan(from, static_cast<size_t>(reference.classes)), p);
    log_softmax(other.values.subspan(from, static_cast<size_t>(reference.classes)), q);
    double sum = 0;
    for (size_t i = 0; i < p.size(); ++i) {
      if (std::isfinite(p[i])) sum += std::exp(p[i]) * (p[i] - q[i]);
    }
    result.push_back(sum);
  }
  return result;
}

std::vector<int32_t> bootstrap_copies(int64_t count, uint64_t seed, int64_t replicate) {
  std::vector<int32_t> copies(static_cast<size_t>(std::max<int64_t>(count, 0)), 0);
  uint64_t state =
      mixed(seed * 0x9e3779b97f4a7c15U + 1) ^ mixed(static_cast<uint64_t>(replicate) + 0x632be59bd9b4e019U);
  for (int64_t i = 0; i < count; ++i) {
    state += 0x9e3779b97f4a7c15U;
    // The high 32 bits scaled to the range: a bias below count / 2^32.
    const uint64_t drawn = ((mixed(state) >> 32U) * static_cast<uint64_t>(count)) >> 32U;
    ++copies[static_cast<size_t>(drawn)];
  }
  return copies;
}

}  // namespace hai::data
