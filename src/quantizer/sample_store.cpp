// The store of calibration samples.
//
// Method: samples fill memory up to the limit; each further one is appended to a temporary file (in TMPDIR, removed
// from its folder at once, so that nothing is left behind whatever happens) and read back by its offset. A disk that is
// full is an error that says so; it never shortens the set silently.
#include "quantizer/sample_store.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <string>

namespace hai::quantizer {
namespace {

Result<int> open_temporary() {
  std::error_code failure;
  const std::filesystem::path folder = std::filesystem::temp_directory_path(failure);
  std::string path = ((failure ? std::filesystem::path("/tmp") : folder) / "hai-calibration-XXXXXX").string();
  const int file = ::mkstemp(path.data());
  if (file < 0) {
    return make_error(StatusCode::kIo, "Q140",
                      "cannot make a temporary file for calibration samples in {}: {}; set TMPDIR to a folder with "
                      "room, or raise sample_memory_bytes",
                      folder.string(), std::strerror(errno));
  }
  ::unlink(path.c_str());
  return file;
}

bool fits(const Shape& shape, const Dims& dims) {
  if (static_cast<size_t>(dims.rank) != shape.size()) return false;
  for (size_t axis = 0; axis < shape.size(); ++axis) {
    const int64_t size = dims[static_cast<int>(axis)];
    if (shape[axis].is_symbolic() ? size < 1 || size % shape[axis].value != 0 : size != shape[axis].value) return false;
  }
  return true;
}

Status check_sample(const ir::Graph& graph, const SampleStore::Sample& sample, size_t index) {
  if (sample.size() != graph.inputs().size()) {
    return make_error(StatusCode::kInvalidArgument, "Q021", "calibration sample {} has {} tensors, the model takes {}",
                      index, sample.size(), graph.inputs().size());
  }
  for (size_t i = 0; i < sample.size(); ++i) {
    const ir::Value& input = graph.value(graph.inputs()[i]);
    const TensorView tensor = sample[i].view();
    if (tensor.dtype != input.type.dtype || !fits(input.type.shape, tensor.dims)) {
      return make_error(
          StatusCode::kInvalidArgument, "Q024",
          "calibration sample {}: input \"{}\" is {} {}, the sample is {} {}; give samples in the model's own type and "
          "layout: pictures as a folder with a preprocessing (--resize, --mean, --std; hai_toolkit.Preprocessing), "
          "which scales and orders them so",
          index, input.name, data_type_name(input.type.dtype), to_string(input.type.shape, graph.symbols),
          data_type_name(tensor.dtype), to_string(tensor.dims));
    }
    if (tensor.dtype != DataType::kF32) continue;
    const float* values = data_of<float>(tensor);
    if (std::all_of(values, values + tensor.count(), [](float x) { return std::isfinite(x); })) continue;
    return make_error(StatusCode::kInvalidArgument, "Q025",
                      "calibration sample {}: input \"{}\" holds NaN or infinity; check how it was made", index,
                      input.name);
  }
  return {};
}

}  // namespace

SampleStore::~SampleStore() {
  if (file_ >= 0) ::close(file_);
}

Status SampleStore::spill(Entry& entry) {
  if (file_ < 0) {
    HAI_TRY(file_, open_temporary());
  }
  entry.offset_bytes = file_bytes_;
  for (const ops::Tensor& tensor : entry.sample) {
    size_t done = 0;
    while (done < tensor.storage.size()) {
      const ssize_t written = ::pwrite(file_, tensor.storage.data() + done, tensor.storage.size() - done, file_bytes_);
      if (written < 0 && errno == EINTR) continue;
      if (written <= 0) {
        return make_error(StatusCode::kResourceExhausted, "Q141",
                          "calibration sample {} does not fit the temporary folder ({}, {} bytes written so far); set "
                          "TMPDIR to a folder with room, raise sample_memory_bytes, or calibrate with fewer samples",
                          entries_.size(), std::strerror(errno), file_bytes_);
      }
      done += static_cast<size_t>(written);
      file_bytes_ += written;
    }
  }
  entry.sample.clear();
  return {};
}

Status SampleStore::add(Sample sample) {
  Entry entry;
  int64_t size_bytes = 0;
  for (const ops::Tensor& tensor : sample) {
    entry.headers.push_back({tensor.dtype, tensor.dims, tensor.storage.size()});
    size_bytes += static_cast<int64_t>(tensor.storage.size());
  }
  entry.sample = std::move(sample);
  if (memory_bytes_ + size_bytes > memory_limit_bytes_) {
    HAI_TRY_STATUS(spill(entry));
  } else {
    memory_bytes_ += size_bytes;
  }
  entries_.push_back(std::move(entry));
  return {};
}

Status SampleStore::add_all(const ir::Graph& graph, const NextSample& next) {
  for (;;) {
    HAI_TRY(auto sample, next());
    if (!sample) return {};
    HAI_TRY_STATUS(check_sample(graph, *sample, entries_.size()));
    HAI_TRY_STATUS(add(std::move(*sample)));
  }
}

Result<SampleStore::Sample> SampleStore::read(size_t index) const {
  const Entry& entry = entries_[index];
  if (!entry.sample.empty() || entry.headers.empty()) return entry.sample;
  Sample sample;
  int64_t offset = entry.offset_bytes;
  for (const TensorHeader& header : entry.headers) {
    ops::Tensor tensor;
    tensor.dtype = header.dtype;
    tensor.dims = header.dims;
    tensor.storage.resize(header.size_bytes);
    size_t done = 0;
    while (done < header.size_bytes) {
      const ssize_t got = ::pread(file_, tensor.storage.data() + done, header.size_bytes - done, offset);
      if (got < 0 && errno == EINTR) continue;
      if (got <= 0) {
        return make_error(StatusCode::kIo, "Q142",
                          "calibration sample {} cannot be read back from its temporary file: {}", index,
                          got == 0 ? "it ends early" : std::strerror(errno));
      }
      done += static_cast<size_t>(got);
      offset += got;
    }
    sample.push_back(std::move(tensor));
  }
  return sample;
}

NextSample SampleStore::stream(std::vector<size_t> indices) const {
  return [this, indices = std::move(indices), at = size_t{0}]() mutable -> Result<std::optional<Sample>> {
    if (at == indices.size()) return std::optional<Sample>();
    HAI_TRY(Sample sample, read(indices[at++]));
    return std::optional<Sample>(std::move(sample));
  };
}

}  // namespace hai::quantizer
