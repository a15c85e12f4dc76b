// A list under a lock; the cpu is always there.
//
// Simulated devices are added by who wants them (devices/sd3403/simulator), so that the runtime library on a real board
// carries none.
#include "runtime/devices.h"

#include <algorithm>
#include <mutex>
#include <string>

namespace hai::runtime {
namespace {

struct List {
  std::mutex mutex;
  std::vector<Device> devices = {{"cpu", "the processor of this machine", &cpu::ExecRegistry::instance}};
};

List& list() {
  static List all;
  return all;
}

}  // namespace

void add_device(const Device& device) {
  const std::lock_guard lock(list().mutex);
  std::vector<Device>& devices = list().devices;
  const auto same =
      std::find_if(devices.begin(), devices.end(), [&](const Device& d) { return d.name == device.name; });
  if (same == devices.end()) {
    devices.push_back(device);
  } else {
    *same = device;
  }
}

std::vector<Device> devices() {
  const std::lock_guard lock(list().mutex);
  return list().devices;
}

Error unknown_device(std::string_view wanted) {
  std::string names;
  for (const Device& device : devices()) names += (names.empty() ? "" : ", ") + std::string(device.name);
  return make_error(StatusCode::kUnsupported, "R013",
                    "device '{}' is not in this build, which has: {}; compile the model for one of them", wanted,
                    names);
}

}  // namespace hai::runtime
