// Packing by the layouts of commands.def: blocks of 16 output channels, the channel table, and the tables of functions,
// means and positions, each at a multiple of 16.
//
// Only the first chunk along the input channels would need the bias; the command that ends the sums reads the table, so
// every chunk has it.
#include "devices/sd3403/lower/constants.h"

#include <bit>
#include <cstring>

#include "base/checked.h"
#include "devices/sd3403/isa/curve.h"

namespace hai::sd3403 {
namespace {

class Writer {
 public:
  explicit Writer(std::vector<std::byte>& bytes) : bytes_(bytes) {}
  int64_t begin() {
    bytes_.resize(static_cast<size_t>(align_up(static_cast<int64_t>(bytes_.size()), 16)));
    return static_cast<int64_t>(bytes_.size());
  }
  template <typename T>
  void put(T value) {
    const size_t at = bytes_.size();
    bytes_.resize(at + sizeof(T));
    std::memcpy(bytes_.data() + at, &value, sizeof(T));
  }

 private:
  std::vector<std::byte>& bytes_;
};

void put_weights(Writer& out, const Layer& layer, const Chunk& chunk, std::vector<std::byte>& bytes) {
  const auto& c = std::get<Convolve>(layer.body);
  const Constants& k = layer.constants;
  const bool depthwise = c.connection == kDepthwise;
  const int64_t depth = depthwise ? 1 : chunk.depth.count;
  const int64_t first_depth = depthwise ? 0 : chunk.depth.first;
  const auto at = [&](int64_t channel, int64_t tap, int64_t d) -> int16_t {
    if (channel >= chunk.channels.first + chunk.channels.count) return 0;
    const int64_t own_depth = depthwise ? 1 : k.depth;
    return k.weights[static_cast<size_t>((channel * k.window + tap) * own_depth + first_depth + d)];
  };
  const int64_t blocks = ceil_div(chunk.channels.count, kBlockChannels);
  for (int64_t b = 0; b < blocks; ++b) {
    for (int64_t tap = 0; tap < k.window; ++tap) {
      for (int64_t d = 0; d < depth; ++d) {
        for (int64_t i = 0; i < kBlockChannels; ++i) {
          const int64_t channel = chunk.channels.first + b * kBlockChannels + i;
          if (c.weights == kWeightI4) {
            const auto low = static_cast<unsigned>(at(channel, tap, d)) & 0xfU;
            const auto high = static_cast<unsigned>(at(channel + 1, tap, d)) & 0xfU;
            bytes.push_back(static_cast<std::byte>(low | high << 4));
            ++i;
          } else if (c.weights == kWeightI8) {
            bytes.push_back(static_cast<std::byte>(at(channel, tap, d)));
          } else {
            out.put(at(channel, tap, d));
          }
        }
      }
    }
  }
}

void put_channels(Writer& out, const Layer& layer, const Range& channels) {
  const bool wide = has_wide_sums(layer.reads[0].slice.type, std::get<Convolve>(layer.body).transform);
  for (int64_t i = channels.first; i < channels.first + channels.count; ++i) {
    const auto at = static_cast<size_t>(i);
    if (wide) {
      out.put(layer.constants.bias[at]);
      out.put(layer.constants.multipliers[at]);
      out.put(uint32_t{0});
    } else {
      out.put(static_cast<int32_t>(layer.constants.bias[at]));
      out.put(layer.constants.multipliers[at]);
    }
  }
}

void put_positions(Writer& out, const std::vector<Position>& positions, const Range& range, int64_t origin) {
  for (int64_t i = range.first; i < range.first + range.count; ++i) {
    const Position& p = positions[static_cast<size_t>(i)];
    out.put(static_cast<uint16_t>(p.first - origin));
    out.put(static_cast<uint16_t>(p.second - origin));
    out.put(static_cast<int16_t>(p.first_weight));
    out.put(static_cast<int16_t>(p.second_weight));
  }
}

}  // namespace

PackedConstants pack_piece(const Layer& layer, const Chunk& chunk, const Range& rows, int64_t first_input_row) {
  PackedConstants packed;
  Writer out(packed.bytes);
  const Constants& k = layer.constants;
  const bool convolves = std::holds_alternative<Convolve>(layer.body);
  if (convolves) {
    packed.weights = out.begin();
    if (!layer.pack) put_weights(out, layer, chunk, packed.bytes);
    packed.channels = out.begin();
    put_channels(out, layer, chunk.channels);
    packed.taps = out.begin();
    for (const uint8_t shift : k.taps) out.put(shift);
  }
  if (!k.averages.empty()) {
    packed.averages = out.begin();
    for (const float multiplier : k.averages) out.put(multiplier);
  }
  if (!k.rows.empty()) {
    packed.rows = out.begin();
    put_positions(out, k.rows, rows, first_input_row);
    packed.columns = out.begin();
    put_positions(out, k.columns, {0, static_cast<int64_t>(k.columns.size())}, 0);
  }
  if (!k.parameters.empty()) {
    packed.parameters = out.begin();
    packed.bytes.insert(packed.bytes.end(), k.parameters.begin(), k.parameters.end());
  }
  out.begin();
  return packed;
}

int64_t choose_table_form(const std::vector<int16_t>& entries, int64_t entry_bytes, int64_t table_form,
                          int64_t curve_form, int64_t& field) {
  const auto count = static_cast<int64_t>(entries.size());
  const bool curve = curve_bytes(count) < count * entry_bytes && encode_curve(entries).has_value();
  field = curve ? curve_form : table_form;
  return curve ? curve_bytes(count) : count * entry_bytes;
}

std::vector<std::byte> pack_table(const Layer& layer) {
  const auto* convolve = std::get_if<Convolve>(&layer.body);
  const auto* combine = std::get_if<Combine>(&layer.body);
  const bool curve = convolve != nullptr ? convolve->function == kCurve : combine->arithmetic == kLookUpCurve;
  if (curve) {
    std::vector<std::byte> coded = *encode_curve(layer.constants.table);
    Writer(coded).begin();
    return coded;
  }
  std::vector<std::byte> bytes;
  Writer out(bytes);
  // Combine has entries of its result's type, Convolve of 16 bits.
  const bool narrow = !std::holds_alternative<Convolve>(layer.body) && element_bytes(layer.writes.type) == 1;
  for (const int16_t entry : layer.constants.table) {
    if (narrow) {
      out.put(static_cast<uint8_t>(entry));
    } else {
      out.put(entry);
    }
  }
  out.begin();
  return bytes;
}

}  // namespace hai::sd3403
