// Whether samples keep apart in a program, so that it can be run on a few of a batch at a time.
//
// The arena then is that of a piece, and what a layer makes is still in a cache when the next reads it. Planning
// (compiler/training.cpp) and running (training/sample_pieces.h) take the size of a piece from here.
#pragma once

#include <cstdint>

#include "format/program.h"

namespace hai::format {

// The most samples to run at a time; 0: all of them, because some instruction may mix samples.
int64_t samples_a_piece(const Program& program);

}  // namespace hai::format
