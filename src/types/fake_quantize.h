/* A float as the integer that it would become, and back: what quantization-aware training lets a layer see. The grid is
 * that of quantize_layer.h, so what is trained for is what a quantized layer has. Plain C, in f64; numbers that are
 * none stay none, so that a step which meets one is still refused. */
#pragma once

#include <stdint.h>

#include "types/arithmetic.h"
#include "types/quantize_layer.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Integers from `least` to `most`; `zero` of them stands for 0, neighbours are `scale` apart. */
typedef struct {
  double scale;
  double zero;
  double least;
  double most;
} hai_fake_grid;

/* For what lies in [low, high]. limit 0: 8 bits with a zero point, as activations have; else [-limit, limit] around 0,
 * as weights have. */
static inline hai_fake_grid hai_make_fake_grid(double low, double high, int64_t limit) {
  hai_fake_grid grid;
  if (limit > 0) {
    grid.scale = (double)hai_weight_scale(-low > high ? -low : high, (double)limit);
    grid.zero = 0;
    grid.least = -(double)limit;
    grid.most = (double)limit;
    return grid;
  }
  const hai_range_choice choice = hai_choose_range_i8(low, high, 0);
  grid.scale = (double)choice.scale;
  grid.zero = (double)choice.zero_point;
  grid.least = -128;
  grid.most = 127;
  return grid;
}

/* The nearest integer of an endless grid, ties to even; beyond 2^51, where none is near, still outside of any grid. */
static inline double hai_fake_step(double x, hai_fake_grid grid) {
  return hai_round_half_even_f64(x / grid.scale) + grid.zero;
}

static inline double hai_fake_quantize(double x, hai_fake_grid grid) {
  const double q = hai_fake_step(x, grid);
  const double kept = q < grid.least ? grid.least : q > grid.most ? grid.most : q;
  return (kept - grid.zero) * grid.scale;
}

/* Straight through: the gradient of rounding is taken as 1, that of clamping is 0 outside of the grid. */
static inline double hai_fake_gradient(double x, double dy, hai_fake_grid grid) {
  const double q = hai_fake_step(x, grid);
  return q < grid.least || q > grid.most ? 0 : dy;
}

#ifdef __cplusplus
}
#endif
