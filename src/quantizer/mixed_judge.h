// MixedJudge: what a float model says about calibration samples and views of them, and how far quantized graphs are
// from that.
#pragma once

#include <span>
#include <vector>

#include "base/result.h"
#include "ir/graph.h"
#include "quantizer/drop_forecast.h"
#include "quantizer/options.h"
#include "quantizer/output_scores.h"
#include "quantizer/sample_store.h"

namespace hai::quantizer {

class MixedJudge {
 public:
  // A sample as one of its views shows it.
  struct Picture {
    size_t sample = 0;
    int view = 0;
  };

  // `graph` and `options` must outlive the judge.
  MixedJudge(const ir::Graph& graph, const QuantizeOptions& options);
  // Refuses names in the options that the model does not have; then reads all samples and runs the float model on all
  // their views.
  Status read(const NextSample& next);

  size_t sample_count() const { return samples_.size(); }
  int views() const { return views_; }
  bool classes() const;
  // The float model in its canonical form.
  const ir::Graph& reference() const { return reference_; }
  NextSample stream(std::vector<size_t> samples) const { return samples_.stream(std::move(samples)); }
  // All views, in rounds: first each sample itself, then the next view of each.
  std::vector<Picture> pictures(std::span<const size_t> samples) const;

  OutputScores no_scores() const { return OutputScores(reference_, scored_); }
  // Runs a quantized form of the model and adds how far it is from the float model.
  Status measure(ir::Graph quantized, std::span<const Picture> pictures, OutputScores& scores) const;
  DropForecast forecast(const OutputScores& scores) const { return forecast_drop(scores.outputs(), options_.seed); }

 private:
  std::vector<size_t> scored_positions() const;
  size_t answer_of(const Picture& picture) const {
    return picture.sample * static_cast<size_t>(views_) + static_cast<size_t>(picture.view);
  }

  const ir::Graph& graph_;
  const QuantizeOptions& options_;
  SampleStore samples_;
  SampleStore answers_;  // the float model's f32 outputs, by picture
  int views_ = 1;
  ir::Graph reference_;
  std::vector<ir::ValueId> scored_;  // f32 outputs
};

}  // namespace hai::quantizer
