// The node tests of the onnx package: import and reference interpreter against the expected values.
//
// Each case either computes the right values or is refused with an error that names what is missing;
// refused_operators.txt lists the operators of which every case is refused, and no others may be. Counts are printed.
#include <gtest/gtest.h>

#include <cstdio>
#include <set>

#include "importers/onnx/onnx_node_cases.h"

namespace hai::onnx_import {
namespace {

struct Outcome {
  enum Kind { kPass, kRefused, kFail } kind = kPass;
  std::string message;
};

Outcome run_case(const NodeCase& node_case) {
  auto graph = import_case(node_case);
  if (!graph) {
    const bool refused = graph.error().code == StatusCode::kUnsupported || graph.error().id[0] == 'O';
    return {refused ? Outcome::kRefused : Outcome::kFail, graph.error().to_string()};
  }
  auto result = ops::interpret(*graph, node_case.inputs);
  if (!result) return {Outcome::kFail, result.error().to_string()};
  if (result->outputs.size() != node_case.outputs.size()) return {Outcome::kFail, "another number of outputs"};
  for (size_t i = 0; i < result->outputs.size(); ++i) {
    const std::string text =
        difference(result->outputs[i], node_case.outputs[i], node_case.relative, node_case.absolute);
    if (!text.empty()) return {Outcome::kFail, "output " + std::to_string(i) + ": " + text};
  }
  return {};
}

std::set<std::string> refused_operators() {
  std::set<std::string> listed;
  std::ifstream list(folder_from("HAI_SOURCE_DIR", ".") / "src/importers/onnx/refused_operators.txt");
  for (std::string line; std::getline(list, line);) {
    if (!line.empty() && line[0] != '#') listed.insert(line);
  }
  return listed;
}

TEST(OnnxNodeCases, PassOrAreRefusedByName) {
  const std::vector<fs::path> folders = node_case_folders();
  if (folders.empty()) {
    GTEST_SKIP() << "no node cases in " << node_cases_folder() << ": make_node_cases.py writes them";
  }
  const bool print_refused = std::getenv("HAI_ONNX_REFUSED") != nullptr;
  std::map<Outcome::Kind, int> counts;
  std::map<std::string, std::pair<int, int>> by_operator;  // cases that pass, cases that are refused
  for (const fs::path& folder : folders) {
    const NodeCase node_case = read_case(folder);
    const Outcome outcome = run_case(node_case);
    ++counts[outcome.kind];
    EXPECT_TRUE(outcome.kind != Outcome::kFail || known_differences().count(node_case.name) != 0)
        << node_case.name << ": " << outcome.message;
    if (outcome.kind == Outcome::kPass) ++by_operator[node_case.operator_name].first;
    if (outcome.kind == Outcome::kRefused) ++by_operator[node_case.operator_name].second;
    if (outcome.kind == Outcome::kRefused && print_refused) {
      std::printf("refused %s: %s\n", node_case.name.c_str(), outcome.message.c_str());
    }
  }
  std::printf("onnx node cases: %d pass, %d refused by name, %d differ\n", counts[Outcome::kPass],
              counts[Outcome::kRefused], counts[Outcome::kFail]);
  if (std::getenv("HAI_ONNX_CASE") != nullptr || std::getenv("HAI_ONNX_CASES") != nullptr) return;
  const std::set<std::string> listed = refused_operators();
  for (const auto& [name, cases] : by_operator) {
    if (cases.first > 0) {
      EXPECT_EQ(listed.count(name), 0U) << name << " imports (" << cases.first << " cases pass): take it off the list";
    } else {
      EXPECT_EQ(listed.count(name), 1U) << name << ": all " << cases.second
                                        << " cases are refused, but it is not listed";
    }
  }
}

}  // namespace
}  // namespace hai::onnx_import
