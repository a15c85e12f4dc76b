// The commands of `hai`: what each takes, as plain structures that main fills from the command line, and the functions
// that do the work.
//
// Each command prints its own result on standard output (text, or one JSON document with `json`), progress and notes on
// standard error, and returns an error for main to print. Exit codes: 0 done, 1 failed (the error is on standard
// error), 2 the command line itself is wrong, 3 an injected fault stopped the run (the result says where), 130 an
// interrupt ended a training early.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"

namespace hai::tools {

struct CompileArguments {
  std::string model;   // .onnx, or .hai whose portable graph is compiled again
  std::string output;  // .hai
  std::string device = "cpu";
  std::optional<std::string> machine;  // of device sd3403: a built-in profile (default sd3403) or a JSON file
  bool cascade = true;                 // of device sd3403: layers in stripes through the scratchpad
  std::optional<std::string> halo;     // of those stripes: "auto" (the default), "kept", "recomputed"
  std::vector<std::string> dims;       // "name=number" or "name=low..high"
  std::string quantize;                // "", "int8", "w8a16", "mixed", ...
  std::optional<double> max_drop;      // points, for "mixed"
  std::string calibration;             // folder of pictures
  int64_t calibration_samples = 0;     // 0: all
  std::string observer = "mse";
  double percentile = 99.99;
  std::vector<std::string> layers;      // "name=w8a16"
  std::vector<std::string> keep_float;  // node names
  std::string method = "asymmetrical";
  bool adaround = false;
  bool no_adaround = false;  // neither: for int4
  double sparsity = 0;       // share of the weights that become zero
  bool bias_correction = true;
  bool equalize = false;
  bool smooth = false;
  bool widen = true;
  bool wide_points = true;
  std::string winograd = "off";
  double winograd_loss_db = 10;
  bool self_check = true;
  bool force = false;
  int64_t seed = 1;
  int threads = 0;
  int64_t sample_memory_bytes = int64_t{256} << 20;
  std::string options_json;          // the quantizer's options, on top of the flags
  std::optional<std::string> train;  // "loss=mse,optimizer=sgd": compile a step of training as well
  std::vector<std::string> disabled_passes;
  std::vector<std::string> print_ir;  // "before:fuse_conv"
  std::string resize;                 // "short:256", "letterbox", "letterbox_top_left", "stretch"
  std::string interpolation = "bilinear";
  std::string color = "rgb";
  std::string mean;           // "127" or "123.7,116.3,103.5"
  std::string std_deviation;  // likewise
  double pad_value = 114;
  bool compress = false;     // weights, even where little is saved
  bool no_compress = false;  // neither: where at least a tenth is saved, of f32 a fifth
  bool verbose = false;
  bool json = false;
};
Status compile_command(const CompileArguments& arguments);

struct CompareArguments {
  std::string float_model;      // .onnx or .hai
  std::string quantized_model;  // .hai or .onnx
  std::string inputs;           // folder of pictures or .npy files
  std::vector<std::string> dims;
  int64_t samples = 32;  // 0: all
  int layers = 10;       // rows of the table; 0: all
  int examined_layers = 8;
  int threads = 0;
  std::string json;  // files to write; empty: none
  std::string html;
};
Status compare_command(const CompareArguments& arguments);

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
  bool json = false;
};
// A run that an injected fault stops has told what it was asked for, and yet has no outputs.
enum class RunEnd { kDone, kStoppedByFault };
Result<RunEnd> run_command(const RunArguments& arguments);

struct InspectArguments {
  std::string model;
  bool graph = false;    // the portable graph as text
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
  bool json = false;
};
Status bench_command(const BenchArguments& arguments);

struct OpsArguments {
  std::string name;       // one operator's page
  bool matrix = false;    // operator x what exists
  bool check = false;     // with matrix: fail on a hole that nobody explained
  bool markdown = false;  // the reference page
  bool json = false;
};
Status ops_command(const OpsArguments& arguments);

Status devices_command(bool json);

struct TrainArguments {
  std::string model;   // .hai that was compiled with --train
  std::string data;    // folder with a subfolder a class, or .csv of path,label
  std::string output;  // .hai
  int64_t epochs = 10;
  int64_t batch = 0;  // 0: 32, or what the model and the pictures allow
  double learning_rate = 1e-3;
  std::string schedule = "cosine";
  int64_t warmup = 0;       // steps
  double decay = 0.1;       // of schedule "step"
  int64_t decay_every = 0;  // epochs; 0: a third of them
  double held_out = 0.1;
  int64_t patience = 0;  // epochs without a better one; 0: all epochs
  std::string augment = "none";
  int64_t seed = 1;
  int threads = 0;
  std::string log;  // file of JSON lines; empty: none
  bool json = false;
};
// What an interrupt ends has written what there was.
enum class TrainEnd { kDone, kInterrupted };
Result<TrainEnd> train_command(const TrainArguments& arguments);

struct DisasmArguments {
  std::string input;    // .hai, or words of commands
  std::string segment;  // of the .hai; empty: all
};
Status disasm_command(const DisasmArguments& arguments);

struct AsmArguments {
  std::string input;   // text
  std::string output;  // words
};
Status asm_command(const AsmArguments& arguments);

Status isa_command(bool json);

}  // namespace hai::tools
