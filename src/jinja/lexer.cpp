// SPDX-License-Identifier: MIT
#include "jinja/lexer.h"

#include <algorithm>
#include <array>

#include "base/utf8.h"
#include "jinja/value.h"

namespace moe::jinja {
namespace {

constexpr std::string_view kWhite = " \t\n\r\f\v";

bool is_white(char c) {
  return kWhite.find(c) != std::string_view::npos;
}
bool is_digit(char c) {
  return c >= '0' && c <= '9';
}
bool begins_name(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
         static_cast<unsigned char>(c) >= 0x80;
}

// One kind of line end, and none at the end of all.
std::string even_lines(std::string_view source) {
  std::string result;
  for (size_t i = 0; i < source.size(); ++i) {
    if (source[i] != '\r') {
      result += source[i];
    } else {
      result += '\n';
      if (i + 1 < source.size() && source[i + 1] == '\n') ++i;
    }
  }
  if (result.ends_with('\n')) result.pop_back();
  return result;
}

class Lexer {
 public:
  explicit Lexer(std::string_view source) : source_(even_lines(source)) {}

  std::vector<Token> run() {
    while (at_ < source_.size()) outside();
    add(Token::Kind::end, "");
    return std::move(tokens_);
  }

 private:
  [[noreturn]] void fail(const std::string& message) const { throw Failure(message, line_); }
  bool here(std::string_view what) const { return std::string_view(source_).substr(at_).starts_with(what); }
  void add(Token::Kind kind, std::string text) { tokens_.push_back({kind, line_, std::move(text)}); }
  void advance(size_t count) {
    line_ += static_cast<int>(std::count(source_.begin() + static_cast<std::ptrdiff_t>(at_),
                                         source_.begin() + static_cast<std::ptrdiff_t>(at_ + count), '\n'));
    at_ += count;
  }

  // Text up to the next tag, and the tag.
  void outside() {
    size_t begin = at_;
    size_t tag = at_;
    for (;; ++tag) {
      tag = source_.find('{', tag);
      if (tag == std::string::npos || tag + 1 >= source_.size()) return last_text(begin);
      const char kind = source_[tag + 1];
      if (kind == '%' || kind == '{' || kind == '#') break;
    }
    const char kind = source_[tag + 1];
    const char sign = tag + 2 < source_.size() ? source_[tag + 2] : ' ';
    std::string text = source_.substr(begin, tag - begin);
    if (sign == '-') {
      text.erase(text.find_last_not_of(kWhite) + 1);
    } else if (sign != '+' && kind != '{') {
      const size_t newline = text.rfind('\n');
      const size_t line = newline == std::string::npos ? 0 : newline + 1;
      if ((line > 0 || at_line_begin_) && text.find_first_not_of(kWhite, line) == std::string::npos)
        text.erase(line);
    }
    if (!text.empty()) add(Token::Kind::text, text);
    advance(tag - begin);
    const bool signed_ = sign == '-' || sign == '+';
    if (kind == '#') return comment();
    advance(signed_ ? 3 : 2);
    if (kind == '{') return inside(Token::Kind::variable_begin, Token::Kind::variable_end, "}}");
    if (raw()) return;
    inside(Token::Kind::block_begin, Token::Kind::block_end, "%}");
  }

  void last_text(size_t begin) {
    add(Token::Kind::text, source_.substr(begin));
    advance(source_.size() - begin);
  }

  void comment() {
    const size_t end = source_.find("#}", at_ + 2);
    if (end == std::string::npos) fail("a comment {# has no end #}");
    const bool strip = source_[end - 1] == '-' && end - 1 >= at_ + 2;
    advance(end - at_);
    behind_tag(strip ? '-' : ' ', true);
  }

  // At the two characters that end a tag. sign: the one before them.
  void behind_tag(char sign, bool trims) {
    advance(2);
    at_line_begin_ = false;
    if (sign == '-') {
      const size_t next = source_.find_first_not_of(kWhite, at_);
      const size_t end = next == std::string::npos ? source_.size() : next;
      at_line_begin_ = end > at_ && source_[end - 1] == '\n';
      advance(end - at_);
    } else if (trims && sign != '+' && at_ < source_.size() && source_[at_] == '\n') {
      at_line_begin_ = true;
      advance(1);
    }
  }

  // {% raw %}, just behind its "{%": its text as it stands.
  bool raw() {
    size_t at = source_.find_first_not_of(kWhite, at_);
    if (at == std::string::npos || source_.compare(at, 3, "raw") != 0) return false;
    at = source_.find_first_not_of(kWhite, at + 3);
    if (at == std::string::npos || (source_[at] != '%' && source_[at] != '-')) return false;
    const char begin_sign = source_[at];
    if (begin_sign == '-') ++at;
    advance(at - at_);
    behind_tag(begin_sign, true);
    size_t tag = at_;
    for (;; tag += 2) {
      tag = source_.find("{%", tag);
      if (tag == std::string::npos) fail("a {% raw %} has no {% endraw %}");
      size_t word = tag + 2;
      const char sign = word < source_.size() ? source_[word] : ' ';
      if (sign == '-' || sign == '+') ++word;
      word = source_.find_first_not_of(kWhite, word);
      if (word == std::string::npos || source_.compare(word, 6, "endraw") != 0) continue;
      const size_t end = source_.find("%}", word);
      if (end == std::string::npos) continue;
      std::string text = source_.substr(at_, tag - at_);
      if (sign == '-') text.erase(text.find_last_not_of(kWhite) + 1);
      if (!text.empty()) add(Token::Kind::text, text);
      const char end_sign = source_[end - 1];
      advance(end - at_);
      behind_tag(end_sign, true);
      return true;
    }
  }

  // The tokens of a tag up to `close`.
  void inside(Token::Kind begin, Token::Kind end, std::string_view close) {
    const int first = line_;
    add(begin, "");
    int depth = 0;  // of brackets: "}}" inside of a dictionary is none of the tag's
    for (;;) {
      while (at_ < source_.size() && is_white(source_[at_])) advance(1);
      if (at_ >= source_.size()) throw Failure("a tag has no end " + std::string(close), first);
      const char sign = source_[at_];
      const bool signed_ = sign == '-' || (sign == '+' && close == "%}");
      if (depth == 0 && std::string_view(source_).substr(at_ + (signed_ ? 1 : 0)).starts_with(close)) {
        if (signed_) advance(1);
        add(end, "");
        return behind_tag(signed_ ? sign : ' ', close == "%}");
      }
      token(depth);
    }
  }

  void token(int& depth) {
    const char c = source_[at_];
    size_t end = at_;
    if (begins_name(c)) {
      while (end < source_.size() && (begins_name(source_[end]) || is_digit(source_[end]))) ++end;
      add(Token::Kind::name, source_.substr(at_, end - at_));
      advance(end - at_);
    } else if (is_digit(c)) {
      number();
    } else if (c == '"' || c == '\'') {
      string(c);
    } else {
      static constexpr std::array<std::string_view, 27> kSigns{
          "//", "**", "==", "!=", "<=", ">=", "+", "-", "*", "/", "%", "~", "<", ">",
          "=",  "(",  ")",  "[",  "]",  "{",  "}", ",", ".", ":", "|", ";", "!"};
      const auto found =
          std::find_if(kSigns.begin(), kSigns.end(), [&](std::string_view one) { return here(one); });
      if (found == kSigns.end()) fail("a character that no expression has: " + source_.substr(at_, 1));
      if (c == '(' || c == '[' || c == '{') ++depth;
      if ((c == ')' || c == ']' || c == '}') && --depth < 0) fail(std::string("unexpected '") + c + "'");
      add(Token::Kind::sign, std::string(*found));
      advance(found->size());
    }
  }

  void number() {
    size_t end = at_;
    const auto digits = [&] {
      while (end < source_.size() && (is_digit(source_[end]) || source_[end] == '_')) ++end;
    };
    digits();
    bool real = false;
    if (end + 1 < source_.size() && source_[end] == '.' && is_digit(source_[end + 1])) {
      real = true;
      ++end;
      digits();
    }
    if (end + 1 < source_.size() && (source_[end] == 'e' || source_[end] == 'E')) {
      const size_t sign = source_[end + 1] == '+' || source_[end + 1] == '-' ? 1 : 0;
      if (end + 1 + sign < source_.size() && is_digit(source_[end + 1 + sign])) {
        real = true;
        end += 1 + sign;
        digits();
      }
    }
    std::string text = source_.substr(at_, end - at_);
    std::erase(text, '_');
    add(real ? Token::Kind::real : Token::Kind::integer, text);
    advance(end - at_);
  }

  void string(char quote) {
    size_t end = at_ + 1;
    while (end < source_.size() && source_[end] != quote) end += source_[end] == '\\' ? 2 : 1;
    if (end >= source_.size()) fail("a text has no end");
    add(Token::Kind::string, unescaped(std::string_view(source_).substr(at_ + 1, end - at_ - 1)));
    advance(end + 1 - at_);
  }

  std::string unescaped(std::string_view text) const {
    static constexpr std::string_view kLetters = "abfnrtv\\'\"\n", kMeant = "\a\b\f\n\r\t\v\\'\"";
    std::string result;
    for (size_t i = 0; i < text.size(); ++i) {
      if (text[i] != '\\' || i + 1 >= text.size()) {
        result += text[i];
        continue;
      }
      const char c = text[++i];
      const size_t digits = c == 'x' ? 2 : (c == 'u' ? 4 : (c == 'U' ? 8 : 0));
      if (const size_t found = kLetters.find(c); found != std::string_view::npos) {
        if (found < kMeant.size()) result += kMeant[found];
      } else if (digits > 0) {
        append_code(text.substr(i + 1, digits), digits, result);
        i += digits;
      } else if (c >= '0' && c <= '7') {
        char32_t code = 0;
        size_t n = 0;
        for (; n < 3 && i + n < text.size() && text[i + n] >= '0' && text[i + n] <= '7'; ++n)
          code = code * 8 + static_cast<char32_t>(text[i + n] - '0');
        append_utf8(result, code);
        i += n - 1;
      } else {
        result += {'\\', c};
      }
    }
    return result;
  }

  void append_code(std::string_view hexadecimal, size_t digits, std::string& result) const {
    char32_t code = 0;
    for (const char c : hexadecimal) {
      const std::string_view kDigits = "0123456789abcdef";
      const size_t digit = kDigits.find(static_cast<char>(c >= 'A' && c <= 'F' ? c + 32 : c));
      if (digit == std::string_view::npos) fail("an escape in a text is cut off");
      code = code * 16 + static_cast<char32_t>(digit);
    }
    if (hexadecimal.size() < digits) fail("an escape in a text is cut off");
    if (code > 0x10FFFF || (code >= 0xD800 && code < 0xE000)) fail("an escape in a text is no character");
    append_utf8(result, code);
  }

  const std::string source_;
  std::vector<Token> tokens_;
  size_t at_ = 0;
  int line_ = 1;
  bool at_line_begin_ = true;
};

}  // namespace

std::vector<Token> tokens_of(std::string_view source) {
  return Lexer(source).run();
}

}  // namespace moe::jinja
