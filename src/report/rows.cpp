// SPDX-License-Identifier: MIT
#include "report/rows.h"

#include <sys/stat.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "base/json.h"
#include "report/row_scan.h"

namespace moe::report {
namespace {

bool to_number(const OrderedJson& element, double& number) {
  if (element.is_number()) return number = element.get<double>(), true;
  if (!element.is_string()) return false;
  const auto& word = element.get_ref<const std::string&>();
  if (word == "NaN")
    number = std::numeric_limits<double>::quiet_NaN();
  else if (word == "Infinity")
    number = std::numeric_limits<double>::infinity();
  else if (word == "-Infinity")
    number = -std::numeric_limits<double>::infinity();
  else
    return false;
  return true;
}

bool to_list(const OrderedJson& array, std::vector<double>& list) {
  list.reserve(array.size());
  return std::all_of(array.begin(), array.end(),
                     [&](const OrderedJson& element) { return to_number(element, list.emplace_back()); });
}

bool to_table(const OrderedJson& array, std::vector<std::vector<double>>& table) {
  return std::all_of(array.begin(), array.end(), [&](const OrderedJson& element) {
    return element.is_array() && to_list(element, table.emplace_back());
  });
}

// Integers past int64 count as numbers with a fraction do.
bool to_whole(const OrderedJson& element, int64_t& whole) {
  if (!element.is_number_integer()) return false;
  if (element.is_number_unsigned() &&
      element.get<uint64_t>() > static_cast<uint64_t>(std::numeric_limits<int64_t>::max()))
    return false;
  whole = element.get<int64_t>();
  return true;
}

bool to_value(const OrderedJson& element, metrics::Row::Value& value) {
  if (int64_t whole = 0; to_whole(element, whole)) return value = whole, true;
  if (double number = 0; to_number(element, number)) return value = number, true;
  if (element.is_string()) return value = element.get<std::string>(), true;
  if (!element.is_array()) return false;
  if (std::vector<double> list; to_list(element, list)) return value = std::move(list), true;
  std::vector<std::vector<double>> table;
  if (!to_table(element, table)) return false;
  value = std::move(table);
  return true;
}

}  // namespace

bool RowParser::parse_line(std::string_view line, metrics::Row& row) {
  const auto object = try_parse_ordered_json(line);
  if (!object || !object->is_object() || object->empty()) return false;
  bool first = true;
  row.values.clear();
  for (const auto& [name, element] : object->items()) {
    if (std::exchange(first, false)) {
      if (name != "step" || !to_whole(element, row.step)) return false;
      continue;
    }
    metrics::Row::Value value;
    if (!to_value(element, value)) return false;
    row.values.emplace_back(name, std::move(value));
  }
  return true;
}

size_t RowParser::parse(std::string_view bytes, bool whole,
                        const std::function<void(const metrics::Row&)>& each) {
  size_t begin = 0;
  metrics::Row scanned, row;
  while (begin < bytes.size()) {
    const size_t newline = bytes.find('\n', begin);
    if (newline == std::string_view::npos && !whole) break;
    const size_t end = std::min(newline, bytes.size());
    const std::string_view line = bytes.substr(begin, end - begin);
    begin = std::min(end + 1, bytes.size());
    if (line.find_first_not_of(" \t\r") == std::string_view::npos) continue;
    if (scan_row(line, scanned)) {
      each(scanned);
      continue;
    }
    scanned.values.clear();
    if (parse_line(line, row))
      each(row);
    else
      ++unreadable_;
  }
  return begin;
}

void RowFile::read(const std::function<void()>& restart,
                   const std::function<void(const metrics::Row&)>& each) {
  constexpr size_t kPiece = size_t{16} << 20;
  struct stat now {};
  if (::stat(path_.c_str(), &now) != 0) return;
  // A resumed run puts a shorter file in the place of the old one.
  if (position_ > 0 && (now.st_ino != file_ || static_cast<uint64_t>(now.st_size) < position_)) {
    position_ = 0;
    restart();
  }
  file_ = now.st_ino;
  std::ifstream file(path_, std::ios::binary);
  file.seekg(static_cast<std::streamoff>(position_));
  std::string bytes;
  for (;;) {
    const size_t kept = bytes.size();
    bytes.resize(kept + kPiece);
    file.read(bytes.data() + kept, static_cast<std::streamsize>(kPiece));
    const auto got = static_cast<size_t>(file.gcount());
    bytes.resize(kept + got);
    if (got == 0) return;
    const size_t done = parser_.parse(bytes, false, each);
    position_ += done;
    bytes.erase(0, done);
  }
}

}  // namespace moe::report
