// Resting between steps.
//
// Method: the share is of the process's own CPU time, decoding threads included, from one step to the next: what a step
// did not use is no credit for a later one. The hottest zone counts; it is read at most once a second, and training
// goes on when it is 3 degrees below the limit, so that it does not change between the two at every step. Results do
// not depend on any of this.
#include "tools/hai_device/train_limits.h"

#include <fmt/format.h>
#include <time.h>

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <optional>
#include <thread>
#include <utility>

namespace hai::tools {
namespace {

constexpr double kBelowLimit = 3;       // degrees, before training goes on
constexpr double kSliceSeconds = 0.05;  // of a sleep, after which an interrupt is seen
constexpr double kBetweenReadings = 1;
constexpr double kLongestRestSeconds = 60;  // of one step: the clock may have been set while the process was stopped

double cpu_seconds() {
  timespec now{};
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

double seconds_since(std::chrono::steady_clock::time_point begin) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

// Of the hottest zone; none where no zone can be read.
std::optional<double> temperature(const std::string& folder) {
  std::optional<double> hottest;
  std::error_code failure;
  for (std::filesystem::directory_iterator entry(folder, failure), end; !failure && entry != end;
       entry.increment(failure)) {
    if (!entry->path().filename().string().starts_with("thermal_zone")) continue;
    std::FILE* file = std::fopen((entry->path() / "temp").c_str(), "r");  // of size 0, as all of /sys
    if (file == nullptr) continue;
    char text[32] = {};
    const size_t size = std::fread(text, 1, sizeof(text) - 1, file);
    std::fclose(file);
    int64_t thousandths = 0;
    if (std::from_chars(text, text + size, thousandths).ec != std::errc()) continue;
    hottest = std::max(hottest.value_or(-1e9), static_cast<double>(thousandths) / 1000);
  }
  return hottest;
}

}  // namespace

TrainLimits::TrainLimits(double cpu_share, int threads, double max_temperature, std::string thermal_folder)
    : cpu_share_(cpu_share),
      threads_(std::max(threads, 1)),
      max_temperature_(max_temperature),
      thermal_folder_(std::move(thermal_folder)),
      step_begin_cpu_seconds_(cpu_seconds()) {}

Status TrainLimits::check() const {
  if (max_temperature_ <= 0 || temperature(thermal_folder_)) return {};
  return make_error(StatusCode::kUnsupported, "L160",
                    "--max-temperature {}: {} has no thermal zone that can be read; leave it out, and limit the load "
                    "with --cpu-share",
                    max_temperature_, thermal_folder_);
}

void TrainLimits::sleep(double seconds, const std::function<bool()>& stop) {
  const Clock::time_point begin = Clock::now();
  while (!stop() && seconds_since(begin) < seconds) {
    std::this_thread::sleep_for(std::chrono::duration<double>(std::min(kSliceSeconds, seconds)));
  }
  rested_seconds_ += seconds_since(begin);
}

void TrainLimits::rest(const std::function<bool()>& stop, const std::function<void(const std::string&)>& show) {
  if (cpu_share_ < 1) {
    const double used = cpu_seconds() - step_begin_cpu_seconds_;
    sleep(std::clamp(used / (cpu_share_ * threads_) - seconds_since(step_begin_), 0.0, kLongestRestSeconds), stop);
  }
  if (max_temperature_ > 0 && seconds_since(temperature_read_) >= kBetweenReadings) {
    double limit = max_temperature_;
    for (;;) {
      const std::optional<double> now = temperature(thermal_folder_);
      temperature_read_ = Clock::now();
      if (!now || *now <= limit || stop()) break;
      limit = max_temperature_ - kBelowLimit;
      show(fmt::format("{:.1f} degrees: waits until the machine has {:.1f}", *now, limit));
      sleep(kBetweenReadings / 4, stop);
    }
  }
  step_begin_ = Clock::now();
  step_begin_cpu_seconds_ = cpu_seconds();
}

}  // namespace hai::tools
