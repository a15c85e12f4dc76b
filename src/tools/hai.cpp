// hai: compile, run, inspect and measure models from the command line. This file is the command line itself: flags and
// help of what only `hai` can do; what a device can do as well is in tools/hai_device/command_line.cpp.
//
// Every command is a function in tools/hai/ or tools/hai_device/ over the libraries. Exit codes: 0 done, 1 the command
// failed (standard error says why), 2 the command line is wrong, 3 an injected fault stopped the run, 130 an interrupt
// ended a training.
#include <CLI/CLI.hpp>
#include <cstdint>
#include <string>
#include <vector>

#include "devices/sd3403/simulator/install.h"
#include "hai/hai.h"
#include "tools/hai/commands.h"
#include "tools/hai/npu_simulation.h"
#include "tools/hai_device/command_line.h"
#include "tools/hai_device/device_commands.h"

namespace {

using namespace hai::tools;  // NOLINT: the commands, in the one file that wires them

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
      command.add_flag("--largest-scales", a.largest_scales,
                       "4-bit weights on the grid of their channel's largest, for a model that was trained for it"),
      command.add_flag("!--no-rebuild", a.rebuild,
                       "with --train: no INT8 of the whole that a device makes again after a training"),
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
  command->callback([&] { chosen = [&] { return exit_code_of(compile_command(a)); }; });
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
  command->callback([&] { chosen = [&] { return exit_code_of(compare_command(a)); }; });
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
  command->callback([&] { chosen = [&] { return exit_code_of(ops_command(a)); }; });
}

void add_disasm(CLI::App& app, DisasmArguments& a, Chosen& chosen) {
  CLI::App* command = app.add_subcommand("disasm", "Print the NPU's program of a .hai file, a command a line");
  command->add_option("input", a.input, "model.hai, or words that `hai asm` wrote")->required();
  command->add_option("--segment", a.segment, "one segment of the model, such as npu0 (default: all)");
  command->footer("Examples:\n  hai disasm net.hai\n  hai disasm net.hai --segment npu0 > net.s");
  command->callback([&] { chosen = [&] { return exit_code_of(disasm_command(a)); }; });
}

void add_asm(CLI::App& app, AsmArguments& a, Chosen& chosen) {
  CLI::App* command = app.add_subcommand("asm", "Turn a listing of NPU commands into words");
  command->add_option("input", a.input, "the text that `hai disasm` prints")->required();
  command->add_option("-o,--output", a.output, "file of the words, 128 bytes each")->required();
  command->footer("Example:\n  hai asm net.s -o net.words");
  command->callback([&] { chosen = [&] { return exit_code_of(asm_command(a)); }; });
}

void add_isa(CLI::App& app, bool& json, Chosen& chosen) {
  CLI::App* command = app.add_subcommand("isa", "The reference of the NPU's commands");
  command->add_flag("--json", json, "for programs");
  command->callback([&] { chosen = [&] { return exit_code_of(isa_command(json)); }; });
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
  RollbackArguments rollback;
  UpdateArguments update;
  OpsArguments ops;
  bool devices_json = false;
  add_compile(app, compile, chosen);
  add_compare(app, compare, chosen);
  run.simulation = bench.simulation = make_npu_simulation;
  train.modelled = model_npu_training;
  inspect.print_graph = print_graph;
  add_run(app, run, chosen);
  add_inspect(app, inspect, chosen);
  add_bench(app, bench, chosen);
  add_train(app, train, chosen);
  add_rollback(app, rollback, chosen);
  add_update(app, update, chosen);
  add_ops(app, ops, chosen);
  DisasmArguments disasm;
  AsmArguments assembly;
  bool isa_json = false;
  add_disasm(app, disasm, chosen);
  add_asm(app, assembly, chosen);
  add_isa(app, isa_json, chosen);
  CLI::App* devices = app.add_subcommand("devices", "List the devices and instruction sets of this build and machine");
  devices->add_flag("--json", devices_json, "print JSON");
  devices->callback([&] { chosen = [&] { return exit_code_of(devices_command(devices_json)); }; });
  return run_program(app, argc, argv, chosen);
}
