// Tensors of an ONNX file: raw bytes, typed fields and external data, all element types that the core has.
//
// Method: dimensions are multiplied with overflow checks first; then exactly that many elements must be there. Raw
// bytes are moved out of the message (no copy); typed fields are narrowed one by one, out of range being an error.
// External data is read, not mapped, so that a file that shrinks is an error and not a signal; its path is resolved and
// must stay inside the model's folder. Little-endian hosts only, as everywhere in HAI.
#include "importers/onnx/read_tensor.h"

#include <fcntl.h>
#include <onnx/onnx-ml.pb.h>
#include <sys/stat.h>
#include <unistd.h>

#include <charconv>
#include <cstring>
#include <filesystem>

#include "base/checked.h"

namespace hai::onnx_import {
namespace {

using onnx::TensorProto;

Error corrupt(const TensorProto& tensor, std::string_view what) {
  return make_error(StatusCode::kCorrupt, "X010", "tensor \"{}\": {}", tensor.name(), what);
}

const char* onnx_type_name(int type) {
  static constexpr const char* kNames[] = {
      "undefined", "float",      "uint8",      "int8",         "uint16",         "int16",      "int32",
      "int64",     "string",     "bool",       "float16",      "double",         "uint32",     "uint64",
      "complex64", "complex128", "bfloat16",   "float8e4m3fn", "float8e4m3fnuz", "float8e5m2", "float8e5m2fnuz",
      "uint4",     "int4",       "float4e2m1", "float8e8m0"};
  return type >= 0 && type < static_cast<int>(std::size(kNames)) ? kNames[type] : "unknown";
}

struct OpenFile {
  int descriptor = -1;
  explicit OpenFile(const char* path) : descriptor(::open(path, O_RDONLY | O_CLOEXEC)) {}
  ~OpenFile() {
    if (descriptor >= 0) ::close(descriptor);
  }
  OpenFile(const OpenFile&) = delete;
  OpenFile& operator=(const OpenFile&) = delete;
};

Result<int64_t> parse_entry(const TensorProto& tensor, const std::string& text, std::string_view what) {
  int64_t number = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), number);
  if (parsed.ec != std::errc() || parsed.ptr != text.data() + text.size() || number < 0) {
    return corrupt(tensor, fmt::format("external data has {} \"{}\", which is no byte count", what, text));
  }
  return number;
}

// The file that `location` names, resolved, inside `folder`.
Result<std::string> confined_path(const TensorProto& tensor, const std::string& location, const std::string& folder) {
  namespace fs = std::filesystem;
  if (folder.empty()) {
    return make_error(
        StatusCode::kUnsupported, "X011",
        "tensor \"{}\" lies in the external file \"{}\", which a model given as bytes cannot reach; import "
        "the file by its path, or export with external_data=False",
        tensor.name(), location);
  }
  std::error_code failed;
  const fs::path base = fs::canonical(folder, failed);
  if (failed) return corrupt(tensor, "the model's folder \"" + folder + "\" cannot be resolved: " + failed.message());
  const fs::path wanted = location;
  const fs::path full = fs::weakly_canonical(base / wanted, failed);
  const auto mismatch = std::mismatch(base.begin(), base.end(), full.begin(), full.end());
  if (failed || wanted.empty() || wanted.is_absolute() || location.find('\0') != std::string::npos ||
      mismatch.first != base.end() || mismatch.second == full.end()) {
    return make_error(
        StatusCode::kCorrupt, "X012",
        "tensor \"{}\": external data \"{}\" is outside of the model's folder; only files beside the model "
        "are read",
        tensor.name(), location);
  }
  return full.string();
}

Result<std::shared_ptr<const ir::ConstantData>> read_external(const TensorProto& tensor, const ImportOptions& options,
                                                              int64_t size_bytes) {
  std::string location;
  int64_t offset = 0;
  int64_t length = size_bytes;
  for (const auto& entry : tensor.external_data()) {
    if (entry.key() == "location") location = entry.value();
    if (entry.key() == "offset") {
      HAI_TRY(offset, parse_entry(tensor, entry.value(), "offset"));
    }
    if (entry.key() == "length") {
      HAI_TRY(length, parse_entry(tensor, entry.value(), "length"));
    }
  }
  if (length != size_bytes) {
    return corrupt(tensor, fmt::format("external data has {} bytes, its shape and type need {}", length, size_bytes));
  }
  HAI_TRY(const std::string path, confined_path(tensor, location, options.external_data_folder));
  for (const std::string& output : options.outputs) {
    std::error_code unknown;
    if (!std::filesystem::equivalent(path, output, unknown)) continue;
    return make_error(StatusCode::kInvalidArgument, "X016",
                      "{} would be replaced, and the tensor \"{}\" of the model lies in it; write to another file",
                      output, tensor.name());
  }
  const OpenFile file(path.c_str());
  struct stat status = {};
  if (file.descriptor < 0 || ::fstat(file.descriptor, &status) != 0 || !S_ISREG(status.st_mode)) {
    return make_error(StatusCode::kNotFound, "X013",
                      "tensor \"{}\": external data \"{}\" is not a readable file; it must lie beside the model",
                      tensor.name(), path);
  }
  const auto end = checked_add(offset, length);
  if (!end || *end > status.st_size) {
    return corrupt(tensor,
                   fmt::format("external data at {} + {} bytes reaches past the {} bytes of \"{}\"; is that file "
                               "complete?",
                               offset, length, status.st_size, location));
  }
  auto data = ir::ConstantData::allocate(static_cast<size_t>(size_bytes));
  auto rest = data->mutable_bytes();
  while (!rest.empty()) {
    const ssize_t got = ::pread(file.descriptor, rest.data(), rest.size(), offset);
    if (got <= 0) {
      return make_error(StatusCode::kIo, "X014", "tensor \"{}\": reading \"{}\" at {} failed: {}", tensor.name(), path,
                        offset, got == 0 ? "the file became shorter" : std::strerror(errno));
    }
    rest = rest.subspan(static_cast<size_t>(got));
    offset += got;
  }
  return std::shared_ptr<const ir::ConstantData>(std::move(data));
}

template <typename Element, typename Field>
Result<std::shared_ptr<const ir::ConstantData>> narrow(const TensorProto& tensor, const Field& field, int64_t count) {
  if (field.size() != count) {
    return corrupt(tensor, fmt::format("has {} elements, its shape needs {}", field.size(), count));
  }
  auto data = ir::ConstantData::allocate(static_cast<size_t>(count) * sizeof(Element));
  auto* out = reinterpret_cast<Element*>(data->mutable_bytes().data());
  for (int i = 0; i < field.size(); ++i) {
    out[i] = static_cast<Element>(field[i]);
    if constexpr (std::is_integral_v<Element>) {
      // f16 and bf16 come as their bit patterns; negative int32 values of unsigned types do not fit.
      if (static_cast<int64_t>(out[i]) != static_cast<int64_t>(field[i])) {
        return corrupt(tensor, fmt::format("element {} is {}, out of range of its type", i, field[i]));
      }
    }
  }
  return std::shared_ptr<const ir::ConstantData>(std::move(data));
}

// Nibbles in int32_data: two a value, low one first, or (older writers) already packed bytes.
Result<std::shared_ptr<const ir::ConstantData>> narrow_nibbles(const TensorProto& tensor, int64_t count) {
  const int64_t packed = (count + 1) / 2;
  if (tensor.int32_data_size() != packed) {
    return corrupt(tensor, fmt::format("has {} packed bytes, its shape needs {}", tensor.int32_data_size(), packed));
  }
  auto data = ir::ConstantData::allocate(static_cast<size_t>(packed));
  for (int i = 0; i < tensor.int32_data_size(); ++i) {
    data->mutable_bytes()[static_cast<size_t>(i)] = static_cast<std::byte>(tensor.int32_data(i) & 0xff);
  }
  return std::shared_ptr<const ir::ConstantData>(std::move(data));
}

Result<std::shared_ptr<const ir::ConstantData>> read_typed(const TensorProto& tensor, DataType dtype, int64_t count) {
  switch (dtype) {
    case DataType::kF32:
      return narrow<float>(tensor, tensor.float_data(), count);
    case DataType::kF64:
      return narrow<double>(tensor, tensor.double_data(), count);
    case DataType::kI64:
      return narrow<int64_t>(tensor, tensor.int64_data(), count);
    case DataType::kU64:
      return narrow<uint64_t>(tensor, tensor.uint64_data(), count);
    case DataType::kU32:
      return narrow<uint32_t>(tensor, tensor.uint64_data(), count);
    case DataType::kI32:
      return narrow<int32_t>(tensor, tensor.int32_data(), count);
    case DataType::kI16:
      return narrow<int16_t>(tensor, tensor.int32_data(), count);
    case DataType::kI8:
      return narrow<int8_t>(tensor, tensor.int32_data(), count);
    case DataType::kU16:
    case DataType::kF16:
    case DataType::kBF16:
      return narrow<uint16_t>(tensor, tensor.int32_data(), count);
    case DataType::kU8:
    case DataType::kBool:
      return narrow<uint8_t>(tensor, tensor.int32_data(), count);
    case DataType::kI4:
    case DataType::kU4:
      return narrow_nibbles(tensor, count);
  }
  return corrupt(tensor, "has an unknown element type");
}

// Bools are one byte, 0 or 1: a file may say otherwise.
Status check_bools(const TensorProto& tensor, const OnnxTensor& read) {
  if (read.dtype != DataType::kBool) return {};
  for (const std::byte byte : read.data->bytes()) {
    if (static_cast<unsigned>(byte) > 1) return corrupt(tensor, "has a boolean that is neither 0 nor 1");
  }
  return {};
}

}  // namespace

Result<DataType> element_type(int onnx_type) {
  switch (onnx_type) {
    case TensorProto::FLOAT:
      return DataType::kF32;
    case TensorProto::UINT8:
      return DataType::kU8;
    case TensorProto::INT8:
      return DataType::kI8;
    case TensorProto::UINT16:
      return DataType::kU16;
    case TensorProto::INT16:
      return DataType::kI16;
    case TensorProto::INT32:
      return DataType::kI32;
    case TensorProto::INT64:
      return DataType::kI64;
    case TensorProto::BOOL:
      return DataType::kBool;
    case TensorProto::FLOAT16:
      return DataType::kF16;
    case TensorProto::DOUBLE:
      return DataType::kF64;
    case TensorProto::UINT32:
      return DataType::kU32;
    case TensorProto::UINT64:
      return DataType::kU64;
    case TensorProto::BFLOAT16:
      return DataType::kBF16;
    case TensorProto::UINT4:
      return DataType::kU4;
    case TensorProto::INT4:
      return DataType::kI4;
    default:
      return make_error(StatusCode::kUnsupported, "X015",
                        "element type {} ({}) is not supported; convert the model to float32 or an integer type",
                        onnx_type, onnx_type_name(onnx_type));
  }
}

Result<OnnxTensor> read_tensor(TensorProto& tensor, const ImportOptions& options) {
  OnnxTensor out;
  auto dtype = element_type(tensor.data_type());
  if (!dtype) return with_where(dtype.error(), "tensor \"" + tensor.name() + "\"");
  out.dtype = *dtype;
  if (tensor.dims_size() > kMaxRank) {
    return corrupt(tensor, fmt::format("has {} dimensions; at most {} are supported", tensor.dims_size(), kMaxRank));
  }
  out.dims.assign(tensor.dims().begin(), tensor.dims().end());
  const auto count = element_count(to_shape(out.dims));
  const auto bits = count ? checked_mul<int64_t>(count->value, bit_width(out.dtype)) : std::optional<int64_t>();
  if (!bits || !checked_add<int64_t>(*bits, 7)) {
    return corrupt(tensor, fmt::format("has shape {}, with a negative dimension or more elements than memory can hold",
                                       to_string(to_shape(out.dims), {})));
  }
  const int64_t size_bytes = bytes_for(out.dtype, count->value);
  if (tensor.has_segment()) return corrupt(tensor, "is stored in segments, which are not supported");
  if (tensor.data_location() == TensorProto::EXTERNAL) {
    HAI_TRY(out.data, read_external(tensor, options, size_bytes));
  } else if (tensor.has_raw_data()) {
    if (static_cast<int64_t>(tensor.raw_data().size()) != size_bytes) {
      return corrupt(tensor, fmt::format("has {} bytes, its shape {} and type {} need {}", tensor.raw_data().size(),
                                         to_string(to_shape(out.dims), {}), data_type_name(out.dtype), size_bytes));
    }
    auto owner = std::make_shared<std::string>(std::move(*tensor.mutable_raw_data()));
    const auto bytes = std::as_bytes(std::span<const char>(owner->data(), owner->size()));
    out.data = ir::ConstantData::borrow(bytes, owner);
  } else {
    HAI_TRY(out.data, read_typed(tensor, out.dtype, count->value));
  }
  HAI_TRY_STATUS(check_bools(tensor, out));
  return out;
}

}  // namespace hai::onnx_import
