// Fuzz target: profiles of machines. Any text is refused with a reason, or gives a machine that passes its own checks
// and comes back from its own text.
#include <cstdlib>
#include <string>

#include "devices/sd3403/profile/machine_file.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace hai::sd3403;
  const auto machine = parse_machine({reinterpret_cast<const char*>(data), size});
  if (!machine) {
    if (machine.error().message.empty()) std::abort();
    return 0;
  }
  if (!check_machine(*machine)) std::abort();
  const auto again = parse_machine(machine_json(*machine));
  if (!again || machine_json(*again) != machine_json(*machine)) std::abort();
  return 0;
}
