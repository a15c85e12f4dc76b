// Cutting a group of layers into stripes.
//
// Method: the buffers that nobody in the group reads share their rows evenly among the stripes. Going backwards, every
// other layer must have as many rows after a stripe as its readers have reached in it, and no fewer than a later layer
// of the same buffer, which may write over them (a picture on its border). With a kept halo rows are computed once, and
// stay while a later stripe still reads them; with a recomputed one a stripe begins at the first row that its own
// readers need, again going backwards. What leaves the group or comes into it is made or loaded once either way. A ring
// holds the most rows that are alive in any stripe; what is loaded may be a stripe ahead, what is stored a stripe
// behind.
//
// A layer may read and write parts of one buffer (a pool within a concatenation). Where that waits in external memory,
// whole rows are loaded, and what a layer wrote ahead of them is written over. By then the stripe before has stored it,
// so it comes back as it was.
#include "devices/sd3403/lower/stripes.h"

#include <algorithm>
#include <numeric>

#include "base/checked.h"

namespace hai::sd3403 {
namespace {

bool inside(const Group& group, LayerId layer) { return layer >= group.begin && layer < group.end; }

bool all_inside(const Group& group, const std::vector<LayerId>& layers) {
  return std::all_of(layers.begin(), layers.end(), [&](LayerId layer) { return inside(group, layer); });
}

bool any_inside(const Group& group, const std::vector<LayerId>& layers) {
  return std::any_of(layers.begin(), layers.end(), [&](LayerId layer) { return inside(group, layer); });
}

// Calls use(slice, window) for each operand of the layer that is in the buffer.
template <typename Use>
void for_each_read(const Layer& layer, BufferId buffer, Use use) {
  for (const Operand& operand : layer.reads) {
    if (operand.slice.buffer == buffer) use(operand.slice, operand.window);
  }
}

bool can_stripe(const Segment& segment, const std::vector<BufferUses>& uses, const Group& group) {
  for (LayerId l = group.begin; l < group.end; ++l) {
    const Layer& layer = segment.layers[l];
    if (!layer.by_rows || layer.writes.whole) return false;
    for (const Operand& operand : layer.reads) {
      if (operand.slice.whole && any_inside(group, uses[operand.slice.buffer].producers)) return false;
      if (operand.slice.whole && segment.buffers[operand.slice.buffer].input != ir::kNone) return false;
    }
  }
  return true;
}

// Rows of the buffer that `layer` has read when it has `rows` rows.
int64_t reach(const Segment& segment, const Layer& layer, BufferId buffer, int64_t rows) {
  int64_t most = 0;
  const int64_t limit = segment.buffers[buffer].rows;
  for_each_read(layer, buffer, [&](const Slice& slice, const RowWindow& window) {
    if (slice.whole) {
      most = limit;
    } else if (rows > 0) {
      const int64_t end = std::min(window.end(rows - 1), slice.rows);
      most = std::max(most, std::clamp(end + slice.first_row, int64_t{0}, limit));
    }
  });
  return most;
}

void fill_done(const Segment& segment, const std::vector<BufferUses>& uses, Group& group) {
  const auto count = static_cast<size_t>(group.stripes);
  group.done.assign(group.end - group.begin, std::vector<int64_t>(count, 0));
  for (LayerId l = group.end; l-- > group.begin;) {
    const Layer& layer = segment.layers[l];
    const BufferId buffer = layer.writes.buffer;
    // Only layers that come after read what it writes; those before it, and itself, read other slices of the buffer.
    const auto comes_after = [&](LayerId other) { return other > l && inside(group, other); };
    const auto& [producers, readers] = uses[buffer];
    const bool is_read = std::any_of(readers.begin(), readers.end(), comes_after);
    for (int64_t s = 0; s < group.stripes; ++s) {
      const int64_t even = ceil_div(segment.buffers[buffer].rows * (s + 1), group.stripes);
      int64_t rows = is_read ? 0 : layer.writes.rows_within(even);
      for (const LayerId reader : readers) {
        if (!comes_after(reader)) continue;
        const int64_t wanted = reach(segment, segment.layers[reader], buffer, group.last_row(reader, s));
        rows = std::max(rows, layer.writes.rows_within(wanted));
      }
      for (const LayerId over : producers) {
        if (!comes_after(over) || group.last_row(over, s) == 0) continue;
        const int64_t last = segment.layers[over].writes.buffer_row(group.last_row(over, s) - 1);
        rows = std::max(rows, layer.writes.rows_within(last + 1));
      }
      rows = std::min(align_up(rows, layer.row_unit), layer.writes.rows);
      group.done[l - group.begin][static_cast<size_t>(s)] = s + 1 == group.stripes ? layer.writes.rows : rows;
    }
  }
}

// The first row of the buffer that the group's readers read in the stripe itself.
int64_t first_row_read_in(const Segment& segment, const BufferUses& uses, const Group& group, BufferId buffer,
                          int64_t stripe) {
  int64_t least = segment.buffers[buffer].rows;
  for (const LayerId reader : uses.readers) {
    if (!inside(group, reader)) continue;
    const int64_t row = group.first_row(reader, stripe);
    if (row >= group.last_row(reader, stripe)) continue;
    for_each_read(segment.layers[reader], buffer, [&](const Slice& slice, const RowWindow& window) {
      const int64_t begin = slice.whole ? 0 : std::clamp(window.begin(row), int64_t{0}, slice.rows) + slice.first_row;
      least = std::min(least, begin);
    });
  }
  return least;
}

// Whether each stripe makes its own rows of the buffer, so that none are kept for the next one.
bool is_recomputed(const Group& group, const GroupBuffer& own) {
  return group.halo == Halo::kRecomputed && own.keep == Keep::kInside;
}

int64_t ring_rows_of(const Segment& segment, const std::vector<BufferUses>& uses, const Group& group,
                     const GroupBuffer& own) {
  const BufferId buffer = own.buffer;
  const int64_t rows = segment.buffers[buffer].rows;
  const BufferUses& use = uses[buffer];
  const bool stays = !is_recomputed(group, own);
  const bool is_stored = own.keep == Keep::kStored;
  int64_t most = 1;
  int64_t still_read = rows;  // from here on, in this stripe or later
  for (int64_t s = group.stripes; s-- > 0;) {
    const int64_t next = std::min(s + 1, group.stripes - 1);
    const int64_t read = first_row_read_in(segment, use, group, buffer, s);
    still_read = std::min(still_read, read);
    int64_t begin = stays ? still_read : read;
    int64_t end = own.is_loaded() ? rows_read(segment, use, group, buffer, next) : 0;
    if (is_stored) begin = std::min(begin, s == 0 ? 0 : rows_written(segment, use, group, buffer, s - 1));
    for (const LayerId l : use.producers) {
      if (!inside(group, l)) continue;
      const int64_t done = group.last_row(l, is_stored ? next : s);
      if (!stays && group.first_row(l, s) == done) continue;
      if (done > 0) end = std::max(end, segment.layers[l].writes.buffer_row(done - 1) + 1);
      // Rows that no window reaches are written, too.
      begin = std::min(begin, segment.layers[l].writes.buffer_row(std::min(group.first_row(l, s), done)));
    }
    most = std::max(most, end - begin);
  }
  // Layers that write every n-th row address them as a ring of an n-th of the rows.
  int64_t step = 1;
  for (const LayerId l : use.producers) step = std::lcm(step, segment.layers[l].writes.row_step);
  return std::min(ceil_div(most, step) * step, rows);
}

// Going backwards, since what a layer computes again its operands' layers must, too.
void fill_again(const Segment& segment, const std::vector<BufferUses>& uses, Group& group) {
  group.again.assign(group.end - group.begin, std::vector<int64_t>(static_cast<size_t>(group.stripes), 0));
  for (LayerId l = group.end; l-- > group.begin;) {
    const Layer& layer = segment.layers[l];
    const BufferId buffer = layer.writes.buffer;
    const auto own = std::find_if(group.buffers.begin(), group.buffers.end(),
                                  [buffer](const GroupBuffer& entry) { return entry.buffer == buffer; });
    if (own == group.buffers.end() || !is_recomputed(group, *own)) continue;
    for (int64_t s = 0; s < group.stripes; ++s) {
      const int64_t read = first_row_read_in(segment, uses[buffer], group, buffer, s);
      const int64_t first = layer.writes.rows_within(read) / layer.row_unit * layer.row_unit;
      group.again[l - group.begin][static_cast<size_t>(s)] = std::max<int64_t>(0, group.first_new_row(l, s) - first);
    }
  }
}

}  // namespace

Span span_of(const BufferUses& uses, const Group& group, const GroupBuffer& own) {
  if (!is_recomputed(group, own)) return {group.begin, group.end - 1};
  Span span{group.end - 1, group.begin};
  for (const auto* layers : {&uses.producers, &uses.readers}) {
    if (layers->empty()) continue;
    span = {std::min(span.first, layers->front()), std::max(span.last, layers->back())};
  }
  return span;
}

std::vector<BufferUses> uses_of(const Segment& segment) {
  std::vector<BufferUses> uses(segment.buffers.size());
  for (LayerId l = 0; l < segment.layers.size(); ++l) {
    const Layer& layer = segment.layers[l];
    uses[layer.writes.buffer].producers.push_back(l);
    for (const Operand& operand : layer.reads) {
      auto& readers = uses[operand.slice.buffer].readers;
      if (readers.empty() || readers.back() != l) readers.push_back(l);
    }
  }
  return uses;
}

int64_t rows_read(const Segment& segment, const BufferUses& uses, const Group& group, BufferId buffer, int64_t stripe) {
  int64_t most = 0;
  for (const LayerId reader : uses.readers) {
    if (inside(group, reader))
      most = std::max(most, reach(segment, segment.layers[reader], buffer, group.last_row(reader, stripe)));
  }
  return most;
}

int64_t first_row_read(const Segment& segment, const BufferUses& uses, const Group& group, BufferId buffer,
                       int64_t stripe) {
  int64_t least = segment.buffers[buffer].rows;
  for (int64_t s = stripe; s < group.stripes; ++s)
    least = std::min(least, first_row_read_in(segment, uses, group, buffer, s));
  return least;
}

int64_t rows_written(const Segment& segment, const BufferUses& uses, const Group& group, BufferId buffer,
                     int64_t stripe) {
  int64_t least = segment.buffers[buffer].rows;
  for (const LayerId l : uses.producers) {
    if (!inside(group, l)) continue;
    const Slice& writes = segment.layers[l].writes;
    const int64_t done = group.last_row(l, stripe);
    if (done < writes.rows) least = std::min(least, writes.buffer_row(done));
  }
  return least;
}

Group open_group(const Segment& segment, const std::vector<BufferUses>& uses, LayerId begin, LayerId end) {
  Group group;
  group.begin = begin;
  group.end = end;
  std::vector<BufferId> touched;
  for (LayerId l = group.begin; l < group.end; ++l) {
    touched.push_back(segment.layers[l].writes.buffer);
    for (const Operand& operand : segment.layers[l].reads) touched.push_back(operand.slice.buffer);
  }
  std::sort(touched.begin(), touched.end());
  touched.erase(std::unique(touched.begin(), touched.end()), touched.end());
  for (const BufferId id : touched) {
    const Buffer& buffer = segment.buffers[id];
    GroupBuffer own{id, Keep::kResident, 0, 0, false};
    const bool made_here = all_inside(group, uses[id].producers);
    const bool read_here = all_inside(group, uses[id].readers);
    if (buffer.is_given() || (buffer.spilled && !any_inside(group, uses[id].producers))) {
      own.keep = Keep::kLoaded;
    } else if (buffer.spilled && !made_here) {
      own.keep = any_inside(group, uses[id].readers) ? Keep::kUpdated : Keep::kStored;
      own.in_parts = true;
    } else if (made_here && (read_here || buffer.spilled)) {
      own.keep = buffer.output == ir::kNone && read_here ? Keep::kInside : Keep::kStored;
    }
    if (own.keep == Keep::kResident) {
      group.resident.push_back(id);
    } else {
      group.buffers.push_back(own);
    }
  }
  return group;
}

bool cut_into_stripes(const Segment& segment, const std::vector<BufferUses>& uses, Group& group, int64_t stripes) {
  group.stripes = stripes;
  if (stripes > 1) {
    const bool enough = segment.layers[group.end - 1].writes.rows >= stripes;
    if (!enough || !can_stripe(segment, uses, group)) return false;
  }
  fill_done(segment, uses, group);
  return true;
}

void size_buffers(const Segment& segment, const std::vector<BufferUses>& uses, Group& group) {
  std::vector<int64_t> bytes_at(group.end - group.begin, 0);
  for (GroupBuffer& own : group.buffers) {
    const Buffer& buffer = segment.buffers[own.buffer];
    const int64_t rows = group.stripes == 1 ? buffer.rows : ring_rows_of(segment, uses, group, own);
    own.ring_rows = rows >= buffer.rows ? 0 : rows;
    own.bytes = align_up(rows * buffer.row_bytes(), 64);
    const Span span = span_of(uses[own.buffer], group, own);
    for (LayerId l = span.first; l <= span.last; ++l) bytes_at[l - group.begin] += own.bytes;
  }
  group.own_bytes = *std::max_element(bytes_at.begin(), bytes_at.end());
}

std::optional<Group> make_group(const Segment& segment, const std::vector<BufferUses>& uses, LayerId begin, LayerId end,
                                int64_t stripes) {
  Group group = open_group(segment, uses, begin, end);
  if (!cut_into_stripes(segment, uses, group, stripes)) return std::nullopt;
  size_buffers(segment, uses, group);
  return group;
}

Group with_recomputed_halo(const Segment& segment, const std::vector<BufferUses>& uses, const Group& kept) {
  Group group = kept;
  group.halo = Halo::kRecomputed;
  fill_again(segment, uses, group);
  size_buffers(segment, uses, group);
  return group;
}

}  // namespace hai::sd3403
