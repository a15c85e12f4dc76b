/* pack_right_s8, start_sums_s32: see pack_right.h. Plain loops, one for each k_group, which compilers vectorise.
 */
#include "devices/cpu/exec/kernels/pack_right.h"

#include "devices/cpu/exec/kernel_name.h"
#include "devices/cpu/exec/kernels/vector.h"

/* Steps whose ks all exist, from rows of b. */
HAI_INLINE void pack_rows(const hai_pack_right* p, int64_t steps, const int group) {
  const int columns = p->columns;
  const uint8_t flip = p->flip;
  int32_t* restrict sums = p->sums;
  for (int64_t s = 0; s < steps; ++s) {
    const uint8_t* from = p->from + s * group * p->k_step;
    int8_t* restrict to = p->out + s * group * p->nr;
    for (int j = 0; j < columns; ++j) {
      int32_t sum = 0;
      for (int i = 0; i < group; ++i) {
        const int8_t value = (int8_t)(from[i * p->k_step + j] ^ flip);
        to[j * group + i] = value;
        sum += value;
      }
      sums[j] += sum;
    }
  }
}

/* The same where b is stored by columns. */
HAI_INLINE void pack_columns(const hai_pack_right* p, int64_t steps, const int group) {
  const uint8_t flip = p->flip;
  for (int j = 0; j < p->columns; ++j) {
    const uint8_t* from = p->from + j * p->column_step;
    int8_t* restrict to = p->out + j * group;
    int32_t sum = 0;
    for (int64_t s = 0; s < steps; ++s) {
      for (int i = 0; i < group; ++i) {
        const int8_t value = (int8_t)(from[s * group + i] ^ flip);
        to[i] = value;
        sum += value;
      }
      to += p->nr * group;
    }
    p->sums[j] += sum;
  }
}

HAI_INLINE void pack_steps(const hai_pack_right* p, int64_t steps, const int group) {
  if (p->column_step == 1) {
    pack_rows(p, steps, group);
  } else {
    pack_columns(p, steps, group);
  }
}

void HAI_KERNEL(pack_right_s8)(const hai_pack_right* p);
void HAI_KERNEL(pack_right_s8)(const hai_pack_right* given) {
  const hai_pack_right copy = *given; /* stores of bytes cannot change it */
  const hai_pack_right* p = &copy;
  const int group = p->k_group;
  const int64_t steps = p->k_count / group;
  const int64_t left = p->k_count - steps * group;
  const int64_t stored = (steps + (left > 0 ? 1 : 0)) * group * p->nr;
  if (p->columns < p->nr) {
    __builtin_memset(p->out, 0, (uint64_t)stored);
  } else if (left > 0) {
    __builtin_memset(p->out + steps * group * p->nr, 0, (uint64_t)(group * p->nr));
  }
  if (group == 4) {
    pack_steps(p, steps, 4);
  } else if (group == 2) {
    pack_steps(p, steps, 2);
  } else {
    pack_steps(p, steps, 1);
  }
  for (int64_t k = steps * group; k < p->k_count; ++k) {
    int8_t* to = p->out + steps * group * p->nr + (k - steps * group);
    for (int j = 0; j < p->columns; ++j) {
      const int8_t value = (int8_t)(p->from[k * p->k_step + j * p->column_step] ^ p->flip);
      to[j * group] = value;
      p->sums[j] += value;
    }
  }
}

void HAI_KERNEL(start_sums_s32)(const hai_start_sums* given);
void HAI_KERNEL(start_sums_s32)(const hai_start_sums* given) {
  const int nr = given->nr;
  for (int32_t i = 0; i < given->rows; ++i) {
    const uint32_t row = (uint32_t)(uint64_t)given->row_terms[i];
    int32_t* restrict sums = given->sums + i * nr;
    const int64_t* columns = given->column_terms;
    for (int j = 0; j < nr; ++j) sums[j] = (int32_t)(row + (uint32_t)(uint64_t)columns[j]);
  }
}
