// What a group of layers costs, for the search: cycles of both cores and of external memory, overlapped where stripes
// overlap them.
#pragma once

#include <array>
#include <vector>

#include "devices/sd3403/lower/pieces.h"
#include "devices/sd3403/lower/stripes.h"
#include "devices/sd3403/machine/machine.h"

namespace hai::sd3403 {

// Of one segment, whose layers and machine stay as they are; what is spilled may change.
class LayerCosts {
 public:
  LayerCosts(const Segment& segment, const Machine& machine);

  double group_cycles(const Group& group);
  // Whether each stripe loads the group's constants, because the weight cache does not take them all.
  bool loads_again(const Group& group) const;
  // What no group of these layers stays under.
  double least_cycles(LayerId begin, LayerId end) const;

 private:
  struct Entry {
    Share share;                  // of the first core that has one
    double constants = 0;         // bytes that all cores load
    int64_t cache_bytes = 0;      // that stay in a core's weight cache
    std::vector<int64_t> cycles;  // by rows; -1: not known yet
  };
  int64_t cycles_of_rows(LayerId layer, int64_t rows);
  bool runs_on(LayerId layer, size_t core) const;

  const Segment& segment_;
  const Machine& machine_;
  double rate_;  // bytes of external memory a cycle
  double overhead_;
  std::vector<Entry> entries_;
  std::vector<double> constants_before_;               // sums over the layers before
  std::array<std::vector<double>, 2> compute_before_;  // likewise, by core
};

}  // namespace hai::sd3403
