// A multiple-choice knapsack, relaxed.
//
// Method (Sinha and Zoltners, 1979): the lower convex hull of each layer's (cost, damage) gives the steps from one
// precision to the next that are ever worth it; all steps of all layers in order of damage taken away per cost are the
// exact front of the relaxation, and between two neighbours on it lies at most one layer's step.
#include "quantizer/mixed_front.h"

#include <algorithm>

namespace hai::quantizer {
namespace {

struct Step {
  size_t layer = 0;
  size_t choice = 0;  // what it goes to
  double cost = 0;
  double relief = 0;  // damage taken away
};

// Steeper: more relief for its cost. Steps without cost come first.
bool steeper(const Step& a, const Step& b) { return a.relief * b.cost > b.relief * a.cost; }

void add_steps(const std::vector<PrecisionChoice>& choices, size_t layer, std::vector<Step>& steps) {
  for (size_t at = 0; at + 1 < choices.size();) {
    Step best;
    for (size_t to = at + 1; to < choices.size(); ++to) {
      const Step step{layer, to, choices[to].cost - choices[at].cost, choices[at].damage - choices[to].damage};
      if (step.relief > 0 && (best.relief == 0 || steeper(step, best))) best = step;
    }
    if (best.relief == 0) return;
    steps.push_back(best);
    at = best.choice;
  }
}

}  // namespace

std::vector<Mixture> pareto_front(const std::vector<std::vector<PrecisionChoice>>& choices, double base) {
  Mixture cheapest;
  cheapest.damage = base;
  std::vector<Step> steps;
  for (size_t i = 0; i < choices.size(); ++i) {
    cheapest.choices.push_back(0);
    cheapest.cost += choices[i][0].cost;
    cheapest.damage += choices[i][0].damage;
    add_steps(choices[i], i, steps);
  }
  std::stable_sort(steps.begin(), steps.end(), steeper);
  std::vector<Mixture> front{cheapest};
  for (const Step& step : steps) {
    Mixture next = front.back();
    next.choices[step.layer] = step.choice;
    next.cost += step.cost;
    next.damage = std::max(next.damage - step.relief, 0.0);
    front.push_back(std::move(next));
  }
  return front;
}

}  // namespace hai::quantizer
