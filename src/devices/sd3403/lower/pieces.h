// How a layer is cut: over the cores by rows or by channels, and on a core by what the weight cache takes at a time.
#pragma once

#include <cstdint>
#include <vector>

#include "base/result.h"
#include "devices/sd3403/lower/layer.h"
#include "devices/sd3403/machine/machine.h"

namespace hai::sd3403 {

// Forced ones are for tests; kBranches pairs all layers that are independent.
enum class Split : uint8_t { kAuto, kRows, kChannels, kOneCore, kBranches };

struct Range {
  int64_t first = 0, count = 0;
};

// A stretch of a layer's constants that is loaded at once: output channels, and of dense convolutions input channels.
struct Chunk {
  Range channels;
  Range depth;
  int64_t bytes = 0;
};

// What a core does of a layer: all of its rows or half of them, all of its channels or half of them.
struct Share {
  int64_t core = 0;
  Range channels;
  bool halves_rows = false;
};

// The quicker of both ways by compute cycles and weight bytes; `forced` decides where it can.
std::vector<Share> shares_of(const Layer& layer, const Machine& machine, Split forced);
// Chunks of a share, in order. `whole_rows` says whether all rows run with each chunk, so that it is loaded once.
std::vector<Chunk> chunks_of(const Layer& layer, const Machine& machine, const Range& channels);

// Errors: N120 a piece of its constants is larger than the weight cache, N121 its sums do not fit the accumulators
// where they must wait there.
Status constants_fit(const Layer& layer, const Machine& machine);

// The command that packs a piece's weights, without addresses. Precondition: the layer packs.
WeightPack pack_of(const Layer& layer, const Range& channels, const Range& depth);

// Bytes of a piece in the weight cache, without the function's table. `rows` are those of Resize's result.
int64_t constant_bytes(const Layer& layer, const Range& channels, const Range& depth, int64_t rows);
// Of those, what the layer packs itself.
int64_t packed_weight_bytes(const Layer& layer, const Range& channels, const Range& depth);
int64_t table_bytes(const Layer& layer);
// What a core loads from external memory to make these channels of all rows: pieces without what is packed, and the
// table.
int64_t loaded_constant_bytes(const Layer& layer, const Range& channels);
// Whether pieces of the layer have anything in the weight cache besides the table.
bool has_constants(const Layer& layer);

// The part of the weight cache, at its end, that is kept for functions' tables, so that streaming weights do not push
// them out; tables larger than half of it lie among the weights.
int64_t table_room(const Machine& machine);
bool is_small_table(const Layer& layer, const Machine& machine);

// Cycles of the array or the post-processing for so many rows and channels of a layer.
int64_t layer_cycles(const Layer& layer, const Machine& machine, int64_t rows, int64_t channels);
// Output pixels whose sums wait in the accumulators for a block of channels: while another pass uses their other half;
// of a transform, whose pieces are short, in all of them.
int64_t pixels_in_accumulators(const Layer& layer, const Machine& machine);
// The part of so many rows that is core 0's where cores have half of the rows each.
int64_t first_half(const Layer& layer, int64_t rows);

}  // namespace hai::sd3403
