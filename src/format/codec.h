// Programs and the small sections as FlatBuffers bytes, and back. Decoding is for hostile bytes; what it gives is well
// formed as a structure and still has to pass verify_program (program.h) or verify_preprocessing.
#pragma once

#include <cstddef>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "format/program.h"
#include "types/preprocessing.h"

namespace hai::format {

struct Metadata {
  std::string name;  // of the network
  std::map<std::string, std::string> entries;
};

std::vector<std::byte> encode_program(const Program& program);
std::vector<std::byte> encode_preprocessing(const Preprocessing& preprocessing);
std::vector<std::byte> encode_metadata(const Metadata& metadata);

// Precondition: `bytes` is aligned to 64 (read_section does it).
Result<Program> decode_program(std::span<const std::byte> bytes);
Result<Preprocessing> decode_preprocessing(std::span<const std::byte> bytes);
Result<Metadata> decode_metadata(std::span<const std::byte> bytes);

Status verify_preprocessing(const Preprocessing& preprocessing);
// Names and entries are UTF-8.
Status verify_metadata(const Metadata& metadata);
// UTF-8 as well; that it is JSON is for its readers to see.
Status verify_quantization_report(std::string_view report);

}  // namespace hai::format
