// The Pareto front of mixtures: for each cost the choice of precisions that does least damage.
#pragma once

#include <cstddef>
#include <vector>

#include "quantizer/options.h"

namespace hai::quantizer {

// One precision that a layer may take. Damages of layers add up, so only differences between choices matter.
struct PrecisionChoice {
  Precision precision;
  double cost = 0;
  double damage = 0;
};

// A whole mixture: the index of each layer's choice.
struct Mixture {
  std::vector<size_t> choices;
  double cost = 0;
  double damage = 0;
};

// The vertices of the front of the relaxed knapsack, cheapest first; each is a whole mixture. `choices`: by layer, by
// ascending cost, none empty. `base`: damage of all layers with choices of damage 0.
std::vector<Mixture> pareto_front(const std::vector<std::vector<PrecisionChoice>>& choices, double base);

}  // namespace hai::quantizer
