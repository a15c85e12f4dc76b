// ModelReader: an open .hai file whose structured sections are verified, and whose weights are read on demand.
//
// Nothing of the weights is kept: WeightReader reads the 1 MiB chunks that a constant lies in, compares each with its
// digest in the memory that it was read into, expands it where it is compressed, and copies from there. So bytes that
// were not verified are never used, a file that changes or shrinks is an error, and no model is ever resident twice
// (docs/design/0003). ModelReader is immutable and thread-safe; a WeightReader belongs to one thread.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/file.h"
#include "base/result.h"
#include "format/codec.h"
#include "format/container.h"
#include "format/program.h"
#include "format/weight_chunks.h"

namespace hai::format {

// What a caller of the model sees.
struct Interface {
  std::vector<Symbol> symbols;
  std::vector<ProgramTensor> inputs;
  std::vector<ProgramTensor> outputs;
};
Interface interface_of(const Program& program);

// The portable graph and the programs made from it have the same inputs and outputs; the symbols of a device's program
// may be bound, those of two devices' programs may not differ.
Status check_same_interface(const Program& graph_or_program, const Program& program);
// Only training changes state: error F074 for any other program that has some.
Status check_stateless(const Program& graph_or_program);
// What the features program gives is what the training program takes first: F076 where it is not, or there is none.
Status check_features(const Program& features, const Program* training);

// F079: not all that a rebuild takes is there (model.h).
Error broken_rebuild(std::string_view what);

class ModelReader {
 public:
  // `where` (a path) goes in front of every error.
  static Result<std::shared_ptr<const ModelReader>> open(std::shared_ptr<const ByteSource> source, std::string where);

  const std::string& where() const { return where_; }
  const Container& container() const { return container_; }
  const Interface& interface() const { return interface_; }
  const Metadata& metadata() const { return metadata_; }
  const std::optional<Preprocessing>& preprocessing() const { return preprocessing_; }
  const std::string& report() const { return report_; }
  bool has_graph() const { return container_.find(SectionKind::kGraph) != nullptr; }
  bool has_features() const { return container_.find(SectionKind::kFeatures) != nullptr; }
  // INT8 can be rebuilt: with standby() and observers().
  bool has_rebuild() const { return container_.find(SectionKind::kRebuild) != nullptr; }
  bool has_training() const { return container_.find(SectionKind::kTraining) != nullptr; }
  const std::vector<std::string>& devices() const { return devices_; }  // in the order of the file
  int64_t weights_bytes() const { return weights_bytes_; }              // expanded

  // Read, verified and decoded anew each time: nobody needs them for long.
  Result<Program> graph() const;
  Result<Program> program(std::string_view device) const;
  Result<Program> training() const;  // error F073 where there is none
  // The frozen part of the training program, which it fits. Precondition: has_features().
  Result<Program> features() const;
  // How INT8 is rebuilt (model.h). Error F079 where one of the three is missing or is none for this model.
  Result<Program> standby() const;
  Result<Program> observers() const;
  Result<Program> rebuild() const;
  // Every digest, also of sections of newer versions.
  Status verify_all() const;

 private:
  friend class WeightReader;
  ModelReader() = default;
  Status load();
  Status load_weights();
  Status load_raw_weights(const Section& weights, const Section& digests);
  Status load_compressed_weights(const Section& weights, const Section& chunks);
  Status load_small_sections();
  Result<Program> load_program(const Section& section) const;
  Result<Program> load_part(SectionKind kind, std::string_view device) const;

  std::string where_;
  std::shared_ptr<const ByteSource> source_;
  Container container_;
  Interface interface_;
  Metadata metadata_;
  std::optional<Preprocessing> preprocessing_;
  std::string report_;
  std::vector<std::string> devices_;
  std::vector<WeightChunk> chunks_;
  int64_t weights_bytes_ = 0;
};

class WeightReader {
 public:
  explicit WeightReader(std::shared_ptr<const ModelReader> model) : model_(std::move(model)) {}

  // Fills `out` from `offset_bytes` of the weights section with verified bytes.
  Status read(int64_t offset_bytes, std::span<std::byte> out);

 private:
  int64_t chunk_size(int64_t chunk) const;
  Status fetch(int64_t chunk, std::span<std::byte> out);
  Status hold(int64_t chunk);

  std::shared_ptr<const ModelReader> model_;
  std::vector<std::byte> held_;  // the chunk that was last needed in part
  int64_t held_chunk_ = -1;
  std::vector<std::byte> stored_;   // a compressed chunk as it lies in the file
  std::vector<std::byte> scratch_;  // of decode_chunk
};

}  // namespace hai::format
