// The kernels that only training runs (operators that differentiation makes), as one room of their own.
//
// A device that runs compiled networks does without them: libhai_runtime.so stays small. Whoever links this room
// (tools, the Python package, tests, whatever trains on a device) gets them registered with the others:
// exec_registry.cpp calls hai_register_train_exec() where it is linked, and the room's link options see to it that it
// is.
#include "devices/cpu/exec/exec_registry.h"

extern "C" void hai_register_train_exec(hai::cpu::ExecRegistry& registry);
extern "C" void hai_register_train_exec(hai::cpu::ExecRegistry& registry) {
  hai::cpu::register_all_train_exec(registry);
}
