// Text tables and numbers for people.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace hai::tools {

// Cells may be any text from a file. Columns aligned by their widest cell; cells that start like a number go right. A
// line of dashes under the header.
class Table {
 public:
  explicit Table(std::vector<std::string> header);
  void add(std::vector<std::string> row);
  std::string to_string() const;

 private:
  std::vector<std::vector<std::string>> rows_;
};

std::string format_bytes(int64_t bytes);        // "4.94 MB" (10^6), "812 B"
std::string format_count(int64_t count);        // "301.2 M"
std::string format_milliseconds(double value);  // "3.021 ms"

}  // namespace hai::tools
