// The commands that a device has as well: what each takes, as plain structures that main fills from the command line,
// and the functions that do the work. `hai` and `hai-device` call the same ones.
//
// Each command prints its own result on standard output (text, or one JSON document with `json`), progress and notes on
// standard error, and returns an error for main to print. They depend on the rooms that a device carries only: what
// else `hai` can do for them (a simulator's model of time, printing graphs) it gives them as functions.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "format/model.h"
#include "tools/hai_device/simulation.h"

namespace hai::tools {

struct RunArguments {
  std::string model;
  std::string device;
  std::vector<std::string> inputs;  // "name=file.npy", "file.jpg"
  std::string output_folder;        // .npy files, one an output
  std::string labels;               // text file, a name a line
  int top = 5;
  int threads = 0;
  std::string isa;
  std::string trace;                  // Chrome trace JSON
  double clock_mhz = 0;               // sd3403: an operating point; 0: the machine's own clock
  std::optional<std::string> camera;  // sd3403: "1280x720"
  double deadline_ms = 0;             // sd3403: the slowest point that makes a frame in time; 0: none
  std::vector<std::string> inject;    // sd3403: faults of the machine
  MakeSimulation simulation = nullptr;
  bool json = false;
};
// A run that an injected fault stops has told what it was asked for, and yet has no outputs.
enum class RunEnd { kDone, kStoppedByFault };
Result<RunEnd> run_command(const RunArguments& arguments);

struct InspectArguments {
  std::string model;
  bool graph = false;  // the portable graph as text, by print_graph
  Status (*print_graph)(const format::ModelFile& model) = nullptr;
  bool program = false;  // instructions and tensors
  bool verify = false;   // read all weights and check every digest
  bool json = false;
};
Status inspect_command(const InspectArguments& arguments);

struct BenchArguments {
  std::string model;
  std::string device;
  std::string isa;
  int threads = 1;
  int64_t batch = 1;
  int runs = 50;
  int warmup = 5;
  int top_layers = 20;  // 0: all
  bool roofline = false;
  MakeSimulation simulation = nullptr;
  bool json = false;
};
Status bench_command(const BenchArguments& arguments);

struct TrainArguments {
  std::string model;   // .hai that was compiled with --train
  std::string data;    // folder with a subfolder a class, or .csv of path,label
  std::string labels;  // COCO's JSON: a detector is trained, on pictures that lie in the folder `data`
  std::string masks;   // folder of PNGs: a segmenter is trained, on pictures that lie in the folder `data`
  std::string method;  // how a classifier learns new pictures without forgetting those of before; empty: it does not
  std::string memory;  // of a method: folder of what it keeps between batches of pictures
  std::string fisher;  // of EWC: .hai that was compiled with --train optimizer=fisher
  double ewc_strength = 300;
  double ewc_decay = 1;  // of what was held before
  int64_t fisher_samples = 1000;
  int64_t replay_capacity = 200;
  double alpha = 0.5;  // of DER++ and LwF: what answers of before weigh beside labels
  std::string recipe;  // what set the rest where the command line did not
  std::string output;  // .hai
  int64_t epochs = 10;
  int64_t batch = 0;  // 0: 32, or what the model and the pictures allow
  double learning_rate = 1e-3;
  std::string schedule = "cosine";
  int64_t warmup = 0;       // steps
  double decay = 0.1;       // of schedule "step"
  int64_t decay_every = 0;  // epochs; 0: a third of them
  double held_out = 0.1;
  int64_t head_epochs = 0;  // at the start, that train the last layer alone
  double head_rate = 0;     // their learning rate; 0: learning_rate
  bool head_asked = false;  // on the command line: not for a recipe to leave out where the model has no such part
  int64_t patience = 0;     // epochs without a better one; 0: all epochs
  std::string augment = "none";
  int64_t plain_epochs = 0;             // of a detector: at the end, without mosaic, mixup and paste
  int64_t views = 0;                    // of each picture that augmentation makes; 0: another one in each epoch
  std::string cache;                    // folder for features of the frozen part, or "memory"; empty: none are kept
  int64_t cache_bytes = 512 * 1000000;  // of features
  int64_t seed = 1;
  int threads = 0;
  std::string log;         // file of JSON lines; empty: none
  std::string checkpoint;  // folder; empty: no checkpoints
  bool resume = false;     // go on from what lies there
  int64_t checkpoint_steps = 0;
  double checkpoint_minutes = 10;
  double cpu_share = 1;        // of the time of the threads' CPUs, in (0, 1]
  double max_temperature = 0;  // degrees Celsius; 0: none
  std::string thermal_folder = "/sys/class/thermal";
  std::string report;   // page to write; empty: none
  std::string deploy;   // .hai of the promoted model without what only a training needs; empty: none
  bool rebuild = true;  // INT8, where the model's file can; it replaces the output only where it is better
  ModelTraining modelled = nullptr;
  bool json = false;
};
// What an interrupt ends has written a checkpoint, where there is a folder for it, else what there was.
enum class TrainEnd { kDone, kInterrupted };
Result<TrainEnd> train_command(const TrainArguments& arguments);

struct RollbackArguments {
  std::string model;
  bool json = false;
};
Status rollback_command(const RollbackArguments& arguments);

struct UpdateMakeArguments {
  std::string from;    // the model that devices have
  std::string to;      // that which they shall have
  std::string output;  // .haiu
  bool json = false;
};
Status update_make_command(const UpdateMakeArguments& arguments);

struct UpdateApplyArguments {
  std::string model;
  std::string update;
  std::string output;  // empty: the model itself, whose old file is kept beside it
  bool json = false;
};
Status update_apply_command(const UpdateApplyArguments& arguments);

struct UpdateShowArguments {
  std::string update;
  bool json = false;
};
Status update_show_command(const UpdateShowArguments& arguments);

}  // namespace hai::tools
