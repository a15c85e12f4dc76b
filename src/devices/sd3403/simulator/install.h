// The simulated board as a device of the runtime.
//
// The runtime library that a device carries does not have it: tools, the Python package and tests install it.
#pragma once

namespace hai::sd3403 {

// From then on sessions of device "sd3403" can be made in this process. May be called again, and from any thread. True.
bool install_simulator();

}  // namespace hai::sd3403
