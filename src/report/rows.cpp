// SPDX-License-Identifier: MIT
#include "report/rows.h"

#include <simdjson.h>
#include <sys/stat.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <limits>
#include <string>
#include <utility>
#include <vector>

namespace moe::report {
namespace {

namespace dom = simdjson::dom;

bool to_number(const dom::element& element, double& number) {
  if (element.get(number) == simdjson::SUCCESS) return true;
  std::string_view word;
  if (element.get(word) != simdjson::SUCCESS) return false;
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

bool to_list(const dom::array& array, std::vector<double>& list) {
  list.reserve(array.size());
  for (const dom::element element : array)
    if (double number = 0; to_number(element, number))
      list.push_back(number);
    else
      return false;
  return true;
}

bool to_table(const dom::array& array, std::vector<std::vector<double>>& table) {
  for (const dom::element element : array) {
    dom::array inner;
    if (element.get(inner) != simdjson::SUCCESS || !to_list(inner, table.emplace_back())) return false;
  }
  return true;
}

bool to_value(const dom::element& element, Row::Value& value) {
  int64_t whole = 0;
  if (element.get(whole) == simdjson::SUCCESS) return value = whole, true;
  if (double number = 0; to_number(element, number)) return value = number, true;
  std::string_view text;
  if (element.get(text) == simdjson::SUCCESS) return value = std::string(text), true;
  dom::array array;
  if (element.get(array) != simdjson::SUCCESS) return false;
  if (std::vector<double> list; to_list(array, list)) return value = std::move(list), true;
  std::vector<std::vector<double>> table;
  if (!to_table(array, table)) return false;
  value = std::move(table);
  return true;
}

}  // namespace

struct RowParser::Json {
  dom::parser parser;
};

RowParser::RowParser() : json_(std::make_unique<Json>()) {}

RowParser::~RowParser() = default;

bool RowParser::parse_line(std::string_view line, Row& row) {
  dom::object object;
  if (json_->parser.parse(line.data(), line.size()).get(object) != simdjson::SUCCESS) return false;
  bool first = true;
  row.values.clear();
  for (const auto& [name, element] : object) {
    if (std::exchange(first, false)) {
      if (name != "step" || element.get(row.step) != simdjson::SUCCESS) return false;
      continue;
    }
    Row::Value value;
    if (!to_value(element, value)) return false;
    row.values.emplace_back(std::string(name), std::move(value));
  }
  return !first;
}

size_t RowParser::parse(std::string_view bytes, bool whole, const std::function<void(const Row&)>& each) {
  size_t begin = 0;
  Row row;
  while (begin < bytes.size()) {
    const size_t newline = bytes.find('\n', begin);
    if (newline == std::string_view::npos && !whole) break;
    const size_t end = std::min(newline, bytes.size());
    const std::string_view line = bytes.substr(begin, end - begin);
    begin = std::min(end + 1, bytes.size());
    if (line.find_first_not_of(" \t\r") == std::string_view::npos) continue;
    if (parse_line(line, row))
      each(row);
    else
      ++unreadable_;
  }
  return begin;
}

void RowFile::read(const std::function<void()>& restart, const std::function<void(const Row&)>& each) {
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
