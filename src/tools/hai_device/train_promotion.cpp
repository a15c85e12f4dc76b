// Method: the observers see what is trained on, so that nothing that is held out has a part in the model; the pictures
// that are held out judge. All three models are opened and run like files of their own (TrainTask::measure). Numbers of
// a training that do not fit into integers refuse the promotion; other errors end the command.
#include "tools/hai_device/train_promotion.h"

#include <fmt/format.h>

#include <utility>

#include "tools/hai_device/progress.h"
#include "tools/hai_device/train_tensor.h"
#include "training/rebuilder.h"

namespace hai::tools {

std::string Promotion::reason() const {
  if (!refusal.empty()) return refusal;
  if (rebuilt_metric < float_metric - kMostLost) {
    return fmt::format("INT8 loses more than {:.0f} point of what f32 has: {:.2f} % of {:.2f} %", 100 * kMostLost,
                       100 * rebuilt_metric, 100 * float_metric);
  }
  if (!(rebuilt_metric > old_metric))
    return fmt::format("it is not better than the old one: {:.2f} %, {:.2f} %", 100 * rebuilt_metric, 100 * old_metric);
  return {};
}

Result<Promoted> rebuild_and_judge(training::Trainer& trainer, TrainTask& task, const format::ModelFile& old) {
  Promoted out;
  show_progress("rebuilding INT8");
  HAI_TRY(out.promotion.old_metric, task.measure(old));
  HAI_TRY(format::ModelFile floating, trainer.trained_model());
  HAI_TRY(out.promotion.float_metric, task.measure(std::move(floating)));
  HAI_TRY(const auto rebuilder, training::Rebuilder::create(trainer));
  std::vector<float> pixels;
  HAI_TRY_STATUS(task.each_training_picture([&](std::span<const float> batch) -> Status {
    pixels.assign(batch.begin(), batch.end());
    const hai_tensor input = view_of(trainer.input(0), task.batch(), pixels);
    return rebuilder->observe(std::span(&input, 1));
  }));
  auto rebuilt = rebuilder->rebuild();
  if (!rebuilt && rebuilt.error().code == StatusCode::kOutOfRange) {
    out.promotion.refusal = rebuilt.error().to_string();
    return out;
  }
  if (!rebuilt) return std::move(rebuilt).error();
  HAI_TRY(out.promotion.rebuilt_metric, task.measure(*rebuilt));
  if (out.promotion.promoted()) out.model = std::move(*rebuilt);
  return out;
}

}  // namespace hai::tools
