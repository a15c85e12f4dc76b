// Copies of states, and which.
//
// A state belongs to the parameter whose name it has, or has before its last slash.
#include "training/held_states.h"

#include <algorithm>
#include <string_view>

namespace hai::training {

HeldStates::HeldStates(Trainer& trainer, const std::set<std::string>& moving) : trainer_(trainer) {
  std::set<std::string, std::less<>> held;
  for (size_t i = 0; i < trainer.state_count(); ++i) {
    if (trainer.is_parameter(i) && !moving.contains(trainer.state_tensor(i).name))
      held.insert(trainer.state_tensor(i).name);
  }
  for (size_t i = 0; i < trainer.state_count(); ++i) {
    const std::string_view name = trainer.state_tensor(i).name;
    const std::string_view owner = trainer.is_parameter(i) ? name : name.substr(0, name.rfind('/'));
    if (!held.contains(owner)) continue;
    const auto bytes = trainer.state(i);
    held_.emplace_back(i, std::vector<std::byte>(bytes.begin(), bytes.end()));
  }
}

void HeldStates::put_back() {
  for (const auto& [index, bytes] : held_) std::ranges::copy(bytes, trainer_.state(index).begin());
}

}  // namespace hai::training
