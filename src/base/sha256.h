// SHA-256: digests of sections and chunks of .hai files.
#pragma once

#include <array>
#include <cstddef>
#include <span>
#include <string>

namespace hai {

using Sha256Digest = std::array<std::byte, 32>;

// Streaming form: update() as often as needed, then finish() once.
class Sha256 {
 public:
  Sha256();
  void update(std::span<const std::byte> bytes);
  Sha256Digest finish();

 private:
  alignas(8) std::array<std::byte, 112> state_;  // libcrypto's SHA256_CTX
};

Sha256Digest sha256(std::span<const std::byte> bytes);

// 64 lower-case hexadecimal digits.
std::string to_hex(const Sha256Digest& digest);

}  // namespace hai
