// Features of the frozen part, kept.
//
// The file: magic, key, bytes of a record, number of records; the records, each behind its view and its sample's
// digest; a SHA-256 of all that. Numbers are little-endian 64 bits. It is made in memory and replaced as a whole, since
// it is read as a whole and holds no more than memory does.
#include "training/feature_cache.h"

#include <algorithm>
#include <cstring>
#include <filesystem>

namespace hai::training {
namespace {

constexpr std::string_view kMagic = "HAIFEAT1";
constexpr size_t kDigestBytes = sizeof(Sha256Digest);
constexpr size_t kHeadBytes = kMagic.size() + kDigestBytes + 2 * sizeof(int64_t);

void append(std::vector<std::byte>& to, std::span<const std::byte> bytes) {
  to.insert(to.end(), bytes.begin(), bytes.end());
}
void append(std::vector<std::byte>& to, int64_t number) { append(to, std::as_bytes(std::span(&number, 1))); }

int64_t number_at(std::span<const std::byte> bytes, size_t offset) {
  int64_t number = 0;
  std::memcpy(&number, bytes.data() + offset, sizeof(number));
  return number;
}

Sha256Digest digest_at(std::span<const std::byte> bytes, size_t offset) {
  Sha256Digest digest;
  std::memcpy(digest.data(), bytes.data() + offset, kDigestBytes);
  return digest;
}

}  // namespace

FeatureCache::FeatureCache(FeatureCacheOptions options, const Sha256Digest& key, int64_t record_bytes)
    : options_(std::move(options)), key_(key), record_bytes_(record_bytes) {}

std::string FeatureCache::path() const {
  if (options_.folder.empty()) return {};
  return (std::filesystem::path(options_.folder) / ("features-" + to_hex(key_).substr(0, 16) + ".bin")).string();
}

std::string FeatureCache::load() {
  std::error_code unknown;
  if (options_.folder.empty() || !std::filesystem::exists(path(), unknown)) return {};
  const auto record = static_cast<size_t>(record_bytes_);
  const size_t step = sizeof(int64_t) + kDigestBytes + record;
  const int64_t most = std::max<int64_t>(options_.limit_bytes / std::max<int64_t>(record_bytes_, 1), 0);
  const int64_t limit = static_cast<int64_t>(kHeadBytes + kDigestBytes) + most * static_cast<int64_t>(step);
  const Result<std::string> text = read_file(path(), limit);
  if (!text) return text.error().to_string();
  const auto bytes = std::as_bytes(std::span(*text));
  if (bytes.size() < kHeadBytes + kDigestBytes || text->substr(0, kMagic.size()) != kMagic) return "it is no cache";
  const std::span<const std::byte> digested = bytes.first(bytes.size() - kDigestBytes);
  if (sha256(digested) != digest_at(bytes, digested.size())) return "its digest does not fit: it is damaged";
  const int64_t count = number_at(bytes, kHeadBytes - sizeof(int64_t));
  if (digest_at(bytes, kMagic.size()) != key_ || number_at(bytes, kMagic.size() + kDigestBytes) != record_bytes_ ||
      count < 0 || count > most || digested.size() != kHeadBytes + static_cast<size_t>(count) * step)
    return "it is of another model or other pictures";
  for (size_t at = kHeadBytes; at < digested.size(); at += step)
    put(number_at(bytes, at), digest_at(bytes, at + sizeof(int64_t)),
        bytes.subspan(at + sizeof(int64_t) + kDigestBytes, record));
  saved_ = count;
  return {};
}

Status FeatureCache::save(FileSystem& file_system) {
  const std::lock_guard<std::mutex> lock(mutex_);
  const auto count = static_cast<int64_t>(records_.size());
  if (options_.folder.empty() || count == saved_) return {};
  std::error_code failure;
  std::filesystem::create_directories(options_.folder, failure);
  if (failure) {
    return make_error(StatusCode::kIo, "E080", "{}: the folder of the cache cannot be made: {}", options_.folder,
                      failure.message());
  }
  std::vector<std::byte> bytes;
  append(bytes, std::as_bytes(std::span(kMagic)));
  append(bytes, std::as_bytes(std::span(key_)));
  append(bytes, record_bytes_);
  append(bytes, count);
  for (const auto& [place, record] : records_) {
    append(bytes, place.first);
    append(bytes, std::as_bytes(std::span(place.second)));
    append(bytes, record);
  }
  const Sha256Digest digest = sha256(bytes);
  append(bytes, std::as_bytes(std::span(digest)));
  HAI_TRY_STATUS(write_file_atomically(path(), bytes, file_system));
  saved_ = count;
  return {};
}

std::span<const std::byte> FeatureCache::find(int64_t view, const Sha256Digest& sample) const {
  const std::lock_guard<std::mutex> lock(mutex_);
  const auto found = records_.find({view, sample});
  return found == records_.end() ? std::span<const std::byte>() : std::span<const std::byte>(found->second);
}

bool FeatureCache::contains(int64_t view, const Sha256Digest& sample) const { return !find(view, sample).empty(); }

void FeatureCache::put(int64_t view, const Sha256Digest& sample, std::span<const std::byte> record) {
  const std::lock_guard<std::mutex> lock(mutex_);
  if ((static_cast<int64_t>(records_.size()) + 1) * record_bytes_ > options_.limit_bytes) return;
  records_.try_emplace({view, sample}, record.begin(), record.end());
}

int64_t FeatureCache::count() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return static_cast<int64_t>(records_.size());
}

}  // namespace hai::training
