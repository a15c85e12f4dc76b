// What `hai train` trains on and measures by: pictures with classes, boxes or masks, behind one interface.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "data/picture_folder.h"
#include "format/model.h"
#include "tools/hai_device/device_commands.h"
#include "tools/hai_device/train_report.h"
#include "training/trainer.h"

namespace hai::tools {

struct TrainBatch {
  std::span<const float> pixels;
  std::span<const float> targets;
};

class TrainTask {
 public:
  virtual ~TrainTask() = default;

  virtual std::string_view metric_key() const = 0;   // in the log: "top1"
  virtual std::string_view metric_name() const = 0;  // for people: "top-1"
  virtual const std::vector<std::string>& classes() const = 0;
  // Classes that have no names of their own, but numbers.
  virtual bool numbered() const = 0;
  virtual const data::PictureReport& report() const = 0;
  virtual size_t training_count() const = 0;
  virtual const std::vector<std::string>& held_out() const = 0;  // paths
  virtual int64_t batch() const = 0;
  virtual int64_t batches() const = 0;  // in an epoch
  // Of all that the data are, so that a run that goes on sees the same. Of a picture its name and size are: its content
  // is not read again.
  virtual std::string data_digest() const = 0;
  // Begins an epoch at its batch `first`.
  virtual void start(int64_t epoch, int64_t first) = 0;
  virtual Result<std::optional<TrainBatch>> next() = 0;
  // One step on the batch that next() gave: `inputs` are its pixels and targets. A task that keeps features runs the
  // frozen part for what is new alone; the bits are the same.
  virtual Result<training::StepResult> step(training::Trainer& trainer, std::span<const hai_tensor> inputs,
                                            double learning_rate) {
    return trainer.step(inputs, learning_rate);
  }
  virtual void end_epoch() {}
  // The last epoch is what is written, whatever the figure of the held-out pictures.
  virtual bool keeps_last() const { return false; }
  // What a checkpoint needs of the task itself, any bytes, and back.
  virtual std::string state() const { return {}; }
  virtual Status restore(const std::string&) { return {}; }
  // After the last epoch.
  virtual Status finish() { return {}; }
  // That went through the frozen part in so many steps.
  virtual int64_t frozen_samples(int64_t steps) const { return steps * batch(); }
  // Hands the pictures that are trained on, without augmentation, to `use`, in batches of batch(), at most
  // kMostObserved of them. The last batch may repeat some.
  static constexpr int64_t kMostObserved = 512;
  using UsePixels = std::function<Status(std::span<const float> pixels)>;
  virtual Status each_training_picture(const UsePixels& /*use*/) { return {}; }
  // Whether it does so: INT8 is rebuilt for tasks that do.
  virtual bool shows_pictures() const { return false; }
  // How well `model` answers what is held out. Precondition: something is.
  virtual Result<double> measure(format::ModelFile model) = 0;
  // Some of what the last measure() saw; a detector shows none.
  virtual std::vector<ExamplePrediction> examples() const { return {}; }
};

// Tries all pictures first; those that cannot be read are named. `arguments` and `trainer` must outlive the task.
Result<std::unique_ptr<TrainTask>> make_classifier_task(const TrainArguments& arguments, const runtime::Model& file,
                                                        training::Trainer& trainer, int threads);
Result<std::unique_ptr<TrainTask>> make_detector_task(const TrainArguments& arguments, const runtime::Model& file,
                                                      const training::Trainer& trainer, int threads);
Result<std::unique_ptr<TrainTask>> make_segmenter_task(const TrainArguments& arguments, const runtime::Model& file,
                                                       const training::Trainer& trainer, int threads);
// Of `arguments.method`.
Result<std::unique_ptr<TrainTask>> make_incremental_task(const TrainArguments& arguments, const runtime::Model& file,
                                                         training::Trainer& trainer, int threads);

// What all kinds of models take.
struct PictureInput {
  Preprocessing rule;
  int64_t least_batch = 1;
  int64_t most_batch = 1;
};
Result<PictureInput> picture_input_of(const std::string& model, const runtime::Model& file,
                                      const training::Trainer& trainer);
Result<int64_t> choose_batch(const TrainArguments& arguments, const PictureInput& input, size_t pictures);
void note_skipped(const data::PictureReport& report);
// At most so many, spread evenly.
std::vector<size_t> every_few(const std::vector<size_t>& all, int64_t most);
// Takes away what only a training needs.
void keep_inference(format::ModelFile& model);
int64_t size_of_file(const std::filesystem::path& path);  // -1: unknown

}  // namespace hai::tools
