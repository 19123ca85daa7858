// SPDX-License-Identifier: MIT
// Tokens to a tree. What Jinja has and templates of conversations have no use for (extends, include, import,
// block) is refused by its name.
#pragma once

#include <algorithm>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "jinja/lexer.h"
#include "jinja/syntax.h"

namespace moe::jinja {

// Tokens with a place among them.
class TokenReader {
 public:
  explicit TokenReader(std::vector<Token> tokens) : tokens_(std::move(tokens)) {}

  const Token& now() const { return tokens_[at_]; }
  const Token& next() const { return tokens_[std::min(at_ + 1, tokens_.size() - 1)]; }
  Token take();
  bool take_sign(std::string_view sign);
  bool take_name(std::string_view name);
  void expect_sign(std::string_view sign);
  void expect_name(std::string_view name);
  std::string expect_any_name();
  void expect(Token::Kind kind, const char* words);
  [[noreturn]] void fail(const std::string& expected) const;

  // One operator more in the tag at hand: each may make the tree deeper.
  void link();

  // One level further in, until the guard goes. Throws Failure for a template of more than some hundred.
  class Level {
   public:
    explicit Level(TokenReader& reader);
    ~Level() { --reader_.depth_; }
    Level(const Level&) = delete;
    Level& operator=(const Level&) = delete;

   private:
    TokenReader& reader_;
  };

 private:
  std::vector<Token> tokens_;
  size_t at_ = 0;
  int depth_ = 0, links_ = 0;
};

// conditions: whether "a if b else c" may stand here.
ExpressionPtr parse_expression(TokenReader& reader, bool conditions = true);
// What may stand with commas and without brackets: "a, b".
ExpressionPtr parse_tuple(TokenReader& reader, bool conditions = true);
// "(a, b=c)", behind its bracket.
CallArguments parse_arguments(TokenReader& reader);
// "| name(...) | name": around `inner`; the first bar may be missing.
ExpressionPtr parse_filters(TokenReader& reader, ExpressionPtr inner, bool first_bar);

// Throws Failure with the line.
Body parse_template(std::string_view source);

}  // namespace moe::jinja
