// SPDX-License-Identifier: MIT
#include "base/fields.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cctype>
#include <cmath>
#include <optional>

#include "base/ascii.h"
#include "base/error.h"
#include "base/nearest.h"
#include "base/parse_number.h"
#include "base/utf8.h"

namespace moe {
namespace {

std::string quote(std::string_view text) {
  std::string quoted = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      quoted += {'\\', c};
    } else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
      quoted += fmt::format("\\x{:02x}", c);
    } else {
      quoted += c;
    }
  }
  return quoted + '"';
}

// Text that every YAML reader takes for text without quotes.
bool is_plain(std::string_view text) {
  const auto letter = [](char c) { return (c | 0x20) >= 'a' && (c | 0x20) <= 'z'; };
  if (text.empty() || !(letter(text[0]) || text[0] == '/')) return false;
  if (!std::ranges::all_of(text, [&](char c) {
        return letter(c) || (c >= '0' && c <= '9') || c == '/' || c == '.' || c == '_' || c == '-';
      }))
    return false;
  static constexpr std::string_view kReserved[] = {"true", "false", "yes", "no",  "on",
                                                   "off",  "y",     "n",   "null"};
  return std::ranges::find(kReserved, lower(text)) == std::end(kReserved);
}

std::string number(double value) {
  std::string text = fmt::format("{}", value);  // shortest that reads back to the same bits
  if (text.find('.') == std::string::npos && std::isfinite(value))
    text.insert(std::min(text.find('e'), text.size()), ".0");  // YAML 1.1 takes 1e-05 for a text
  return text;
}

std::string limit(double value) {
  return value == std::floor(value) && std::fabs(value) < 1e15 ? fmt::format("{:.0f}", value)
                                                               : fmt::format("{}", value);
}

bool is_text(std::string_view text) {
  return well_formed_prefix(text) == text.size() && text.find('\0') == std::string_view::npos;
}

// 1_000, 1e3 and 1000.0 are meant as integers, but are not written as one.
std::string integer_hint(std::string_view text) {
  std::string digits(text);
  std::erase(digits, '_');
  const auto value = parse_number<double>(digits);
  if (!value || std::fabs(*value) > 1e15 || *value != std::floor(*value)) return "";
  return fmt::format("write {:.0f}", *value);
}

}  // namespace

Field::Field(std::string name, Target target, std::string help)
    : name_(std::move(name)), help_(std::move(help)), target_(target), initial_(value()) {}

Field& Field::range(double min, double max) {
  min_ = min;
  max_ = max;
  return *this;
}

Field& Field::at_least(double min) {
  min_ = min;
  return *this;
}

Field& Field::more_than(double bound) {
  min_ = bound;
  min_excluded_ = true;
  return *this;
}

Field& Field::less_than(double bound) {
  max_ = bound;
  max_excluded_ = true;
  return *this;
}

Field& Field::zero_is(std::string word) {
  zero_word_ = std::move(word);
  initial_ = value();
  return *this;
}

Field& Field::in_f32() {
  in_f32_ = true;
  return *this;
}

Field& Field::known_as(std::vector<std::string> names) {
  other_names_ = std::move(names);
  return *this;
}

Field& Field::choice_known_as(std::vector<std::pair<std::string, std::string>> words) {
  other_words_ = std::move(words);
  return *this;
}

Field& Field::formerly(std::vector<std::string> names) {
  former_names_ = std::move(names);
  return *this;
}

Field::Value Field::value() const {
  return std::visit(
      [this]<class T>(const T& target) -> Value {
        if constexpr (std::is_same_v<T, Named>) {
          return target.read(target.place);
        } else {
          if constexpr (std::is_same_v<T, int64_t*>)
            if (*target == 0 && !zero_word_.empty()) return zero_word_;
          return *target;
        }
      },
      target_);
}

std::string Field::expected() const {
  if (!choices_.empty()) return fmt::format("one of: {}", fmt::join(choices_, ", "));
  static constexpr std::string_view kTypes[] = {"an integer", "a number", "true or false", "a text",
                                                "a list of texts"};
  std::string words(kTypes[target_.index()]);
  const bool low = std::isfinite(min_), high = std::isfinite(max_);
  const std::string word = zero_word_.empty() ? "" : ", or " + zero_word_;
  if (low && high && !min_excluded_ && !max_excluded_)
    return fmt::format("{} between {} and {}{}", words, limit(min_), limit(max_), word);
  if (low) words += fmt::format("{} {}", min_excluded_ ? " more than" : " of at least", limit(min_));
  if (high)
    words += fmt::format("{} {} {}", low ? " and" : "", max_excluded_ ? "less than" : "at most", limit(max_));
  return words + word;
}

bool Field::in_limits(double x) const {
  return std::isfinite(x) && (min_excluded_ ? x > min_ : x >= min_) && (max_excluded_ ? x < max_ : x <= max_);
}

bool Field::allows(const Value& value) const {
  if (const auto* text = std::get_if<std::string>(&value))
    return moe::is_text(*text) && (choices_.empty() || std::ranges::find(choices_, *text) != choices_.end());
  if (const auto* list = std::get_if<List>(&value)) return std::ranges::all_of(*list, moe::is_text);
  if (std::holds_alternative<bool>(value)) return true;
  const double x = std::holds_alternative<double>(value) ? std::get<double>(value)
                                                         : static_cast<double>(std::get<int64_t>(value));
  if (!in_f32_) return in_limits(x);
  const auto rounded = static_cast<float>(x);
  return in_limits(x) && in_limits(static_cast<double>(rounded)) && (x == 0 || std::isnormal(rounded));
}

// With what arithmetic makes of it, where that is what is refused.
std::string Field::found(const Value& value) const {
  const auto* x = std::get_if<double>(&value);
  if (x == nullptr || !in_f32_ || !in_limits(*x)) return to_yaml(value);
  const auto rounded = static_cast<float>(*x);
  return fmt::format("{}, which is {} in f32", to_yaml(value),
                     rounded != 0 && !std::isnormal(rounded) && std::isfinite(rounded)
                         ? "subnormal"
                         : fmt::format("{}", rounded));
}

void Field::assign(Value value, const std::string& where) {
  if (auto* text = std::get_if<std::string>(&value)) {
    const auto former = std::ranges::find(former_words_, *text, &std::pair<std::string, std::string>::first);
    if (former != former_words_.end()) *text = former->second;
  }
  if (!allows(value)) {
    std::string hint;
    if (const auto* text = std::get_if<std::string>(&value)) {
      const auto word = std::ranges::find(other_words_, *text, &std::pair<std::string, std::string>::first);
      const std::string near = word != other_words_.end() ? word->second : nearest_name(*text, choices_);
      if (!near.empty()) hint = "did you mean " + near + "?";
    }
    throw UserError(where, expected(), found(value), hint);
  }
  std::visit(
      [&]<class T>(const T& target) {
        if constexpr (std::is_same_v<T, Named>)
          target.write(target.place, std::get<std::string>(value));
        else
          *target = std::get<std::remove_pointer_t<T>>(std::move(value));
      },
      target_);
}

void Field::set(std::string_view text, const std::string& where) {
  std::optional<Value> value;
  std::string hint;
  if (auto* const* target = std::get_if<int64_t*>(&target_)) {
    if (!zero_word_.empty() && text == zero_word_) {
      **target = 0;
      return;
    }
    if (const auto integer = parse_number<int64_t>(text))
      value = *integer;
    else
      hint = integer_hint(text);
  } else if (std::holds_alternative<double*>(target_)) {
    if (const auto real = parse_number<double>(text)) value = *real;
  } else if (std::holds_alternative<bool*>(target_)) {
    if (text == "true" || text == "false") value = text == "true";
  } else if (is_text()) {
    value = std::string(text);
  } else {
    value = List{std::string(text)};
  }
  if (!value) throw UserError(where, expected(), text.empty() ? "nothing" : quote(text), hint);
  assign(std::move(*value), where);
}

void Field::set_list(List items, const std::string& where) {
  if (!is_list()) throw UserError(where, expected(), "a list");
  assign(std::move(items), where);
}

void Field::check(const std::string& where) const {
  if (const Value held = value(); !allows(held)) throw UserError(where, expected(), found(held));
}

std::string to_yaml(const Field::Value& value) {
  struct {
    std::string operator()(int64_t x) const { return std::to_string(x); }
    std::string operator()(double x) const { return number(x); }
    std::string operator()(bool x) const { return x ? "true" : "false"; }
    std::string operator()(const std::string& x) const { return is_plain(x) ? x : quote(x); }
    std::string operator()(const Field::List& x) const {
      std::string items;
      for (const auto& item : x) items += (items.empty() ? "" : ", ") + (*this)(item);
      return "[" + items + "]";
    }
  } print;
  return std::visit(print, value);
}

void Fields::absent(std::vector<std::string> names, const std::string& why) {
  for (std::string& name : names) absent_.emplace_back(std::move(name), why);
}

std::string Fields::counterpart(std::string_view other_name, const std::string& section) const {
  for (const Field& field : fields_)
    if (std::ranges::find(field.other_names(), other_name) != field.other_names().end())
      return fmt::format("it is called {}.{} here ({})", section, field.name(), field.help());
  for (const auto& [name, why] : absent_)
    if (name == other_name) return why;
  return "";
}

Field* Fields::find(std::string_view name) {
  const auto field = std::ranges::find_if(fields_, [&](const Field& one) {
    return one.name() == name || std::ranges::find(one.former_names(), name) != one.former_names().end();
  });
  return field == fields_.end() ? nullptr : &*field;
}

void Fields::check(const std::string& section) const {
  for (const Field& field : fields_) field.check(section + "." + field.name());
}

}  // namespace moe
