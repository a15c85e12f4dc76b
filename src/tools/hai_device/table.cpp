// Text tables: widths from the content, numbers to the right.
//
// Plain characters only, so that output survives a pipe, a log and a mail. It does not colour and does not know the
// terminal's width.
#include "tools/hai_device/table.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "base/utf8.h"

namespace hai::tools {

Table::Table(std::vector<std::string> header) { rows_.push_back(std::move(header)); }

void Table::add(std::vector<std::string> row) {
  row.resize(rows_.front().size());
  for (std::string& cell : row) cell = printable(cell);
  rows_.push_back(std::move(row));
}

std::string Table::to_string() const {
  std::vector<size_t> widths(rows_.front().size(), 0);
  for (const auto& row : rows_) {
    for (size_t column = 0; column < row.size(); ++column)
      widths[column] = std::max(widths[column], row[column].size());
  }
  const auto numeric = [&](size_t column) {
    return rows_.size() > 1 && std::all_of(rows_.begin() + 1, rows_.end(), [&](const auto& row) {
             return row[column].empty() || row[column][0] == '-' || (row[column][0] >= '0' && row[column][0] <= '9');
           });
  };
  std::string text;
  for (size_t index = 0; index < rows_.size(); ++index) {
    std::string line;
    for (size_t column = 0; column < widths.size(); ++column) {
      if (column > 0) line += "  ";
      line += numeric(column) ? fmt::format("{:>{}}", rows_[index][column], widths[column])
                              : fmt::format("{:<{}}", rows_[index][column], widths[column]);
    }
    line.erase(line.find_last_not_of(' ') + 1);
    text += line + "\n";
    if (index == 0) {
      for (size_t column = 0; column < widths.size(); ++column)
        text += (column > 0 ? "  " : "") + std::string(widths[column], '-');
      text += "\n";
    }
  }
  return text;
}

namespace {
std::string scaled(double value, const std::array<const char*, 4>& units) {
  size_t unit = 0;
  while (value >= 1000.0 && unit + 1 < units.size()) {
    value /= 1000.0;
    ++unit;
  }
  return unit == 0 ? fmt::format("{:.0f} {}", value, units[0]) : fmt::format("{:.2f} {}", value, units[unit]);
}
}  // namespace

std::string format_bytes(int64_t bytes) { return scaled(static_cast<double>(bytes), {"B", "kB", "MB", "GB"}); }
std::string format_count(int64_t count) { return scaled(static_cast<double>(count), {"", "k", "M", "G"}); }
std::string format_milliseconds(double value) { return fmt::format("{:.3f} ms", value); }

}  // namespace hai::tools
