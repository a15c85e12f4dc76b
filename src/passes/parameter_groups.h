// Choices for groups of parameters, told by their names: factors of the learning rate, weight decay, frozen ones.
#pragma once

#include <string_view>
#include <vector>

#include "base/result.h"
#include "ir/graph.h"
#include "passes/trainable_parameters.h"

namespace hai::passes {

// `groups`: "backbone*:rate=0.1;head*:rate=10:decay=0.01;stem*:frozen". In a pattern * stands for any text; the first
// group whose pattern is a whole name has it. rate: a factor of the learning rate; decay: instead of the optimizer's
// weight decay (biases and normalizations stay spared); frozen: not trained, so the parameter is taken out. Empty: no
// groups.
//
// Errors: P549 a malformed group, P550 a pattern that names no parameter, P551 all are frozen.
Status apply_groups(const ir::Graph& graph, std::string_view groups, std::vector<Parameter>& parameters);

}  // namespace hai::passes
