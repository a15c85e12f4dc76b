// WholeModel: the INT8 form of a model of which a part is trained, and how a device makes it again (docs/design/0021).
//
// The quantizer makes it beside the graph whose trained part stays f32; compile() stores both. It is made twice, from
// the parameters and ranges that there are and from others: what differs between the two depends on the training, and
// compile() sees to it that the device's lines account for all of it.
#pragma once

#include <string>
#include <vector>

#include "ir/graph.h"
#include "rebuild/lines.h"
#include "rebuild/rebuild.h"

namespace hai::compiler {

struct WholeModel {
  // What stands in the marked graph for range i of the lines.
  struct Mark {
    float narrow = 0;
    float wide = 0;
  };

  ir::Graph graph;
  ir::Graph marked;
  // Parameters have their names in the float graph and no place yet; no tensors and points yet.
  rebuild::Lines lines;
  std::vector<rebuild::Observed> seen;  // of each range, when it was made
  std::vector<Mark> marks;
  std::vector<std::string> weights;  // of each layer: the constants' names in both graphs
  std::vector<std::string> biases;
};

}  // namespace hai::compiler
