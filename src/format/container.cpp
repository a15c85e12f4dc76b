// Header, section table and padding: encoding, and decoding with every check.
//
// Method: one canonical form. Offsets are not free: each section starts at the next multiple of its alignment, padding
// is zero, reserved bytes are zero, the last section ends the file. So there is nothing to overlap, nothing to hide in,
// and the same model gives the same bytes. All sizes are hostile until compared with the size of the source. Not here:
// what is inside a section (program_codec, model_reader).
#include "format/container.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "base/checked.h"
#include "format/stored_numbers.h"

namespace hai::format {
namespace {

constexpr std::array<unsigned char, 8> kMagic = {0x89, 'H', 'A', 'I', 0x0d, 0x0a, 0x1a, 0x0a};
constexpr size_t kDigestedHeaderBytes = 32;
constexpr uint32_t kFlagRequired = 1;
constexpr size_t kNameBytes = 32;

bool all_zero(std::span<const std::byte> bytes) {
  return std::all_of(bytes.begin(), bytes.end(), [](std::byte byte) { return byte == std::byte{0}; });
}

bool is_name_character(char c) {
  return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '-' || c == '.';
}

// What messages call a section.
std::string describe(const Section& section) {
  std::string text(section_kind_name(section.kind));
  if (text == "unknown") text = fmt::format("of kind {}", section.kind);
  if (!section.name.empty()) text += fmt::format(" '{}'", section.name);
  return text;
}

Result<Section> decode_entry(std::span<const std::byte> entry, uint32_t index) {
  Section section;
  section.kind = load<uint32_t>(entry, 0);
  const auto flags = load<uint32_t>(entry, 4);
  section.required = (flags & kFlagRequired) != 0;
  const auto offset = load<uint64_t>(entry, 8);
  const auto size = load<uint64_t>(entry, 16);
  const auto alignment = load<uint32_t>(entry, 24);
  std::memcpy(section.digest.data(), entry.data() + 64, section.digest.size());
  const auto* name = reinterpret_cast<const char*>(entry.data() + 32);
  const size_t length = strnlen(name, kNameBytes);
  section.name.assign(name, length);
  if (!std::all_of(section.name.begin(), section.name.end(), is_name_character) ||
      !all_zero(entry.subspan(32 + length, kNameBytes - length))) {
    return make_error(StatusCode::kCorrupt, "F001", "entry {} of the section table has a malformed name", index);
  }
  if ((flags & ~kFlagRequired) != 0 || load<uint32_t>(entry, 28) != 0) {
    return make_error(StatusCode::kUnsupported, "F002",
                      "section {} has flags {:#x}, which this version does not know; update HAI", describe(section),
                      flags);
  }
  if (!all_zero(entry.subspan(96, 64))) {
    return make_error(StatusCode::kUnsupported, "F003",
                      "section {} is encrypted, which this version cannot read; update HAI", describe(section));
  }
  if (!all_zero(entry.subspan(160, 96))) {
    return make_error(StatusCode::kUnsupported, "F004",
                      "section {} is signed, which this version cannot check; update HAI", describe(section));
  }
  if (offset > static_cast<uint64_t>(kMaxFileBytes) || size > static_cast<uint64_t>(kMaxFileBytes)) {
    return make_error(StatusCode::kCorrupt, "F005", "section {} at {:#x} of {} bytes is beyond the limit of {} bytes",
                      describe(section), offset, size, kMaxFileBytes);
  }
  if (!std::has_single_bit(alignment) || alignment < kSectionAlignmentBytes ||
      alignment > kWeightSectionAlignmentBytes) {
    return make_error(StatusCode::kCorrupt, "F006", "section {} has alignment {}; powers of two in 64..65536 are valid",
                      describe(section), alignment);
  }
  section.offset_bytes = static_cast<int64_t>(offset);
  section.size_bytes = static_cast<int64_t>(size);
  section.alignment_bytes = alignment;
  return section;
}

// Kinds and how often they may appear.
Status check_kinds(const Container& container) {
  for (size_t i = 0; i < container.sections.size(); ++i) {
    const Section& section = container.sections[i];
    if (!section.known()) {
      if (section.required) {
        return make_error(StatusCode::kUnsupported, "F007",
                          "the file needs a section {} that this version does not know; update HAI", describe(section));
      }
      continue;
    }
    for (size_t j = 0; j < i; ++j) {
      const Section& other = container.sections[j];
      if (other.kind == section.kind && (!section.is(SectionKind::kProgram) || other.name == section.name)) {
        return make_error(StatusCode::kCorrupt, "F008", "section {} appears twice", describe(section));
      }
    }
    const bool large =
        section.is_weights() || section.is(SectionKind::kStates) || section.is(SectionKind::kUpdateBytes);
    if (!large && section.size_bytes > kMaxStructuredSectionBytes) {
      return make_error(StatusCode::kOutOfRange, "F009", "section {} has {} bytes, more than the limit of {}",
                        describe(section), section.size_bytes, kMaxStructuredSectionBytes);
    }
  }
  return {};
}

// Offsets are where they must be, and what lies between is zero.
Status check_layout(const ByteSource& source, const Container& container) {
  int64_t end = kHeaderBytes + kSectionEntryBytes * static_cast<int64_t>(container.sections.size());
  std::vector<std::byte> padding;
  for (const Section& section : container.sections) {
    const int64_t start = align_up(end, section.alignment_bytes);
    if (section.offset_bytes != start) {
      return make_error(StatusCode::kCorrupt, "F010", "section {} is at {:#x} and belongs at {:#x}", describe(section),
                        section.offset_bytes, start);
    }
    if (start > container.file_bytes || section.size_bytes > container.file_bytes - start) {
      return make_error(StatusCode::kCorrupt, "F011",
                        "section {} at {:#x}: length {} exceeds file size {}; is the file truncated?",
                        describe(section), start, section.size_bytes, container.file_bytes);
    }
    padding.resize(static_cast<size_t>(start - end));
    HAI_TRY_STATUS(source.read_at(end, padding));
    if (!all_zero(padding)) {
      return make_error(StatusCode::kCorrupt, "F012", "the {} bytes before section {} are not zero", padding.size(),
                        describe(section));
    }
    end = start + section.size_bytes;
  }
  if (end != container.file_bytes) {
    return make_error(StatusCode::kCorrupt, "F013", "{} bytes follow the last section", container.file_bytes - end);
  }
  return {};
}

Sha256Digest digest_of(std::span<const std::byte> header, std::span<const std::byte> table) {
  Sha256 hash;
  hash.update(header.first(kDigestedHeaderBytes));
  hash.update(table);
  return hash.finish();
}

}  // namespace

std::string_view section_kind_name(uint32_t kind) {
  switch (static_cast<SectionKind>(kind)) {
    case SectionKind::kGraph:
      return "graph";
    case SectionKind::kProgram:
      return "program";
    case SectionKind::kWeights:
      return "weights";
    case SectionKind::kWeightDigests:
      return "weight_digests";
    case SectionKind::kPreprocessing:
      return "preprocessing";
    case SectionKind::kReport:
      return "report";
    case SectionKind::kMetadata:
      return "metadata";
    case SectionKind::kCompressedWeights:
      return "compressed_weights";
    case SectionKind::kTraining:
      return "training";
    case SectionKind::kWeightChunks:
      return "weight_chunks";
    case SectionKind::kCheckpoint:
      return "checkpoint";
    case SectionKind::kStates:
      return "states";
    case SectionKind::kFeatures:
      return "features";
    case SectionKind::kUpdate:
      return "update";
    case SectionKind::kUpdateBytes:
      return "update_bytes";
    case SectionKind::kStandby:
      return "standby";
    case SectionKind::kObservers:
      return "observers";
    case SectionKind::kRebuild:
      return "rebuild";
  }
  return "unknown";
}

const Section* Container::find(SectionKind kind) const {
  const auto found =
      std::find_if(sections.begin(), sections.end(), [kind](const Section& section) { return section.is(kind); });
  return found == sections.end() ? nullptr : &*found;
}

Result<Container> read_container(const ByteSource& source) {
  if (source.size_bytes() < kHeaderBytes) {
    return make_error(StatusCode::kCorrupt, "F014", "{} bytes are too few for a .hai file, whose header has {}",
                      source.size_bytes(), kHeaderBytes);
  }
  std::array<std::byte, kHeaderBytes> header{};
  HAI_TRY_STATUS(source.read_at(0, header));
  if (std::memcmp(header.data(), kMagic.data(), kMagic.size()) != 0) {
    return make_error(StatusCode::kCorrupt, "F015", "this is no .hai file: it does not begin with the .hai signature");
  }
  const auto version = load<uint32_t>(header, 8);
  if (version != kFileVersion) {
    return make_error(
        StatusCode::kUnsupported, "F016",
        "the file has format version {}, this HAI reads version {}; update HAI or compile the model again", version,
        kFileVersion);
  }
  const auto count = load<uint32_t>(header, 16);
  if (load<uint32_t>(header, 12) != 0 || load<uint32_t>(header, 20) != 0 || count > kMaxSections) {
    return make_error(StatusCode::kCorrupt, "F017", "the header has unknown flags or {} sections (limit {})", count,
                      kMaxSections);
  }
  Container container;
  container.file_bytes = source.size_bytes();
  if (load<uint64_t>(header, 24) != static_cast<uint64_t>(container.file_bytes)) {
    return make_error(StatusCode::kCorrupt, "F018",
                      "the header says {} bytes and the file has {}; is it truncated, or still being copied?",
                      load<uint64_t>(header, 24), container.file_bytes);
  }
  const int64_t table_bytes = kSectionEntryBytes * static_cast<int64_t>(count);
  if (table_bytes > container.file_bytes - kHeaderBytes) {
    return make_error(StatusCode::kCorrupt, "F019", "the section table of {} entries does not fit into {} bytes", count,
                      container.file_bytes);
  }
  std::vector<std::byte> table(static_cast<size_t>(table_bytes));
  HAI_TRY_STATUS(source.read_at(kHeaderBytes, table));
  std::memcpy(container.digest.data(), header.data() + kDigestedHeaderBytes, container.digest.size());
  if (container.digest != digest_of(header, table)) {
    return make_error(StatusCode::kCorrupt, "F020",
                      "header or section table do not match their digest; get the file again");
  }
  for (uint32_t i = 0; i < count; ++i) {
    HAI_TRY(Section section, decode_entry(std::span(table).subspan(i * static_cast<size_t>(kSectionEntryBytes),
                                                                   static_cast<size_t>(kSectionEntryBytes)),
                                          i));
    container.sections.push_back(std::move(section));
  }
  HAI_TRY_STATUS(check_kinds(container));
  HAI_TRY_STATUS(check_layout(source, container));
  return container;
}

namespace {

Error digest_error(const Section& section) {
  return make_error(StatusCode::kCorrupt, "F021", "section {} at {:#x} does not match its digest; get the file again",
                    describe(section), section.offset_bytes);
}

}  // namespace

Status check_section(const ByteSource& source, const Section& section) {
  std::vector<std::byte> part;
  Sha256 hash;
  for (int64_t done = 0; done < section.size_bytes; done += static_cast<int64_t>(part.size())) {
    part.resize(static_cast<size_t>(std::min(kWeightChunkBytes, section.size_bytes - done)));
    HAI_TRY_STATUS(source.read_at(section.offset_bytes + done, part));
    hash.update(part);
  }
  if (hash.finish() != section.digest) return digest_error(section);
  return {};
}

Result<SectionBytes> read_section(const ByteSource& source, const Section& section) {
  SectionBytes bytes;
  bytes.size_ = static_cast<size_t>(section.size_bytes);
  bytes.blocks_.resize(bytes.size_ / 64 + 1);  // never empty, so that the base pointer is always valid and aligned
  const std::span<std::byte> out(reinterpret_cast<std::byte*>(bytes.blocks_.data()), bytes.size_);
  HAI_TRY_STATUS(source.read_at(section.offset_bytes, out));
  if (sha256(out) != section.digest) return digest_error(section);
  return bytes;
}

std::vector<std::byte> encode_container(Container& container) {
  const auto count = static_cast<uint32_t>(container.sections.size());
  HAI_CHECK(count <= kMaxSections);
  std::vector<std::byte> bytes(static_cast<size_t>(kHeaderBytes + kSectionEntryBytes * static_cast<int64_t>(count)));
  const std::span<std::byte> table = std::span(bytes).subspan(static_cast<size_t>(kHeaderBytes));
  auto end = static_cast<int64_t>(bytes.size());
  for (uint32_t i = 0; i < count; ++i) {
    Section& section = container.sections[i];
    HAI_CHECK(section.name.size() <= kNameBytes);
    section.offset_bytes = align_up(end, section.alignment_bytes);
    end = section.offset_bytes + section.size_bytes;
    const auto entry =
        table.subspan(i * static_cast<size_t>(kSectionEntryBytes), static_cast<size_t>(kSectionEntryBytes));
    store(entry, 0, section.kind);
    store(entry, 4, section.required ? kFlagRequired : 0U);
    store(entry, 8, static_cast<uint64_t>(section.offset_bytes));
    store(entry, 16, static_cast<uint64_t>(section.size_bytes));
    store(entry, 24, static_cast<uint32_t>(section.alignment_bytes));
    std::memcpy(entry.data() + 32, section.name.data(), section.name.size());
    std::memcpy(entry.data() + 64, section.digest.data(), section.digest.size());
  }
  container.file_bytes = end;
  std::memcpy(bytes.data(), kMagic.data(), kMagic.size());
  store(std::span(bytes), 8, kFileVersion);
  store(std::span(bytes), 16, count);
  store(std::span(bytes), 24, static_cast<uint64_t>(end));
  container.digest = digest_of(bytes, table);
  std::memcpy(bytes.data() + kDigestedHeaderBytes, container.digest.data(), container.digest.size());
  return bytes;
}

}  // namespace hai::format
