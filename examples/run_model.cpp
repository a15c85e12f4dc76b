// Loads a .hai file and runs it again and again on buffers that are made once: the shape of a real program's inner
// loop.
//
// Usage: run_model model.hai [runs]. Inputs are zeros; the first elements of each output and the time a run are
// printed.
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <hai/hai.hpp>

namespace {

int fail(const hai::api::Error& error) {
  std::fprintf(stderr, "run_model: %s\n", error.message.c_str());
  return 1;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) {
    std::fprintf(stderr, "usage: run_model model.hai [runs]\n");
    return 2;
  }
  const int runs = argc > 2 ? std::atoi(argv[2]) : 10;
  auto model = hai::api::Model::load(argv[1]);
  if (!model) return fail(model.error());
  auto session = model->session();
  if (!session) return fail(session.error());

  std::vector<hai::api::Tensor> input_tensors;
  for (size_t i = 0; i < model->input_count(); ++i) {
    auto tensor = model->make_input(i);
    if (!tensor) return fail(tensor.error());
    input_tensors.push_back(std::move(*tensor));
  }
  auto output_tensors = session->run(input_tensors);  // the first run makes memory, here for the outputs too
  if (!output_tensors) return fail(output_tensors.error());
  std::vector<hai_tensor> inputs;
  std::vector<hai_tensor> outputs;
  for (const auto& tensor : input_tensors) inputs.push_back(hai::api::view(tensor));
  for (const auto& tensor : *output_tensors) outputs.push_back(hai::api::view(tensor));

  const auto begin = std::chrono::steady_clock::now();
  for (int i = 0; i < runs; ++i) {
    if (auto status = session->run_into(inputs, outputs); !status) return fail(status.error());
  }
  const std::chrono::duration<double, std::milli> elapsed = std::chrono::steady_clock::now() - begin;
  for (size_t i = 0; i < output_tensors->size(); ++i) {
    const float* values = (*output_tensors)[i].as<float>();
    std::printf("%s:", model->output(i).name);
    for (size_t k = 0; values != nullptr && k < 4 && k < (*output_tensors)[i].count<float>(); ++k)
      std::printf(" %g", static_cast<double>(values[k]));
    std::printf("\n");
  }
  std::printf("%d runs, %.3f ms each (measured)\n", runs, runs > 0 ? elapsed.count() / runs : 0.0);
  return 0;
}
