// Faults to inject, as text: `hai run --inject`.
//
//   flip,image=IMAGE,byte=N,bit=0..7   a bit of external memory turns over; IMAGE: constants, commands, scratch, the
//                                      name of a tensor that goes into the segment or comes out, or an image's number
//   flip,seed=N[,image=IMAGE]          the same, somewhere that the seed decides
//   semaphore,number=0..63             its signals never arrive
//   dma,core=0..1,channel=0..1,transfer=N   the channel's N-th transfer, from 0, is never done
//
// Each may name its segment (`,segment=npu1`); without, it is meant for the program's first.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace hai::sd3403 {

enum class FaultKind : uint8_t { kFlip, kSemaphore, kDma };

struct FaultSpec {
  std::string text;  // as given
  FaultKind kind = FaultKind::kFlip;
  std::string segment;  // empty: the first
  // Of a flip: either a seed, or byte and bit and an image.
  std::string image;
  std::optional<uint64_t> seed;
  int64_t byte = 0;
  int bit = 0;
  int64_t semaphore = 0;
  int64_t core = 0, channel = 0, transfer = 0;
};

inline constexpr size_t kMostFaults = 64;

// Specifications separated by ';'. Error N093: what is wrong, and the forms that there are.
Result<std::vector<FaultSpec>> parse_faults(std::string_view text);

}  // namespace hai::sd3403
