// Flags of the commands that both programs have, and a program around them.
//
// Exit codes: 0 done, 1 the command failed (standard error says why), 2 the command line is wrong, 3 an injected fault
// stopped the run, 130 an interrupt ended a training.
#include "tools/hai_device/command_line.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <iostream>
#include <new>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string_view>

#include "base/utf8.h"
#include "tools/hai_device/progress.h"

namespace hai::tools {

Result<int> exit_code_of(const Status& status) {
  if (!status) return status.error();
  return 0;
}
Result<int> exit_code_of(const Result<RunEnd>& end) {
  if (!end) return end.error();
  return *end == RunEnd::kStoppedByFault ? kExitStopped : 0;
}

Result<int> exit_code_of(const Result<TrainEnd>& end) {
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

namespace {

// `text` with each "$ " as the name of the program.
std::string of_program(const CLI::App& app, std::string_view text) {
  std::string out;
  for (const char c : text) out += c == '$' ? app.get_name() : std::string(1, c);
  return out;
}

// "50%" or "0.5".
double share_of(const std::string& text) {
  double value = 0;
  const char* begin = text.data();
  const char* end = begin + text.size() - (text.ends_with('%') ? 1 : 0);
  const auto [last, failure] = std::from_chars(begin, end, value);
  if (text.ends_with('%')) value /= 100;
  if (failure == std::errc() && last == end && value >= 0.01 && value <= 1) return value;
  throw CLI::ValidationError("--cpu-share", text + " is no share from 1% to 100%");
}

void add_npu_flags(CLI::App& command, RunArguments& a) {
  command.add_option("--clock", a.clock_mhz, "sd3403: operating point, MHz (default: the machine's own clock)")
      ->check(number_from(0.001, 1e6));
  command.add_option("--camera", a.camera, "sd3403: model the pipeline of a camera of 1280x720, too");
  command.add_option("--deadline", a.deadline_ms, "sd3403: take the slowest clock that makes a frame in so many ms")
      ->check(number_from(1e-6, 1e9));
  command.add_option("--inject", a.inject,
                     "sd3403: a fault of the machine: flip,image=constants,byte=N,bit=N or flip,seed=N or "
                     "semaphore,number=N or dma,core=N,channel=N,transfer=N; may be given again");
}

}  // namespace

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
  if (a.simulation != nullptr) add_npu_flags(*command, a);
  command->add_flag("--json", a.json, "print JSON");
  command->footer(
      of_program(app,
                 "Examples:\n  $ run net.hai photo.jpg --labels imagenet.txt\n  $ run net.hai --input image=x.npy -o "
                 "outputs/"));
  command->callback([&] { chosen = [&] { return exit_code_of(run_command(a)); }; });
}

void add_inspect(CLI::App& app, InspectArguments& a, Chosen& chosen) {
  CLI::App* command = app.add_subcommand("inspect", "Print what a .hai file holds");
  command->add_option("model", a.model, "the .hai file")->required();
  if (a.print_graph != nullptr) command->add_flag("--graph", a.graph, "the portable graph as text");
  command->add_flag("--program", a.program, "instructions, tensors and their places in memory");
  command->add_flag("--verify", a.verify, "read all weights and check every digest");
  command->add_flag("--json", a.json, "print JSON");
  command->footer(of_program(
      app, "Examples:\n  $ inspect net.hai\n  $ inspect net.hai --program\n  $ inspect net.hai --json --verify"));
  command->callback([&] { chosen = [&] { return exit_code_of(inspect_command(a)); }; });
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
  command->add_flag("--roofline", a.roofline, "layers by their distance from what this CPU can do, measured first");
  command->add_flag("--json", a.json, "print JSON");
  command->footer(of_program(
      app,
      "Examples:\n  $ bench net.hai\n  $ bench net.hai --threads 2 --batch 8 --json\n  $ bench net.hai --roofline"));
  command->callback([&] { chosen = [&] { return exit_code_of(bench_command(a)); }; });
}

namespace {

// What a recipe says of options that are not on the command line.
void use_recipe(const CLI::App& command, TrainArguments& a) {
  if (a.recipe.empty()) return;
  const auto set = [&](const char* name, auto& option, auto value) {
    if (command.count(name) == 0) option = value;
  };
  const bool detect = a.recipe == "detect";
  const bool classify = a.recipe == "classify";
  set("--augment", a.augment, detect ? "flip,affine,color,mosaic" : classify ? "flip,crop,mixup" : "flip,crop,color");
  set("--epochs", a.epochs, int64_t{detect ? 80 : classify ? 30 : 60});
  set("--batch", a.batch, int64_t{detect || !classify ? 8 : 0});
  set("--learning-rate", a.learning_rate, detect ? 2e-3 : 1e-3);
  set("--warmup", a.warmup, int64_t{detect ? 50 : 10});
  if (classify) {
    set("--head-epochs", a.head_epochs, std::min<int64_t>(2, a.epochs - 1));
    set("--head-rate", a.head_rate, 5 * a.learning_rate);
  }
  if (!detect && a.held_out > 0) set("--patience", a.patience, int64_t{classify ? 8 : 15});
  set("--plain-epochs", a.plain_epochs, detect ? std::max<int64_t>(a.epochs / 8, 1) : int64_t{0});
}

void add_method(CLI::App& command, TrainArguments& a) {
  CLI::Option* method =
      command
          .add_option("--method", a.method,
                      "learn new pictures, perhaps of new classes, after others: naive, ewc, replay, der++, lwf, or "
                      "ewc+replay")
          ->check(CLI::IsMember({"naive", "ewc", "replay", "der++", "lwf", "ewc+replay"}));
  command.add_option("--alpha", a.alpha, "of der++ and lwf: what answers of before weigh beside labels")
      ->check(number_from(0, 1e6))
      ->capture_default_str()
      ->needs(method);
  command.add_option("--memory", a.memory, "of --method: folder of what it keeps from batch to batch of pictures")
      ->needs(method);
  command
      .add_option("--fisher", a.fisher,
                  "of ewc: the same model compiled with --train optimizer=fisher,class_mask=1,batch_norm=frozen")
      ->needs(method);
  command.add_option("--ewc-strength", a.ewc_strength, "how strongly what earlier pictures need is held")
      ->check(number_from(0, 1e12))
      ->capture_default_str()
      ->needs(method);
  command
      .add_option("--ewc-decay", a.ewc_decay,
                  "what was held before counts so much after each batch of pictures: below "
                  "1 is online EWC")
      ->check(number_from(1e-6, 1))
      ->capture_default_str()
      ->needs(method);
  command.add_option("--fisher-samples", a.fisher_samples, "pictures that measure what is to be held")
      ->check(CLI::Range(1, kMostCount))
      ->capture_default_str()
      ->needs(method);
  command.add_option("--replay-capacity", a.replay_capacity, "samples that replay keeps, as many of each class")
      ->check(CLI::Range(1, 1 << 24))
      ->capture_default_str()
      ->needs(method);
}

}  // namespace

void add_train(CLI::App& app, TrainArguments& a, Chosen& chosen) {
  CLI::App* command = app.add_subcommand(
      "train", "Train a classifier, detector or segmenter that was compiled with --train on pictures");
  command->add_option("model", a.model, "the .hai file, with a step of training inside")->required();
  command
      ->add_option(
          "--data", a.data,
          "folder with a subfolder of pictures for each class, or a .csv of path,label; with --labels or --masks "
          "the pictures' folder")
      ->required();
  CLI::Option* labels =
      command->add_option("--labels", a.labels, "boxes as COCO's JSON: train a detector (--train loss=yolov5)");
  command
      ->add_option("--masks", a.masks,
                   "folder of PNGs with the class of each pixel: train a segmenter (--train loss=dice_cross_entropy)")
      ->excludes(labels);
  add_method(*command, a);
  command->add_option("-o,--out", a.output, "the .hai file to write: the parameters of the best epoch")->required();
  command
      ->add_option("--recipe", a.recipe,
                   "defaults for what is not given, that suit few pictures: classify, detect or segment")
      ->check(CLI::IsMember({"classify", "detect", "segment"}));
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
  command
      ->add_option("--head-epochs", a.head_epochs,
                   "so many at the start train the last layer alone; then all that is trained, with fresh moments")
      ->check(CLI::Range(0, kMostCount))
      ->capture_default_str();
  command->add_option("--head-rate", a.head_rate, "learning rate of these epochs (default: --learning-rate)")
      ->check(number_from(0, 1e6));
  command
      ->add_option("--held-out", a.held_out,
                   "share of each class, or of pictures with boxes, that measures instead of training (0: none)")
      ->check(number_from(0, 0.99))
      ->capture_default_str();
  command->add_option("--patience", a.patience, "stop after so many epochs without a better one (0: never)")
      ->check(CLI::Range(0, kMostCount))
      ->capture_default_str();
  command
      ->add_option("--augment", a.augment,
                   "none, or some of flip,crop,color,mixup,cutmix; for a detector of "
                   "flip,flip_vertical,affine,color,mosaic,mixup,paste")
      ->capture_default_str();
  command
      ->add_option("--plain-epochs", a.plain_epochs,
                   "for a detector: so many at the end without mosaic, mixup and paste")
      ->check(CLI::Range(0, kMostCount))
      ->capture_default_str();
  command->add_option("--views", a.views, "augmented views of each picture, one an epoch in turn (0: always a new one)")
      ->check(CLI::Range(0, kMostCount))
      ->capture_default_str();
  CLI::Option* cache = command->add_option(
      "--cache", a.cache,
      "keep what the frozen part makes of each picture and view: in memory and in this folder, or 'memory' alone");
  command->add_option("--cache-bytes", a.cache_bytes, "the most that is kept; the rest is made again in each epoch")
      ->check(CLI::Range(int64_t{0}, int64_t{1} << 40))
      ->capture_default_str()
      ->needs(cache);
  command->add_option("--seed", a.seed, "of everything drawn at random")
      ->check(check_whole_number)
      ->capture_default_str();
  command->add_option("-t,--threads", a.threads, "threads (0: one a CPU); they change time alone")
      ->check(CLI::Range(0, 1024));
  CLI::Option* checkpoint = command->add_option(
      "--checkpoint", a.checkpoint, "folder for checkpoints: after each epoch, now and then, and at an interrupt");
  command->add_flag("--resume", a.resume, "go on from the newest checkpoint there, or begin where there is none")
      ->needs(checkpoint);
  command->add_option("--checkpoint-steps", a.checkpoint_steps, "also after so many steps (0: not by steps)")
      ->check(CLI::Range(0, kMostCount))
      ->needs(checkpoint);
  command->add_option("--checkpoint-minutes", a.checkpoint_minutes, "and after so many minutes (0: not by time)")
      ->check(number_from(0, 1e6))
      ->capture_default_str()
      ->needs(checkpoint);
  command->add_option_function<std::string>(
      "--cpu-share", [&a](const std::string& text) { a.cpu_share = share_of(text); },
      "the most CPU time to use, of the threads' CPUs, such as 50% (default: all)");
  command->add_option("--max-temperature", a.max_temperature, "degrees Celsius above which training waits")
      ->check(number_from(1, 1000));
  command->add_option("--thermal-folder", a.thermal_folder, "where the thermal zones are")->capture_default_str();
  command->add_option("--deploy", a.deploy, "file for a promoted model without what only a training needs");
  command->add_flag_callback(
      "--no-rebuild", [&a] { a.rebuild = false; },
      "leave what is trained in f32, also where the model's file can make INT8 of it");
  command->add_option("--report", a.report, "page to write after each epoch: curves, and pictures with answers");
  command->add_option("--log", a.log, "file to write a line of JSON to for each step and epoch");
  command->add_flag("--json", a.json, "print the result as JSON");
  command->footer(of_program(
      app,
      "An interrupt (Ctrl-C, SIGTERM) leaves a checkpoint, or without --checkpoint writes what there is.\n"
      "Examples:\n  hai compile net.onnx -o net.hai --train loss=cross_entropy,optimizer=adamw --std 255\n"
      "  $ train net.hai --data flowers/ --out flowers.hai --epochs 20 --augment flip,crop,mixup --patience 5\n"
      "  $ train net.hai --data flowers/ --out flowers.hai --epochs 20 --checkpoint run1 --resume"));
  command->callback([&a, &chosen, command] {
    a.head_asked = command->count("--head-epochs") > 0;
    use_recipe(*command, a);
    chosen = [&] { return exit_code_of(train_command(a)); };
  });
}

void add_rollback(CLI::App& app, RollbackArguments& a, Chosen& chosen) {
  CLI::App* command = app.add_subcommand("rollback", "Bring back the model that a training or an update replaced");
  command->add_option("model", a.model, "the .hai file; what it replaced lies beside it as MODEL.previous")->required();
  command->add_flag("--json", a.json, "print JSON");
  command->footer(of_program(app, "Example:\n  $ rollback flowers.hai"));
  command->callback([&] { chosen = [&] { return exit_code_of(rollback_command(a)); }; });
}

void add_update(CLI::App& app, UpdateArguments& a, Chosen& chosen) {
  CLI::App* update = app.add_subcommand("update", "Make and apply files that turn a model into a newer one");
  update->require_subcommand(1);
  CLI::App* make = update->add_subcommand("make", "Write what turns one model file into another");
  make->add_option("from", a.make.from, "the .hai file that devices have")->required();
  make->add_option("to", a.make.to, "the .hai file that they shall have")->required();
  make->add_option("-o,--output", a.make.output, "the update file to write")->required();
  make->add_flag("--json", a.make.json, "print JSON");
  make->footer(of_program(app, "Example:\n  $ update make old.hai new.hai -o new.haiu"));
  make->callback([&] { chosen = [&] { return exit_code_of(update_make_command(a.make)); }; });
  CLI::App* apply = update->add_subcommand("apply", "Update a model; refused for any but the one that it is for");
  apply->add_option("model", a.apply.model, "the .hai file; the old one is kept as MODEL.previous")->required();
  apply->add_option("update", a.apply.update, "the update file")->required();
  apply->add_option("-o,--output", a.apply.output, "write the newer model here, and leave MODEL as it is");
  apply->add_flag("--json", a.apply.json, "print JSON");
  apply->footer(of_program(app, "Example:\n  $ update apply model.hai new.haiu"));
  apply->callback([&] { chosen = [&] { return exit_code_of(update_apply_command(a.apply)); }; });
  CLI::App* show = update->add_subcommand("show", "Say which model an update is for, and what it weighs");
  show->add_option("update", a.show.update, "the update file")->required();
  show->add_flag("--json", a.show.json, "print JSON");
  show->callback([&] { chosen = [&] { return exit_code_of(update_show_command(a.show)); }; });
}

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
  std::fprintf(stderr, "%s: error: there is no command \"%s\"; commands are %s. `%s --help` explains them\n",
               app.get_name().c_str(), argv[1], command_names(app).c_str(), app.get_name().c_str());
  return true;
}

// On standard error as text; a caller that asked for JSON gets it on standard output too.
void print_error(const std::string& program, const Error& error, bool json) {
  std::fflush(stdout);
  if (json) {
    const nlohmann::ordered_json document{{"error",
                                           {{"code", "HAI-" + error.id},
                                            {"kind", status_code_name(error.code)},
                                            {"where", error.where},
                                            {"message", error.message}}}};
    std::printf("%s\n", document.dump(2, ' ', false, nlohmann::json::error_handler_t::replace).c_str());
  }
  std::fprintf(stderr, "%s: error: %s\n", program.c_str(), error.to_string().c_str());
}

// The command that was chosen, of "update make" the second word.
const CLI::App* command_of(const CLI::App& app) {
  const CLI::App* command = app.get_subcommands().front();
  while (!command->get_subcommands().empty()) command = command->get_subcommands().front();
  return command;
}

// "compile net.onnx": the command and what it was given.
std::string what_was_asked(const CLI::App& app) {
  const CLI::App* command = command_of(app);
  std::string text = command->get_name();
  for (const CLI::Option* option : command->get_options()) {
    if (!option->get_positional()) continue;
    for (const std::string& value : option->results()) text += " " + value;
  }
  return printable(text);
}

// `code`, unless what the command printed did not get out.
int flushed(const std::string& program, int code) {
  std::cout.flush();  // CLI11's help goes there
  const bool bad = std::ferror(stdout) != 0 || !std::cout;
  if (std::fflush(stdout) == 0 && !bad) return code;
  const std::string why = std::strerror(errno);  // of the flush, or the last that failed
  std::fprintf(stderr,
               "%s: error: standard output takes no more: %s; what was printed is not whole. Write to a place with "
               "room [HAI-L097]\n",
               program.c_str(), why.c_str());
  return kExitFailed;
}

}  // namespace

int run_program(CLI::App& app, int argc, char** argv, const Chosen& chosen) {
  const std::string& name = app.get_name();
  std::signal(SIGXFSZ, SIG_IGN);  // a file that may not grow is an error of the write, with its name
  if (is_unknown_command(app, argc, argv)) return kExitUsage;
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& problem) {
    const int code = app.exit(problem);
    return code == 0 ? flushed(name, 0) : kExitUsage;
  }
  try {
    const Result<int> status = chosen();
    if (status) return flushed(name, *status);
    end_progress();
    const CLI::App* command = command_of(app);
    const bool json = command->get_option_no_throw("--json") != nullptr && command->count("--json") > 0;
    print_error(name, status.error(), json);
  } catch (const std::bad_alloc&) {
    end_progress();
    std::fprintf(stderr, "%s: error: out of memory; close other programs, or use a smaller batch or model [HAI-L099]\n",
                 name.c_str());
  } catch (const std::exception& problem) {
    end_progress();
    if (std::ferror(stdout) != 0) return flushed(name, kExitFailed);
    std::fprintf(stderr, "%s: error: %s: %s; this is a bug of HAI, please report it with the file [HAI-L098]\n",
                 name.c_str(), what_was_asked(app).c_str(), problem.what());
  }
  return kExitFailed;
}

}  // namespace hai::tools
