// Tries the operating points from the slowest up.
//
// There are few points and a simulation takes milliseconds, so nothing is predicted from one point to the next: that
// would need to know how much of the time is external memory's, whose speed the clock does not change.
#include "devices/sd3403/exec/governor.h"

#include <cmath>

namespace hai::sd3403 {

Result<Timeline> slowest_in_time(std::span<const Command> commands, std::span<const std::byte> constants,
                                 const Machine& machine, double deadline_seconds) {
  if (!(deadline_seconds > 0) || !std::isfinite(deadline_seconds)) {
    return make_error(StatusCode::kInvalidArgument, "N086", "a frame in {} seconds: the deadline must be above 0",
                      deadline_seconds);
  }
  std::vector<OperatingPoint> points = machine.points;
  if (points.empty()) points.push_back({machine.clock_mhz, machine.clock_volts});
  double last_seconds = 0;
  for (const OperatingPoint& point : points) {
    Machine at_point = machine;
    at_point.clock_mhz = point.clock_mhz;
    at_point.clock_volts = point.volts;
    HAI_TRY(Timeline timeline, time_program(commands, constants, at_point));
    last_seconds = timeline.seconds();
    if (last_seconds <= deadline_seconds) return timeline;
  }
  return make_error(StatusCode::kOutOfRange, "N085",
                    "no clock of machine {} makes a frame in {:.4g} ms: at its fastest, {} MHz, it takes {:.4g} ms "
                    "(modelled); give it more time or a smaller model",
                    machine.name, deadline_seconds * 1e3, points.back().clock_mhz, last_seconds * 1e3);
}

}  // namespace hai::sd3403
