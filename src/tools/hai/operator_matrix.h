// The operator matrix: which operators exist where, as `hai ops --matrix` prints and CI checks it.
#pragma once

#include <string>
#include <vector>

namespace hai::tools {

struct OperatorMatrix {
  struct Row {
    std::string op;
    std::vector<std::string> cells;  // "yes", "-" for an unexplained hole, or the reason in parentheses
  };
  std::vector<std::string> columns;
  std::vector<Row> rows;
  std::vector<std::string> unexplained;  // "gather: cpu"
};

OperatorMatrix operator_matrix();

}  // namespace hai::tools
