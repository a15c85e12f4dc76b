// The registry of operators: one sorted list over the schemas of all folders.
//
// The generated table names the folders; this sorts their schemas once and answers by name with a binary search.
// Invariant: names are unique (a duplicate is our own bug and aborts on first use).
#include "ops/op_schema.h"

#include <algorithm>

namespace hai {
namespace {

std::vector<const OpSchema*> collect() {
  std::vector<const OpSchema*> schemas;
  for (const auto& folder : generated_op_schemas()) {
    for (const OpSchema& schema : folder) schemas.push_back(&schema);
  }
  std::sort(schemas.begin(), schemas.end(), [](const OpSchema* a, const OpSchema* b) { return a->name < b->name; });
  const auto twice = std::adjacent_find(schemas.begin(), schemas.end(),
                                        [](const OpSchema* a, const OpSchema* b) { return a->name == b->name; });
  HAI_CHECK(twice == schemas.end());
  return schemas;
}

}  // namespace

std::span<const OpSchema* const> all_op_schemas() {
  static const std::vector<const OpSchema*> schemas = collect();
  return schemas;
}

std::string_view OpSchema::explained_hole(std::string_view column) const {
  for (const auto& [hole, reason] : explained_holes) {
    if (hole == column || (hole == "cpu" && column.starts_with("cpu."))) return reason;
  }
  return {};
}

const OpSchema* find_op_schema(std::string_view name) {
  const auto schemas = all_op_schemas();
  const auto it = std::lower_bound(schemas.begin(), schemas.end(), name,
                                   [](const OpSchema* schema, std::string_view key) { return schema->name < key; });
  return it != schemas.end() && (*it)->name == name ? *it : nullptr;
}

}  // namespace hai
