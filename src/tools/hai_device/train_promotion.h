// The gate between a trained model and the one in use: INT8 is rebuilt, measured, and replaces or does not.
#pragma once

#include <optional>
#include <string>

#include "base/result.h"
#include "format/model.h"
#include "tools/hai_device/train_task.h"
#include "training/trainer.h"

namespace hai::tools {

struct Promotion {
  static constexpr double kMostLost = 0.01;  // of the metric, against f32

  double old_metric = 0;      // of the model that is in use
  double float_metric = 0;    // of the trained one in f32
  double rebuilt_metric = 0;  // of the trained one in INT8
  std::string refusal;        // why INT8 could not be made; empty: it was
  bool promoted() const { return reason().empty(); }
  // Why it does not replace the old one; empty: it does.
  std::string reason() const;
};

struct Promoted {
  Promotion promotion;
  std::optional<format::ModelFile> model;  // that runs in INT8, where it replaces the old one
};

// Rebuilds INT8 from the parameters that `trainer` holds, with ranges seen on pictures that are trained on, and
// measures all three on what is held out. Precondition: training::can_rebuild(trainer), and something is held out.
Result<Promoted> rebuild_and_judge(training::Trainer& trainer, TrainTask& task, const format::ModelFile& old);

}  // namespace hai::tools
