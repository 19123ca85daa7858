// SPDX-License-Identifier: MIT
#include "data/filter.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "base/ascii.h"
#include "base/error.h"
#include "base/parse_number.h"

namespace moe::data {

struct Filter::Spelling {
  std::string_view text;
  Operator meaning;
  // The longer ones first.
  static constexpr std::array<std::pair<std::string_view, Operator>, 6> kAll{{{"==", Operator::equal},
                                                                              {"!=", Operator::unequal},
                                                                              {"<=", Operator::at_most},
                                                                              {">=", Operator::at_least},
                                                                              {"<", Operator::less},
                                                                              {">", Operator::more}}};
};

namespace {

// A finite number; integers exactly.
std::optional<long double> number_of(std::string_view text) {
  if (const auto integer = parse_number<int64_t>(text)) return *integer;
  const auto number = parse_number<double>(text);
  return number && std::isfinite(*number) ? std::optional<long double>(*number) : std::nullopt;
}

}  // namespace

Filter Filter::parse(std::string_view text) {
  const auto refusal = [&](const std::string& found) {
    return UserError("data.filters", "COLUMN OPERATOR VALUE, as in int_score >= 3 or language == en",
                     fmt::format("{} in \"{}\"", found, text), "the operators are == != < <= > >=");
  };
  Filter filter;
  const size_t at = text.find_first_of("=!<>");
  if (at == std::string_view::npos) throw refusal("no operator");
  filter.column_ = trim(text.substr(0, at));
  if (filter.column_.empty()) throw refusal("no column");
  const auto spelling = std::find_if(Spelling::kAll.begin(), Spelling::kAll.end(),
                                     [&](const auto& s) { return text.substr(at).starts_with(s.first); });
  if (spelling == Spelling::kAll.end()) throw refusal(fmt::format("the operator {}", text[at]));
  filter.operator_ = spelling->second;
  std::string_view value = trim(text.substr(at + spelling->first.size()));
  const bool quoted = value.size() >= 2 && value.front() == '"' && value.back() == '"';
  if (quoted) value = value.substr(1, value.size() - 2);
  if (value.empty() && !quoted) throw refusal("no value");
  if (value.find('"') != std::string_view::npos) throw refusal("a quote inside the value");
  filter.value_ = value;
  if (!quoted) filter.number_ = number_of(value);
  if (!filter.takes_text() && !filter.number_)
    throw refusal(fmt::format("no number after {}", spelling->first));
  return filter;
}

std::string Filter::text() const {
  const auto* spelling = std::find_if(Spelling::kAll.begin(), Spelling::kAll.end(),
                                      [&](const auto& s) { return s.second == operator_; });
  const char* quote = number_ ? "" : "\"";
  return fmt::format("{} {} {}{}{}", column_, spelling->first, quote, value_, quote);
}

template <class T>
bool Filter::compare(const T& a, const T& b) const {
  switch (operator_) {
    case Operator::equal:
      return a == b;
    case Operator::unequal:
      return a != b;
    case Operator::less:
      return a < b;
    case Operator::at_most:
      return a <= b;
    case Operator::more:
      return a > b;
    case Operator::at_least:
      return a >= b;
  }
  CHECK(false, "an operator without a meaning");
}

bool Filter::passes(long double value) const {
  CHECK(number_.has_value());
  return !std::isnan(value) && compare(value, *number_);
}

bool Filter::passes(std::string_view value) const {
  CHECK(takes_text());
  return compare<std::string_view>(value, value_);
}

Filters parse_filters(const std::vector<std::string>& texts) {
  Filters filters;
  filters.reserve(texts.size());
  for (const std::string& text : texts) filters.push_back(Filter::parse(text));
  return filters;
}

std::string to_text(const Filters& filters) {
  std::string text;
  for (const Filter& filter : filters) text += (text.empty() ? " where " : " and ") + filter.text();
  return text;
}

}  // namespace moe::data
