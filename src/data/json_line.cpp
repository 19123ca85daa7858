// SPDX-License-Identifier: MIT
#include "data/json_line.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <limits>

#include "base/parse_number.h"
#include "base/utf8.h"

namespace moe::data {
namespace {

constexpr char kInvalid = '\xFF';  // never part of UTF-8

constexpr size_t kShownKeys = 20;

// What is wrong, in words.
struct Wrong {
  std::string words;
};

// The first quote or backslash, eight bytes at a time.
const char* special(const char* at, const char* end) {
  constexpr uint64_t kOnes = 0x0101010101010101u, kHigh = 0x8080808080808080u;
  const auto zeros = [](uint64_t word) { return (word - kOnes) & ~word & kHigh; };
  static_assert(std::endian::native == std::endian::little);
  for (; end - at >= 8; at += 8) {
    uint64_t word = 0;
    std::memcpy(&word, at, 8);
    const uint64_t found = zeros(word ^ (kOnes * '"')) | zeros(word ^ (kOnes * '\\'));
    if (found != 0) return at + std::countr_zero(found) / 8;
  }
  while (at != end && *at != '"' && *at != '\\') ++at;
  return at;
}

bool is_space(char c) {
  return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

class Scanner {
 public:
  explicit Scanner(std::string_view line) : begin_(line.data()), at_(begin_), end_(begin_ + line.size()) {}

  // Calls visit(key) before each value of the outermost object; it takes or passes over the value.
  template <class Visit>
  void object(Visit&& visit) {
    space();
    if (at_ == end_ || *at_ != '{') fail("another JSON value than an object");
    ++at_;
    space();
    if (!take('}')) {
      do {
        space();
        const std::string_view key = raw_text();
        space();
        if (!take(':')) fail("no colon after a key");
        space();
        visit(key);
        space();
      } while (take(','));
      if (!take('}')) fail("no comma or brace after a value");
    }
    space();
    if (at_ != end_) fail("something after the object");
  }

  void read(LineField& field) {
    using Kind = LineField::Kind;
    if (at_ == end_) fail("no value");
    field = {};
    if (*at_ == '"') {
      field.kind = Kind::text;
      unescape(raw_text(), field.text);
      return;
    }
    if (*at_ == '{' || *at_ == '[') {
      field.kind = *at_ == '{' ? Kind::object : Kind::list;
      return pass();
    }
    const std::string_view word = scalar();
    if (word == "null") {
      field.kind = Kind::null;
    } else if (word == "true" || word == "false") {
      field.kind = Kind::boolean;
      field.text = word;
    } else {
      field.kind = Kind::number;
      field.number = number(word);
    }
  }

  // Over a value of any kind.
  void pass() {
    if (at_ == end_) fail("no value");
    if (*at_ == '"') {
      raw_text();
    } else if (*at_ != '{' && *at_ != '[') {
      scalar();
    } else {
      int64_t depth = 0;
      do {
        if (at_ == end_) fail("the end of the line inside a value");
        if (*at_ == '"') {
          raw_text();
          continue;
        }
        if (*at_ == '{' || *at_ == '[') ++depth;
        if (*at_ == '}' || *at_ == ']') --depth;
        ++at_;
      } while (depth > 0);
    }
  }

  static void unescape(std::string_view raw, std::string& text) {
    const char *at = raw.data(), *end = at + raw.size();
    text.reserve(raw.size());
    while (true) {
      const char* next = std::find(at, end, '\\');
      text.append(at, next);
      if (next == end) return;
      at = escape(next + 1, end, text);
    }
  }

 private:
  [[noreturn]] void fail(const char* what) const {
    throw Wrong{fmt::format("{} at byte {} of the line", at_ == end_ ? "the end of the line" : what,
                            at_ - begin_ + 1)};
  }
  void space() {
    while (at_ != end_ && is_space(*at_)) ++at_;
  }
  bool take(char c) {
    if (at_ == end_ || *at_ != c) return false;
    ++at_;
    return true;
  }

  // What stands between quotes, escapes as they are.
  std::string_view raw_text() {
    if (!take('"')) fail("no quote before a key");
    const char* const begin = at_;
    while (true) {
      at_ = special(at_, end_);
      if (at_ == end_) fail("no quote after a text");
      if (*at_ == '"') break;
      if (end_ - at_ < 2) {
        at_ = end_;
        fail("half an escape");
      }
      at_ += 2;
    }
    return {begin, static_cast<size_t>(at_++ - begin)};
  }

  std::string_view scalar() {
    const char* const begin = at_;
    while (at_ != end_ && !is_space(*at_) &&
           std::string_view(",:]}[{\"").find(*at_) == std::string_view::npos)
      ++at_;
    if (at_ == begin) fail("no value");
    return {begin, static_cast<size_t>(at_ - begin)};
  }

  long double number(std::string_view word) const {
    if (const auto whole = parse_number<int64_t>(word)) return *whole;
    if (const auto positive = parse_number<uint64_t>(word)) return *positive;
    // Python writes these.
    if (word == "NaN") return std::numeric_limits<long double>::quiet_NaN();
    if (word == "Infinity") return std::numeric_limits<long double>::infinity();
    if (word == "-Infinity") return -std::numeric_limits<long double>::infinity();
    if (const auto real = parse_number<double>(word)) return *real;
    if (word.find_first_not_of("0123456789+-.eE") == std::string_view::npos) {  // out of a double's range
      const std::string copy(word);
      char* rest = nullptr;
      const double value = std::strtod(copy.c_str(), &rest);
      if (*rest == '\0' && rest != copy.c_str()) return value;
    }
    fail("neither text, number, list, object, true, false nor null");
  }

  static int32_t hex(const char* at, const char* end) {
    if (end - at < 4) return -1;
    int32_t value = 0;
    for (int i = 0; i < 4; ++i) {
      const char c = at[i];
      const int digit = c >= '0' && c <= '9'   ? c - '0'
                        : c >= 'a' && c <= 'f' ? c - 'a' + 10
                        : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                               : -1;
      if (digit < 0) return -1;
      value = value * 16 + digit;
    }
    return value;
  }

  // Of what follows a backslash; returns what follows it. What is no escape stands for U+FFFD.
  static const char* escape(const char* at, const char* end, std::string& text) {
    constexpr std::string_view kNames = "\"\\/bfnrt", kMeanings = "\"\\/\b\f\n\r\t";
    const size_t name = at == end ? std::string_view::npos : kNames.find(*at);
    if (name != std::string_view::npos) {
      text += kMeanings[name];
      return at + 1;
    }
    const int32_t unit = at != end && *at == 'u' ? hex(at + 1, end) : -1;
    if (unit < 0) {
      text += kInvalid;
      return at == end ? at : at + 1;
    }
    at += 5;
    if (unit < 0xD800 || unit > 0xDFFF) {
      append_utf8(text, static_cast<char32_t>(unit));
      return at;
    }
    const int32_t second =
        unit < 0xDC00 && end - at >= 6 && at[0] == '\\' && at[1] == 'u' ? hex(at + 2, end) : -1;
    if (second < 0xDC00 || second > 0xDFFF) {
      text += kInvalid;
      return at;
    }
    append_utf8(text, static_cast<char32_t>(0x10000 + ((unit - 0xD800) << 10) + (second - 0xDC00)));
    return at + 6;
  }

  const char *begin_, *at_, *end_;
};

}  // namespace

const char* LineField::kind_words() const {
  switch (kind) {
    case Kind::missing:
      return "nothing";
    case Kind::text:
      return "text";
    case Kind::number:
      return "a number";
    case Kind::boolean:
      return "true or false";
    case Kind::null:
      return "null";
    case Kind::object:
      return "an object";
    case Kind::list:
      return "a list";
  }
  return "";
}

std::string JsonLine::read(std::string_view line) {
  for (LineField& field : fields_) field.kind = LineField::Kind::missing;
  Scanner scanner(line);
  std::string unescaped;
  try {
    scanner.object([&](std::string_view key) {
      if (key.find('\\') != std::string_view::npos) {
        unescaped.clear();
        Scanner::unescape(key, unescaped);
        key = unescaped;
      }
      size_t first = 0;
      while (first < names_.size() && names_[first] != key) ++first;
      if (first == names_.size()) return scanner.pass();
      scanner.read(fields_[first]);
      for (size_t i = first + 1; i < names_.size(); ++i)
        if (names_[i] == key) fields_[i] = fields_[first];
    });
  } catch (const Wrong& wrong) {
    return wrong.words;
  }
  return "";
}

std::vector<std::string> json_keys(std::string_view line) {
  std::vector<std::string> keys;
  Scanner scanner(line);
  try {
    scanner.object([&](std::string_view key) {
      std::string name;
      Scanner::unescape(key, name);
      if (keys.size() < kShownKeys && std::find(keys.begin(), keys.end(), name) == keys.end())
        keys.push_back(std::move(name));
      scanner.pass();
    });
  } catch (const Wrong&) {
    keys.clear();
  }
  return keys;
}

}  // namespace moe::data
