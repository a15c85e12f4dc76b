/* read_bandwidth: loads of a whole buffer, added up; the measured limit of memory that kernels are compared with.
 *
 * Independent sums hide the latency of the addition. Returns a value that depends on every load, so that no compiler
 * removes them. Only whole groups of vectors are read.
 */
#include "devices/cpu/exec/kernel_name.h"
#include "devices/cpu/exec/kernels/vector.h"

#define SUMS 8

float HAI_KERNEL(read_bandwidth)(const float* x, int64_t count, int64_t rounds);
float HAI_KERNEL(read_bandwidth)(const float* x, int64_t count, int64_t rounds) {
  vec sum[SUMS];
  HAI_UNROLL
  for (int i = 0; i < SUMS; ++i) sum[i] = v_zero();
  for (int64_t r = 0; r < rounds; ++r) {
    __asm__ volatile("" : : "r"(x) : "memory"); /* each round reads anew */
    for (int64_t at = 0; at + SUMS * HAI_LANES <= count; at += SUMS * HAI_LANES) {
      HAI_UNROLL
      for (int i = 0; i < SUMS; ++i) sum[i] = v_add(sum[i], v_load(x + at + i * HAI_LANES));
    }
  }
  vec total = sum[0];
  HAI_UNROLL
  for (int i = 1; i < SUMS; ++i) total = v_add(total, sum[i]);
  float lanes[HAI_LANES];
  v_store(lanes, total);
  float out = 0.0F;
  for (int i = 0; i < HAI_LANES; ++i) out += lanes[i];
  return out;
}
