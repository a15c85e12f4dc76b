// Learning rates as functions of the number of the step alone, so that a resumed training has those of one that was
// never stopped. Warm-up first, then the kind's own course over the remaining steps. Computed in f64 with the project's
// own elementary functions: the same bits on every machine.
#include "training/schedule.h"

#include <algorithm>
#include <cmath>

#include "types/exact_math.h"

namespace hai::training {

Status check_schedule(const Schedule& schedule) {
  if (schedule.kind != "constant" && schedule.kind != "cosine" && schedule.kind != "step") {
    return make_error(StatusCode::kNotFound, "E001",
                      "there is no schedule \"{}\"; schedules are constant, cosine, step", schedule.kind);
  }
  const auto refuse = [](const char* name, double number, const char* range) {
    return make_error(StatusCode::kOutOfRange, "E002", "{} of the learning rate is {}: it must be {}", name, number,
                      range);
  };
  if (!(schedule.learning_rate >= 0) || !std::isfinite(schedule.learning_rate))
    return refuse("the peak", schedule.learning_rate, "a number, at least 0");
  if (schedule.warmup_steps < 0)
    return refuse("warmup_steps", static_cast<double>(schedule.warmup_steps), "at least 0");
  if (schedule.kind == "cosine" && schedule.total_steps <= schedule.warmup_steps)
    return refuse("total_steps", static_cast<double>(schedule.total_steps), "above warmup_steps");
  if (!(schedule.final_share >= 0 && schedule.final_share <= 1))
    return refuse("final_share", schedule.final_share, "in 0..1");
  if (!(schedule.decay > 0 && schedule.decay <= 1)) return refuse("decay", schedule.decay, "above 0 and at most 1");
  if (schedule.every < 1) return refuse("every", static_cast<double>(schedule.every), "at least 1 step");
  return {};
}

double learning_rate_at(const Schedule& schedule, int64_t step) {
  if (step <= schedule.warmup_steps) {
    return schedule.learning_rate * static_cast<double>(step) / static_cast<double>(schedule.warmup_steps + 1);
  }
  const int64_t after = step - schedule.warmup_steps - 1;  // from 0
  if (schedule.kind == "cosine") {
    constexpr double kPi = 3.14159265358979323846;
    const int64_t length = schedule.total_steps - schedule.warmup_steps;
    const double part = std::min(1.0, static_cast<double>(after) / static_cast<double>(length));
    const double share = schedule.final_share + (1 - schedule.final_share) * (1 + hai_cos(kPi * part)) / 2;
    return schedule.learning_rate * share;
  }
  if (schedule.kind == "step") {
    return schedule.learning_rate * hai_pow(schedule.decay, static_cast<double>(after / schedule.every));
  }
  return schedule.learning_rate;
}

}  // namespace hai::training
