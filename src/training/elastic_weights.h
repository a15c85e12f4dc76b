// Elastic weight consolidation (Kirkpatrick et al. 2017): what earlier tasks need of each parameter, as states of a
// program that was compiled with --train ewc=1, measured by a program of --train optimizer=fisher.
//
// The pulls of all tasks are one: with F the sum of their Fisher informations and a the mean of their parameters
// weighted by these, F (w - a) is their sum, so memory does not grow with their number.
#pragma once

#include <cstdint>

#include "base/result.h"
#include "training/trainer.h"

namespace hai::training {

// How strongly a step is pulled back. Error E100: the program has no pull.
Status set_ewc_strength(Trainer& trainer, double strength);

// Gives `fisher` the parameters of `trainer` and sets what it has measured to zero. Then each step() of `fisher` on a
// single sample, with a label drawn from the model's own answers, adds the square of its gradient. Error E101: it
// measures other parameters than `trainer` pulls.
Status begin_fisher(Trainer& trainer, Trainer& fisher);

// From here on `trainer` holds the parameters where they are, as strongly as `samples` steps of `fisher` have shown
// them to matter; what was held before counts `decay` times (below 1: online EWC, Schwarz et al. 2018). Preconditions:
// begin_fisher() has passed; samples >= 1.
void consolidate(Trainer& trainer, Trainer& fisher, int64_t samples, double decay);

}  // namespace hai::training
