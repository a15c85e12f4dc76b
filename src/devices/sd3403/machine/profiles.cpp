// Built-in machines from profiles.def.
//
// Each is sd3403 with some values set. Only sd3403 has a table of operating points; the others run at their one clock,
// at the supply that the energies hold for.
#include "devices/sd3403/machine/profiles.h"

#include <fmt/format.h>

#include <vector>

namespace hai::sd3403 {
namespace {

std::vector<Profile> make_profiles() {
  std::vector<Profile> out;
#define HAI_PROFILE(profile_name, profile_doc) \
  out.push_back({{}, profile_doc});            \
  out.back().machine.name = profile_name;
#define HAI_SET(value, number) out.back().machine.value = (number);
#include "devices/sd3403/machine/profiles.def"
  for (size_t i = 1; i < out.size(); ++i) {
    Machine& machine = out[i].machine;
    machine.points = {{machine.clock_mhz, machine.clock_volts}};
  }
  return out;
}

}  // namespace

std::span<const Profile> built_in_profiles() {
  static const std::vector<Profile> profiles = make_profiles();
  return profiles;
}

Result<Machine> find_machine(std::string_view name) {
  std::string known;
  for (const Profile& profile : built_in_profiles()) {
    if (profile.machine.name == name) return profile.machine;
    known += fmt::format("{}{}", known.empty() ? "" : ", ", profile.machine.name);
  }
  return make_error(StatusCode::kNotFound, "N044",
                    "there is no built-in profile \"{}\"; there are {}, or the path of a file", name.substr(0, 80),
                    known);
}

}  // namespace hai::sd3403
