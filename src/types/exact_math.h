/* Elementary functions with the same bits on every machine: f64 in, f64 out, from + - * / and moves of bits only.
 *
 * No libm (its last bits differ between systems) and no fused multiply-add. Most are within 1 ulp, all within 2 ulp of
 * the true value where the comment says nothing else; exact_math_test.cpp measures it. Tables for 8-bit tensors,
 * softmax and the references are made with these. They are not meant for inner loops: 20 to 200 ns a call.
 */
#ifndef HAI_TYPES_EXACT_MATH_H_
#define HAI_TYPES_EXACT_MATH_H_

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

double hai_exp(double x);
double hai_expm1(double x);
double hai_log(double x);
double hai_log1p(double x);
double hai_tanh(double x);
double hai_sigmoid(double x);  /* 1 / (1 + exp(-x)) */
double hai_softplus(double x); /* log(1 + exp(x)) */
double hai_mish(double x);     /* x * tanh(softplus(x)) */
double hai_erf(double x);
double hai_gelu(double x); /* x / 2 * (1 + erf(x / sqrt 2)); for x < 0 the error is at most 2^-53 |x|, not relative */
double hai_sin(double x);  /* any finite x: the reduction is exact */
double hai_cos(double x);
double hai_sqrt(double x);
/* Special cases as in IEEE 754. Within 2 ulp for whole |y| <= 64, else within (2 + |y log x| / 32) ulp. */
double hai_pow(double x, double y);
double hai_floor(double x);
double hai_ceil(double x);
double hai_round_even(double x); /* nearest integer, half to even, any magnitude */

/* exp(-distance * s_x) * HAI_SOFTMAX_ONE, rounded half to even: entry `distance` (0..255) of the table of softmax. */
int32_t hai_softmax_table_entry(int32_t distance, float s_x);

/* epsilon * n^2 / s_x^2, and 1 / sqrt(variance + that) rounded to f32: see HAI_LAYER_NORM_MAX in arithmetic.h. */
double hai_layer_norm_epsilon(double epsilon, int64_t n, float s_x);
float hai_layer_norm_inverse(int64_t variance, double epsilon);

#ifdef __cplusplus
}
#endif

#endif /* HAI_TYPES_EXACT_MATH_H_ */
