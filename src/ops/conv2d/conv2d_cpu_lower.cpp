// conv2d on the CPU: f32, i8 or u8 with i8 or i4 weights, and i16 with i16, i8 or i4 weights.
//
// One instruction as it is; exec chooses between matrix product and depthwise kernels, and packs the weights. Float
// types other than f32 have the reference only.
#include "devices/cpu/lower/lower_registry.h"
#include "devices/cpu/lower/product_supports.h"

namespace hai::cpu {
namespace {

Status supports(const ir::Graph& graph, const ir::Node& node) { return supports_product(graph, node, 0); }

}  // namespace

void register_conv2d_lower(LowerRegistry& registry);
void register_conv2d_lower(LowerRegistry& registry) { registry.add("conv2d", {supports, lower_as_is}); }

}  // namespace hai::cpu
