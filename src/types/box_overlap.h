// Complete intersection over union of two boxes (Zheng et al. 2020), with its derivatives: what the reference and the
// kernels of ciou and ciou_gradient compute, and what anchor_assignment scores boxes by. In f64, from + - * / and
// square roots, which are rounded alike everywhere.
//
// A box is x, y, width, height with x, y its centre. CIoU = IoU - d^2 / c^2 - alpha v: d is the distance of the
// centres, c the diagonal of the box around both, v = 4 / pi^2 (atan(w / h) - atan(w' / h'))^2. alpha = v / (1 - IoU +
// v) is a number to whoever differentiates, as in the paper. Denominators have 1e-7 added, as published code has.
#pragma once

#include <cmath>

namespace hai {

struct CenterBox {
  double x = 0;
  double y = 0;
  double width = 0;
  double height = 0;
};

inline constexpr double kOverlapEpsilon = 1e-7;
inline constexpr double kPi = 3.14159265358979323846;

// Within a few units of the last place: the angle is halved three times, then 12 terms of the series.
inline double angle_of(double tangent) {
  const double size = std::fabs(tangent);
  double x = size > 1 ? 1 / size : size;
  for (int i = 0; i < 3; ++i) x = x / (1 + std::sqrt(1 + x * x));
  const double square = x * x;
  double sum = 0;
  for (int i = 23; i >= 1; i -= 2) sum = 1.0 / i - square * sum;
  double angle = 8 * x * sum;
  if (size > 1) angle = kPi / 2 - angle;
  return tangent < 0 ? -angle : angle;
}

// Along one axis: how long the overlap and the hull are, and their derivatives by centre and side of the first box.
// Where two edges meet each has half of the derivative.
struct AxisOverlap {
  double shared = 0;
  double shared_by_center = 0;
  double shared_by_side = 0;
  double hull = 0;
  double hull_by_center = 0;
  double hull_by_side = 0;
};
inline AxisOverlap overlap_along(double center, double side, double other_center, double other_side) {
  const double low = center - side / 2;
  const double high = center + side / 2;
  const double other_low = other_center - other_side / 2;
  const double other_high = other_center + other_side / 2;
  const auto below = [](double a, double b) { return a < b ? 1.0 : (a > b ? 0.0 : 0.5); };
  const double inner_high = below(high, other_high);
  const double inner_low = below(other_low, low);
  AxisOverlap out;
  const double shared = (high < other_high ? high : other_high) - (low > other_low ? low : other_low);
  if (shared >= 0) {
    out.shared = shared;
    out.shared_by_center = inner_high - inner_low;
    out.shared_by_side = (inner_high + inner_low) / 2;
  }
  out.hull = (high > other_high ? high : other_high) - (low < other_low ? low : other_low);
  out.hull_by_center = inner_low - inner_high;
  out.hull_by_side = (2 - inner_high - inner_low) / 2;
  return out;
}

struct BoxOverlap {
  AxisOverlap x;
  AxisOverlap y;
  double shared = 0;    // area
  double all = 0;       // area of the union
  double distance = 0;  // squared, of the centres
  double diagonal = 0;  // squared, of the hull
  double turn = 0;      // the first angle minus the second
  double shape = 0;     // v

  double iou() const { return shared / all; }
  double alpha() const { return shape / (shape - iou() + (1 + kOverlapEpsilon)); }
  double ciou(double weight) const { return iou() - distance / diagonal - weight * shape; }
};

inline BoxOverlap overlap_of(const CenterBox& a, const CenterBox& b) {
  BoxOverlap out;
  out.x = overlap_along(a.x, a.width, b.x, b.width);
  out.y = overlap_along(a.y, a.height, b.y, b.height);
  out.shared = out.x.shared * out.y.shared;
  out.all = a.width * a.height + b.width * b.height - out.shared + kOverlapEpsilon;
  out.distance = (b.x - a.x) * (b.x - a.x) + (b.y - a.y) * (b.y - a.y);
  out.diagonal = out.x.hull * out.x.hull + out.y.hull * out.y.hull + kOverlapEpsilon;
  out.turn = angle_of(a.width / a.height) - angle_of(b.width / b.height);
  out.shape = 4 / (kPi * kPi) * out.turn * out.turn;
  return out;
}

// The derivatives of ciou(alpha) by the first box.
inline CenterBox ciou_gradient_of(const CenterBox& a, const CenterBox& b, const BoxOverlap& o, double alpha) {
  const auto part = [&](double shared, double area, double distance, double diagonal, double turn) {
    const double all = area - shared;
    return (shared * o.all - o.shared * all) / (o.all * o.all) - distance / o.diagonal +
           o.distance * diagonal / (o.diagonal * o.diagonal) - alpha * (8 / (kPi * kPi)) * o.turn * turn;
  };
  const double square = a.width * a.width + a.height * a.height;
  CenterBox out;
  out.x = part(o.x.shared_by_center * o.y.shared, 0, 2 * (a.x - b.x), 2 * o.x.hull * o.x.hull_by_center, 0);
  out.y = part(o.y.shared_by_center * o.x.shared, 0, 2 * (a.y - b.y), 2 * o.y.hull * o.y.hull_by_center, 0);
  out.width = part(o.x.shared_by_side * o.y.shared, a.height, 0, 2 * o.x.hull * o.x.hull_by_side, a.height / square);
  out.height = part(o.y.shared_by_side * o.x.shared, a.width, 0, 2 * o.y.hull * o.y.hull_by_side, -a.width / square);
  return out;
}

// Boxes without an area (empty slots) have no overlap and no gradient.
inline bool is_real_box(const CenterBox& box) { return box.width > 0 && box.height > 0; }

}  // namespace hai
