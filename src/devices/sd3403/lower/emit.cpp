// Walking groups, stripes and layers, and writing down what each engine does.
//
// The order here is one in which the commands are right when they run one after the other; synchronise() then finds
// what must wait for what, so that engines run ahead as far as memory allows. The weight cache of a core is used round
// about: a stream takes the next bytes, whatever lay there is gone; in a group of several stripes all streams stay
// where they fit together. Streams that several pieces share are in the image once.
#include "devices/sd3403/lower/emit.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <tuple>

#include "base/checked.h"
#include "devices/sd3403/isa/stream_coding.h"
#include "devices/sd3403/lower/constants.h"
#include "devices/sd3403/lower/synchronise.h"

namespace hai::sd3403 {
namespace {

constexpr int64_t kFirstInputImage = 2;
constexpr int64_t kCores = 2;

// Layer, channels, depth, rows and first input row (of Resize only).
using StreamKey = std::tuple<LayerId, int64_t, int64_t, int64_t, int64_t, int64_t, int64_t>;

// Which streams lie where in a part of the weight cache of a core.
class CacheUse {
 public:
  CacheUse(int64_t begin, int64_t size) : begin_(begin), size_(size) {}
  int64_t size() const { return size_; }

  // From here on `bytes` will be wanted together: begins at 0 where they would not fit behind what is there.
  void expect(int64_t bytes) {
    if (next_ + bytes > size_) next_ = 0;
  }
  void restart() { next_ = 0; }
  void forget(const StreamKey& key) {
    std::erase_if(entries_, [&](const Entry& e) { return e.key == key; });
  }
  std::optional<int64_t> find(const StreamKey& key) const {
    for (const Entry& entry : entries_) {
      if (entry.key == key) return entry.address;
    }
    return std::nullopt;
  }
  int64_t take(const StreamKey& key, int64_t bytes) {
    if (next_ + bytes > size_) next_ = 0;
    const int64_t address = begin_ + next_;
    std::erase_if(entries_,
                  [&](const Entry& e) { return e.address < address + bytes && address < e.address + e.bytes; });
    entries_.push_back({key, address, bytes});
    next_ += bytes;
    return address;
  }

 private:
  struct Entry {
    StreamKey key;
    int64_t address, bytes;
  };
  int64_t begin_, size_;
  int64_t next_ = 0;
  std::vector<Entry> entries_;
};

class Emitter {
 public:
  Emitter(const Segment& segment, const Schedule& schedule, const Machine& machine, const EmitOptions& options)
      : segment_(segment), schedule_(schedule), machine_(machine), options_(options), uses_(uses_of(segment)) {
    const int64_t tables = table_room(machine);
    const int64_t weights = static_cast<int64_t>(machine.weight_cache_bytes) - tables;
    weights_.assign(kCores, CacheUse(0, weights));
    tables_.assign(kCores, CacheUse(weights, tables));
  }

  Result<EmittedSegment> run() {
    for (const Layer& at : segment_.layers) HAI_TRY_STATUS(constants_fit(at, machine_));
    for (size_t g = 0; g < schedule_.groups.size(); ++g) {
      group_ = &schedule_.groups[g];
      homes_ = &schedule_.homes[g];
      if (group_->stripes > 1) expect_constants();
      for (int64_t s = 0; s < group_->stripes; ++s) {
        load(s);
        for (LayerId l = group_->begin; l < group_->end; ++l) {
          const int64_t first = group_->first_row(l, s);
          const int64_t last = group_->last_row(l, s);
          if (first < last) HAI_TRY_STATUS(emit_layer(l, first, last));
        }
        store(s);
      }
    }
    return finish();
  }

 private:
  const Layer& layer(LayerId l) const { return segment_.layers[l]; }

  void put(int64_t core, LayerId l, CommandBody body) {
    commands_.push_back(
        {static_cast<uint8_t>(core), static_cast<uint16_t>(l), static_cast<uint32_t>(tiles_[l]), std::move(body)});
  }

  // --- external memory
  int64_t image_of(const Buffer& buffer) const {
    const auto index = [](const std::vector<ir::ValueId>& values, ir::ValueId value) {
      return std::find(values.begin(), values.end(), value) - values.begin();
    };
    if (buffer.constant != nullptr) return 0;
    if (buffer.input != ir::kNone) return kFirstInputImage + index(segment_.inputs, buffer.input);
    if (buffer.output == ir::kNone) return kScratchImage;
    return kFirstInputImage + static_cast<int64_t>(segment_.inputs.size()) + index(segment_.outputs, buffer.output);
  }
  // Of a constant: in what finish() appends to the streams.
  int64_t image_offset(BufferId id) {
    const Buffer& buffer = segment_.buffers[id];
    if (buffer.constant != nullptr) {
      const auto [at, fresh] = tensor_offset_.emplace(id, static_cast<int64_t>(tensors_.size()));
      if (fresh) {
        const auto bytes = buffer.constant->bytes();
        tensors_.insert(tensors_.end(), bytes.begin(), bytes.end());
        tensors_.resize(static_cast<size_t>(align_up(static_cast<int64_t>(tensors_.size()), 64)));
      }
      return at->second;
    }
    return buffer.spilled && buffer.output == ir::kNone ? schedule_.scratch_offset[id] : 0;
  }

  // Stretches of rows that lie together in the ring.
  template <typename Use>
  void for_stretches(BufferId id, int64_t first, int64_t last, Use use) const {
    const Home& home = (*homes_)[id];
    const int64_t row_bytes = segment_.buffers[id].row_bytes();
    while (first < last) {
      const int64_t at = home.ring_rows == 0 ? first : first % home.ring_rows;
      const int64_t count = home.ring_rows == 0 ? last - first : std::min(last - first, home.ring_rows - at);
      use(first, count, home.address + at * row_bytes);
      first += count;
    }
  }

  void load(int64_t stripe) {
    for (const GroupBuffer& own : group_->buffers) {
      if (!own.is_loaded()) continue;
      const Buffer& buffer = segment_.buffers[own.buffer];
      const BufferUses& uses = uses_[own.buffer];
      const int64_t first = stripe == 0 ? first_row_read(segment_, uses, *group_, own.buffer, 0)
                                        : rows_read(segment_, uses, *group_, own.buffer, stripe - 1);
      const int64_t last = rows_read(segment_, uses, *group_, own.buffer, stripe);
      const LayerId reader =
          *std::find_if(uses.readers.begin(), uses.readers.end(), [&](LayerId l) { return l >= group_->begin; });
      for_stretches(own.buffer, first, last, [&](int64_t row, int64_t count, int64_t address) {
        DmaLoad c;
        c.image = image_of(buffer);
        c.source = image_offset(own.buffer) + row * buffer.row_bytes();
        c.destination = address;
        c.row_bytes = count * buffer.row_bytes();
        put(next_load_core_, reader, c);
        next_load_core_ = other(next_load_core_);
      });
    }
  }

  void store_rows(BufferId id, int64_t first, int64_t last) {
    const Buffer& buffer = segment_.buffers[id];
    for_stretches(id, first, last, [&](int64_t row, int64_t count, int64_t address) {
      DmaStore c;
      c.image = image_of(buffer);
      c.source = address;
      c.destination = image_offset(id) + row * buffer.row_bytes();
      c.row_bytes = count * buffer.row_bytes();
      c.channel = machine_.dma_channels > 1 ? 1 : 0;
      put(next_store_core_, uses_[id].producers.back(), c);
      next_store_core_ = other(next_store_core_);
    });
  }

  // What a layer has written of a buffer of which other groups write other parts.
  void store_part(LayerId l, int64_t first, int64_t last) {
    const Slice& slice = layer(l).writes;
    const Buffer& buffer = segment_.buffers[slice.buffer];
    const int64_t unit = element_bytes(slice.type);
    const bool adjacent = slice.channel_stride == unit;
    // Rows of pixels of channels; or, where channels are apart, one row at a time of pixels of channels of an element.
    const auto put_box = [&](int64_t row, int64_t count, int64_t address) {
      DmaStore c;
      c.image = image_of(buffer);
      c.source = address;
      c.destination = image_offset(slice.buffer) + slice.offset_bytes + row * slice.row_stride;
      c.row_bytes = adjacent ? slice.channels * unit : unit;
      c.rows = adjacent ? slice.columns : slice.channels;
      c.planes = adjacent ? count : slice.columns;
      c.source_row_stride = c.destination_row_stride = adjacent ? slice.pixel_stride : slice.channel_stride;
      c.source_plane_stride = c.destination_plane_stride = adjacent ? slice.row_stride : slice.pixel_stride;
      c.channel = machine_.dma_channels > 1 ? 1 : 0;
      put(next_store_core_, l, c);
      next_store_core_ = other(next_store_core_);
    };
    const auto put_rows = [&](int64_t row, int64_t count, int64_t address) {
      if (adjacent) return put_box(row, count, address);
      for (int64_t i = 0; i < count; ++i) put_box(row + i, 1, address + i * slice.row_stride);
    };
    if (slice.whole) {
      put_rows(first, last - first, (*homes_)[slice.buffer].address + slice.offset_bytes + first * slice.row_stride);
      return;
    }
    const auto put_stretch = [&](int64_t row, int64_t count, int64_t address) {
      put_rows(row, count, address + slice.offset_bytes);
    };
    if (slice.row_step == 1) {
      for_stretches(slice.buffer, slice.first_row + first, slice.first_row + last, put_stretch);
      return;
    }
    for (int64_t row = first; row < last; ++row) {
      for_stretches(slice.buffer, slice.buffer_row(row), slice.buffer_row(row) + 1, put_stretch);
    }
  }

  void store(int64_t stripe) {
    const auto written = [&](BufferId id, int64_t s) {
      return s < 0 ? 0 : rows_written(segment_, uses_[id], *group_, id, s);
    };
    for (const GroupBuffer& own : group_->buffers) {
      if (own.in_parts) {
        for (const LayerId l : uses_[own.buffer].producers) {
          if (l < group_->begin || l >= group_->end) continue;
          const int64_t first = group_->first_new_row(l, stripe);
          const int64_t last = group_->last_row(l, stripe);
          if (first < last) store_part(l, first, last);
        }
      } else if (own.keep == Keep::kStored) {
        store_rows(own.buffer, written(own.buffer, stripe - 1), written(own.buffer, stripe));
      }
    }
    for (const BufferId id : group_->resident) {
      const LayerId last = uses_[id].producers.empty() ? 0 : uses_[id].producers.back();
      const bool completes = last >= group_->begin && last < group_->end;
      if (segment_.buffers[id].output == ir::kNone || !completes) continue;
      const bool alone = uses_[id].producers.front() >= group_->begin;
      if (alone) {
        store_rows(id, written(id, stripe - 1), written(id, stripe));
      } else if (stripe + 1 == group_->stripes) {
        store_rows(id, 0, segment_.buffers[id].rows);
      }
    }
  }

  int64_t other(int64_t core) const { return machine_.cores < 2 ? 0 : 1 - core; }

  // --- constants
  void expect_constants() {
    std::vector<int64_t> bytes(kCores, 0);  // large tables lie among the weights
    for (LayerId l = group_->begin; l < group_->end; ++l) {
      for (const Share& share : shares_of(layer(l), machine_, options_.split)) {
        if (!is_small_table(layer(l), machine_)) bytes[static_cast<size_t>(share.core)] += table_bytes(layer(l));
        for (const Chunk& chunk : chunks_of(layer(l), machine_, share.channels))
          bytes[static_cast<size_t>(share.core)] += chunk.bytes;
      }
    }
    for (size_t core = 0; core < kCores; ++core) weights_[core].expect(bytes[core]);
  }

  int64_t bytes_of(size_t stream) const { return static_cast<int64_t>(stored_[stream].bytes.size()); }
  Error no_room(LayerId l, int64_t bytes, int64_t room) const {
    return make_error(StatusCode::kInternal, "N122",
                      "layer \"{}\": a piece of its constants was counted wrongly, it has {} bytes, the weight cache "
                      "room for {}; please report it",
                      layer(l).name, bytes, room);
  }
  // What a command brings to the cache.
  struct Want {
    StreamKey key;
    int64_t bytes;
    CommandBody command;
  };
  // Brings it into the cache unless it is there; where it begins.
  int64_t place(int64_t core, LayerId l, CacheUse& use, const Want& want) {
    if (const auto address = use.find(want.key)) return *address;
    CommandBody body = want.command;
    const int64_t address = use.take(want.key, want.bytes);
    std::visit(
        [&](auto& c) {
          if constexpr (requires { c.destination; }) c.destination = address;
        },
        body);
    put(core, l, std::move(body));
    return address;
  }
  // All of it at once: none may take the place of another.
  Result<std::vector<int64_t>> place(int64_t core, LayerId l, CacheUse& use, const std::vector<Want>& wants) {
    const auto all_there = [&] {
      return std::all_of(wants.begin(), wants.end(), [&](const Want& want) { return use.find(want.key).has_value(); });
    };
    int64_t total = 0;
    for (const Want& want : wants) total += want.bytes;
    if (total > use.size()) return no_room(l, total, use.size());
    if (!all_there()) use.expect(total);
    std::vector<int64_t> addresses;
    for (const Want& want : wants) addresses.push_back(place(core, l, use, want));
    if (all_there()) return addresses;
    use.restart();
    for (const Want& want : wants) use.forget(want.key);
    for (size_t i = 0; i < wants.size(); ++i) addresses[i] = place(core, l, use, wants[i]);
    return addresses;
  }

  size_t stream_of(const StreamKey& key, const std::function<PackedConstants()>& pack) {
    const auto at = streams_.find(key);
    if (at != streams_.end()) return at->second;
    stored_.push_back(pack());
    streams_.emplace(key, stored_.size() - 1);
    return stored_.size() - 1;
  }

  // What a piece finds in the cache.
  struct Found {
    int64_t base = 0;   // of the piece's own constants
    int64_t table = 0;  // of the function's table
    int64_t pack = 0;   // of weights that the layer packs
    const PackedConstants* packed = nullptr;
  };
  Want wanted_stream(const StreamKey& key, size_t stream) const {
    WeightLoad load;
    load.entry = static_cast<int64_t>(stream) * kStreamEntryBytes;
    load.expanded_bytes = bytes_of(stream);
    return {key, load.expanded_bytes, load};
  }
  Want wanted_pack(const StreamKey& key, const Layer& at, const Chunk& chunk) const {
    WeightPack pack = pack_of(at, chunk.channels, chunk.depth);
    const bool transposes = pack.transposes != 0;
    set_input_tile(pack, tile_of(at.reads.back().slice, transposes ? chunk.channels.first : chunk.depth.first,
                                 transposes ? chunk.depth.first : chunk.channels.first));
    return {key, packed_weight_bytes(at, chunk.channels, chunk.depth), pack};
  }

  Result<Found> constants(int64_t core, LayerId l, const Chunk& chunk, const Range& rows, int64_t first_input_row) {
    const Layer& at = layer(l);
    const StreamKey table_key{l, -1, 0, 0, 0, 0, 0};
    const bool by_rows = !at.constants.rows.empty();
    const StreamKey key{l,
                        chunk.channels.first,
                        chunk.channels.count,
                        chunk.depth.first,
                        chunk.depth.count,
                        by_rows ? rows.first : 0,
                        by_rows ? rows.count : 0};
    StreamKey pack_key = key;
    std::get<5>(pack_key) = -1;
    Found out;
    CacheUse& weights = weights_[static_cast<size_t>(core)];
    std::vector<Want> wants;  // among the weights, all at once
    std::vector<int64_t*> found;
    const auto want = [&](Want wanted, int64_t& address) {
      wants.push_back(std::move(wanted));
      found.push_back(&address);
    };
    if (!at.constants.table.empty()) {
      const size_t stream = stream_of(table_key, [&] { return PackedConstants{pack_table(at)}; });
      if (is_small_table(at, machine_)) {
        out.table = place(core, l, tables_[static_cast<size_t>(core)], wanted_stream(table_key, stream));
      } else {
        want(wanted_stream(table_key, stream), out.table);
      }
    }
    if (has_constants(at)) {
      const size_t stream = stream_of(key, [&] { return pack_piece(at, chunk, rows, first_input_row); });
      out.packed = &stored_[stream];
      want(wanted_stream(key, stream), out.base);
    }
    if (at.pack) want(wanted_pack(pack_key, at, chunk), out.pack);
    if (wants.empty()) return out;
    HAI_TRY(const std::vector<int64_t> addresses, place(core, l, weights, wants));
    for (size_t i = 0; i < addresses.size(); ++i) *found[i] = addresses[i];
    return out;
  }

  // --- layers
  Tile tile_of(const Slice& slice, int64_t row, int64_t first_channel) const {
    const Home& home = (*homes_)[slice.buffer];
    const int64_t row_bytes = segment_.buffers[slice.buffer].row_bytes();
    Tile tile;
    tile.address = home.address + slice.offset_bytes + first_channel * slice.channel_stride;
    tile.pixel_stride = slice.pixel_stride;
    tile.type = slice.type;
    if (slice.whole) {
      tile.row_stride = slice.row_stride;
      tile.address += row * slice.row_stride;
      return tile;
    }
    tile.row_stride = row_bytes * slice.row_step;
    if (home.ring_rows == 0) {
      tile.address += slice.buffer_row(row) * row_bytes;
      return tile;
    }
    tile.address += slice.first_row % slice.row_step * row_bytes;
    tile.ring_rows = home.ring_rows / slice.row_step;
    tile.ring_first = (slice.first_row / slice.row_step + row) % tile.ring_rows;
    return tile;
  }

  Status emit_layer(LayerId l, int64_t first, int64_t last) {
    for (const Share& share : shares_of(layer(l), machine_, options_.split)) {
      Range rows{first, last - first};
      if (share.halves_rows) {
        const int64_t half = first_half(layer(l), rows.count);
        rows = share.core == 0 ? Range{first, half} : Range{first + half, rows.count - half};
      }
      if (rows.count == 0 || share.channels.count == 0) continue;
      HAI_TRY_STATUS(emit_share(l, share, rows));
    }
    return {};
  }

  Status emit_share(LayerId l, const Share& share, const Range& rows) {
    const std::vector<Chunk> chunks = chunks_of(layer(l), machine_, share.channels);
    for (size_t i = 0; i < chunks.size();) {
      size_t end = i + 1;
      while (end < chunks.size() && chunks[end].channels.first == chunks[i].channels.first) ++end;
      int64_t step = rows.count;
      int64_t columns = layer(l).writes.columns;  // of a piece
      if (end - i > 1) {
        const int64_t unit = layer(l).row_unit;
        const int64_t pixels = pixels_in_accumulators(layer(l), machine_);
        step = pixels / align_up(columns, unit) / unit * unit;
        if (step == 0 && unit > 1) {
          step = unit;
          columns = pixels / unit;
        }
        HAI_CHECK(step > 0 && columns > 0);
      }
      for (int64_t row = 0; row < rows.count; row += step) {
        const Range part{rows.first + row, std::min(step, rows.count - row)};
        for (int64_t column = 0; column < layer(l).writes.columns; column += columns) {
          const Range across{column, std::min(columns, layer(l).writes.columns - column)};
          for (size_t k = i; k < end; ++k) {
            HAI_TRY_STATUS(emit_piece(l, share.core, part, across, chunks[k], k == i, k + 1 == end));
          }
        }
      }
      i = end;
    }
    return {};
  }

  // Rows of an operand that the piece reads.
  struct Rows {
    int64_t first = 0, count = 1, pad = 0;
  };
  Rows input_rows(const Operand& operand, const Range& rows) const {
    const int64_t begin = operand.window.begin(rows.first);
    Rows out;
    out.first = std::max<int64_t>(begin, 0);
    out.pad = out.first - begin;
    out.count = std::min(operand.window.end(rows.first + rows.count - 1), operand.slice.rows) - out.first;
    return out;
  }

  template <typename Body>
  void set_pixels(Body& c, const Layer& at, const Range& rows, int64_t first_input_row, const Tile& output) const {
    set_input_tile(c, tile_of(at.reads[0].slice, first_input_row, 0));
    set_output_tile(c, output);
    c.rows = rows.count;
    c.columns = at.writes.columns;
    c.channels = at.writes.channels;
  }

  // Some of the columns: of the result, the residual, and what their windows read.
  static void cut_columns(Convolve& c, const Range& columns) {
    if (columns.first == 0 && columns.count == c.output_columns) return;
    const int64_t begin = columns.first * c.stride_columns - c.pad_left;
    const int64_t first = std::max<int64_t>(begin, 0);
    const int64_t reach = (columns.count - 1) * c.stride_columns + (c.window_columns - 1) * c.dilation_columns + 1;
    c.input_columns = std::min(begin + reach, c.input_columns) - first;
    c.pad_left = first - begin;
    c.input_address += first * c.input_pixel_stride;
    c.output_columns = columns.count;
    c.output_address += columns.first * c.output_pixel_stride;
    if (c.adds_residual != 0) c.residual_address += columns.first * c.residual_pixel_stride;
  }

  Status emit_piece(LayerId l, int64_t core, const Range& rows, const Range& columns, const Chunk& chunk,
                    bool first_sum, bool last_sum) {
    const Layer& at = layer(l);
    const Rows in = at.reads.empty() ? Rows{} : input_rows(at.reads[0], rows);
    CommandBody body = at.body;
    HAI_TRY(const Found found, constants(core, l, chunk, rows, in.first));
    const int64_t base = found.base;
    const PackedConstants* packed = found.packed;
    const Tile output = tile_of(at.writes, rows.first, chunk.channels.first);
    const int64_t channel = chunk.channels.first;
    if (auto* c = std::get_if<Convolve>(&body)) {
      const bool depthwise = c->connection == kDepthwise;
      set_input_tile(*c, tile_of(at.reads[0].slice, in.first, depthwise ? channel : chunk.depth.first));
      c->input_rows = in.count;
      c->pad_top = in.pad;
      c->input_channels = depthwise ? chunk.channels.count : chunk.depth.count;
      c->first_sum = first_sum ? 1 : 0;
      c->last_sum = last_sum ? 1 : 0;
      c->weight_address = at.pack ? found.pack : base + packed->weights;
      c->channel_table = base + packed->channels;
      if (!at.constants.taps.empty()) c->tap_table = base + packed->taps;
      if (has_table(*c)) c->function_table = found.table;
      if (c->adds_residual != 0) {
        const Rows residual = input_rows(at.reads[1], rows);
        set_residual_tile(*c, tile_of(at.reads[1].slice, residual.first, channel));
      }
      set_output_tile(*c, output);
      c->output_rows = rows.count;
      c->output_channels = chunk.channels.count;
      cut_columns(*c, columns);
    } else if (auto* combine = std::get_if<Combine>(&body)) {
      set_left_tile(*combine, tile_of(at.reads[0].slice, in.first, channel));
      if (at.reads.size() > 1) {
        const int64_t own = combine->right_repeats != 0 ? 0 : channel;
        set_right_tile(*combine, tile_of(at.reads[1].slice, input_rows(at.reads[1], rows).first, own));
      }
      set_output_tile(*combine, output);
      combine->rows = rows.count;
      combine->channels = chunk.channels.count;
      if (has_table(*combine)) combine->function_table = found.table;
    } else if (auto* pool = std::get_if<Pool>(&body)) {
      set_input_tile(*pool, tile_of(at.reads[0].slice, in.first, channel));
      pool->input_rows = in.count;
      pool->pad_top = in.pad;
      pool->channels = chunk.channels.count;
      if (packed != nullptr) pool->multiplier_table = base + packed->averages;
      set_output_tile(*pool, output);
      pool->output_rows = rows.count;
    } else if (auto* resize = std::get_if<Resize>(&body)) {
      // The least row of a piece may not be the first one's: positions are those of rows in between too.
      set_input_tile(*resize, tile_of(at.reads[0].slice, in.first, channel));
      resize->input_rows = in.count;
      resize->channels = chunk.channels.count;
      resize->row_table = base + packed->rows;
      resize->column_table = base + packed->columns;
      set_output_tile(*resize, output);
      resize->output_rows = rows.count;
    } else if (auto* softmax = std::get_if<Softmax>(&body)) {
      set_pixels(*softmax, at, rows, in.first, output);
      softmax->exponentials = base + packed->parameters;
    } else if (auto* norm = std::get_if<LayerNorm>(&body)) {
      set_pixels(*norm, at, rows, in.first, output);
      norm->parameters = base + packed->parameters;
    } else if (auto* copy = std::get_if<Copy>(&body)) {
      if (copy->fills == 0) set_input_tile(*copy, tile_of(at.reads[0].slice, in.first, channel));
      set_output_tile(*copy, output);
      copy->rows = rows.count;
      copy->channels = chunk.channels.count;
    }
    put(core, l, std::move(body));
    ++tiles_[l];
    return {};
  }

  // --- the image of constants: entries, then streams
  Result<EmittedSegment> finish() {
    EmittedSegment out;
    const size_t entries = stored_.size() * static_cast<size_t>(kStreamEntryBytes);
    out.constants.resize(static_cast<size_t>(align_up(static_cast<int64_t>(entries), 64)));
    for (size_t i = 0; i < stored_.size(); ++i) {
      const std::vector<std::byte>& expanded = stored_[i].bytes;
      const std::vector<std::byte> coded = compress_stream(expanded);
      const std::vector<std::byte>& bytes = coded.empty() ? expanded : coded;
      const auto offset = static_cast<uint32_t>(out.constants.size());
      const auto size = static_cast<uint32_t>(bytes.size());
      const auto expanded_size = static_cast<uint32_t>(expanded.size());
      const uint32_t form = stream_form_word(coded.empty() ? kPlainStream : kCodedStream, bytes);
      const uint32_t entry[4] = {offset, size, expanded_size, form};
      std::memcpy(out.constants.data() + i * sizeof(entry), entry, sizeof(entry));
      out.stream_bytes += size;
      out.expanded_bytes += expanded_size;
      out.constants.insert(out.constants.end(), bytes.begin(), bytes.end());
      out.constants.resize(static_cast<size_t>(align_up(static_cast<int64_t>(out.constants.size()), 64)));
    }
    for (Command& command : commands_) {
      auto* load = std::get_if<DmaLoad>(&command.body);
      if (load != nullptr && load->image == 0) load->source += static_cast<int64_t>(out.constants.size());
    }
    out.constants.insert(out.constants.end(), tensors_.begin(), tensors_.end());
    out.commands = synchronise(commands_);
    return out;
  }

  const Segment& segment_;
  const Schedule& schedule_;
  const Machine& machine_;
  const EmitOptions& options_;
  std::vector<BufferUses> uses_;
  const Group* group_ = nullptr;
  const std::vector<Home>* homes_ = nullptr;
  std::vector<Command> commands_;
  std::map<LayerId, int64_t> tiles_;
  std::vector<CacheUse> weights_, tables_;  // by core
  std::map<StreamKey, size_t> streams_;
  std::deque<PackedConstants> stored_;
  std::vector<std::byte> tensors_;  // constant operands
  std::map<BufferId, int64_t> tensor_offset_;
  int64_t next_load_core_ = 0;
  int64_t next_store_core_ = 0;
};

}  // namespace

Result<EmittedSegment> emit(const Segment& segment, const Schedule& schedule, const Machine& machine,
                            const EmitOptions& options) {
  return Emitter(segment, schedule, machine, options).run();
}

}  // namespace hai::sd3403
