// SampleStore: calibration samples that are read more than once, in bounded memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/result.h"
#include "ops/interpreter.h"
#include "quantizer/quantizer.h"

namespace hai::quantizer {

// Keeps samples in memory up to a limit, and the rest in a temporary file that goes away with the store. Samples are
// tensors without quantization, as graph inputs are.
class SampleStore {
 public:
  using Sample = std::vector<ops::Tensor>;

  explicit SampleStore(int64_t memory_limit_bytes) : memory_limit_bytes_(memory_limit_bytes) {}
  SampleStore(const SampleStore&) = delete;
  SampleStore& operator=(const SampleStore&) = delete;
  ~SampleStore();

  // Errors: no room for a temporary file.
  Status add(Sample sample);
  // All that `next` gives, each checked against the inputs of `graph`: their number, type, shape, and that floats are
  // finite.
  Status add_all(const ir::Graph& graph, const NextSample& next);

  size_t size() const { return entries_.size(); }
  int64_t spilled_bytes() const { return file_bytes_; }
  // Precondition: index < size().
  Result<Sample> read(size_t index) const;
  // The samples of these indices, in this order. The store must outlive the stream.
  NextSample stream(std::vector<size_t> indices) const;

 private:
  struct TensorHeader {
    DataType dtype;
    Dims dims;
    size_t size_bytes;
  };
  struct Entry {
    Sample sample;  // empty when spilled
    std::vector<TensorHeader> headers;
    int64_t offset_bytes = 0;
  };

  Status spill(Entry& entry);

  int64_t memory_limit_bytes_;
  int64_t memory_bytes_ = 0;
  int64_t file_bytes_ = 0;
  int file_ = -1;
  std::vector<Entry> entries_;
};

}  // namespace hai::quantizer
