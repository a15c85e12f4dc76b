// hai: compile, run, inspect and measure models from the command line. This file is the command line itself: flags,
// help, exit codes.
//
// Every command is a function in tools/hai/ over the libraries. Exit codes: 0 done, 1 the command failed (standard
// error says why), 2 the command line is wrong, 3 an injected fault stopped the run, 130 an interrupt ended a training.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <functional>
#include <iostream>
#include <new>
#include <nlohmann/json.hpp>
#include <sstream>

#include "base/utf8.h"
#include "devices/sd3403/simulator/install.h"
#include "hai/hai.h"
#include "tools/hai/commands.h"
#include "tools/hai/progress.h"

namespace {

using hai::Status;
using namespace hai::tools;  // NOLINT: the commands, in the one file that wires them

constexpr int kExitFailed = 1;
constexpr int kExitUsage = 2;
constexpr int kExitStopped = 3;
constexpr int kExitInterrupted = 130;      // as of shells: 128 + SIGINT
constexpr int kMostCount = 1'000'000'000;  // of whatever a flag counts

// The command that the words chose, and the exit code that it comes to.
using Chosen = std::function<hai::Result<int>()>;

hai::Result<int> end_of(const Status& status) {
  if (!status) return status.error();
  return 0;
}
hai::Result<int> end_of(const hai::Result<RunEnd>& end) {
  if (!end) return end.error();
  return *end == RunEnd::kStoppedByFault ? kExitStopped : 0;
}

hai::Result<int> end_of(const hai::Result<TrainEnd>& end) {
  if (!end) return end.error();
  return *end == TrainEnd::kInterrupted ? kExitInterrupted : 0;
}

// CLI11's ranges let through what is no number, which compares as neither below nor above.
std::function<std::string(const std::string&)> number_from(double least, double most) {
  return [least, most](const std::string& text) {
    double value = 0;
    const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), value);
    const bool sound = failure == std::errc() && end == text.data() + text.size() && value >= least && value <= most;
    if (sound) return std::string();
    std::ostringstream range;
    range << text << " is no number from " << least << " to " << most;
    return range.str();
  };
}

// CLI11 turns a number that no int64_t holds into the largest one.
std::string check_whole_number(const std::string& text) {
  int64_t value = 0;
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (failure == std::errc() && end == text.data() + text.size() && value >= 0) return {};
  return text + " is no whole number from 0 to " + std::to_string(INT64_MAX);
}

// One flag for each option of the quantizer (src/quantizer/options.h), under its name.
void add_quantization(CLI::App& command, CompileArguments& a) {
  const std::string group = "Quantization";
  CLI::Option* quantize =
      command
          .add_option(
              "--quantize", a.quantize,
              "int8, int4 (int8 activations), int16, w8a16, mixed (4, 8, 16 bits or float by layer, see "
              "--max-drop), or w8, w4 (integer weights alone), f16 (these need no pictures): quantize with pictures of "
              "--calibration")
          ->check(
              CLI::IsMember({"int8", "int4", "int16", "w8a8", "w4a8", "w8a16", "w16a16", "mixed", "w8", "w4", "f16"}));
  CLI::Option* adaround = command.add_flag(
      "--adaround", a.adaround,
      "learn how to round the weights, layer by layer (minutes; default for int4; mixed rounds in closed form)");
  const std::vector<CLI::Option*> others = {
      command.add_option("--max-drop", a.max_drop,
                         "with --quantize mixed: points of accuracy that may be lost, such as 1.0 (minutes)"),
      command.add_option("--calibration", a.calibration,
                         "folder of pictures (.jpg, .png) like those the model will see"),
      command.add_option("--samples", a.calibration_samples, "use at most this many of them, spread evenly (0: all)")
          ->check(CLI::Range(0, kMostCount)),
      command.add_option("--method", a.method, "activations with zero point 0 (symmetrical) or not (asymmetrical)")
          ->check(CLI::IsMember({"symmetrical", "asymmetrical"}))
          ->capture_default_str(),
      command.add_option("--observer", a.observer, "how ranges are chosen: minmax, mse, percentile or kl")
          ->check(CLI::IsMember({"minmax", "mse", "percentile", "kl"}))
          ->capture_default_str(),
      command.add_option("--percentile", a.percentile, "per cent of the values that observer percentile keeps")
          ->check(CLI::Range(50.0, 100.0))
          ->capture_default_str(),
      command.add_option("--layer", a.layers,
                         "precision of one layer: NAME=w4a8, w8a8, w8a16, w16a16, w8, w4, f16 or float"),
      command.add_option("--keep-float", a.keep_float, "name of a node that stays f32"),
      adaround,
      command.add_flag("--no-adaround", a.no_adaround, "round to nearest, also with int4 and mixed")
          ->excludes(adaround),
      command.add_option("--sparsity", a.sparsity, "share of the weights that become zero, such as 0.3")
          ->check(CLI::Range(0.0, 0.99)),
      command.add_flag("--equalize", a.equalize, "scale channels between layers where that lowers the expected noise"),
      command.add_flag("--smooth", a.smooth, "scale channels behind a LayerNorm likewise (transformers)"),
      command.add_flag("!--no-bias-correction", a.bias_correction,
                       "do not take back the mean error of rounded weights"),
      command.add_flag("!--no-widen", a.widen, "no 16-bit activations where 8 bits are too coarse"),
      command.add_flag("!--no-wide-points", a.wide_points,
                       "8 bits also for what a function or an addition rounds at once (tables of 256 entries)"),
      command
          .add_option("--winograd", a.winograd,
                      "3x3 convolutions of stride 1 in 8 bits or f16 by Winograd's tiles: off, auto (where modelled "
                      "cycles fall and "
                      "the measured error stays small), all")
          ->check(CLI::IsMember({"off", "auto", "all"}))
          ->capture_default_str(),
      command
          .add_option("--winograd-loss-db", a.winograd_loss_db,
                      "signal over noise that auto lets a layer lose against its direct form")
          ->check(CLI::Range(0.0, 200.0))
          ->capture_default_str(),
      command.add_flag("!--no-self-check", a.self_check, "do not compare outputs on samples held back"),
      command.add_flag("--force", a.force, "write the model even when the quantized one does not follow the float one"),
      command.add_option("--seed", a.seed, "of everything drawn at random")
          ->check(check_whole_number)
          ->capture_default_str(),
      command.add_option("--threads", a.threads, "for calibration and rounding (0: one a CPU)")
          ->check(CLI::Range(0, 1024)),
      command
          .add_option("--sample-memory-bytes", a.sample_memory_bytes,
                      "calibration samples beyond it go to a temporary file")
          ->check(check_whole_number)
          ->capture_default_str(),
      command.add_option("--options-json", a.options_json,
                         "options of the quantizer as a JSON object, on top of the flags: '{\"adaround\": "
                         "{\"iterations\": 1000}}'"),
  };
  quantize->group(group);
  for (CLI::Option* option : others) option->group(group)->needs(quantize);
}

void add_compile(CLI::App& app, CompileArguments& a, Chosen& chosen) {
  CLI::App* command =
      app.add_subcommand("compile", "Compile an ONNX model (or the graph inside a .hai file) into a .hai file");
  command->add_option("model", a.model, "model.onnx, or model.hai to compile its graph again")->required();
  command->add_option("-o,--output", a.output, "the .hai file to write; an old one stays until the new one is whole")
      ->required();
  command->add_option("--device", a.device, "device to compile for")->capture_default_str();
  command->add_option("--machine", a.machine,
                      "sd3403: profile of the machine, a built-in name or a JSON file (default: sd3403)");
  CLI::Option* no_cascade =
      command->add_flag("!--no-cascade", a.cascade, "sd3403: run every layer whole, never several in stripes");
  command
      ->add_option("--halo", a.halo,
                   "sd3403: rows that two stripes of a cascade need are kept, recomputed, or auto: what is quicker")
      ->check(CLI::IsMember({"auto", "kept", "recomputed"}))
      ->excludes(no_cascade);
  command->add_option("--dim", a.dims, "bind a named dimension: height=640, or a range for the batch: N=1..16");
  add_quantization(*command, a);
  command->add_option("--resize", a.resize,
                      "how a picture becomes the input: short:256 (then a centre crop), letterbox (centred), "
                      "letterbox_top_left or stretch");
  command->add_option("--interpolation", a.interpolation, "nearest, bilinear or bicubic")
      ->check(CLI::IsMember({"nearest", "bilinear", "bicubic"}))
      ->capture_default_str();
  command->add_option("--color", a.color, "rgb, bgr or gray")
      ->check(CLI::IsMember({"rgb", "bgr", "gray"}))
      ->capture_default_str();
  command->add_option("--mean", a.mean, "subtracted from pixels 0..255: one number or three, 123.7,116.3,103.5");
  command->add_option("--std", a.std_deviation, "then divided by: one number or three, 58.4,57.1,57.4");
  command->add_option("--pad-value", a.pad_value, "pixel value around a letterboxed picture")
      ->check(CLI::Range(0.0, 255.0))
      ->capture_default_str();
  CLI::Option* compress = command->add_flag(
      "--compress", a.compress,
      "store weights compressed wherever that saves anything (default: if it saves a tenth, of f32 a fifth)");
  command->add_flag("--no-compress", a.no_compress, "store weights as they are: loads fastest")->excludes(compress);
  command->add_option("--train", a.train,
                      "also compile a step of training: loss=cross_entropy,optimizer=adamw,weight_decay=0.01,"
                      "trainable=last:2 and more (docs/how_to/training.md)");
  command->add_option("--disable-pass", a.disabled_passes, "leave a pass out (integer results stay the same)");
  command->add_option("--print-ir", a.print_ir, "print the graph before:PASS or after:PASS, or before:all");
  command->add_flag("-v,--verbose", a.verbose, "print passes, memory plan and placement");
  command->add_flag("--json", a.json, "print the report as JSON");
  command->footer(
      "Examples:\n"
      "  hai compile net.onnx -o net.hai\n"
      "  hai compile net.onnx -o net.hai --quantize int8 --calibration pictures/ --resize short:256 --mean 127 --std "
      "128\n"
      "  hai compile detector.onnx -o detector.hai --dim height=640 --dim width=640 --resize letterbox --std 255\n"
      "  hai compile net.onnx -o net.hai --print-ir before:fuse_conv_activation");
  command->callback([&] { chosen = [&] { return end_of(compile_command(a)); }; });
}

void add_compare(CLI::App& app, CompareArguments& a, Chosen& chosen) {
  CLI::App* command = app.add_subcommand(
      "compare", "Show layer by layer where a quantized model loses accuracy against its float model");
  command->add_option("float", a.float_model, "the float model: .onnx or .hai")->required();
  command->add_option("quantized", a.quantized_model, "the quantized one: .hai or .onnx")->required();
  command
      ->add_option("-i,--inputs", a.inputs, "folder of pictures or .npy files (several inputs: a subfolder a sample)")
      ->required();
  command->add_option("--samples", a.samples, "use at most this many, spread evenly (0: all)")
      ->check(CLI::Range(0, kMostCount))
      ->capture_default_str();
  command->add_option("--layers", a.layers, "how many layers to print, worst first (0: all)")
      ->check(CLI::Range(0, kMostCount))
      ->capture_default_str();
  command->add_option("--try", a.examined_layers, "how many of the worst layers to try at 16 bits")
      ->check(CLI::Range(0, kMostCount))
      ->capture_default_str();
  command->add_option("--dim", a.dims, "bind a named dimension of an ONNX model: height=640");
  command->add_option("-t,--threads", a.threads, "threads (0: one a CPU)")->check(CLI::Range(0, 1024));
  command->add_option("--json", a.json, "write the whole report to this file");
  command->add_option("--html", a.html, "write it as a page with pictures to this file");
  command->footer(
      "Examples:\n  hai compare net.onnx net.hai --inputs pictures/\n"
      "  hai compare net.onnx net.hai --inputs pictures/ --layers 20 --html report.html --json report.json");
  command->callback([&] { chosen = [&] { return end_of(compare_command(a)); }; });
}

void add_run(CLI::App& app, RunArguments& a, Chosen& chosen) {
  CLI::App* command = app.add_subcommand("run", "Run a model once and print the largest outputs");
  command->add_option("model", a.model, "the .hai file")->required();
  command->add_option("inputs,-i,--input", a.inputs, "a picture or .npy file, or NAME=FILE for one of several inputs")
      ->required();
  command->add_option("--device", a.device, "device (default: the file's first program)");
  command->add_option("--isa", a.isa, "instruction set of the cpu device (default: HAI_CPU, else the best here)");
  command->add_option("-t,--threads", a.threads, "threads (0: one a CPU)")->check(CLI::Range(0, 1024));
  command->add_option("-o,--output", a.output_folder, "folder for the outputs as .npy files");
  command->add_option("--labels", a.labels, "text file with a name a line (default: names in the file, if any)");
  command->add_option("--top", a.top, "how many of the largest elements to print")
      ->check(CLI::Range(0, kMostCount))
      ->capture_default_str();
  command->add_option("--profile", a.trace, "write a trace for Perfetto or chrome://tracing to this file");
  command->add_option("--clock", a.clock_mhz, "sd3403: operating point, MHz (default: the machine's own clock)")
      ->check(number_from(0.001, 1e6));
  command->add_option("--camera", a.camera, "sd3403: model the pipeline of a camera of 1280x720, too");
  command->add_option("--deadline", a.deadline_ms, "sd3403: take the slowest clock that makes a frame in so many ms")
      ->check(number_from(1e-6, 1e9));
  command->add_option("--inject", a.inject,
                      "sd3403: a fault of the machine: flip,image=constants,byte=N,bit=N or flip,seed=N or "
                      "semaphore,number=N or dma,core=N,channel=N,transfer=N; may be given again");
  command->add_flag("--json", a.json, "print JSON");
  command->footer(
      "Examples:\n  hai run net.hai photo.jpg --labels imagenet.txt\n  hai run net.hai --input image=x.npy -o "
      "outputs/");
  command->callback([&] { chosen = [&] { return end_of(run_command(a)); }; });
}

void add_inspect(CLI::App& app, InspectArguments& a, Chosen& chosen) {
  CLI::App* command = app.add_subcommand("inspect", "Print what a .hai file holds");
  command->add_option("model", a.model, "the .hai file")->required();
  command->add_flag("--graph", a.graph, "the portable graph as text");
  command->add_flag("--program", a.program, "instructions, tensors and their places in memory");
  command->add_flag("--verify", a.verify, "read all weights and check every digest");
  command->add_flag("--json", a.json, "print JSON");
  command->footer(
      "Examples:\n  hai inspect net.hai\n  hai inspect net.hai --graph\n  hai inspect net.hai --json --verify");
  command->callback([&] { chosen = [&] { return end_of(inspect_command(a)); }; });
}

void add_bench(CLI::App& app, BenchArguments& a, Chosen& chosen) {
  CLI::App* command = app.add_subcommand("bench", "Measure a model here: median, p90, p99, and layers by time");
  command->add_option("model", a.model, "the .hai file")->required();
  command->add_option("--device", a.device, "device (default: the file's first program)");
  command->add_option("--isa", a.isa, "instruction set of the cpu device");
  command->add_option("-t,--threads", a.threads, "threads (0: one a CPU)")
      ->check(CLI::Range(0, 1024))
      ->capture_default_str();
  command->add_option("-b,--batch", a.batch, "samples a run")->check(CLI::Range(1, kMostCount))->capture_default_str();
  command->add_option("-n,--runs", a.runs, "runs that count")->capture_default_str();
  command->add_option("--warmup", a.warmup, "runs before them")->capture_default_str();
  command->add_option("--layers", a.top_layers, "how many layers to print (0: all)")
      ->check(CLI::Range(0, kMostCount))
      ->capture_default_str();
  command->add_flag("--json", a.json, "print JSON");
  command->footer("Examples:\n  hai bench net.hai\n  hai bench net.hai --threads 2 --batch 8 --json");
  command->callback([&] { chosen = [&] { return end_of(bench_command(a)); }; });
}

void add_train(CLI::App& app, TrainArguments& a, Chosen& chosen) {
  CLI::App* command = app.add_subcommand("train", "Train a classifier that was compiled with --train on pictures");
  command->add_option("model", a.model, "the .hai file, with a step of training inside")->required();
  command->add_option("--data", a.data, "folder with a subfolder of pictures for each class, or a .csv of path,label")
      ->required();
  command->add_option("-o,--out", a.output, "the .hai file to write: the parameters of the best epoch")->required();
  command->add_option("-n,--epochs", a.epochs, "how often each picture is seen")
      ->check(CLI::Range(1, kMostCount))
      ->capture_default_str();
  command->add_option("-b,--batch", a.batch, "pictures a step (default: 32, or as many as there are)")
      ->check(CLI::Range(1, kMostCount));
  command->add_option("--learning-rate", a.learning_rate, "at its peak")
      ->check(number_from(0, 1e6))
      ->capture_default_str();
  command->add_option("--schedule", a.schedule, "how the learning rate changes: constant, cosine (to 0) or step")
      ->check(CLI::IsMember({"constant", "cosine", "step"}))
      ->capture_default_str();
  command->add_option("--warmup", a.warmup, "steps in which the learning rate grows to its peak")
      ->check(CLI::Range(0, kMostCount))
      ->capture_default_str();
  command->add_option("--decay", a.decay, "schedule step: what the learning rate is multiplied by")
      ->check(number_from(1e-9, 1))
      ->capture_default_str();
  command->add_option("--decay-every", a.decay_every, "schedule step: after so many epochs (default: a third of them)")
      ->check(CLI::Range(1, kMostCount));
  command->add_option("--held-out", a.held_out, "share of each class that measures instead of training (0: none)")
      ->check(number_from(0, 0.99))
      ->capture_default_str();
  command->add_option("--patience", a.patience, "stop after so many epochs without a better one (0: never)")
      ->check(CLI::Range(0, kMostCount))
      ->capture_default_str();
  command->add_option("--augment", a.augment, "none, or some of flip,crop,color,mixup,cutmix")->capture_default_str();
  command->add_option("--seed", a.seed, "of everything drawn at random")
      ->check(check_whole_number)
      ->capture_default_str();
  command->add_option("-t,--threads", a.threads, "threads (0: one a CPU); they change time alone")
      ->check(CLI::Range(0, 1024));
  command->add_option("--log", a.log, "file to write a line of JSON to for each step and epoch");
  command->add_flag("--json", a.json, "print the result as JSON");
  command->footer(
      "An interrupt (Ctrl-C) writes what there is.\n"
      "Examples:\n  hai compile net.onnx -o net.hai --train loss=cross_entropy,optimizer=adamw --std 255\n"
      "  hai train net.hai --data flowers/ --out flowers.hai --epochs 20 --augment flip,crop,mixup --patience 5");
  command->callback([&] { chosen = [&] { return end_of(train_command(a)); }; });
}

void add_ops(CLI::App& app, OpsArguments& a, Chosen& chosen) {
  CLI::App* command =
      app.add_subcommand("ops", "List the operators, one operator's page, or the matrix of what exists for each");
  command->add_option("name", a.name, "an operator, for its page");
  command->add_flag("--matrix", a.matrix, "operator x reference, cpu per instruction set, onnx");
  command->add_flag("--check", a.check, "with --matrix: fail on a hole that is not explained");
  command->add_flag("--markdown", a.markdown, "the reference page of all operators");
  command->add_flag("--json", a.json, "print JSON");
  command->footer("Examples:\n  hai ops\n  hai ops conv2d\n  hai ops --matrix --check");
  command->callback([&] { chosen = [&] { return end_of(ops_command(a)); }; });
}

void add_disasm(CLI::App& app, DisasmArguments& a, Chosen& chosen) {
  CLI::App* command = app.add_subcommand("disasm", "Print the NPU's program of a .hai file, a command a line");
  command->add_option("input", a.input, "model.hai, or words that `hai asm` wrote")->required();
  command->add_option("--segment", a.segment, "one segment of the model, such as npu0 (default: all)");
  command->footer("Examples:\n  hai disasm net.hai\n  hai disasm net.hai --segment npu0 > net.s");
  command->callback([&] { chosen = [&] { return end_of(disasm_command(a)); }; });
}

void add_asm(CLI::App& app, AsmArguments& a, Chosen& chosen) {
  CLI::App* command = app.add_subcommand("asm", "Turn a listing of NPU commands into words");
  command->add_option("input", a.input, "the text that `hai disasm` prints")->required();
  command->add_option("-o,--output", a.output, "file of the words, 128 bytes each")->required();
  command->footer("Example:\n  hai asm net.s -o net.words");
  command->callback([&] { chosen = [&] { return end_of(asm_command(a)); }; });
}

void add_isa(CLI::App& app, bool& json, Chosen& chosen) {
  CLI::App* command = app.add_subcommand("isa", "The reference of the NPU's commands");
  command->add_flag("--json", json, "for programs");
  command->callback([&] { chosen = [&] { return end_of(isa_command(json)); }; });
}

}  // namespace

namespace {

std::string command_names(const CLI::App& app) {
  std::string names;
  for (const CLI::App* command : app.get_subcommands({})) names += (names.empty() ? "" : ", ") + command->get_name();
  return names;
}

// CLI11 calls a command that does not exist a missing one.
bool is_unknown_command(const CLI::App& app, int argc, char** argv) {
  const auto commands = app.get_subcommands({});
  if (argc < 2 || argv[1][0] == '-' ||
      std::any_of(
          commands.begin(), commands.end(), [&](const CLI::App* command) { return command->get_name() == argv[1]; })) {
    return false;
  }
  std::fprintf(stderr, "hai: error: there is no command \"%s\"; commands are %s. `hai --help` explains them\n", argv[1],
               command_names(app).c_str());
  return true;
}

// On standard error as text; a caller that asked for JSON gets it on standard output too.
void print_error(const hai::Error& error, bool json) {
  std::fflush(stdout);
  if (json) {
    const nlohmann::ordered_json document{{"error",
                                           {{"code", "HAI-" + error.id},
                                            {"kind", hai::status_code_name(error.code)},
                                            {"where", error.where},
                                            {"message", error.message}}}};
    std::printf("%s\n", document.dump(2, ' ', false, nlohmann::json::error_handler_t::replace).c_str());
  }
  std::fprintf(stderr, "hai: error: %s\n", error.to_string().c_str());
}

// "compile net.onnx": the command and what it was given.
std::string what_was_asked(const CLI::App& app) {
  const CLI::App* command = app.get_subcommands().front();
  std::string text = command->get_name();
  for (const CLI::Option* option : command->get_options()) {
    if (!option->get_positional()) continue;
    for (const std::string& value : option->results()) text += " " + value;
  }
  return hai::printable(text);
}

// `code`, unless what the command printed did not get out.
int flushed(int code) {
  std::cout.flush();  // CLI11's help goes there
  const bool bad = std::ferror(stdout) != 0 || !std::cout;
  if (std::fflush(stdout) == 0 && !bad) return code;
  const std::string why = std::strerror(errno);  // of the flush, or the last that failed
  std::fprintf(stderr,
               "hai: error: standard output takes no more: %s; what was printed is not whole. Write to a place with "
               "room [HAI-L097]\n",
               why.c_str());
  return kExitFailed;
}

}  // namespace

int main(int argc, char** argv) {
  hai::sd3403::install_simulator();
  CLI::App app("hai: compile, run, inspect and measure models on edge devices", "hai");
  app.set_version_flag("--version", hai_version());
  app.require_subcommand(1);
  app.footer(
      "`hai COMMAND --help` shows each command with examples. Exit codes: 0 done, 1 failed, 2 wrong command line, "
      "3 a fault of --inject stopped the run, 130 an interrupt ended a training.");
  Chosen chosen;
  CompileArguments compile;
  CompareArguments compare;
  RunArguments run;
  InspectArguments inspect;
  BenchArguments bench;
  TrainArguments train;
  OpsArguments ops;
  bool devices_json = false;
  add_compile(app, compile, chosen);
  add_compare(app, compare, chosen);
  add_run(app, run, chosen);
  add_inspect(app, inspect, chosen);
  add_bench(app, bench, chosen);
  add_train(app, train, chosen);
  add_ops(app, ops, chosen);
  DisasmArguments disasm;
  AsmArguments assembly;
  bool isa_json = false;
  add_disasm(app, disasm, chosen);
  add_asm(app, assembly, chosen);
  add_isa(app, isa_json, chosen);
  CLI::App* devices = app.add_subcommand("devices", "List the devices and instruction sets of this build and machine");
  devices->add_flag("--json", devices_json, "print JSON");
  devices->callback([&] { chosen = [&] { return end_of(devices_command(devices_json)); }; });
  if (is_unknown_command(app, argc, argv)) return kExitUsage;
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& problem) {
    const int code = app.exit(problem);
    return code == 0 ? flushed(0) : kExitUsage;
  }
  try {
    const hai::Result<int> status = chosen();
    if (status) return flushed(*status);
    end_progress();
    const CLI::App* command = app.get_subcommands().front();
    const bool json = command->get_option_no_throw("--json") != nullptr && command->count("--json") > 0;
    print_error(status.error(), json);
  } catch (const std::bad_alloc&) {
    end_progress();
    std::fprintf(stderr,
                 "hai: error: out of memory; close other programs, or use a smaller batch or model [HAI-L099]\n");
  } catch (const std::exception& problem) {
    end_progress();
    if (std::ferror(stdout) != 0) return flushed(kExitFailed);
    std::fprintf(stderr, "hai: error: %s: %s; this is a bug of HAI, please report it with the file [HAI-L098]\n",
                 what_was_asked(app).c_str(), problem.what());
  }
  return kExitFailed;
}
