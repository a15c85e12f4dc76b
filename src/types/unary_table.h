/* The unary functions, one line each: schema, reference, 8-bit table, f32 kernel and ONNX name all come from here.
 *
 * X(name, ONNX name, parameters, alpha, beta, low, high, f64 expression, f32 expression, formula)
 *   parameters   how many of alpha and beta the function has; then their defaults
 *   low, high    where samples are drawn from
 *   f64          in x, a, b with the functions of types/exact_math.h: the definition, and the integer tables
 *   f32          in x, a, b with the functions of devices/cpu/exec/kernels/float_math.h: what the CPU kernels compute
 * A new function is one more line at the end (numbers are written into no file, but keep them stable for readers).
 */
#ifndef HAI_TYPES_UNARY_TABLE_H_
#define HAI_TYPES_UNARY_TABLE_H_

#define HAI_UNARY_TABLE(X)                                                                                           \
  X(relu, "Relu", 0, 0.0, 0.0, -4.0, 4.0, x < 0.0 ? 0.0 : x, x < 0.0F ? 0.0F : x, "max(x, 0)")                       \
  X(relu6, "", 0, 0.0, 0.0, -4.0, 9.0, x < 0.0 ? 0.0 : (x > 6.0 ? 6.0 : x), x < 0.0F ? 0.0F : (x > 6.0F ? 6.0F : x), \
    "min(max(x, 0), 6)")                                                                                             \
  X(leaky_relu, "LeakyRelu", 1, 0.01, 0.0, -4.0, 4.0, x < 0.0 ? a * x : x, x < 0.0F ? a * x : x,                     \
    "x < 0 ? alpha x : x")                                                                                           \
  X(elu, "Elu", 1, 1.0, 0.0, -4.0, 4.0, x < 0.0 ? a * hai_expm1(x) : x, x < 0.0F ? a * hai_f32_expm1(x) : x,         \
    "x < 0 ? alpha (exp(x) - 1) : x")                                                                                \
  X(sigmoid, "Sigmoid", 0, 0.0, 0.0, -8.0, 8.0, hai_sigmoid(x), hai_f32_sigmoid(x), "1 / (1 + exp(-x))")             \
  X(silu, "", 0, 0.0, 0.0, -8.0, 8.0, x < -700.0 ? -0.0 : x * hai_sigmoid(x), hai_f32_silu(x), "x / (1 + exp(-x))")  \
  X(hard_sigmoid, "HardSigmoid", 2, 0.2, 0.5, -4.0, 4.0, hai_clamp_unit_f64(a* x + b), hai_f32_clamp_unit(a* x + b), \
    "min(max(alpha x + beta, 0), 1)")                                                                                \
  X(hard_swish, "HardSwish", 0, 0.0, 0.0, -5.0, 5.0, x < -3.0 ? -0.0 : x * hai_clamp_unit_f64(x / 6.0 + 0.5),        \
    x < -3.0F ? -0.0F : x * hai_f32_clamp_unit(x * 0.166666672F + 0.5F), "x min(max(x / 6 + 1/2, 0), 1)")            \
  X(tanh, "Tanh", 0, 0.0, 0.0, -4.0, 4.0, hai_tanh(x), hai_f32_tanh(x), "tanh(x)")                                   \
  X(exp, "Exp", 0, 0.0, 0.0, -8.0, 4.0, hai_exp(x), hai_f32_exp(x), "e^x")                                           \
  X(log, "Log", 0, 0.0, 0.0, 0.01, 9.0, hai_log(x), hai_f32_log(x), "natural logarithm")                             \
  X(sqrt, "Sqrt", 0, 0.0, 0.0, 0.0, 9.0, hai_sqrt(x), hai_f32_sqrt(x), "square root")                                \
  X(reciprocal, "Reciprocal", 0, 0.0, 0.0, 0.1, 4.0, 1.0 / x, 1.0F / x, "1 / x")                                     \
  X(neg, "Neg", 0, 0.0, 0.0, -4.0, 4.0, -x, -x, "-x")                                                                \
  X(abs, "Abs", 0, 0.0, 0.0, -4.0, 4.0, x < 0.0 ? -x : x + 0.0, hai_f32_abs(x), "|x|")                               \
  X(floor, "Floor", 0, 0.0, 0.0, -4.0, 4.0, hai_floor(x), hai_f32_floor(x), "largest integer <= x")                  \
  X(ceil, "Ceil", 0, 0.0, 0.0, -4.0, 4.0, hai_ceil(x), hai_f32_ceil(x), "least integer >= x")                        \
  X(round, "Round", 0, 0.0, 0.0, -4.0, 4.0, hai_round_even(x), hai_f32_round(x), "nearest integer, half to even")    \
  X(erf, "Erf", 0, 0.0, 0.0, -4.0, 4.0, hai_erf(x), hai_f32_erf(x), "2 / sqrt(pi) times the integral of exp(-t^2)")  \
  X(gelu, "Gelu", 0, 0.0, 0.0, -4.0, 4.0, hai_gelu(x), hai_f32_gelu(x), "x (1 + erf(x / sqrt 2)) / 2")               \
  X(softplus, "Softplus", 0, 0.0, 0.0, -6.0, 6.0, hai_softplus(x), hai_f32_softplus(x), "log(1 + exp(x))")           \
  X(mish, "Mish", 0, 0.0, 0.0, -6.0, 6.0, hai_mish(x), hai_f32_mish(x), "x tanh(log(1 + exp(x)))")                   \
  X(sin, "Sin", 0, 0.0, 0.0, -9.0, 9.0, hai_sin(x), hai_f32_sin(x), "sine of x radians")                             \
  X(cos, "Cos", 0, 0.0, 0.0, -9.0, 9.0, hai_cos(x), hai_f32_cos(x), "cosine of x radians")                           \
  X(square, "", 0, 0.0, 0.0, -4.0, 4.0, x* x, x* x, "x^2")

#define HAI_UNARY_ENUMERATOR(name, ...) HAI_UNARY_##name,
enum { HAI_UNARY_TABLE(HAI_UNARY_ENUMERATOR) HAI_UNARY_COUNT };

#endif /* HAI_TYPES_UNARY_TABLE_H_ */
