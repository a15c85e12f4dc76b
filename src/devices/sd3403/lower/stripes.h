// Stripes: layers that follow each other, run a few rows at a time, so that what stands between them needs only the
// rows that are still to be read.
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

// Layers [begin, end) of a segment in stripes. Rows of layer l that are done after stripe s: done[l - begin][s].
struct Group {
  LayerId begin = 0, end = 0;
  int64_t stripes = 1;
  std::vector<std::vector<int64_t>> done;
  std::vector<GroupBuffer> buffers;  // of this group alone: inside, loaded, stored
  std::vector<BufferId> resident;    // read or written here, whole
  int64_t own_bytes = 0;             // of `buffers`

  int64_t first_row(LayerId layer, int64_t stripe) const {
    return stripe == 0 ? 0 : done[layer - begin][static_cast<size_t>(stripe - 1)];
  }
  int64_t last_row(LayerId layer, int64_t stripe) const { return done[layer - begin][static_cast<size_t>(stripe)]; }
};

// None when these layers cannot run in so many stripes: a layer that needs all of another's rows at once stands among
// them, or the rows are too few.
std::optional<Group> make_group(const Segment& segment, const std::vector<BufferUses>& uses, LayerId begin, LayerId end,
                                int64_t stripes);

// Rows of a loaded or inside buffer that the group's readers have reached after `stripe`, and the first that they still
// read in it.
int64_t rows_read(const Segment& segment, const BufferUses& uses, const Group& group, BufferId buffer, int64_t stripe);
int64_t first_row_read(const Segment& segment, const BufferUses& uses, const Group& group, BufferId buffer,
                       int64_t stripe);
// Rows of a buffer that all of its producers in the group have written after `stripe`.
int64_t rows_written(const Segment& segment, const BufferUses& uses, const Group& group, BufferId buffer,
                     int64_t stripe);

}  // namespace hai::sd3403
