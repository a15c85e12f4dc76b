// Where the time of a step of training goes: a table of the instructions of a training program.
//
//   build/bin/step_profile MODEL.hai [BATCH [STEPS [THREADS]]]
//
// Inputs are random pictures, targets one class a row. An instruction's time is the least over the steps, since a busy
// machine only ever adds to it; GMAC/s and GB/s are of what the instruction says of itself: the products of its kernel,
// and every operand read and every result written once. Sums over the kernels come last.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "runtime/model.h"
#include "training/trainer.h"

namespace hai {
namespace {

struct Options {
  std::string path;
  int64_t batch = 16;
  int steps = 10;
  int threads = 2;
};

struct Buffer {
  std::vector<float> values;
  hai_tensor tensor = {};
};

// Random numbers, or for the target a one in each row.
Buffer make_buffer(const format::ProgramTensor& tensor, int64_t batch, bool target, std::mt19937& random) {
  Buffer out;
  const Dims dims = resolve(tensor.shape, std::span(&batch, 1));
  out.values.resize(static_cast<size_t>(dims.count()));
  const int64_t classes = dims.rank == 0 ? 1 : dims[dims.rank - 1];
  for (float& value : out.values) value = target ? 0.0F : std::normal_distribution<float>()(random);
  for (int64_t row = 0; target && row < dims.count() / classes; ++row)
    out.values[static_cast<size_t>(row * classes) + random() % static_cast<size_t>(classes)] = 1.0F;
  out.tensor.dtype = static_cast<int32_t>(tensor.dtype);
  out.tensor.rank = dims.rank;
  std::copy_n(dims.size.begin(), dims.rank, out.tensor.dims);
  out.tensor.data = out.values.data();
  out.tensor.size_bytes = out.values.size() * sizeof(float);
  return out;
}

struct Sum {
  int64_t count = 0;
  double ms = 0, gmacs = 0, gbytes = 0;
};

void print_row(const std::string& name, const std::string& kernel, const Sum& sum) {
  std::printf("%9.3f ms %8.1f GMAC/s %7.1f GB/s  %-32s %s\n", sum.ms, sum.gmacs / sum.ms * 1e3,
              sum.gbytes / sum.ms * 1e3, kernel.c_str(), name.c_str());
}

void print_table(const runtime::Session& session, int64_t batch) {
  std::map<std::string, Sum> kernels;
  Sum all;
  for (size_t i = 0; i < session.labels().size(); ++i) {
    const runtime::TraceLabel& label = session.labels()[i];
    const double bytes = static_cast<double>(label.bytes_fixed + label.bytes_per_sample * batch);
    const Sum one{1, static_cast<double>(session.profile()[i].min_ns) * 1e-6,
                  static_cast<double>(label.macs_per_sample * batch) * 1e-9, bytes * 1e-9};
    print_row(label.name, label.kernel, one);
    for (Sum* sum : {&kernels[label.kernel], &all}) {
      sum->count += 1;
      sum->ms += one.ms;
      sum->gmacs += one.gmacs;
      sum->gbytes += one.gbytes;
    }
  }
  std::printf("\n");
  for (const auto& [kernel, sum] : kernels) print_row(std::to_string(sum.count) + " instructions", kernel, sum);
  print_row("sum of the least", "", all);
}

Status run(const Options& options) {
  HAI_TRY(auto model, runtime::Model::load_file(options.path));
  training::TrainerOptions trainer_options;
  trainer_options.threads = options.threads;
  trainer_options.max_batch = options.batch;
  trainer_options.profile = true;
  HAI_TRY(auto trainer, training::Trainer::create(std::move(model), trainer_options));
  std::mt19937 random(1);
  std::vector<Buffer> buffers;
  for (size_t i = 0; i < trainer->input_count(); ++i)
    buffers.push_back(make_buffer(trainer->input(i), options.batch, i + 1 == trainer->input_count(), random));
  std::vector<hai_tensor> inputs;
  for (const Buffer& buffer : buffers) inputs.push_back(buffer.tensor);
  for (int step = 0; step < options.steps; ++step) {
    HAI_TRY(const training::StepResult result, trainer->step(inputs, 1e-3));
    std::printf("step %d: loss %.6f\n", step, result.loss);
  }
  print_table(trainer->session(), options.batch);
  return {};
}

}  // namespace
}  // namespace hai

int main(int argc, char** argv) {
  hai::Options options;
  if (argc < 2 || argc > 5) {
    std::fprintf(stderr, "usage: step_profile MODEL.hai [BATCH [STEPS [THREADS]]]\n");
    return 2;
  }
  options.path = argv[1];
  if (argc > 2) options.batch = std::atoll(argv[2]);
  if (argc > 3) options.steps = std::atoi(argv[3]);
  if (argc > 4) options.threads = std::atoi(argv[4]);
  const hai::Status status = hai::run(options);
  if (status) return 0;
  std::fprintf(stderr, "%s\n", status.error().to_string().c_str());
  return 1;
}
