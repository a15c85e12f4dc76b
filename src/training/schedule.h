// How the learning rate changes over the steps of a training.
#pragma once

#include <cstdint>
#include <string>

#include "base/result.h"

namespace hai::training {

struct Schedule {
  std::string kind =
      "constant";  // constant, cosine (to `final_share` at the last step), step (times `decay` every `every`)
  double learning_rate = 1e-3;  // at its peak
  int64_t total_steps = 0;      // of cosine
  int64_t warmup_steps = 0;     // a straight line from learning_rate / (warmup_steps + 1) up to the peak
  double final_share = 0;       // of cosine, in [0, 1]
  double decay = 0.1;           // of step
  int64_t every = 1;            // of step, in steps after the warm-up
};

// Errors: E001 no such schedule, E002 a number out of range.
Status check_schedule(const Schedule& schedule);

// Of step `step`, from 1. Cosine: Loshchilov & Hutter 2017 without restarts; after total_steps it stays at its end.
double learning_rate_at(const Schedule& schedule, int64_t step);

}  // namespace hai::training
