/* The element-wise functions of two operands. X(name, ONNX name, f32 expression in x and y, formula) */
#ifndef HAI_TYPES_BINARY_TABLE_H_
#define HAI_TYPES_BINARY_TABLE_H_

/* min and max hand NaN on from either side. */
#define HAI_BINARY_TABLE(X)                                         \
  X(add, "Add", x + y, "a + b")                                     \
  X(sub, "Sub", x - y, "a - b")                                     \
  X(mul, "Mul", x* y, "a b")                                        \
  X(div, "Div", x / y, "a / b; plain integers divide towards zero") \
  X(min, "Min", x < y || x != x ? x : y, "the lesser of a and b")   \
  X(max, "Max", x > y || x != x ? x : y, "the greater of a and b")  \
  X(pow, "Pow", hai_f32_pow(x, y), "a to the power of b")           \
  X(prelu, "PRelu", x < 0.0F ? x * y : x, "a < 0 ? a b : a; b broadcasts to the shape of a")

#define HAI_BINARY_ENUMERATOR(name, ...) HAI_BINARY_##name,
enum { HAI_BINARY_TABLE(HAI_BINARY_ENUMERATOR) HAI_BINARY_COUNT };

/* What a kernel of 8-bit operands needs. Stored integers are moved to 0..255 by flipping the sign bit of i8 (xor with
 * `flip`), and zero points and bounds with them, so that one loop serves every mix of i8 and u8. */
typedef struct {
  int32_t zero_a;
  int32_t zero_b;
  float m_a; /* s_a / s_y; mul: s_a s_b / s_y */
  float m_b; /* s_b / s_y; mul, prelu: s_a s_b / s_y */
  int32_t zero_y;
  int32_t lo;
  int32_t hi;
  uint8_t flip_a;
  uint8_t flip_b;
  uint8_t flip_y;
} hai_binary_q8;

/* The same for operands or results of 16 bits, widened to i16 where they are narrower. m_a is s_a / s_y, for mul
 * s_a * s_b / s_y; m_b is s_b / s_y, for mul and prelu s_a * s_b / s_y. */
typedef struct {
  int32_t zero_a;
  int32_t zero_b;
  float m_a;
  float m_b;
  int32_t zero_y;
  int32_t lo;
  int32_t hi;
} hai_binary_q16;

#endif /* HAI_TYPES_BINARY_TABLE_H_ */
