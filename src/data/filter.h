// SPDX-License-Identifier: MIT
// One line of data.filters: which rows of a Parquet or JSON lines file are documents.
//
//   FILTER   = COLUMN OPERATOR VALUE         int_score >= 3     language == en     url != "a b"
//   OPERATOR = == != < <= > >=
//   VALUE    = a number, or text, in double quotes if it begins or ends with a space
//
// A column of numbers is compared with a number, exactly; a column of text with text, byte for byte, by ==
// and != only; true and false are text. Null, and the number NaN, pass no filter. A row passes when it passes
// all.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace moe::data {

class Filter {
 public:
  // Throws UserError with the grammar.
  static Filter parse(std::string_view text);

  const std::string& column() const { return column_; }
  bool takes_numbers() const { return number_.has_value(); }
  bool takes_text() const { return operator_ == Operator::equal || operator_ == Operator::unequal; }
  // As parsed, spaces made even.
  std::string text() const;

  // long double holds every int64 and double.
  bool passes(long double value) const;       // takes_numbers() only
  bool passes(std::string_view value) const;  // takes_text() only

 private:
  enum class Operator : uint8_t { equal, unequal, less, at_most, more, at_least };
  struct Spelling;
  template <class T>
  bool compare(const T& a, const T& b) const;

  std::string column_, value_;
  Operator operator_ = Operator::equal;
  std::optional<long double> number_;
};

using Filters = std::vector<Filter>;
Filters parse_filters(const std::vector<std::string>& texts);
// " where A and B"; empty without filters. For identities.
std::string to_text(const Filters& filters);

}  // namespace moe::data
