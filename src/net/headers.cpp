// SPDX-License-Identifier: MIT
#include "net/headers.h"

#include <curl/curl.h>

#include <algorithm>

#include "base/ascii.h"
#include "base/parse_number.h"

namespace moe::net {
namespace {

// All of the text as a number without a sign.
std::optional<int64_t> number(std::string_view text) {
  return text.starts_with('-') ? std::nullopt : parse_number<int64_t>(text);
}

// The text up to the next separator outside "quotes" and <angles>, which is taken off the front with it.
std::string_view take_until(std::string_view& text, char separator) {
  char closes = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (closes == '"' && c == '\\') {
      ++i;
    } else if (closes) {
      if (c == closes) closes = 0;
    } else if (c == '"' || c == '<') {
      closes = c == '"' ? '"' : '>';
    } else if (c == separator) {
      const std::string_view head = text.substr(0, i);
      text.remove_prefix(i + 1);
      return trim(head);
    }
  }
  const std::string_view head = text;
  text = {};
  return trim(head);
}

std::string_view unquoted(std::string_view text) {
  if (text.size() >= 2 && text.front() == '"' && text.back() == '"') return text.substr(1, text.size() - 2);
  return text;
}

// name=value of a parameter; the name in lower case.
std::pair<std::string, std::string_view> parameter(std::string_view text) {
  const size_t equals = text.find('=');
  if (equals == std::string_view::npos) return {lower(text), {}};
  return {lower(trim(text.substr(0, equals))), unquoted(trim(text.substr(equals + 1)))};
}

// rel is a list of words separated by spaces.
bool has_word(std::string_view words, std::string_view word) {
  while (!words.empty()) {
    if (lower(take_until(words, ' ')) == word) return true;
  }
  return false;
}

}  // namespace

void Headers::add(std::string_view name, std::string_view value) {
  items_.emplace_back(lower(trim(name)), trim(value));
}

void Headers::add_line(std::string_view line) {
  const size_t colon = line.find(':');
  if (colon != std::string_view::npos && colon > 0) add(line.substr(0, colon), line.substr(colon + 1));
}

const std::string& Headers::get(std::string_view name) const {
  static const std::string none;
  const std::string key = lower(name);
  const auto found =
      std::find_if(items_.begin(), items_.end(), [&](const auto& item) { return item.first == key; });
  return found == items_.end() ? none : found->second;
}

bool Headers::has(std::string_view name) const {
  const std::string key = lower(name);
  return std::any_of(items_.begin(), items_.end(), [&](const auto& item) { return item.first == key; });
}

std::optional<ContentRange> parse_content_range(std::string_view value) {
  value = trim(value);
  if (lower(value.substr(0, 6)) != "bytes ") return std::nullopt;
  value = trim(value.substr(6));
  const size_t slash = value.find('/');
  if (slash == std::string_view::npos) return std::nullopt;
  const std::string_view range = value.substr(0, slash), total = value.substr(slash + 1);
  ContentRange result;
  if (total != "*") {
    const auto size = number(total);
    if (!size) return std::nullopt;
    result.total = *size;
  }
  if (range == "*") return result.total < 0 ? std::nullopt : std::optional(result);
  const size_t dash = range.find('-');
  if (dash == std::string_view::npos) return std::nullopt;
  const auto first = number(range.substr(0, dash)), last = number(range.substr(dash + 1));
  if (!first || !last || *first > *last || *last == INT64_MAX) return std::nullopt;
  if (result.total >= 0 && *last >= result.total) return std::nullopt;
  result.begin = *first;
  result.end = *last + 1;
  return result;
}

std::optional<int64_t> parse_content_length(std::string_view value) {
  return number(trim(value));
}

std::optional<double> parse_retry_after(std::string_view value, int64_t now) {
  value = trim(value);
  if (const auto seconds = number(value)) return static_cast<double>(*seconds);
  const bool a_date = value.find(':') != std::string_view::npos && value.find('\0') == std::string_view::npos;
  if (!a_date) return std::nullopt;
  const time_t date = curl_getdate(std::string(value).c_str(), nullptr);
  if (date < 0) return std::nullopt;
  return static_cast<double>(std::max<int64_t>(0, static_cast<int64_t>(date) - now));
}

std::optional<double> parse_rate_limit(std::string_view value) {
  std::optional<double> longest;
  while (!value.empty()) {
    std::string_view item = take_until(value, ',');
    take_until(item, ';');  // the limit's name
    std::optional<int64_t> remaining, seconds;
    while (!item.empty()) {
      const auto [name, text] = parameter(take_until(item, ';'));
      if (name == "r") remaining = number(text);
      if (name == "t") seconds = number(text);
    }
    if (remaining == 0 && seconds) longest = std::max(longest.value_or(0), static_cast<double>(*seconds));
  }
  return longest;
}

std::optional<std::string> parse_next_link(std::string_view value) {
  while (!value.empty()) {
    std::string_view item = take_until(value, ',');
    const std::string_view target = take_until(item, ';');
    if (target.size() < 3 || target.front() != '<' || target.back() != '>') continue;
    while (!item.empty()) {
      const auto [name, text] = parameter(take_until(item, ';'));
      if (name == "rel" && has_word(text, "next")) return std::string(target.substr(1, target.size() - 2));
    }
  }
  return std::nullopt;
}

}  // namespace moe::net
