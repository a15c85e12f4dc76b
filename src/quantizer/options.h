// Options of a quantization: what the caller may choose, with one set of names in C++, Python and on the command line.
//
// Everything that comes from outside goes through options_from_json, which knows every name, type and range and refuses
// the rest.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace hai::quantizer {

// The widths of a layer: weights and activations. {4, 8} x 8, 8 x 16 and 16 x 16 bits; {4, 8} x 32 is weight-only
// (integer weights, f32 activations); f16 has both in f16, and needs no ranges.
struct Precision {
  int weight_bits = 8;
  int activation_bits = 8;
  bool is_float = false;
  bool is_half = false;  // f16

  bool weight_only() const { return !is_float && activation_bits == 32; }
  bool operator==(const Precision&) const = default;
};

// "w8a8", "w4a8", "w8a16", "w16a16", "w8", "w4" (weight-only), "f16", "float".
std::string to_string(const Precision& precision);
// The same names, and "int8", "int4" (w4a8), "int16".
Result<Precision> parse_precision(std::string_view text);

// How the range of an activation is chosen from what was seen.
enum class Observer : uint8_t {
  kMinMax = 0,      // the whole range seen
  kMse = 1,         // the range whose rounding and clipping errs least, in mean square, over a histogram; but never
                    // wider than kPercentile's
  kPercentile = 2,  // all but a share of the values at either end
  kKl = 3,          // the range whose quantized histogram diverges least from the histogram itself; kMse for tensors of
                    // which fewer than 8,192 values other than zero were seen
};
std::string_view observer_name(Observer observer);

// Which 3x3 layers of stride 1, of 8 bits or f16, become winograd_conv2d.
enum class Winograd : uint8_t {
  kOff = 0,
  kAuto = 1,  // those that modelled cycles favour and whose measured error stays within a limit (winograd_layers.h)
  kAll = 2,   // every eligible one, with tiles of 4 x 4
};
std::string_view winograd_name(Winograd choice);

struct AdaRoundOptions {
  int iterations = 300;         // a layer; 0: the closed-form steps only
  int batch_rows = 256;         // output positions a step
  double learning_rate = 0.1;   // of the rounding variables
  double regularization = 0.3;  // of variables that stay between two integers, in errors of one rounding step
  int64_t max_rows = 4096;      // output positions a layer that are kept
  bool operator==(const AdaRoundOptions&) const = default;
};

struct QuantizeOptions {
  Observer observer = Observer::kMse;
  double percentile = 99.99;    // how much of the values Observer::kPercentile keeps, and kMse at most, in per cent
  bool symmetric = false;       // activations with zero point 0
  bool bias_correction = true;  // add to each bias the mean error that rounding the weights makes (Nagel et al., 2019)
  Precision precision;          // of every layer (a layer: a node that multiplies and accumulates)
  std::map<std::string, Precision> layers;  // by node name; goes before `precision`
  std::vector<std::string> keep_float;      // names of nodes that stay f32
  // 4-bit weights on the grid of their channel's largest, as a training with qat=w4a8 saw them, not of the least error.
  bool largest_scales = false;
  bool equalize = false;    // scale channels between layers where that lowers the expected noise
  bool widen = true;        // 16-bit activations for the few layers that 8 bits are too coarse for
  bool wide_points = true;  // 16 bits for what is looked up or added before it is stored
  bool smooth = false;      // SmoothQuant-style scaling behind a LayerNorm
  bool adaround = false;    // learn how to round the weights
  AdaRoundOptions adaround_options;
  Winograd winograd = Winograd::kOff;
  double winograd_loss_db = 10;  // signal over noise that Winograd::kAuto lets a layer lose against its direct form
  // Above 0: search_mixed() chooses the precision of each layer so that this many points are lost at most.
  double max_drop = 0;
  double sparsity = 0;                               // share of all weights that become zero, [0, 1)
  bool self_check = true;                            // compare float and quantized outputs on samples held back
  int64_t sample_memory_bytes = int64_t{256} << 20;  // calibration samples beyond it go to a temporary file
  int threads = 0;                                   // for calibration; 0: one a CPU
  uint64_t seed = 1;
  // Not empty: the model will be trained (passes/trainable_parameters.h says what this names), and only the part that
  // no step changes becomes integer; what a training reaches stays f32, with its batch norms.
  std::string trainable;
  // With `trainable`: also make an INT8 model of the whole, which a device can make again from what it trained
  // (docs/design/0021).
  bool rebuild = true;
  // Not an option of callers: names of values that trained nodes make, which become integer by what a device can do
  // again: ranges from least to largest, rounding to nearest, biases without correction.
  std::set<std::string> trained_values;
  bool force = false;  // hand out the result even when the self-check finds a collapse
};

// A JSON object whose names are the fields above ("adaround" is true, false or an object of AdaRoundOptions' fields;
// a precision is one of its names or {"weight_bits", "activation_bits"}). Empty text gives the defaults. Errors:
// unknown names, wrong types, values out of range; "precision" beside "max_drop", which chooses it; "winograd" beside
// "adaround" or "max_drop", which know conv2d only.
Result<QuantizeOptions> options_from_json(std::string_view text);

}  // namespace hai::quantizer
