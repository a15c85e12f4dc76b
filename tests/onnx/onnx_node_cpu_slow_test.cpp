// The node tests of the onnx package through the whole way: import, compile, file, runtime on the CPU.
//
// What imports and runs on the reference must run on the CPU with the expected values, or be refused by compile() with
// an error that says what the CPU cannot do (element types, mostly). Counts are printed.
#include <gtest/gtest.h>

#include <cstdio>

#include "compiler/compile.h"
#include "hai/hai.h"
#include "importers/onnx/onnx_node_cases.h"

namespace hai {
namespace {

using onnx_import::NodeCase;

hai_tensor describe(const TensorView& view) {
  hai_tensor tensor{};
  tensor.dtype = static_cast<int32_t>(view.dtype);
  tensor.rank = view.dims.rank;
  std::copy_n(view.dims.size.begin(), view.dims.rank, tensor.dims);
  tensor.data = const_cast<std::byte*>(view.data);
  tensor.size_bytes = static_cast<size_t>(view.size_bytes());
  return tensor;
}

// An error in words; empty when the outputs have been computed.
std::string run_on_cpu(const std::vector<std::byte>& file, const NodeCase& node_case,
                       std::vector<ops::Tensor>& outputs) {
  hai_model* model = nullptr;
  hai_session* session = nullptr;
  hai_session_options options = HAI_SESSION_OPTIONS_INIT;
  options.threads = 1;
  std::vector<hai_tensor> in;
  std::vector<hai_tensor> out;
  for (const ops::Tensor& tensor : node_case.inputs) in.push_back(describe(tensor.view()));
  for (const ops::Tensor& tensor : outputs) out.push_back(describe(tensor.view()));
  std::string problem;
  if (hai_model_load_memory(file.data(), file.size(), &model) != HAI_OK ||
      hai_session_create(model, &options, &session) != HAI_OK ||
      hai_session_run(session, in.data(), in.size(), out.data(), out.size()) != HAI_OK) {
    problem = hai_last_error();
  }
  hai_session_release(session);
  hai_model_release(model);
  return problem;
}

enum class Outcome { kPass, kNotImported, kRefused, kFail };

Outcome run_case(const NodeCase& node_case, std::string& message) {
  auto graph = onnx_import::import_case(node_case);
  if (!graph) return Outcome::kNotImported;
  auto compiled = compiler::compile(std::move(*graph), {});
  if (!compiled) {
    message = compiled.error().to_string();
    return compiled.error().code == StatusCode::kUnsupported ? Outcome::kRefused : Outcome::kFail;
  }
  const auto file = format::serialize(compiled->file);
  if (!file) {
    message = file.error().to_string();
    return Outcome::kFail;
  }
  std::vector<ops::Tensor> outputs = node_case.outputs;
  for (ops::Tensor& output : outputs) std::fill(output.storage.begin(), output.storage.end(), std::byte{0x5a});
  message = run_on_cpu(*file, node_case, outputs);
  for (size_t i = 0; message.empty() && i < outputs.size(); ++i) {
    message = onnx_import::difference(outputs[i], node_case.outputs[i], node_case.relative, node_case.absolute);
  }
  return message.empty() ? Outcome::kPass : Outcome::kFail;
}

TEST(OnnxNodeCases, PassOnTheCpuOrAreRefused) {
  const auto folders = onnx_import::node_case_folders();
  if (folders.empty()) {
    GTEST_SKIP() << "no node cases in " << onnx_import::node_cases_folder() << ": make_node_cases.py writes them";
  }
  const bool print_refused = std::getenv("HAI_ONNX_REFUSED") != nullptr;
  std::map<Outcome, int> counts;
  for (const auto& folder : folders) {
    const NodeCase node_case = onnx_import::read_case(folder);
    std::string message;
    const Outcome outcome = run_case(node_case, message);
    ++counts[outcome];
    EXPECT_TRUE(outcome != Outcome::kFail || onnx_import::known_differences().count(node_case.name) != 0)
        << node_case.name << ": " << message;
    if (outcome == Outcome::kRefused && print_refused) {
      std::printf("refused %s: %s\n", node_case.name.c_str(), message.c_str());
    }
  }
  std::printf("onnx node cases on the CPU: %d pass, %d refused by the CPU, %d not imported, %d differ\n",
              counts[Outcome::kPass], counts[Outcome::kRefused], counts[Outcome::kNotImported], counts[Outcome::kFail]);
}

}  // namespace
}  // namespace hai
