// The node tests of the onnx package: import and reference interpreter against the expected values.
//
// make_node_cases.py writes them as files. Each case either computes the right values or is refused with an error that
// names what is missing; refused_operators.txt lists the operators for which that is so, and nothing else may be
// refused entirely. Counts are printed.
#include <gtest/gtest.h>
#include <onnx/onnx-ml.pb.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <sstream>

#include "importers/onnx/onnx_import.h"
#include "importers/onnx/read_tensor.h"
#include "ops/interpreter.h"
#include "ops/reference.h"

namespace hai::onnx_import {
namespace {

namespace fs = std::filesystem;

fs::path folder_from(const char* variable, const char* fallback) {
  const char* value = std::getenv(variable);
  return value != nullptr ? value : fallback;
}

std::string read_file(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::stringstream content;
  content << file.rdbuf();
  return content.str();
}

std::optional<ops::Tensor> read_pb(const fs::path& path) {
  onnx::TensorProto proto;
  if (!proto.ParseFromString(read_file(path))) return std::nullopt;
  auto tensor = read_tensor(proto, {});
  if (!tensor) return std::nullopt;
  ops::Tensor out = ops::Tensor::zeros(tensor->dtype, Dims(std::span<const int64_t>(tensor->dims)));
  std::copy(tensor->data->bytes().begin(), tensor->data->bytes().end(), out.storage.begin());
  return out;
}

std::optional<std::vector<ops::Tensor>> read_tensors(const fs::path& folder, const std::string& kind) {
  std::vector<ops::Tensor> out;
  for (int i = 0;; ++i) {
    const fs::path path = folder / (kind + "_" + std::to_string(i) + ".pb");
    if (!fs::exists(path)) return out;
    auto tensor = read_pb(path);
    if (!tensor) return std::nullopt;
    out.push_back(std::move(*tensor));
  }
}

std::string difference(const ops::Tensor& got, const ops::Tensor& want, double relative, double absolute) {
  std::ostringstream text;
  if (got.dtype != want.dtype || !(got.dims == want.dims)) {
    text << "got " << data_type_name(got.dtype) << to_string(got.dims) << ", want " << data_type_name(want.dtype)
         << to_string(want.dims);
    return text.str();
  }
  const TensorView a = got.view();
  const TensorView b = want.view();
  for (int64_t i = 0; i < a.count(); ++i) {
    const double x = is_float(a.dtype) ? ops::load_f64(a, i) : static_cast<double>(ops::load_integer(a, i));
    const double y = is_float(b.dtype) ? ops::load_f64(b, i) : static_cast<double>(ops::load_integer(b, i));
    const bool same = x == y || (std::isnan(x) && std::isnan(y)) ||
                      (is_float(a.dtype) && std::abs(x - y) <= absolute + relative * std::abs(y));
    if (same) continue;
    text << "element " << i << " is " << x << ", want " << y;
    return text.str();
  }
  return {};
}

// Cases in which HAI computes something else, and why.
const std::map<std::string, std::string> kKnownDifferences = {
    {"test_resize_downsample_scales_linear_align_corners",
     "ONNX's reference divides by the output size before rounding; HAI, as ONNX Runtime and PyTorch, by the rounded "
     "one"},
};

struct Outcome {
  enum Kind { kPass, kRefused, kFail, kNoTensors } kind = kPass;
  std::string message;
};

Outcome run_case(const fs::path& folder) {
  const std::string model = read_file(folder / "model.onnx");
  auto graph = import_onnx_bytes(std::as_bytes(std::span<const char>(model.data(), model.size())));
  if (!graph) {
    const bool refused = graph.error().code == StatusCode::kUnsupported || graph.error().id[0] == 'O';
    return {refused ? Outcome::kRefused : Outcome::kFail, graph.error().to_string()};
  }
  auto inputs = read_tensors(folder, "input");
  const auto outputs = read_tensors(folder, "output");
  if (!inputs || !outputs || outputs->empty()) return {Outcome::kNoTensors, {}};
  // Inputs that became constants are not inputs of the graph; the cases have none.
  auto result = ops::interpret(*graph, *inputs);
  if (!result) return {Outcome::kFail, result.error().to_string()};
  double relative = 1e-3;
  double absolute = 1e-7;
  std::ifstream(folder / "tolerance") >> relative >> absolute;
  if (result->outputs.size() > outputs->size()) return {Outcome::kFail, "more outputs than expected"};
  for (size_t i = 0; i < result->outputs.size(); ++i) {
    const std::string text = difference(result->outputs[i], (*outputs)[i], relative, absolute);
    if (!text.empty()) return {Outcome::kFail, "output " + std::to_string(i) + ": " + text};
  }
  return {};
}

// The operator that a case is about: that of its first node.
std::string operator_of(const fs::path& folder) {
  onnx::ModelProto model;
  if (!model.ParseFromString(read_file(folder / "model.onnx")) || model.graph().node_size() == 0) return "?";
  const auto& node = model.graph().node(0);
  return node.domain().empty() || node.domain() == "ai.onnx" ? node.op_type() : node.domain() + "." + node.op_type();
}

TEST(OnnxNodeCases, PassOrAreRefusedByName) {
  // HAI_ONNX_CASES: another folder of cases in the same form, made from whole models.
  const fs::path root =
      folder_from("HAI_ONNX_CASES", (folder_from("HAI_BINARY_DIR", "build") / "onnx_node_cases").c_str());
  if (!fs::exists(root / "version")) {
    GTEST_SKIP() << "no node cases: run make_node_cases.py " << root.string() << " with a Python that has onnx";
  }
  const char* only = std::getenv("HAI_ONNX_CASE");  // a part of a name: run just those and print their errors
  std::set<std::string> listed;
  std::ifstream list(folder_from("HAI_SOURCE_DIR", ".") / "src/importers/onnx/refused_operators.txt");
  for (std::string line; std::getline(list, line);) {
    if (!line.empty() && line[0] != '#') listed.insert(line);
  }
  std::vector<fs::path> folders;
  for (const auto& entry : fs::directory_iterator(root)) {
    if (entry.is_directory() && (only == nullptr || entry.path().filename().string().find(only) != std::string::npos)) {
      folders.push_back(entry.path());
    }
  }
  std::sort(folders.begin(), folders.end());
  std::map<Outcome::Kind, int> counts;
  std::map<std::string, std::pair<int, int>> by_operator;  // cases that pass, cases that are refused
  for (const fs::path& folder : folders) {
    const Outcome outcome = run_case(folder);
    ++counts[outcome.kind];
    const std::string name = folder.filename().string();
    EXPECT_TRUE(outcome.kind != Outcome::kFail || kKnownDifferences.count(name) != 0)
        << name << ": " << outcome.message;
    if (outcome.kind == Outcome::kPass) ++by_operator[operator_of(folder)].first;
    if (outcome.kind == Outcome::kRefused) ++by_operator[operator_of(folder)].second;
    if (only != nullptr) std::printf("%s: %d %s\n", name.c_str(), outcome.kind, outcome.message.c_str());
    if (outcome.kind == Outcome::kRefused && std::getenv("HAI_ONNX_REFUSED") != nullptr) {
      std::printf("refused %s: %s\n", name.c_str(), outcome.message.c_str());
    }
  }
  std::printf("onnx node cases: %d pass, %d refused by name, %d fail, %d without tensors\n", counts[Outcome::kPass],
              counts[Outcome::kRefused], counts[Outcome::kFail], counts[Outcome::kNoTensors]);
  if (only != nullptr || std::getenv("HAI_ONNX_CASES") != nullptr) return;
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
