// The smallest form of each layer against the three memories: one layer a group with all that it touches in external
// memory, in the number of stripes that takes least; the pieces of its constants as emit() will cut them; a row of
// sums.
//
// schedule() and emit() meet the same limits; here they are met before anything is decided, and for all layers at once,
// so that such layers can be placed on the CPU instead.
#include "devices/sd3403/lower/fit.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "devices/sd3403/lower/pieces.h"
#include "devices/sd3403/lower/stripes.h"

namespace hai::sd3403 {
namespace {

bool fits_scratchpad(const Segment& segment, const std::vector<BufferUses>& uses, LayerId l, const Machine& machine) {
  const auto room = static_cast<int64_t>(machine.sram_bytes);
  return std::any_of(std::begin(kStripes), std::end(kStripes), [&](int64_t stripes) {
    const std::optional<Group> group = make_group(segment, uses, l, l + 1, stripes);
    return group && group->own_bytes <= room;
  });
}

}  // namespace

Error too_large_for_scratchpad(const Segment& segment, LayerId layer, const Machine& machine) {
  const Layer& at = segment.layers[layer];
  const Buffer* largest = &segment.buffers[at.writes.buffer];
  for (const Operand& operand : at.reads) {
    const Buffer& buffer = segment.buffers[operand.slice.buffer];
    if (buffer.row_bytes() > largest->row_bytes()) largest = &buffer;
  }
  return make_error(StatusCode::kResourceExhausted, "N110",
                    "layer \"{}\" does not fit the scratchpad of {} bytes in any number of stripes: tensor \"{}\" has "
                    "{} rows of {} bytes; a smaller picture would fit",
                    at.name, static_cast<int64_t>(machine.sram_bytes), largest->name, largest->rows,
                    largest->row_bytes());
}

std::vector<Misfit> misfits_of(Segment& segment, const Machine& machine) {
  std::vector<bool> spilled;
  for (Buffer& buffer : segment.buffers) {
    spilled.push_back(buffer.spilled);
    buffer.spilled = !buffer.is_given();
  }
  const std::vector<BufferUses> uses = uses_of(segment);
  std::vector<Misfit> out;
  for (LayerId l = 0; l < segment.layers.size(); ++l) {
    if (!fits_scratchpad(segment, uses, l, machine)) {
      out.push_back({l, too_large_for_scratchpad(segment, l, machine)});
    } else if (Status status = constants_fit(segment.layers[l], machine); !status) {
      out.push_back({l, std::move(status).error()});
    }
  }
  for (BufferId b = 0; b < segment.buffers.size(); ++b) segment.buffers[b].spilled = spilled[b];
  return out;
}

}  // namespace hai::sd3403
