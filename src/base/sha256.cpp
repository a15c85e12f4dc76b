// SHA-256 by OpenSSL's libcrypto, which uses the processor's SHA instructions where there are any.
//
// Method: the low-level functions, since they pull three object files of the static library into a program and no
// providers, no configuration file and no allocation. They are deprecated in favour of EVP, not removed; EVP would
// bring about 4 MB into a runtime that has to stay below 2.
#define OPENSSL_API_COMPAT 0x10101000L  // the version whose interface is used: silences the deprecation
#include "base/sha256.h"

#include <openssl/sha.h>

#include <new>
#include <string_view>

namespace hai {
namespace {

static_assert(sizeof(SHA256_CTX) <= 112 && alignof(SHA256_CTX) <= 8);

}  // namespace

Sha256::Sha256() : state_{} { SHA256_Init(::new (state_.data()) SHA256_CTX); }

void Sha256::update(std::span<const std::byte> bytes) {
  if (bytes.empty()) return;
  SHA256_Update(std::launder(reinterpret_cast<SHA256_CTX*>(state_.data())), bytes.data(), bytes.size());
}

Sha256Digest Sha256::finish() {
  Sha256Digest digest{};
  SHA256_Final(reinterpret_cast<unsigned char*>(digest.data()),
               std::launder(reinterpret_cast<SHA256_CTX*>(state_.data())));
  return digest;
}

Sha256Digest sha256(std::span<const std::byte> bytes) {
  Sha256 hash;
  hash.update(bytes);
  return hash.finish();
}

std::string to_hex(const Sha256Digest& digest) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string text;
  text.reserve(2 * digest.size());
  for (const std::byte byte : digest) {
    text += kDigits[std::to_integer<size_t>(byte) >> 4];
    text += kDigits[std::to_integer<size_t>(byte) & 15];
  }
  return text;
}

}  // namespace hai
