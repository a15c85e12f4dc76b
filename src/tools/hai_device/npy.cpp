// The .npy format as numpy.lib.format documents it: magic, version, header length, a Python dict literal, raw data.
//
// Method: the header is matched against the three keys it must hold; nothing of it is evaluated. Invariant: the data
// must have exactly the size that shape and type say. Not supported, and said so: big-endian, Fortran order, objects,
// structured types.
#include "tools/hai_device/npy.h"

#include <fmt/format.h>

#include <array>
#include <cstring>
#include <span>
#include <string_view>
#include <utility>

#include "base/checked.h"
#include "base/file.h"

namespace hai::tools {
namespace {

constexpr int64_t kMaxFileBytes = int64_t{4} << 30;
constexpr std::string_view kMagic = "\x93NUMPY";
constexpr std::array<std::pair<std::string_view, int32_t>, 12> kTypes = {{{"<f8", HAI_F64},
                                                                          {"<f4", HAI_F32},
                                                                          {"<f2", HAI_F16},
                                                                          {"<i8", HAI_I64},
                                                                          {"<i4", HAI_I32},
                                                                          {"<i2", HAI_I16},
                                                                          {"|i1", HAI_I8},
                                                                          {"<u8", HAI_U64},
                                                                          {"<u4", HAI_U32},
                                                                          {"<u2", HAI_U16},
                                                                          {"|u1", HAI_U8},
                                                                          {"|b1", HAI_BOOL}}};

// The text between `key` and the next `end`, quotes and spaces stripped.
std::string_view field(std::string_view header, std::string_view key, char end) {
  const size_t at = header.find(key);
  if (at == std::string_view::npos) return {};
  std::string_view rest = header.substr(at + key.size());
  const size_t begin = rest.find_first_not_of(" ':\"(");
  if (begin == std::string_view::npos) return {};
  rest = rest.substr(begin);
  return rest.substr(0, rest.find(end));
}

Result<std::vector<int64_t>> parse_shape(std::string_view text, const std::string& path) {
  std::vector<int64_t> dims;
  int64_t number = -1;
  for (const char c : text) {
    if (c >= '0' && c <= '9') {
      const auto next = checked_mul<int64_t>(number < 0 ? 0 : number, 10);
      if (!next)
        return make_error(StatusCode::kOutOfRange, "L001", "{}: a dimension in \"({})\" is beyond 2^63", path, text);
      number = *next + (c - '0');
    } else if (number >= 0) {
      dims.push_back(number);
      number = -1;
    }
  }
  if (number >= 0) dims.push_back(number);
  if (dims.size() > HAI_MAX_RANK) {
    return make_error(StatusCode::kOutOfRange, "L002", "{}: {} dimensions; the limit is {}", path, dims.size(),
                      HAI_MAX_RANK);
  }
  return dims;
}

}  // namespace

Result<api::Tensor> read_npy(const std::string& path) {
  HAI_TRY(const std::string text_storage, read_file(path, kMaxFileBytes));
  const std::string_view text = text_storage;
  if (text.size() < 12 || text.substr(0, kMagic.size()) != kMagic || text[6] < 1 || text[6] > 3) {
    return make_error(StatusCode::kCorrupt, "L003",
                      "{}: not a .npy file of version 1 to 3 ({} bytes); save it with numpy.save", path, text.size());
  }
  const auto byte_at = [&](size_t index) { return static_cast<size_t>(static_cast<unsigned char>(text[index])); };
  const size_t length_bytes = text[6] == 1 ? 2 : 4;
  size_t header_length = 0;
  for (size_t i = 0; i < length_bytes; ++i) header_length |= byte_at(8 + i) << (8 * i);
  const size_t data_at = 8 + length_bytes + header_length;
  if (data_at > text.size()) {
    return make_error(StatusCode::kCorrupt, "L004", "{}: header of {} bytes in a file of {}; is it cut short?", path,
                      header_length, text.size());
  }
  const std::string_view header = text.substr(8 + length_bytes, header_length);
  const std::string_view type = field(header, "'descr'", '\'');
  int32_t dtype = -1;
  for (const auto& [name, number] : kTypes) {
    if (name == type) dtype = number;
  }
  if (dtype < 0) {
    return make_error(StatusCode::kUnsupported, "L005",
                      "{}: element type \"{}\" is not supported; save the array as a little-endian number type", path,
                      type);
  }
  if (field(header, "'fortran_order'", ',') != "False") {
    return make_error(StatusCode::kUnsupported, "L006",
                      "{}: the array is in Fortran order; save numpy.ascontiguousarray(it)", path);
  }
  HAI_TRY(std::vector<int64_t> dims, parse_shape(field(header, "'shape'", ')'), path));
  int64_t count = 1;
  for (const int64_t dim : dims) {
    const auto product = checked_mul(count, dim);
    if (!product) return make_error(StatusCode::kOutOfRange, "L007", "{}: more than 2^63 elements", path);
    count = *product;
  }
  const auto expected = checked_mul<int64_t>(count, hai_dtype_bits(dtype) / 8);
  if (!expected || *expected != static_cast<int64_t>(text.size() - data_at)) {
    return make_error(StatusCode::kCorrupt, "L008",
                      "{}: {} elements of \"{}\" do not fill the {} bytes of data; is the file cut short?", path, count,
                      type, text.size() - data_at);
  }
  api::Tensor tensor(dtype, std::move(dims));
  if (*expected > 0) std::memcpy(tensor.data(), text.data() + data_at, static_cast<size_t>(*expected));
  return tensor;
}

Status write_npy(const std::string& path, const api::Tensor& tensor) {
  std::string_view type;
  for (const auto& [name, number] : kTypes) {
    if (number == tensor.dtype()) type = name;
  }
  if (type.empty()) {
    return make_error(StatusCode::kUnsupported, "L009", "{}: .npy has no element type for {}", path,
                      hai_dtype_name(tensor.dtype()));
  }
  std::string shape;
  for (const int64_t dim : tensor.dims()) shape += fmt::format("{}, ", dim);
  std::string header = fmt::format("{{'descr': '{}', 'fortran_order': False, 'shape': ({}), }}", type, shape);
  header.append(63 - (10 + header.size()) % 64, ' ');
  header += '\n';
  std::string file(kMagic);
  file += '\x01';
  file += '\0';
  file += static_cast<char>(header.size() & 0xffU);
  file += static_cast<char>(header.size() >> 8U);
  file += header;
  file.append(static_cast<const char*>(tensor.data()), tensor.size_bytes());
  return write_file_atomically(path, std::as_bytes(std::span(file)));
}

}  // namespace hai::tools
