// Fuzz target: any bytes as an ONNX model give an error or a graph that verifies.
//
// libFuzzer in a HAI_FUZZ tree (./dev fuzz onnx_import). onnx_import_fuzz_test.cpp runs the same check on mutations of
// a small model in every test run.
#include <cstdlib>

#include "importers/onnx/onnx_import.h"
#include "ops/build.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto graph = hai::onnx_import::import_onnx_bytes(std::as_bytes(std::span<const uint8_t>(data, size)), {});
  if (graph && !hai::ops::verify(*graph)) std::abort();
  if (!graph && graph.error().message.empty()) std::abort();
  return 0;
}
