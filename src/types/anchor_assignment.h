// Which cells and anchors of a YOLOv5 head answer for which true boxes: the published rules, for the reference and the
// kernel of anchor_assignment.
//
// A true box belongs to an anchor whose sides differ from its own by less than `threshold` times, in the cell that its
// centre lies in and in the neighbours across the nearer edges (those within half a cell). Each of these (level, one of
// 5 places, anchor, true box) has a slot of its own, so sizes do not depend on the data. Everything is compared in
// cells, in f64. Cells that a neighbour would put outside the grid are moved to its edge, as published code does.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <vector>

#include "types/box_overlap.h"
#include "types/exact_math.h"

namespace hai {

inline constexpr int64_t kAssignmentPlaces = 5;  // the centre's cell; left, above, right, below of it
inline constexpr int64_t kLabelFields = 5;       // class, x, y, width, height

// Rows of a head: level by level, anchor by anchor, cells row by row.
struct AnchorGrid {
  std::vector<int64_t> heights;  // by level, cells
  std::vector<int64_t> widths;
  std::vector<double> strides;  // by level, pixels a cell
  std::vector<double> anchors;  // by level, by anchor: width, height in pixels
  double threshold = 4;

  int64_t levels() const { return static_cast<int64_t>(heights.size()); }
  int64_t anchors_per_level() const { return static_cast<int64_t>(anchors.size()) / (2 * levels()); }
  int64_t rows_of(int64_t level) const {
    return anchors_per_level() * heights[static_cast<size_t>(level)] * widths[static_cast<size_t>(level)];
  }
  int64_t rows() const {
    int64_t rows = 0;
    for (int64_t level = 0; level < levels(); ++level) rows += rows_of(level);
    return rows;
  }
  int64_t slots_of_level(int64_t max_boxes) const { return kAssignmentPlaces * anchors_per_level() * max_boxes; }
  int64_t slots(int64_t max_boxes) const { return levels() * slots_of_level(max_boxes); }
};

// One filled slot.
struct Assignment {
  int64_t slot = 0;
  int64_t row = 0;
  int64_t category = 0;
  CenterBox target;         // in cells, from the corner of the cell that answers
  double anchor_width = 0;  // in cells
  double anchor_height = 0;
};

// Whether the cell at place `place` of the centre (x, y) answers, and how far it is shifted.
struct AssignmentPlace {
  double shift_x = 0;
  double shift_y = 0;
  bool answers = false;
};
inline AssignmentPlace assignment_place(int64_t place, double x, double y, double width, double height) {
  const auto near_edge = [](double position) { return position - std::floor(position) < 0.5 && position > 1; };
  switch (place) {
    case 0:
      return {0, 0, true};
    case 1:
      return {0.5, 0, near_edge(x)};
    case 2:
      return {0, 0.5, near_edge(y)};
    case 3:
      return {-0.5, 0, near_edge(width - x)};
    default:
      return {0, -0.5, near_edge(height - y)};
  }
}

// Calls use(assignment) for the filled slots of one sample in rising order, so that whoever writes a row last wins, the
// same everywhere. `label(box, field)`: class, centre x, y, width, height in pixels; boxes whose class is no number in
// [0, classes), or without an area, are empty.
template <typename Label, typename Use>
void for_each_assignment(const AnchorGrid& grid, int64_t boxes, int64_t classes, const Label& label, const Use& use) {
  const auto is_label = [&](int64_t box) {
    for (int64_t i = 0; i < kLabelFields; ++i) {
      if (!(std::fabs(label(box, i)) < 1e9)) return false;
    }
    return label(box, 0) >= 0 && label(box, 0) < static_cast<double>(classes) && label(box, 3) > 0 && label(box, 4) > 0;
  };
  const auto fits = [&](double side, double anchor) {
    return side < anchor * grid.threshold && anchor < side * grid.threshold;
  };
  const auto cell_of = [](double position, int64_t count) {
    return std::clamp<int64_t>(static_cast<int64_t>(position), 0, count - 1);
  };
  const int64_t anchors = grid.anchors_per_level();
  int64_t first_row = 0;
  for (int64_t level = 0; level < grid.levels(); first_row += grid.rows_of(level++)) {
    const auto l = static_cast<size_t>(level);
    const int64_t rows = grid.heights[l];
    const int64_t columns = grid.widths[l];
    const double stride = grid.strides[l];
    for (int64_t part = 0; part < kAssignmentPlaces * anchors; ++part) {
      const int64_t anchor = part % anchors;
      const double* sides = grid.anchors.data() + 2 * (level * anchors + anchor);
      for (int64_t box = 0; box < boxes; ++box) {
        if (!is_label(box)) continue;
        Assignment one;
        one.anchor_width = sides[0] / stride;
        one.anchor_height = sides[1] / stride;
        one.target = {label(box, 1) / stride, label(box, 2) / stride, label(box, 3) / stride, label(box, 4) / stride};
        if (!fits(one.target.width, one.anchor_width) || !fits(one.target.height, one.anchor_height)) continue;
        const AssignmentPlace place = assignment_place(part / anchors, one.target.x, one.target.y,
                                                       static_cast<double>(columns), static_cast<double>(rows));
        if (!place.answers) continue;
        const int64_t column = cell_of(one.target.x - place.shift_x, columns);
        const int64_t row = cell_of(one.target.y - place.shift_y, rows);
        one.slot = (level * kAssignmentPlaces * anchors + part) * boxes + box;
        one.row = first_row + (anchor * rows + row) * columns + column;
        one.category = static_cast<int64_t>(label(box, 0));
        one.target.x -= static_cast<double>(column);
        one.target.y -= static_cast<double>(row);
        use(one);
      }
    }
  }
}

// What four logits of a row say, in cells from the corner of its cell.
inline CenterBox anchor_box(double x, double y, double width, double height, const Assignment& of) {
  const double across = 2 * hai_sigmoid(width);
  const double down = 2 * hai_sigmoid(height);
  return {2 * hai_sigmoid(x) - 0.5, 2 * hai_sigmoid(y) - 0.5, across * across * of.anchor_width,
          down * down * of.anchor_height};
}

}  // namespace hai
