// synchronise(): semaphores for commands that were written down in one order.
#pragma once

#include <vector>

#include "base/result.h"
#include "devices/sd3403/isa/command.h"

namespace hai::sd3403 {

// `commands` have no Wait, Signal or End; run one after the other in this order they are right. The result has the same
// commands of each queue in the same order, with what makes the six queues wait for each other wherever a byte that one
// writes is read or written by another, and an End for each queue that has any. It needs no more than 36 semaphores.
std::vector<Command> synchronise(const std::vector<Command>& commands);

}  // namespace hai::sd3403
