// The node tests of the onnx package through the whole way: import, compile, file, runtime on the CPU.
//
// What imports and runs on the reference must run on the CPU with the expected values, or be refused by compile() with
// an error that says what the CPU cannot do (element types, mostly). Counts are printed.
#include <gtest/gtest.h>

#include <cstdio>

#include "../end_to_end/loaded_graph.h"
#include "compiler/compile.h"
#include "importers/onnx/onnx_node_cases.h"

namespace hai {
namespace {

using onnx_import::NodeCase;

enum class Outcome { kPass, kNotImported, kRefused, kFail };

Outcome run_case(const NodeCase& node_case, std::string& message) {
  auto graph = onnx_import::import_case(node_case);
  if (!graph) return Outcome::kNotImported;
  auto compiled = compiler::compile(std::move(*graph), {});
  if (!compiled) {
    message = compiled.error().to_string();
    return compiled.error().code == StatusCode::kUnsupported ? Outcome::kRefused : Outcome::kFail;
  }
  testing::LoadedGraph loaded(compiled->file);
  std::vector<ops::Tensor> outputs = testing::garbage_like(node_case.outputs);
  message = loaded.error.empty() ? loaded.run({cpu::selected_isa().value()}, node_case.inputs, outputs) : loaded.error;
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
