// `hai inspect --graph`: the portable graph of a file as text.
//
// The graph is read back by the compiler, as it would be to compile it for another device; constants are shortened.
#include "compiler/portable_graph.h"
#include "ir/text.h"
#include "tools/hai/commands.h"
#include "tools/hai_device/print.h"

namespace hai::tools {
namespace {

constexpr int64_t kPrintedConstantBytes = 64;

}  // namespace

Status print_graph(const format::ModelFile& model) {
  HAI_TRY(const ir::Graph graph, compiler::from_portable(model));
  print("\n{}", ir::print(graph, {kPrintedConstantBytes}));
  return {};
}

}  // namespace hai::tools
