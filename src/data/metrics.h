// Figures that say how good answers are: COCO's average precision, top-k, divergence from a reference, and bootstrap
// intervals of all of them. One implementation, for the quantizer's searches, hai_toolkit and the benchmarks.
#pragma once

#include <array>
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include "base/result.h"

namespace hai::data {

// Boxes are x, y, width, height in pixels of the picture. Pictures are numbered 0..picture_count-1.
struct TrueBox {
  int64_t picture = 0;
  int32_t category = 0;
  std::array<double, 4> box{};
  double area = 0;     // COCO: of the object's outline; decides only the area range
  bool crowd = false;  // a region of many: matches any number of answers, none of which counts
};
struct ScoredBox {
  int64_t picture = 0;
  int32_t category = 0;
  std::array<double, 4> box{};
  double score = 0;
};

struct CocoOptions {
  int max_detections = 100;  // per picture and category, the best ones
  double min_area = 0;
  double max_area = 1e10;
};

inline constexpr int kIouThresholds = 10;  // 0.50, 0.55, ... 0.95
inline constexpr int kRecallPoints = 101;  // 0.00, 0.01, ... 1.00

// Means over the categories that have a true box; -1 where none has, as pycocotools says it.
struct AveragePrecision {
  double map = -1;  // mean over the thresholds 0.50:0.95
  double map50 = -1;
  double map75 = -1;
  double recall = -1;  // mean over the thresholds of the largest recall
};

// The answers of one model matched with the truth, once: the figures for any resampling of the pictures follow from it.
class BoxMatches {
 public:
  // Errors: a picture out of range, a box or score that is not finite or has a negative side.
  static Result<BoxMatches> match(int64_t picture_count, std::span<const TrueBox> truth,
                                  std::span<const ScoredBox> answers, const CocoOptions& options);

  // `copies`: how often each picture counts; empty: once. Precondition: empty or picture_count long.
  AveragePrecision average_precision(std::span<const int32_t> copies = {}) const;
  // Of each category with a true box: its number and its average precision over the thresholds.
  std::vector<std::pair<int32_t, double>> by_category() const;
  int64_t picture_count() const { return picture_count_; }

 private:
  struct Answer {
    double score = 0;
    int64_t picture = 0;
    uint16_t hit = 0;      // bit t: matched at threshold t
    uint16_t ignored = 0;  // bit t: counts neither as hit nor as miss
  };
  struct Category {
    int32_t number = 0;
    std::vector<Answer> answers;                         // best score first
    std::vector<std::pair<int64_t, int32_t>> positives;  // picture, true boxes that count
  };
  using Curve = std::vector<std::pair<double, double>>;  // recall, precision
  static bool figures_of(const Category& category, std::span<const int32_t> copies, Curve& curve,
                         std::array<double, kIouThresholds>& precision, double& recall);
  static void match_picture(std::span<const TrueBox> truth, std::span<const ScoredBox> answers,
                            const CocoOptions& options, Category& category);

  int64_t picture_count_ = 0;
  std::vector<Category> categories_;
};

// Scores of `classes` classes, one row per picture.
struct Scores {
  std::span<const float> values;
  int64_t classes = 0;
  int64_t rows() const { return classes == 0 ? 0 : static_cast<int64_t>(values.size()) / classes; }
};

// For each row whether the label is among the k best; of equal scores the lower class number comes first. Errors: sizes
// that do not fit, a label or k out of range, NaN.
Result<std::vector<uint8_t>> top_k_hits(Scores scores, std::span<const int64_t> labels, int64_t k);
// The best class of each row, by the same rule.
Result<std::vector<int64_t>> best_classes(Scores scores);
// For each row the Kullback-Leibler divergence of softmax(other) from softmax(reference), in nats, in f64.
Result<std::vector<double>> divergences(Scores reference, Scores other);

// How often each of `count` pictures is drawn in resampling `replicate`; depends on nothing else, so that two models
// resampled with one seed see the same pictures (paired).
std::vector<int32_t> bootstrap_copies(int64_t count, uint64_t seed, int64_t replicate);

}  // namespace hai::data
