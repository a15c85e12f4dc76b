/* The derivatives of the unary functions (unary_table.h), one line for each that has one: reference, f32 kernel and
 * gradient rule come from here.
 *
 * X(name, of, f64 expression, f32 expression, formula)
 *   of           what the derivative is written in: kInput (x) or kOutput (y = f(x)). The output where it suffices: the
 * tensor before the function need not be kept then. f64, f32     in v (the input or the output), a, b; functions as in
 * unary_table.h At kinks the value is the one that PyTorch takes: relu' (0) = 0, |x|' (0) = 0, relu6' (0) = relu6' (6)
 * = 0. floor, ceil and round have the gradient zero everywhere and are left out; neg's is the neg of the gradient.
 */
#ifndef HAI_TYPES_UNARY_GRADIENT_TABLE_H_
#define HAI_TYPES_UNARY_GRADIENT_TABLE_H_

#define HAI_UNARY_GRADIENT_TABLE(X)                                                                                    \
  X(relu, kOutput, v > 0.0 ? 1.0 : 0.0, v > 0.0F ? 1.0F : 0.0F, "y > 0")                                               \
  X(relu6, kOutput, v > 0.0 && v < 6.0 ? 1.0 : 0.0, ((v > 0.0F) & (v < 6.0F)) ? 1.0F : 0.0F, "0 < y < 6")              \
  X(leaky_relu, kInput, v > 0.0 ? 1.0 : a, v > 0.0F ? 1.0F : a, "x > 0 ? 1 : alpha")                                   \
  X(elu, kInput, v > 0.0 ? 1.0 : a * hai_exp(v), v > 0.0F ? 1.0F : a * hai_f32_exp(v), "x > 0 ? 1 : alpha exp(x)")     \
  X(sigmoid, kOutput, v * (1.0 - v), v * (1.0F - v), "y (1 - y)")                                                      \
  X(silu, kInput, hai_silu_gradient(v), hai_f32_silu_gradient(v), "s (1 + x (1 - s)), s = sigmoid(x)")                 \
  X(hard_sigmoid, kOutput, v > 0.0 && v < 1.0 ? a : 0.0, ((v > 0.0F) & (v < 1.0F)) ? a : 0.0F,                         \
    "0 < y < 1 ? alpha : 0")                                                                                           \
  X(hard_swish, kInput, v < -3.0 ? 0.0 : (v > 3.0 ? 1.0 : v / 3.0 + 0.5),                                              \
    v < -3.0F ? 0.0F : (v > 3.0F ? 1.0F : v * 0.333333343F + 0.5F), "x < -3 ? 0 : x > 3 ? 1 : x / 3 + 1/2")            \
  X(tanh, kOutput, 1.0 - v * v, 1.0F - v * v, "1 - y^2")                                                               \
  X(exp, kOutput, v, v, "y")                                                                                           \
  X(log, kInput, 1.0 / v, 1.0F / v, "1 / x")                                                                           \
  X(sqrt, kOutput, 0.5 / v, 0.5F / v, "1 / (2 y)")                                                                     \
  X(reciprocal, kOutput, -v* v, -v* v, "-y^2")                                                                         \
  X(abs, kInput, v > 0.0 ? 1.0 : (v < 0.0 ? -1.0 : 0.0), v > 0.0F ? 1.0F : (v < 0.0F ? -1.0F : 0.0F), "sign of x")     \
  X(erf, kInput, 1.1283791670955126 * hai_exp(-v * v), 1.12837917F * hai_f32_exp(-v * v), "2 / sqrt(pi) exp(-x^2)")    \
  X(gelu, kInput, hai_gelu_gradient(v), hai_f32_gelu_gradient(v),                                                      \
    "(1 + erf(x / sqrt 2)) / 2 + x exp(-x^2 / 2) / sqrt(2 pi)")                                                        \
  X(softplus, kInput, hai_sigmoid(v), hai_f32_sigmoid(v), "sigmoid(x)")                                                \
  X(mish, kInput, hai_mish_gradient(v), hai_f32_mish_gradient(v), "t + x sigmoid(x) (1 - t^2), t = tanh(softplus(x))") \
  X(sin, kInput, hai_cos(v), hai_f32_cos(v), "cos(x)")                                                                 \
  X(cos, kInput, -hai_sin(v), -hai_f32_sin(v), "-sin(x)")                                                              \
  X(square, kInput, 2.0 * v, 2.0F * v, "2 x")

#endif /* HAI_TYPES_UNARY_GRADIENT_TABLE_H_ */
