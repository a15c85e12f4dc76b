// The machines that come with HAI (profiles.def). Others come from files (devices/sd3403/profile/).
#pragma once

#include <span>
#include <string_view>

#include "devices/sd3403/machine/machine.h"

namespace hai::sd3403 {

struct Profile {
  Machine machine;
  std::string doc;
};

std::span<const Profile> built_in_profiles();
// Error N044 names those that there are.
Result<Machine> find_machine(std::string_view name);

}  // namespace hai::sd3403
