// Finding bits: in images by name or number, by a seed, and in what commands move.
//
// A place is described by the first command that reads it; streams are shared by commands, so that there may be more.
// Programs are verified before: boxes and entries are within bounds.
#include "devices/sd3403/exec/fault_place.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "devices/sd3403/exec/stream.h"

namespace hai::sd3403 {
namespace {

// SplitMix64, so that a seed means the same place everywhere.
uint64_t next_random(uint64_t& state) {
  uint64_t z = state += 0x9e3779b97f4a7c15U;
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9U;
  z = (z ^ z >> 27) * 0x94d049bb133111ebU;
  return z ^ z >> 31;
}

const ImageName* find_image(const std::string& wanted, std::span<const ImageName> images) {
  for (const ImageName& image : images) {
    if (image.name == wanted) return &image;
  }
  int64_t number = -1;
  const auto [end, failure] = std::from_chars(wanted.data(), wanted.data() + wanted.size(), number);
  if (failure != std::errc() || end != wanted.data() + wanted.size() || number < 0) return nullptr;
  const auto at = std::find_if(images.begin(), images.end(), [&](const ImageName& i) { return i.image == number; });
  return at == images.end() ? nullptr : &*at;
}

// Some plane and row of the box holds the byte; rows of a plane may lie on each other.
bool box_holds(int64_t byte, int64_t first, int64_t row_bytes, int64_t rows, int64_t row_stride, int64_t planes,
               int64_t plane_stride) {
  for (int64_t plane = 0; plane < planes; ++plane) {
    const int64_t offset = byte - first - plane * plane_stride;
    if (offset < 0) return false;  // later planes begin later still
    // The last row that begins at or before the byte.
    const int64_t row = row_stride == 0 ? 0 : std::min(offset / row_stride, rows - 1);
    if (offset - row * row_stride < row_bytes) return true;
    if (plane_stride == 0) return false;
  }
  return false;
}

std::string describe_constant(int64_t byte, std::span<const Command> commands, std::span<const std::byte> constants) {
  for (size_t i = 0; i < commands.size(); ++i) {
    const auto* load = std::get_if<WeightLoad>(&commands[i].body);
    if (load == nullptr) continue;
    if (byte >= load->entry && byte < load->entry + kStreamEntryBytes)
      return "entry of the stream of " + command_text(commands[i], i);
    const auto entry = read_stream_entry(constants, load->entry, load->expanded_bytes);
    if (entry && byte >= entry->offset && byte < entry->offset + entry->bytes)
      return fmt::format("byte {} of the stream of {}", byte - entry->offset, command_text(commands[i], i));
  }
  for (size_t i = 0; i < commands.size(); ++i) {
    const auto* load = std::get_if<DmaLoad>(&commands[i].body);
    if (load != nullptr && load->image == 0 &&
        box_holds(byte, load->source, load->row_bytes, load->rows, load->source_row_stride, load->planes,
                  load->source_plane_stride)) {
      return "read by " + command_text(commands[i], i);
    }
  }
  return "no command reads it";
}

std::string describe_word(int64_t byte, int bit, std::span<const Command> commands) {
  const auto number = static_cast<size_t>(byte) / kWordBytes;
  const int at = static_cast<int>(byte % static_cast<int64_t>(kWordBytes)) * 8 + bit;
  const Command& command = commands[number];
  std::string_view field = at < 8    ? "opcode"
                           : at == 8 ? "core"
                           : at < 16 ? ""
                           : at < 32 ? "layer"
                           : at < 64 ? "tile"
                                     : "";
  for (const FieldInfo& info : info_of(command.body).fields) {
    if (at >= info.first_bit && at < info.first_bit + info.bits) field = info.name;
  }
  return fmt::format("{} of {}", field.empty() ? "a reserved bit" : field, command_text(command, number));
}

}  // namespace

Result<BitPlace> place_of(const FaultSpec& flip, std::span<const ImageName> images) {
  const auto refuse = [&](std::string_view what) {
    return make_error(StatusCode::kOutOfRange, "N088", "fault \"{}\": {}", flip.text, what);
  };
  const ImageName* image = flip.image.empty() ? nullptr : find_image(flip.image, images);
  if (image == nullptr && (!flip.image.empty() || !flip.seed)) {
    std::string names;
    for (const ImageName& one : images) names += fmt::format("{}{}", names.empty() ? "" : ", ", one.name);
    return refuse(fmt::format("the segment has no image \"{}\"; it has {}", flip.image, names));
  }
  BitPlace out;
  if (!flip.seed) {
    if (flip.byte >= image->bytes)
      return refuse(
          fmt::format("byte {} is beyond image {}, which has {} bytes", flip.byte, image->name, image->bytes));
    return BitPlace{image->image, flip.byte, flip.bit, image->name};
  }
  int64_t total = 0;
  for (const ImageName& one : images) total += image == nullptr || &one == image ? one.bytes : 0;
  if (total == 0) return refuse("there is no byte to flip a bit of");
  uint64_t state = *flip.seed;
  auto byte = static_cast<int64_t>(next_random(state) % static_cast<uint64_t>(total));
  out.bit = static_cast<int>(next_random(state) % 8);
  for (const ImageName& one : images) {
    if (image != nullptr && &one != image) continue;
    out.image = one.image;
    out.image_name = one.name;
    out.byte = byte;
    if (byte < one.bytes) break;
    byte -= one.bytes;
  }
  return out;
}

std::string describe(const BitPlace& place, std::span<const Command> commands, std::span<const std::byte> constants) {
  std::string out = fmt::format("{}, byte {}, bit {}", place.image_name, place.byte, place.bit);
  if (place.image == 0) out += ": " + describe_constant(place.byte, commands, constants);
  if (place.image == kCommandsImage) out += ": " + describe_word(place.byte, place.bit, commands);
  return out;
}

std::optional<size_t> last_writer(int64_t image, int64_t byte, std::span<const Command> commands,
                                  std::span<const size_t> order) {
  for (size_t i = order.size(); i-- > 0;) {
    const auto* store = std::get_if<DmaStore>(&commands[order[i]].body);
    if (store != nullptr && store->image == image &&
        box_holds(byte, store->destination, store->row_bytes, store->rows, store->destination_row_stride, store->planes,
                  store->destination_plane_stride)) {
      return order[i];
    }
  }
  return {};
}

}  // namespace hai::sd3403
