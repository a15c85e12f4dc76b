// TrainLimits: how much of the processor a training may use, and how hot the machine may become.
#pragma once

#include <chrono>
#include <functional>
#include <string>

#include "base/result.h"

namespace hai::tools {

class TrainLimits {
 public:
  TrainLimits() = default;  // none
  // `cpu_share`: in (0, 1], of the time of `threads` CPUs. `max_temperature`: degrees Celsius; 0: none. Zones are the
  // folders thermal_zone*/ of `thermal_folder` with a file `temp` of thousandths of a degree.
  TrainLimits(double cpu_share, int threads, double max_temperature, std::string thermal_folder);

  // Error L160: a temperature is not to be passed, and none can be read.
  Status check() const;
  // Rests after a step until both limits hold again, or `stop` is true. `show` is told why it takes long.
  void rest(const std::function<bool()>& stop, const std::function<void(const std::string&)>& show);
  double rested_seconds() const { return rested_seconds_; }

 private:
  using Clock = std::chrono::steady_clock;
  void sleep(double seconds, const std::function<bool()>& stop);

  double cpu_share_ = 1;
  int threads_ = 1;
  double max_temperature_ = 0;
  std::string thermal_folder_;
  Clock::time_point step_begin_ = Clock::now();
  double step_begin_cpu_seconds_ = 0;
  Clock::time_point temperature_read_;
  double rested_seconds_ = 0;
};

}  // namespace hai::tools
