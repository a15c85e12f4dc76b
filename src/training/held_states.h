// HeldStates: parameters that steps must not change for a while, chosen when a training runs.
//
// The training program updates all that it was compiled for; what is held is put back after each step, with what the
// optimizer keeps of it. So a step costs as much as ever.
#pragma once

#include <cstddef>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "training/trainer.h"

namespace hai::training {

class HeldStates {
 public:
  // Holds every parameter, running statistics among them, but those of `moving`, as they are now. `trainer` must
  // outlive this.
  HeldStates(Trainer& trainer, const std::set<std::string>& moving);

  size_t count() const { return held_.size(); }
  void put_back();

 private:
  Trainer& trainer_;
  std::vector<std::pair<size_t, std::vector<std::byte>>> held_;
};

}  // namespace hai::training
