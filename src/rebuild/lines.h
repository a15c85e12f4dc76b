// Lines: how the integers of a model follow from parameters that a training changes, as a model file lists it in its
// section "rebuild".
//
// There is a line for each range that is observed, for each scale that may have to be raised for a multiplier, and for
// each layer whose weights and bias are rounded again. In the file they are a format::Program of device "rebuild", so
// that there is no second format: constants say where the parameters lie, an instruction is a line.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "format/program.h"

namespace hai::rebuild {

// A scale that a line reads: of a range that was observed, or one that no training changes.
struct Scale {
  static constexpr int64_t kFixed = -1;
  int64_t range = kFixed;  // number of the range's line
  bool wide = false;       // its 16 bits
  double fixed = 1;
};

// A rounding point inside an instruction (types/epilogue.h).
struct PointSite {
  uint32_t instruction = 0;
  bool before_residual = false;  // pre_residual_scale and its zero point; else those of conv
  bool wide = false;
};

// The range of an activation.
struct RangeLine {
  std::string value;  // the observers' states are "VALUE/low" and "VALUE/high"
  bool symmetric = false;
  bool point = false;                    // its 16 bits are steps of the 8-bit range
  std::vector<uint32_t> narrow_tensors;  // of the integer program: i8 with this range
  std::vector<uint32_t> wide_tensors;    // i16
  std::vector<PointSite> points;
};

// A range's scale is at least what multipliers of one node that makes it need.
struct RaiseLine {
  enum class Kind : uint8_t { kLayer = 0, kLargest = 1, kProduct = 2 };
  int64_t range = 0;
  bool wide = false;
  Kind kind = Kind::kLargest;
  int64_t layer = -1;         // kLayer: number of the layer's line, whose weights and input decide
  std::vector<Scale> inputs;  // else of what the node reads
};

// A float constant in the weights section.
struct Parameter {
  std::string name;
  int64_t offset_bytes = 0;
  Shape shape;
};

// What is folded into a layer's weights and bias, in this order, each rounded to f32.
struct Stage {
  enum class Kind : uint8_t { kBatchNorm = 0, kAdd = 1, kSubtract = 2, kSubtractFrom = 3, kMultiply = 4, kDivide = 5 };
  Kind kind = Kind::kBatchNorm;
  double epsilon = 0;
  std::vector<Parameter> constants;  // of a batch norm scale, offset, mean, variance; else one
};

struct LayerLine {
  std::string name;
  Parameter weights;
  std::vector<Parameter> bias;  // one or none
  std::vector<Stage> stages;
  int64_t channels = 0;
  int64_t inner = 1;  // elements of one channel that lie together
  int64_t weight_bits = 8;
  double bias_limit = 0;
  Scale input;
  Scale output;  // fixed at 1 where the result is f32
  uint32_t weight_tensor = 0;
  uint32_t bias_tensor = 0;
};

struct Lines {
  std::vector<RangeLine> ranges;
  std::vector<RaiseLine> raises;  // in the order of the graph
  std::vector<LayerLine> layers;
};

std::string low_state(const std::string& value);
std::string high_state(const std::string& value);

// Error E110: malformed, in this line.
Error malformed(const std::string& line, std::string_view what);

// Whether the model's first program is the integer one, and the f32 one in standby. Of a section that says nothing:
// false.
bool runs_integers(const format::Program& program);
void set_runs_integers(format::Program& program, bool integers);

format::Program encode(const Lines& lines);

// Reads and checks the lines against the program that they write to: every number is one of it, shapes fit, nothing
// that is written overlaps what is read. `program` was verified (format::verify_program) against the same weights.
// Error E110: malformed, with what is wrong.
Result<Lines> decode(const format::Program& program, const format::Program& integer);

}  // namespace hai::rebuild
