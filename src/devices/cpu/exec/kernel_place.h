// The place that errors name for an instruction of a program.
#pragma once

#include <string>

#include "format/program.h"

namespace hai::cpu {

// "conv2d 'layers.3'": its kernel and its name.
std::string place_of(const format::Instruction& instruction);

}  // namespace hai::cpu
