// Which cells of a YOLOX head answer for which true boxes: SimOTA (Ge et al. 2021), for the reference and the kernel of
// simota_assignment.
//
// Cells whose centre lies within 1.5 strides of a true box's centre compete for it. Each box takes as many of the
// cheapest cells as the sum of its 10 best overlaps says, at least one; cost = cross-entropy of the classes - 3 log
// IoU, and 10^6 more where the cell's centre is not near this box. A cell that several boxes took goes to the cheapest
// of all. In f64; equal costs go to the first cell, and to the first box.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <vector>

#include "types/box_overlap.h"
#include "types/exact_math.h"

namespace hai {

// Rows of a head: level by level, cells row by row.
struct CellGrid {
  std::vector<int64_t> heights;  // by level, cells
  std::vector<int64_t> widths;
  std::vector<double> strides;  // by level, pixels a cell

  int64_t rows() const {
    int64_t rows = 0;
    for (size_t level = 0; level < heights.size(); ++level) rows += heights[level] * widths[level];
    return rows;
  }
};

struct GridCell {
  double x = 0;  // column and row
  double y = 0;
  double stride = 0;
};

// What is kept of a row while a sample is assigned.
struct SimotaRow {
  GridCell cell;
  CenterBox box;          // pixels
  double class_cost = 0;  // of no class at all
  int32_t matches = 0;
  int32_t matched = 0;
  bool near = false;  // a box's centre
};

template <typename Logit, typename Label>
class SimotaAssigner {
 public:
  // `logit(row, field)`: x, y, width, height as YOLOX has them, objectness, classes. `label(box, field)`: class, centre
  // x, y, width, height in pixels; a class that is no number in [0, classes), or no area: no box. `rows` has
  // grid.rows() places.
  SimotaAssigner(const CellGrid& grid, int64_t boxes, int64_t classes, const Logit& logit, const Label& label,
                 SimotaRow* rows)
      : grid_(grid), boxes_(boxes), classes_(classes), logit_(logit), label_(label), rows_(rows), count_(grid.rows()) {}

  // Calls use(row, box, iou) for each row that answers, in rising order.
  template <typename Use>
  void run(const Use& use) {
    prepare();
    for (int64_t box = 0; box < boxes_; ++box) {
      if (is_label(box)) match(box);
    }
    for (int64_t i = 0; i < count_; ++i) {
      if (rows_[i].matches == 0) continue;
      if (rows_[i].matches > 1) settle(i);
      use(i, int64_t{rows_[i].matched}, iou(rows_[i].box, box_of(rows_[i].matched)));
    }
  }

 private:
  static constexpr int64_t kMost = 10;

  bool is_label(int64_t box) const {
    for (int64_t i = 0; i < 5; ++i) {
      if (!(std::fabs(label_(box, i)) < 1e9)) return false;
    }
    return label_(box, 0) >= 0 && label_(box, 0) < static_cast<double>(classes_) && label_(box, 3) > 0 &&
           label_(box, 4) > 0;
  }
  CenterBox box_of(int64_t box) const { return {label_(box, 1), label_(box, 2), label_(box, 3), label_(box, 4)}; }
  static bool is_near(const GridCell& cell, const CenterBox& box) {
    return std::fabs((cell.x + 0.5) * cell.stride - box.x) < 1.5 * cell.stride &&
           std::fabs((cell.y + 0.5) * cell.stride - box.y) < 1.5 * cell.stride;
  }
  static double iou(const CenterBox& a, const CenterBox& b) {
    const double width =
        std::min(a.x + a.width / 2, b.x + b.width / 2) - std::max(a.x - a.width / 2, b.x - b.width / 2);
    const double height =
        std::min(a.y + a.height / 2, b.y + b.height / 2) - std::max(a.y - a.height / 2, b.y - b.height / 2);
    if (!(width > 0) || !(height > 0)) return 0;
    const double shared = width * height;
    return shared / (a.width * a.height + b.width * b.height - shared);
  }
  // -log(x) as published code has it, at most 100.
  static double surprise(double x) { return x > 0 ? std::min(-hai_log(x), 100.0) : 100.0; }
  double share(int64_t row, int64_t category) const {
    return hai_sqrt(hai_sigmoid(logit_(row, 5 + category)) * hai_sigmoid(logit_(row, 4)));
  }

  void prepare() {
    int64_t i = 0;
    for (size_t level = 0; level < grid_.heights.size(); ++level) {
      for (int64_t cell = 0; cell < grid_.heights[level] * grid_.widths[level]; ++cell, ++i) {
        SimotaRow& row = rows_[i];
        row = {};
        row.cell = {static_cast<double>(cell % grid_.widths[level]), static_cast<double>(cell / grid_.widths[level]),
                    grid_.strides[level]};
        for (int64_t box = 0; box < boxes_ && !row.near; ++box)
          row.near = is_label(box) && is_near(row.cell, box_of(box));
        if (!row.near) continue;
        row.box = {(logit_(i, 0) + row.cell.x) * row.cell.stride, (logit_(i, 1) + row.cell.y) * row.cell.stride,
                   hai_exp(logit_(i, 2)) * row.cell.stride, hai_exp(logit_(i, 3)) * row.cell.stride};
        for (int64_t category = 0; category < classes_; ++category) row.class_cost += surprise(1 - share(i, category));
      }
    }
  }

  double cost(int64_t i, int64_t box) const {
    const double p = share(i, static_cast<int64_t>(label_(box, 0)));
    const double classes = rows_[i].class_cost - surprise(1 - p) + surprise(p);
    const double overlap = surprise_of_overlap(iou(rows_[i].box, box_of(box)));
    return classes + 3 * overlap + (is_near(rows_[i].cell, box_of(box)) ? 0.0 : 1e6);
  }
  static double surprise_of_overlap(double overlap) { return -hai_log(overlap + 1e-8); }

  void match(int64_t box) {
    struct Candidate {
      double cost = 0;
      int64_t row = 0;
    };
    std::array<Candidate, kMost> cheapest{};
    std::array<double, kMost> best{};
    int64_t candidates = 0;
    for (int64_t i = 0; i < count_; ++i) {
      if (!rows_[i].near) continue;
      const double overlap = iou(rows_[i].box, box_of(box));
      const int64_t kept = std::min(candidates, kMost);
      int64_t at = kept;
      for (; at > 0 && best[static_cast<size_t>(at - 1)] < overlap; --at) {
        if (at < kMost) best[static_cast<size_t>(at)] = best[static_cast<size_t>(at - 1)];
      }
      if (at < kMost) best[static_cast<size_t>(at)] = overlap;
      const Candidate one = {cost(i, box), i};
      for (at = kept; at > 0 && cheapest[static_cast<size_t>(at - 1)].cost > one.cost; --at) {
        if (at < kMost) cheapest[static_cast<size_t>(at)] = cheapest[static_cast<size_t>(at - 1)];
      }
      if (at < kMost) cheapest[static_cast<size_t>(at)] = one;
      ++candidates;
    }
    double sum = 0;
    for (int64_t k = 0; k < std::min(candidates, kMost); ++k) {
      if (best[static_cast<size_t>(k)] > 0) sum += best[static_cast<size_t>(k)];  // no NaN of boxes beyond all numbers
    }
    const int64_t taken = std::min(std::max<int64_t>(static_cast<int64_t>(sum), 1), std::min(candidates, kMost));
    for (int64_t k = 0; k < taken; ++k) {
      SimotaRow& row = rows_[cheapest[static_cast<size_t>(k)].row];
      ++row.matches;
      row.matched = static_cast<int32_t>(box);
    }
  }

  // Of all boxes the cheapest one has it.
  void settle(int64_t i) {
    double least = 0;
    bool any = false;
    for (int64_t box = 0; box < boxes_; ++box) {
      if (!is_label(box)) continue;
      const double price = cost(i, box);
      if (any && price >= least) continue;
      least = price;
      any = true;
      rows_[i].matched = static_cast<int32_t>(box);
    }
  }

  const CellGrid& grid_;
  int64_t boxes_;
  int64_t classes_;
  const Logit& logit_;
  const Label& label_;
  SimotaRow* rows_;
  int64_t count_;
};

}  // namespace hai
