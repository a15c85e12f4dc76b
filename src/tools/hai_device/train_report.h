// The page of `hai train --report`: curves and examples, one HTML file without anything from outside.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "tools/hai_device/train_progress.h"

namespace hai::tools {

// A picture that is held out, and what the model says of it.
struct ExamplePrediction {
  std::string path;
  std::string truth;
  std::string answer;
  double score = 0;  // of the answer: softmax of the outputs
  bool right = false;
};

// Losses of single steps, thinned out so that any number of steps fits.
class LossCurve {
 public:
  void add(int64_t step, double loss);
  const std::vector<std::pair<int64_t, double>>& points() const { return points_; }

 private:
  std::vector<std::pair<int64_t, double>> points_;
  int64_t every_ = 1;
  int64_t seen_ = 0;
};

struct TrainReport {
  std::string title;                                       // model
  std::vector<std::pair<std::string, std::string>> facts;  // rows of the table: what, value
  std::string metric_name;
  const std::vector<EpochResult>* epochs = nullptr;
  const LossCurve* losses = nullptr;  // of the steps of this process
  std::vector<ExamplePrediction> examples;
};

// The page; what comes from files is escaped. Pictures that cannot be read are left out.
std::string report_page(const TrainReport& report);

}  // namespace hai::tools
