// Stripes: layers that follow each other, run a few rows at a time, so that what stands between them needs only the
// rows that are still to be read.
//
// Windows of neighbouring stripes overlap, and the rows in which they do are the halo. It is kept in a ring from stripe
// to stripe, or computed again by each: then a buffer needs its place only from the layer that makes it to the last one
// that reads it, and others may lie there in the rest of the stripe.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "devices/sd3403/lower/layer.h"

namespace hai::sd3403 {

// Numbers of stripes that are tried.
inline constexpr int64_t kStripes[] = {1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64};

// Who makes and reads each buffer of a segment.
struct BufferUses {
  std::vector<LayerId> producers;
  std::vector<LayerId> readers;
};
std::vector<BufferUses> uses_of(const Segment& segment);

// What becomes of the halo of what a group makes and reads itself.
enum class Halo : uint8_t { kKept, kRecomputed };

// How a group keeps a buffer.
enum class Keep : uint8_t {
  kResident,  // whole, and other groups may read it
  kInside,    // made and read in this group alone
  kLoaded,    // read from external memory by this group
  kStored,    // written to external memory by this group, which reads no more of it than it has written
  kUpdated    // both: in external memory, and this group reads it and writes parts of it
};

struct GroupBuffer {
  BufferId buffer = 0;
  Keep keep = Keep::kInside;
  int64_t ring_rows = 0;  // 0: whole
  int64_t bytes = 0;
  bool in_parts = false;  // other groups write parts of it to external memory: this one stores what its layers write

  bool is_loaded() const { return keep == Keep::kLoaded || keep == Keep::kUpdated; }
};

// Layers [begin, end) of a segment in stripes.
struct Group {
  LayerId begin = 0, end = 0;
  int64_t stripes = 1;
  Halo halo = Halo::kKept;
  std::vector<std::vector<int64_t>> done;   // rows of layer l that are done after stripe s: [l - begin][s]
  std::vector<std::vector<int64_t>> again;  // of those, how many at the end stripe s computes again; empty: none
  std::vector<GroupBuffer> buffers;         // of this group alone: inside, loaded, stored
  std::vector<BufferId> resident;           // read or written here, whole
  int64_t own_bytes = 0;                    // the most of `buffers` that is needed at one time

  // Rows [first_row, last_row) are computed in the stripe, of those [first_new_row, last_row) for the first time.
  int64_t first_row(LayerId layer, int64_t stripe) const {
    const int64_t first = first_new_row(layer, stripe);
    return again.empty() ? first : first - again[layer - begin][static_cast<size_t>(stripe)];
  }
  int64_t first_new_row(LayerId layer, int64_t stripe) const {
    return stripe == 0 ? 0 : done[layer - begin][static_cast<size_t>(stripe - 1)];
  }
  int64_t last_row(LayerId layer, int64_t stripe) const { return done[layer - begin][static_cast<size_t>(stripe)]; }
};

// Layers of a group during which a buffer of it is needed: all of them, or of what recomputed stripes make and read
// from the first that makes it to the last that reads it.
struct Span {
  LayerId first = 0, last = 0;
};
Span span_of(const BufferUses& uses, const Group& group, const GroupBuffer& own);

// None when these layers cannot run in so many stripes: a layer that needs all of another's rows at once stands among
// them, or the rows are too few.
std::optional<Group> make_group(const Segment& segment, const std::vector<BufferUses>& uses, LayerId begin, LayerId end,
                                int64_t stripes);

// The same in steps, for a search that drops most: the buffers, without sizes; the rows, false where make_group() has
// none; the sizes.
Group open_group(const Segment& segment, const std::vector<BufferUses>& uses, LayerId begin, LayerId end);
bool cut_into_stripes(const Segment& segment, const std::vector<BufferUses>& uses, Group& group, int64_t stripes);
void size_buffers(const Segment& segment, const std::vector<BufferUses>& uses, Group& group);

// The same stripes of a group with a kept halo, with a recomputed one.
Group with_recomputed_halo(const Segment& segment, const std::vector<BufferUses>& uses, const Group& kept);

// Rows of a loaded or inside buffer that the group's readers have reached after `stripe`, and the first that they still
// read in it or later.
int64_t rows_read(const Segment& segment, const BufferUses& uses, const Group& group, BufferId buffer, int64_t stripe);
int64_t first_row_read(const Segment& segment, const BufferUses& uses, const Group& group, BufferId buffer,
                       int64_t stripe);
// Rows of a buffer that all of its producers in the group have written after `stripe`.
int64_t rows_written(const Segment& segment, const BufferUses& uses, const Group& group, BufferId buffer,
                     int64_t stripe);

}  // namespace hai::sd3403
