// The node tests of the onnx package, as make_node_cases.py writes them: reading a case and comparing tensors.
//
// For tests: of the importer with the reference, and of the whole way through the CPU.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include "importers/onnx/onnx_import.h"
#include "ops/interpreter.h"
#include "ops/reference.h"

namespace hai::onnx_import {

namespace fs = std::filesystem;

inline fs::path folder_from(const char* variable, const fs::path& fallback) {
  const char* value = std::getenv(variable);
  return value != nullptr ? fs::path(value) : fallback;
}

inline std::string read_file(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::stringstream content;
  content << file.rdbuf();
  return content.str();
}

// Where the cases are; HAI_ONNX_CASES names another folder in the same form, made from whole models.
inline fs::path node_cases_folder() {
  return folder_from("HAI_ONNX_CASES", folder_from("HAI_BINARY_DIR", "build") / "onnx_node_cases");
}

struct NodeCase {
  std::string name;
  std::string operator_name;  // of its first node
  std::string model;
  std::vector<ops::Tensor> inputs;
  std::vector<ops::Tensor> outputs;
  double relative = 1e-3;
  double absolute = 1e-7;
};

// "f32 2 3\n" and the elements.
inline ops::Tensor read_case_tensor(const fs::path& path) {
  const std::string content = read_file(path);
  const size_t end = content.find('\n');
  std::istringstream header(content.substr(0, end));
  std::string type;
  header >> type;
  std::vector<int64_t> dims;
  for (int64_t dim = 0; header >> dim;) dims.push_back(dim);
  ops::Tensor tensor = ops::Tensor::zeros(*data_type_from_name(type), Dims(std::span<const int64_t>(dims)));
  const size_t size = std::min(tensor.storage.size(), content.size() - end - 1);
  const auto* bytes = reinterpret_cast<const std::byte*>(content.data()) + end + 1;
  std::copy_n(bytes, size, tensor.storage.begin());
  return tensor;
}

inline std::vector<ops::Tensor> read_case_tensors(const fs::path& folder, const std::string& kind) {
  std::vector<ops::Tensor> out;
  for (int i = 0;; ++i) {
    const fs::path path = folder / (kind + "_" + std::to_string(i) + ".tensor");
    if (!fs::exists(path)) return out;
    out.push_back(read_case_tensor(path));
  }
}

inline NodeCase read_case(const fs::path& folder) {
  NodeCase out;
  out.name = folder.filename().string();
  out.model = read_file(folder / "model.onnx");
  std::ifstream(folder / "operator") >> out.operator_name;
  std::ifstream(folder / "tolerance") >> out.relative >> out.absolute;
  out.inputs = read_case_tensors(folder, "input");
  out.outputs = read_case_tensors(folder, "output");
  return out;
}

// All cases whose names contain HAI_ONNX_CASE, sorted; empty when they have not been written.
inline std::vector<fs::path> node_case_folders() {
  std::vector<fs::path> folders;
  const fs::path root = node_cases_folder();
  if (!fs::exists(root / "version")) return folders;
  const char* only = std::getenv("HAI_ONNX_CASE");
  for (const auto& entry : fs::directory_iterator(root)) {
    const std::string name = entry.path().filename().string();
    if (entry.is_directory() && (only == nullptr || name.find(only) != std::string::npos)) {
      folders.push_back(entry.path());
    }
  }
  std::sort(folders.begin(), folders.end());
  return folders;
}

inline Result<ir::Graph> import_case(const NodeCase& node_case) {
  return import_onnx_bytes(std::as_bytes(std::span<const char>(node_case.model.data(), node_case.model.size())));
}

// The first element that differs, in words; empty when none does.
inline std::string difference(const ops::Tensor& got, const ops::Tensor& want, double relative, double absolute) {
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
inline const std::map<std::string, std::string>& known_differences() {
  static const std::map<std::string, std::string> kKnown = {
      {"test_resize_downsample_scales_linear_align_corners",
       "ONNX's reference divides by the output size before rounding; HAI, as ONNX Runtime and PyTorch, by the rounded"},
  };
  return kKnown;
}

}  // namespace hai::onnx_import
