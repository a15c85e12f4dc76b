// The commands of `hai` that a device does not have (those it has: tools/hai_device/device_commands.h): what each
// takes, as plain structures that main fills from the command line, and the functions that do the work.
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
#include "format/model.h"

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
  bool largest_scales = false;
  bool rebuild = true;
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

struct OpsArguments {
  std::string name;       // one operator's page
  bool matrix = false;    // operator x what exists
  bool check = false;     // with matrix: fail on a hole that nobody explained
  bool markdown = false;  // the reference page
  bool json = false;
};
Status ops_command(const OpsArguments& arguments);

Status devices_command(bool json);

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

// What inspect_command() does for --graph.
Status print_graph(const format::ModelFile& model);

}  // namespace hai::tools
