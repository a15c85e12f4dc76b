// ModelView: what the C interface returns by pointer about a model, made once from its decoded form.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "format/model_reader.h"
#include "hai/hai.h"

namespace hai::runtime {

// Points into the ModelReader it was filled from, which must outlive it; not movable once filled.
struct ModelView {
  std::vector<hai_symbol> symbols;
  std::vector<hai_tensor_info> inputs;
  std::vector<hai_tensor_info> outputs;
  std::vector<const char*> metadata_keys;
  std::optional<hai_preprocessing> preprocessing;
  std::vector<hai_section_info> sections;
  std::string digest;

  ModelView() = default;
  ModelView(const ModelView&) = delete;
  ModelView& operator=(const ModelView&) = delete;
  void fill(const format::ModelReader& file);

 private:
  std::vector<std::vector<hai_dim>> dims_;
  std::vector<std::string> section_digests_;
};

}  // namespace hai::runtime
