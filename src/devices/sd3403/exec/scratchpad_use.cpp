// Lives of the scratchpad's pages, from the accesses of commands in the order of their times.
//
// A command reads what it reads from its start to its end, and what it writes is there from its start. A page that is
// written without having been read since it was written goes on living: rows of one tile share pages.
#include "devices/sd3403/exec/scratchpad_use.h"

#include <algorithm>

#include "base/checked.h"
#include "devices/sd3403/isa/access.h"

namespace hai::sd3403 {
namespace {

constexpr int64_t kPageBytes = 1024;
constexpr int64_t kMostRows = 8192;  // of a box whose rows are looked at one by one

struct Moment {
  int64_t ticks;
  bool writes;
  size_t access;
  bool operator<(const Moment& other) const {
    if (ticks != other.ticks) return ticks < other.ticks;
    return writes != other.writes ? writes < other.writes : access < other.access;  // what is read was there before
  }
};

struct Page {
  int64_t written = -1;
  int64_t read = -1;  // last, since it was written
};

class Pages {
 public:
  explicit Pages(int64_t bytes) : pages_(static_cast<size_t>(ceil_div(bytes, kPageBytes))) {}

  void take(const Access& access, int64_t ticks) {
    if (access.planes * access.rows > kMostRows || access.row_stride < kPageBytes) {
      range(access.address, access.end(), access.writes, ticks);
      return;
    }
    const int64_t row_bytes = (access.pixels - 1) * access.pixel_stride + access.pixel_bytes;
    for (int64_t plane = 0; plane < access.planes; ++plane) {
      for (int64_t row = 0; row < access.rows; ++row) {
        const int64_t first = access.address + plane * access.plane_stride + row * access.row_stride;
        range(first, first + row_bytes, access.writes, ticks);
      }
    }
  }

  std::vector<ScratchpadUse> use() {
    for (Page& page : pages_) close(page);
    std::sort(changes_.begin(), changes_.end(),
              [](const ScratchpadUse& a, const ScratchpadUse& b) { return a.ticks < b.ticks; });
    std::vector<ScratchpadUse> out;
    int64_t bytes = 0;
    for (size_t i = 0; i < changes_.size(); ++i) {
      bytes += changes_[i].bytes;
      const bool last = i + 1 == changes_.size() || changes_[i + 1].ticks != changes_[i].ticks;
      if (last && (out.empty() || out.back().bytes != bytes)) out.push_back({changes_[i].ticks, bytes});
    }
    return out;
  }

 private:
  void range(int64_t begin, int64_t end, bool writes, int64_t ticks) {
    const auto count = static_cast<int64_t>(pages_.size());
    for (int64_t i = begin / kPageBytes; i < std::min(ceil_div(end, kPageBytes), count); ++i) {
      Page& page = pages_[static_cast<size_t>(i)];
      if (!writes) {
        if (page.written >= 0) page.read = ticks;
      } else if (page.written < 0 || page.read >= 0) {
        close(page);
        page.written = ticks;
      }
    }
  }

  void close(Page& page) {
    if (page.written >= 0 && page.read > page.written) {
      changes_.push_back({page.written, kPageBytes});
      changes_.push_back({page.read, -kPageBytes});
    }
    page = {};
  }

  std::vector<Page> pages_;
  std::vector<ScratchpadUse> changes_;
};

}  // namespace

std::vector<ScratchpadUse> scratchpad_use(std::span<const Command> commands, const Timeline& timeline) {
  std::vector<Access> accesses;
  std::vector<Moment> moments;
  for (size_t i = 0; i < commands.size(); ++i) {
    const CommandTime& time = timeline.commands[i];
    if (!time.begun()) continue;
    const size_t first = accesses.size();
    accesses_of(commands[i], accesses);
    for (size_t a = first; a < accesses.size(); ++a) {
      if (accesses[a].memory != Memory::kSram) continue;
      moments.push_back({time.start, accesses[a].writes, a});
      if (!accesses[a].writes) moments.push_back({time.end, false, a});
    }
  }
  std::sort(moments.begin(), moments.end());
  Pages pages(static_cast<int64_t>(timeline.machine.sram_bytes));
  for (const Moment& moment : moments) pages.take(accesses[moment.access], moment.ticks);
  return pages.use();
}

int64_t peak_bytes(std::span<const ScratchpadUse> use) {
  int64_t peak = 0;
  for (const ScratchpadUse& entry : use) peak = std::max(peak, entry.bytes);
  return peak;
}

}  // namespace hai::sd3403
