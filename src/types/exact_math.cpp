// Deterministic elementary functions.
//
// Method: leading parts in double-double arithmetic (T. J. Dekker, "A floating-point technique for extending the
// available precision", 1971: two_sum and two_prod are exact without fused multiply-add), the small rest of each series
// in plain f64. exp: x = k ln2 + r, |r| <= ln2 / 2, Taylor. log: x = 2^e m, 2 atanh((m - 1) / (m + 1)). erf: Taylor
// around the nearest multiple of 1/8, whose coefficients follow the recurrence of Hermite polynomials. sin, cos:
// reduction by multiplying with 192 bits of 2/pi in integers (Payne and Hanek, 1983), then Taylor.
// Invariant: only + - * / on f64, integer operations and bit copies, so that every IEEE machine gives the same bits;
// the file must be compiled with -ffp-contract=off. Not here: anything fast.
#include "types/exact_math.h"

#include <cstring>
#include <limits>

#include "types/arithmetic.h"

namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

uint64_t bits_of(double x) {
  uint64_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  return bits;
}

double from_bits(uint64_t bits) {
  double x;
  std::memcpy(&x, &bits, sizeof x);
  return x;
}

bool is_nan(double x) { return x != x; }
double magnitude(double x) { return from_bits(bits_of(x) & 0x7fffffffffffffffULL); }
double with_sign_of(double x, double sign) {
  return from_bits((bits_of(x) & 0x7fffffffffffffffULL) | (bits_of(sign) & 0x8000000000000000ULL));
}

// 2^k for k in [-1022, 1023].
double power_of_two(int k) { return from_bits(static_cast<uint64_t>(k + 1023) << 52); }

// x * 2^k; k in [-2044, 2046]: two steps, so that subnormal results are reached and rounded.
double scale(double x, int k) {
  const int half = k / 2;
  return x * power_of_two(half) * power_of_two(k - half);
}

// --- double-double: the unevaluated sum hi + lo, |lo| <= ulp(hi) / 2 ---
struct Twofold {
  double hi;
  double lo;
};

Twofold two_sum(double a, double b) {
  const double sum = a + b;
  const double part = sum - a;
  return {sum, (a - (sum - part)) + (b - part)};
}

Twofold fast_two_sum(double a, double b) {  // |a| >= |b|
  const double sum = a + b;
  return {sum, b - (sum - a)};
}

Twofold two_product(double a, double b) {  // |a|, |b| < 2^995
  const double split = 134217729.0;        // 2^27 + 1
  const double a_big = split * a;
  const double a_hi = a_big - (a_big - a);
  const double a_lo = a - a_hi;
  const double b_big = split * b;
  const double b_hi = b_big - (b_big - b);
  const double b_lo = b - b_hi;
  const double product = a * b;
  return {product, ((a_hi * b_hi - product) + a_hi * b_lo + a_lo * b_hi) + a_lo * b_lo};
}

Twofold add(Twofold a, Twofold b) {
  const Twofold sum = two_sum(a.hi, b.hi);
  return fast_two_sum(sum.hi, sum.lo + (a.lo + b.lo));
}

Twofold add(Twofold a, double b) {
  const Twofold sum = two_sum(a.hi, b);
  return fast_two_sum(sum.hi, sum.lo + a.lo);
}

Twofold multiply(Twofold a, Twofold b) {
  const Twofold product = two_product(a.hi, b.hi);
  return fast_two_sum(product.hi, product.lo + (a.hi * b.lo + a.lo * b.hi));
}

Twofold divide(Twofold a, Twofold b) {
  const double first = a.hi / b.hi;
  const Twofold back = multiply({first, 0.0}, b);
  const Twofold rest = add(a, {-back.hi, -back.lo});
  return fast_two_sum(first, rest.hi / b.hi);
}

double value_of(Twofold x) { return x.hi + x.lo; }
Twofold scale(Twofold x, int k) { return {scale(x.hi, k), scale(x.lo, k)}; }

constexpr Twofold kLn2 = {0x1.62e42fefa39efp-1, 0x1.abc9e3b39803fp-56};
constexpr Twofold kPiHalf = {0x1.921fb54442d18p+0, 0x1.1a62633145c07p-54};
constexpr Twofold kSqrtHalf = {0x1.6a09e667f3bcdp-1, -0x1.bdd3413b26456p-55};

// --- exp ---
struct ExpParts {
  int k;  // exp(x) = 2^k (1 + p)
  Twofold p;
};

// |x| < 800.
ExpParts exp_parts(Twofold x) {
  constexpr double kLog2E = 0x1.71547652b82fep+0;
  // ln2 in three parts; k times the first two is exact.
  constexpr double kLn2A = 0x1.62e42feep-1;
  constexpr double kLn2B = 0x1.a39ef356p-33;
  constexpr double kLn2C = 0x1.93c7673007e5fp-65;
  const double k = hai_round_half_even_f64(x.hi * kLog2E);
  const Twofold first = two_sum(x.hi, -k * kLn2A);
  const Twofold second = two_sum(first.hi, -k * kLn2B);
  const Twofold r = fast_two_sum(second.hi, second.lo + first.lo + (x.lo - k * kLn2C));
  double tail = 0.0;  // 1/3! + r/4! + ... + r^13/16!
  double denominator = 20922789888000.0;
  for (int n = 16; n >= 3; --n) {
    tail = tail * r.hi + 1.0 / denominator;
    denominator /= n;
  }
  Twofold square = multiply(r, r);
  square = {square.hi * 0.5, square.lo * 0.5};
  const double cube = r.hi * r.hi * r.hi * tail;
  return {static_cast<int>(k), add(r, add(square, cube))};
}

// exp(x) for -745 < x < 709.
Twofold exp_twofold(Twofold x) {
  const ExpParts parts = exp_parts(x);
  return scale(add(parts.p, 1.0), parts.k);
}

// exp(x) - 1 for |x| < 700, relative accuracy kept near 0.
Twofold expm1_twofold(Twofold x) {
  const ExpParts parts = exp_parts(x);
  if (parts.k == 0) return parts.p;
  return add(scale(add(parts.p, 1.0), parts.k), -1.0);
}

// --- log ---
// log(hi + lo) for hi > 0, finite, normal.
Twofold log_twofold(Twofold x) {
  int e = static_cast<int>(bits_of(x.hi) >> 52) - 1023;
  if (from_bits((bits_of(x.hi) & 0xfffffffffffffULL) | 0x3ff0000000000000ULL) > 1.4142135623730951) ++e;
  const Twofold m = scale(x, -e);
  const Twofold f = add(two_sum(m.hi, -1.0), m.lo);
  const Twofold s = divide(f, add(f, 2.0));
  const double square = s.hi * s.hi;
  double tail = 0.0;  // 2/3 + 2/5 s^2 + ...
  for (int n = 14; n >= 1; --n) tail = tail * square + 2.0 / (2 * n + 1);
  tail *= square * s.hi;
  const double exponent = e;
  Twofold base = two_product(exponent, kLn2.hi);
  base = fast_two_sum(base.hi, base.lo + exponent * kLn2.lo);
  return add(base, add({2.0 * s.hi, 2.0 * s.lo}, tail));
}

// --- sin and cos ---
constexpr uint64_t kTwoOverPi[20] = {
    0xa2f9836e4e441529ULL, 0xfc2757d1f534ddc0ULL, 0xdb6295993c439041ULL, 0xfe5163abdebbc561ULL, 0xb7246e3a424dd2e0ULL,
    0x06492eea09d1921cULL, 0xfe1deb1cb129a73eULL, 0xe88235f52ebb4484ULL, 0xe99c7026b45f7e41ULL, 0x3991d639835339f4ULL,
    0x9c845f8bbdf9283bULL, 0x1ff897ffde05980fULL, 0xef2f118b5a0a6d1fULL, 0x6d367ecf27cb09b7ULL, 0x4f463f669e5fea2dULL,
    0x7527bac7ebe5f17bULL, 0x3d0739f78a5292eaULL, 0x6bfb5fb11f8d5d08ULL, 0x56033046fc7b6babULL, 0xf0cfbc209af4361dULL,
};

// 64 bits of the fraction of 2/pi that start at bit `offset` (0: the most significant); zeros before it.
uint64_t two_over_pi_bits(int offset) {
  if (offset <= -64) return 0;
  if (offset < 0) return kTwoOverPi[0] >> -offset;
  const int word = offset / 64;
  const int shift = offset % 64;
  const uint64_t high = kTwoOverPi[word] << shift;
  return shift == 0 ? high : high | (kTwoOverPi[word + 1] >> (64 - shift));
}

struct Reduced {
  int quadrant;
  Twofold r;  // |r| <= pi / 4
};

// x = quadrant * pi/2 + r (mod 2 pi), for finite |x| > 2^-30.
Reduced reduce(double x) {
  const double positive = magnitude(x);
  if (positive < 0x1.921fb54442d18p-1) return {0, {x, 0.0}};
  const int e = static_cast<int>(bits_of(positive) >> 52) - 1075;
  const uint64_t m = (bits_of(positive) & 0xfffffffffffffULL) | 0x10000000000000ULL;
  // x * 2/pi = m * 2^e * 0.b1 b2 ...: bits of weight 4 and more drop out; the 192 bits from e - 2 on decide.
  using Wide = unsigned __int128;
  const uint64_t w0 = two_over_pi_bits(e - 2);
  const uint64_t w1 = two_over_pi_bits(e - 2 + 64);
  const uint64_t w2 = two_over_pi_bits(e - 2 + 128);
  const Wide low = static_cast<Wide>(m) * w2;
  const Wide middle = static_cast<Wide>(m) * w1 + (low >> 64);
  uint64_t p0 = m * w0 + static_cast<uint64_t>(middle >> 64);  // what passes 192 bits has weight 4
  uint64_t p1 = static_cast<uint64_t>(middle);
  uint64_t p2 = static_cast<uint64_t>(low);
  int quadrant = static_cast<int>(p0 >> 62);
  p0 = (p0 << 2) | (p1 >> 62);  // drop the quadrant: now a fraction of a quarter turn in 192 bits
  p1 = (p1 << 2) | (p2 >> 62);
  p2 <<= 2;
  const bool upper = (p0 >> 63) != 0;
  if (upper) {  // fraction - 1
    ++quadrant;
    p2 = ~p2 + 1;
    p1 = ~p1 + (p2 == 0 ? 1 : 0);
    p0 = ~p0 + (p1 == 0 && p2 == 0 ? 1 : 0);
  }
  Twofold fraction = {0.0, 0.0};
  const uint64_t words[3] = {p0, p1, p2};
  double weight = 0x1p-32;
  for (const uint64_t word : words) {
    fraction = add(fraction, static_cast<double>(word >> 32) * weight);
    weight *= 0x1p-32;
    fraction = add(fraction, static_cast<double>(word & 0xffffffffU) * weight);
    weight *= 0x1p-32;
  }
  Twofold r = multiply(fraction, kPiHalf);
  if (upper != (x < 0.0)) r = {-r.hi, -r.lo};
  return {x < 0.0 ? (4 - (quadrant & 3)) & 3 : quadrant & 3, r};
}

double sin_reduced(Twofold r) {
  const double square = r.hi * r.hi;
  double tail = 0.0;  // -1/3! + r^2/5! - ...
  double denominator = 1.0;
  for (int n = 2; n <= 19; ++n) denominator *= n;
  double sign = -1.0;
  for (int n = 19; n >= 3; n -= 2) {
    tail = tail * square + sign / denominator;
    denominator /= static_cast<double>(n) * (n - 1);
    sign = -sign;
  }
  return r.hi + (r.lo * (1.0 - 0.5 * square) + r.hi * square * tail);
}

double cos_reduced(Twofold r) {
  const double square = r.hi * r.hi;
  double tail = 0.0;  // 1/4! - r^2/6! + ...
  double denominator = 1.0;
  for (int n = 2; n <= 20; ++n) denominator *= n;
  double sign = 1.0;
  for (int n = 20; n >= 4; n -= 2) {
    tail = tail * square + sign / denominator;
    denominator /= static_cast<double>(n) * (n - 1);
    sign = -sign;
  }
  const Twofold half = multiply(r, {r.hi * 0.5, r.lo * 0.5});
  return value_of(add(two_sum(1.0, -half.hi), square * square * tail - half.lo));
}

// --- erf: erf(c) in two parts and erf'(c) for c = 0, 1/8, ... 6 ---
constexpr double kErfTable[49][3] = {
    {0x0.0p+0, 0x0.0p+0, 0x1.20dd750429b6dp+0},
    {0x1.1f5e1a35c3b89p-3, 0x1.d0b6d6493e0f4p-57, 0x1.1c62fa1e869b6p+0},
    {0x1.1af54e232d609p-2, -0x1.bee921fa4172bp-56, 0x1.0f5d1602f7e41p+0},
    {0x1.9dd0d2b721f39p-2, -0x1.1671c021d14c4p-56, 0x1.f5f0cdaf15313p-1},
    {0x1.0a7ef5c18edd2p-1, 0x1.5e809f1a31a28p-56, 0x1.c1efca49a5011p-1},
    {0x1.3f196dcd0f135p-1, -0x1.f25f4f6fdf70bp-56, 0x1.86e9694134b9ep-1},
    {0x1.6c1c9759d0e5fp-1, 0x1.b1432f2cbc455p-55, 0x1.492e42d78d2c5p-1},
    {0x1.91724951b8fc6p-1, -0x1.27912dd352f8bp-55, 0x1.0cab61f084b93p-1},
    {0x1.af767a741088bp-1, -0x1.c97f778122797p-56, 0x1.a911f096fbc26p-2},
    {0x1.c6dad2829ec62p-1, -0x1.ab76d4cba3d05p-57, 0x1.45e99bcbb7915p-2},
    {0x1.d8865d98abe01p-1, -0x1.fcec4afb974d9p-55, 0x1.e4652fadcb6b2p-3},
    {0x1.e5768c3b4a3fcp-1, 0x1.8b62674f89890p-57, 0x1.5ce595c455b0ap-3},
    {0x1.eea5557137ae0p-1, -0x1.385e445f2c96dp-55, 0x1.e723726b824a9p-4},
    {0x1.f4f693b67bd77p-1, -0x1.3a1ee1406c356p-56, 0x1.499d478bca735p-4},
    {0x1.f92d077f8d56dp-1, 0x1.8b55ef493fce7p-56, 0x1.b055303221015p-5},
    {0x1.fbe61eef4cf6ap-1, 0x1.15ded88667618p-55, 0x1.12ceb37ff9bc3p-5},
    {0x1.fd9ae142795e3p-1, 0x1.972801904b9a3p-56, 0x1.529b9e8cf9a1ep-6},
    {0x1.fea4218d6594ap-1, -0x1.e3333d8f7d98cp-58, 0x1.94624e78e0fafp-7},
    {0x1.ff404760319b4p-1, 0x1.f142071432025p-56, 0x1.d4143a9dfe965p-8},
    {0x1.ff9960f3eb327p-1, -0x1.08b1ca6e97f80p-56, 0x1.06918b6355624p-8},
    {0x1.ffcaa8f4c9beap-1, 0x1.b0cee160116f9p-55, 0x1.1d83170fbf6fbp-9},
    {0x1.ffe514bbdc197p-1, -0x1.cd963345b5c6dp-58, 0x1.2ce898809244ep-10},
    {0x1.fff2cfb0453d9p-1, 0x1.9a913686042a3p-55, 0x1.3360ccd23db3ap-11},
    {0x1.fff9ba420e834p-1, 0x1.1379ec5aa630ep-56, 0x1.30538fbb77ecdp-12},
    {0x1.fffd1ac4135f9p-1, 0x1.eeafa1ecd6cefp-55, 0x1.2408e9ba3327fp-13},
    {0x1.fffeb3ebb267bp-1, 0x1.e47f697047cbap-57, 0x1.0f9e1b4dd36dfp-14},
    {0x1.ffff6f9f67e55p-1, 0x1.e1e4483ba034bp-55, 0x1.e9b5e8d00ce77p-16},
    {0x1.ffffc316d9ed0p-1, -0x1.8b32f44f46b3bp-55, 0x1.abe09e9144b5ep-17},
    {0x1.ffffe710d565ep-1, 0x1.c9ea52d76dc04p-55, 0x1.6a597219a93dap-18},
    {0x1.fffff618c3da6p-1, -0x1.19309ce23aa3ep-58, 0x1.296a70f414053p-19},
    {0x1.fffffc2f171e3p-1, 0x1.85edd0395f475p-55, 0x1.d9371e2ff7c35p-21},
    {0x1.fffffe92ced93p-1, -0x1.d2db2ecfe14aep-55, 0x1.6ce1aa3fd7bddp-22},
    {0x1.ffffff7b91176p-1, 0x1.0b2865615db40p-56, 0x1.10b1488aeb235p-23},
    {0x1.ffffffd169d0cp-1, 0x1.70a2bfb068e6fp-55, 0x1.8b0cfce0579e0p-25},
    {0x1.fffffff01a8b6p-1, 0x1.23370eca5ca6ap-60, 0x1.155a09065d4f7p-26},
    {0x1.fffffffabd229p-1, -0x1.4dbe49bec3ef2p-57, 0x1.7974e743dea3dp-28},
    {0x1.fffffffe4fa30p-1, 0x1.d166bcb681c7bp-57, 0x1.f1e3523b41d7dp-30},
    {0x1.ffffffff79626p-1, 0x1.5fbc52d650a89p-55, 0x1.3e44e45301b92p-31},
    {0x1.ffffffffd759dp-1, 0x1.f7bee7eb23420p-55, 0x1.8a61745ec7d1dp-33},
    {0x1.fffffffff4188p-1, 0x1.7a2cb3d056eacp-55, 0x1.d9a880f306bd8p-35},
    {0x1.fffffffffc9e8p-1, -0x1.a759f7738935fp-56, 0x1.13af4f04f9998p-36},
    {0x1.ffffffffff11ap-1, -0x1.3eafccbc6e8b7p-56, 0x1.370ab8327af5ep-38},
    {0x1.ffffffffffc05p-1, 0x1.07ba96a6b2e1ap-55, 0x1.5422ef5d8949dp-40},
    {0x1.ffffffffffef8p-1, 0x1.14be6226402c7p-56, 0x1.68823e52970bep-42},
    {0x1.fffffffffffbep-1, -0x1.182b326b228dcp-55, 0x1.7258610b3b233p-44},
    {0x1.ffffffffffff0p-1, -0x1.20ef3618f2d54p-56, 0x1.70beaf9c7ffb6p-46},
    {0x1.ffffffffffffcp-1, 0x1.8115fd1b12786p-56, 0x1.63daf8b4b1e0cp-48},
    {0x1.fffffffffffffp-1, 0x1.0439397b5f70ap-56, 0x1.4cd9c04158cd7p-50},
    {0x1.0000000000000p+0, -0x1.8cf81557d20b6p-56, 0x1.2dc119095729fp-52},
};

// erf(|x|) for |x| <= 6.
Twofold erf_twofold(double x) {
  const double k = hai_round_half_even_f64(x * 8.0);
  const double c = k * 0.125;
  const double h = x - c;
  const double* entry = kErfTable[static_cast<int>(k)];
  double before = 0.0;
  double term = 1.0;
  double sum = 0.0;
  double terms[20];
  for (int n = 0; n < 20; ++n) {
    terms[n] = term / (n + 1);
    const double next = -(2.0 * h * c * term + 2.0 * h * h * before) / (n + 1);
    before = term;
    term = next;
  }
  for (int n = 19; n >= 0; --n) sum += terms[n];  // small ones first
  return add({entry[0], entry[1]}, two_product(entry[2] * h, sum));
}

}  // namespace

extern "C" {

double hai_exp(double x) {
  if (is_nan(x)) return kNan;
  if (x > 709.782712893384) return kInfinity;
  if (x < -745.1332191019412) return 0.0;
  const ExpParts parts = exp_parts({x, 0.0});
  return scale(value_of(add(parts.p, 1.0)), parts.k);
}

double hai_expm1(double x) {
  if (is_nan(x)) return kNan;
  if (magnitude(x) < 0x1p-54) return x;
  if (x < -40.0) return -1.0;
  if (x > 40.0) return hai_exp(x);
  return value_of(expm1_twofold({x, 0.0}));
}

double hai_log(double x) {
  if (is_nan(x) || x < 0.0) return kNan;
  if (x == 0.0) return -kInfinity;
  if (x == kInfinity) return x;
  if (x < 0x1p-1022) return value_of(add(log_twofold({x * 0x1p54, 0.0}), multiply({-54.0, 0.0}, kLn2)));
  return value_of(log_twofold({x, 0.0}));
}

double hai_log1p(double x) {
  if (is_nan(x) || x < -1.0) return kNan;
  if (x == -1.0) return -kInfinity;
  if (x == kInfinity || magnitude(x) < 0x1p-54) return x;
  return value_of(log_twofold(two_sum(1.0, x)));
}

double hai_tanh(double x) {
  if (is_nan(x)) return kNan;
  const double positive = magnitude(x);
  if (positive < 0x1p-28) return x;
  if (positive > 22.0) return with_sign_of(1.0, x);
  const Twofold t = expm1_twofold({2.0 * positive, 0.0});
  return with_sign_of(value_of(divide(t, add(t, 2.0))), x);
}

double hai_sigmoid(double x) {
  if (is_nan(x)) return kNan;
  if (x < -40.0) return hai_exp(x);
  if (x > 40.0) return 1.0;
  const Twofold e = exp_twofold({x, 0.0});
  return value_of(divide(e, add(e, 1.0)));
}

double hai_softplus(double x) {
  if (is_nan(x)) return kNan;
  if (x > 40.0) return x;
  if (x < -40.0) return hai_exp(x);
  return value_of(log_twofold(add(exp_twofold({x, 0.0}), 1.0)));
}

double hai_mish(double x) {
  if (is_nan(x)) return kNan;
  if (x > 40.0) return x;
  if (x < -745.0) return -0.0;
  if (x < -40.0) return x * hai_exp(x);
  // tanh(log(1 + e)) = (e^2 + 2 e) / (e^2 + 2 e + 2)
  const Twofold e = exp_twofold({x, 0.0});
  const Twofold n = multiply(e, add(e, 2.0));
  return value_of(multiply({x, 0.0}, divide(n, add(n, 2.0))));
}

double hai_erf(double x) {
  if (is_nan(x)) return kNan;
  const double positive = magnitude(x);
  if (positive > 6.0) return with_sign_of(1.0, x);
  if (positive < 0x1p-500) return x * 0x1.20dd750429b6dp+0;
  return with_sign_of(value_of(erf_twofold(positive)), x);
}

double hai_gelu(double x) {
  if (is_nan(x)) return kNan;
  if (x == 0.0 || x == kInfinity) return x;
  if (x == -kInfinity) return -0.0;
  const Twofold scaled = multiply({x, 0.0}, kSqrtHalf);
  if (scaled.hi > 6.0) return x;
  if (scaled.hi < -6.0) return -0.0;
  Twofold e = {0.0, 0.0};
  if (magnitude(scaled.hi) >= 0x1p-500) e = erf_twofold(magnitude(scaled.hi));
  if (x < 0.0) e = {-e.hi, -e.lo};
  return value_of(multiply({0.5 * x, 0.0}, add(e, 1.0)));
}

double hai_sin(double x) {
  if (is_nan(x) || magnitude(x) == kInfinity) return kNan;
  if (magnitude(x) < 0x1p-27) return x;
  const Reduced reduced = reduce(x);
  const double value = (reduced.quadrant & 1) ? cos_reduced(reduced.r) : sin_reduced(reduced.r);
  return (reduced.quadrant & 2) ? -value : value;
}

double hai_cos(double x) {
  if (is_nan(x) || magnitude(x) == kInfinity) return kNan;
  if (magnitude(x) < 0x1p-27) return 1.0;
  const Reduced reduced = reduce(x);
  const double value = (reduced.quadrant & 1) ? sin_reduced(reduced.r) : cos_reduced(reduced.r);
  return ((reduced.quadrant + 1) & 2) ? -value : value;
}

double hai_sqrt(double x) {
  if (is_nan(x) || x < 0.0) return kNan;
  if (x == 0.0 || x == kInfinity) return x;
  if (x < 0x1p-900) return hai_sqrt(x * 0x1p200) * 0x1p-100;
  if (x > 0x1p900) return hai_sqrt(x * 0x1p-200) * 0x1p100;
  double y = from_bits((bits_of(x) >> 1) + 0x1ff8000000000000ULL);
  for (int i = 0; i < 5; ++i) y = 0.5 * (y + x / y);
  const Twofold square = two_product(y, y);
  return y + ((x - square.hi) - square.lo) / (2.0 * y);  // one step with the exact residual: right to half an ulp
}

double hai_layer_norm_epsilon(double epsilon, int64_t n, float s_x) {
  const auto size = static_cast<double>(n);
  const auto scale = static_cast<double>(s_x);
  return epsilon * (size * size) / (scale * scale);
}

float hai_layer_norm_inverse(int64_t variance, double epsilon) {
  return static_cast<float>(1.0 / hai_sqrt(static_cast<double>(variance) + epsilon));
}

double hai_floor(double x) {
  if (!(magnitude(x) < 0x1p52)) return x;
  const double rounded = hai_round_even(x);
  return with_sign_of(rounded > x ? rounded - 1.0 : rounded, x);
}

double hai_ceil(double x) {
  if (!(magnitude(x) < 0x1p52)) return x;
  const double rounded = hai_round_even(x);
  return with_sign_of(rounded < x ? rounded + 1.0 : rounded, x);
}

double hai_round_even(double x) {
  if (!(magnitude(x) < 0x1p52)) return x;
  return with_sign_of((magnitude(x) + 0x1p52) - 0x1p52, x);
}

double hai_pow(double x, double y) {
  if (y == 0.0 || x == 1.0) return 1.0;
  if (is_nan(x) || is_nan(y)) return kNan;
  const double positive = magnitude(x);
  const bool whole = magnitude(y) >= 0x1p53 || (hai_round_even(y) == y);
  const bool odd = whole && magnitude(y) < 0x1p53 && hai_round_even(y * 0.5) * 2.0 != y;
  const double sign = odd && (bits_of(x) >> 63) != 0 ? -1.0 : 1.0;
  if (magnitude(y) == kInfinity) {
    if (positive == 1.0) return 1.0;
    return (positive > 1.0) == (y > 0.0) ? kInfinity : 0.0;
  }
  if (positive == 1.0) return x < 0.0 && !whole ? kNan : sign;
  if (positive == 0.0 || positive == kInfinity) return sign * ((positive == 0.0) == (y > 0.0) ? 0.0 : kInfinity);
  if (x < 0.0 && !whole) return kNan;
  Twofold base = {positive, 0.0};
  int extra = 0;
  if (positive < 0x1p-1022) {
    base.hi *= 0x1p54;
    extra = -54;
  }
  const Twofold log = add(log_twofold(base), multiply({static_cast<double>(extra), 0.0}, kLn2));
  if (magnitude(y) <= 64.0 && whole && magnitude(log.hi * y) < 300.0) {
    Twofold result = {1.0, 0.0};
    Twofold square = base;  // never subnormal here: |log| of one times |y| would pass the limit
    for (auto n = static_cast<int>(magnitude(y)); n > 0; n /= 2) {
      if (n % 2 != 0) result = multiply(result, square);
      if (n > 1) square = multiply(square, square);
    }
    if (y < 0.0) result = divide({1.0, 0.0}, result);
    return sign * value_of(result);
  }
  if (magnitude(y) > 0x1p70) return sign * ((log.hi > 0.0) == (y > 0.0) ? kInfinity : 0.0);
  const Twofold power = multiply(log, {y, 0.0});
  if (power.hi > 709.782712893384) return sign * kInfinity;
  if (power.hi < -745.1332191019412) return sign * 0.0;
  const ExpParts parts = exp_parts(power);
  return sign * scale(value_of(add(parts.p, 1.0)), parts.k);
}

int32_t hai_softmax_table_entry(int32_t distance, float s_x) {
  const double e = hai_exp(-static_cast<double>(distance) * static_cast<double>(s_x));
  return static_cast<int32_t>(hai_round_half_even_f64(e * static_cast<double>(HAI_SOFTMAX_ONE)));
}

}  // extern "C"
