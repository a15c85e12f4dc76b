// Distinct bytes of external memory: the stretches that accesses touch, image by image, sorted and joined.
//
// An access is a box of rows and pixels; pixels that touch make one stretch a row. Boxes are small in number (a few for
// each transfer), so their stretches are simply listed.
#include "devices/sd3403/lower/external_bytes.h"

#include <algorithm>
#include <map>
#include <utility>
#include <vector>

#include "devices/sd3403/isa/access.h"

namespace hai::sd3403 {
namespace {

using Stretch = std::pair<int64_t, int64_t>;  // first byte, one past the last

void add_stretches(const Access& access, std::vector<Stretch>& out) {
  const bool dense = access.pixels == 1 || access.pixel_stride == access.pixel_bytes;
  const int64_t pixels = dense ? 1 : access.pixels;
  const int64_t length = dense ? access.pixels * access.pixel_bytes : access.pixel_bytes;
  for (int64_t plane = 0; plane < access.planes; ++plane) {
    for (int64_t row = 0; row < access.rows; ++row) {
      for (int64_t pixel = 0; pixel < pixels; ++pixel) {
        const int64_t at =
            access.address + plane * access.plane_stride + row * access.row_stride + pixel * access.pixel_stride;
        out.emplace_back(at, at + length);
      }
    }
  }
}

int64_t joined_bytes(std::vector<Stretch>& stretches) {
  std::sort(stretches.begin(), stretches.end());
  int64_t bytes = 0;
  int64_t end = 0;
  for (const auto& [first, last] : stretches) {
    bytes += std::max<int64_t>(last - std::max(first, end), 0);
    end = std::max(end, last);
  }
  return bytes;
}

}  // namespace

int64_t distinct_external_bytes(std::span<const Command> commands, int64_t scratch_image) {
  std::map<int64_t, std::vector<Stretch>> images;
  std::vector<Access> accesses;
  for (const Command& command : commands) {
    accesses.clear();
    accesses_of(command, accesses);
    for (const Access& access : accesses) {
      if (access.memory == Memory::kImage && access.image != scratch_image) add_stretches(access, images[access.image]);
    }
  }
  int64_t bytes = 0;
  for (auto& [image, stretches] : images) bytes += joined_bytes(stretches);
  return bytes;
}

}  // namespace hai::sd3403
