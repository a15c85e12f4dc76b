// Fuzz target: any text as a graph gives an error or a graph that prints and parses back to the same text.
//
// libFuzzer in a HAI_FUZZ tree (./dev fuzz text); text_test.cpp has the short form of the same check.
#include <cstdlib>

#include "ir/text.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto graph = hai::ir::parse({reinterpret_cast<const char*>(data), size});
  if (!graph) return 0;
  const std::string text = hai::ir::print(*graph);
  const auto again = hai::ir::parse(text);
  if (!again || hai::ir::print(*again) != text) std::abort();
  return 0;
}
