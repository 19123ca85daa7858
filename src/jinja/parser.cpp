// SPDX-License-Identifier: MIT
// Statements; expressions are in parse_expression.cpp.
#include "jinja/parser.h"

#include <algorithm>

namespace moe::jinja {
namespace {

using Kind = Statement::Kind;
constexpr int kMostDepth = 200;
constexpr int kMostLinks = 500;

ExpressionPtr block_text(int line) {
  return std::make_unique<Expression>(
      Expression{.kind = Expression::Kind::name, .line = line, .name = kBlockText});
}

class StatementParser {
 public:
  explicit StatementParser(TokenReader& reader) : in_(reader) {}

  Body all() {
    Body body = until({}, 0);
    if (in_.now().kind != Token::Kind::end) in_.fail("the end");
    return body;
  }

 private:
  // Up to a tag that begins with one of these names, which is read: the name that it was is in `ended_`.
  // line: of the tag that this is the block of.
  Body until(const std::vector<std::string_view>& ends, int line) {
    const TokenReader::Level level(in_);
    Body body;
    for (;;) {
      const Token token = in_.take();
      switch (token.kind) {
        case Token::Kind::text:
          body.push_back({.kind = Kind::text, .line = token.line, .text = Text(token.text, false)});
          break;
        case Token::Kind::variable_begin:
          body.push_back({.kind = Kind::output, .line = token.line, .expression = parse_tuple(in_)});
          in_.expect(Token::Kind::variable_end, "'}}'");
          break;
        case Token::Kind::block_begin: {
          const Token& name = in_.now();
          if (name.kind == Token::Kind::name &&
              std::find(ends.begin(), ends.end(), name.text) != ends.end()) {
            ended_ = in_.take().text;
            return body;
          }
          body.push_back(statement());
          break;
        }
        default:
          if (ends.empty()) return body;
          throw Failure("this block has no " + std::string(ends.back()), line);
      }
    }
  }
  Body block(std::string_view end, int line) {
    end_of_tag();
    Body body = until({end}, line);
    end_of_tag();
    return body;
  }
  void end_of_tag() { in_.expect(Token::Kind::block_end, "'%}'"); }

  Statement statement() {
    const int line = in_.now().line;
    const std::string name = in_.expect_any_name();
    Statement made{.kind = Kind::text, .line = line};
    if (name == "if") return if_(line);
    if (name == "for") return for_(line);
    if (name == "set") return set(line);
    if (name == "macro") return macro(line);
    if (name == "call") return call(line);
    if (name == "filter") {
      made.kind = Kind::filter;
      made.expression = parse_filters(in_, block_text(line), false);
      made.body = block("endfilter", line);
      return made;
    }
    if (name == "with") return with(line);
    if (name == "generation") {
      made.kind = Kind::generation;
      made.body = block("endgeneration", line);
      return made;
    }
    if (name == "break" || name == "continue") {
      if (loops_ == 0) throw Failure("'" + name + "' outside of a loop", line);
      made.kind = name == "break" ? Kind::break_ : Kind::continue_;
      end_of_tag();
      return made;
    }
    throw Failure("a tag that is not known here: '" + name + "'", line);
  }

  Statement if_(int line) {
    Statement made{.kind = Kind::if_, .line = line, .expression = parse_tuple(in_)};
    end_of_tag();
    made.body = until({"elif", "else", "endif"}, line);
    if (ended_ == "elif") {
      const TokenReader::Level level(in_);
      made.other.push_back(if_(in_.now().line));
      return made;
    }
    if (ended_ == "else") {
      end_of_tag();
      made.other = until({"endif"}, line);
    }
    end_of_tag();
    return made;
  }

  std::vector<std::string> targets() {
    const bool bracket = in_.take_sign("(");
    std::vector<std::string> names{in_.expect_any_name()};
    while (in_.take_sign(",")) {
      if (in_.now().kind != Token::Kind::name || in_.now().is_name("in")) break;
      names.push_back(in_.expect_any_name());
    }
    if (bracket) in_.expect_sign(")");
    return names;
  }

  Statement for_(int line) {
    Statement made{.kind = Kind::for_, .line = line, .names = targets()};
    in_.expect_name("in");
    made.expression = parse_tuple(in_, false);
    if (in_.take_name("if")) made.condition = parse_expression(in_);
    if (in_.now().is_name("recursive")) in_.fail("no recursive loop");
    end_of_tag();
    ++loops_;
    made.body = until({"else", "endfor"}, line);
    --loops_;
    if (ended_ == "else") {
      end_of_tag();
      made.other = until({"endfor"}, line);
    }
    end_of_tag();
    return made;
  }

  Statement set(int line) {
    Statement made{.kind = Kind::set, .line = line};
    made.names.push_back(in_.expect_any_name());
    if (in_.take_sign(".")) {
      made.member = in_.expect_any_name();
    } else {
      while (in_.take_sign(",")) made.names.push_back(in_.expect_any_name());
    }
    if (in_.take_sign("=")) {
      made.expression = parse_tuple(in_);
      end_of_tag();
      return made;
    }
    if (made.names.size() > 1) in_.fail("'='");
    made.kind = Kind::set_block;
    made.expression = parse_filters(in_, block_text(line), true);
    made.body = block("endset", line);
    return made;
  }

  std::vector<Parameter> parameters() {
    std::vector<Parameter> result;
    while (!in_.take_sign(")")) {
      if (!result.empty()) {
        in_.expect_sign(",");
        if (in_.take_sign(")")) break;
      }
      result.push_back({in_.expect_any_name(), nullptr});
      if (in_.take_sign("=")) result.back().otherwise = parse_expression(in_);
    }
    return result;
  }

  Statement macro(int line) {
    Statement made{.kind = Kind::macro, .line = line};
    made.names.push_back(in_.expect_any_name());
    in_.expect_sign("(");
    made.parameters = parameters();
    const int outside = std::exchange(loops_, 0);
    made.body = block("endmacro", line);
    loops_ = outside;
    return made;
  }

  Statement call(int line) {
    Statement made{.kind = Kind::call, .line = line};
    if (in_.take_sign("(")) made.parameters = parameters();
    made.expression = parse_expression(in_);
    if (made.expression->kind != Expression::Kind::call) throw Failure("expected a call of a macro", line);
    made.body = block("endcall", line);
    return made;
  }

  Statement with(int line) {
    Statement made{.kind = Kind::with, .line = line};
    while (in_.now().kind == Token::Kind::name) {
      made.names.push_back(in_.take().text);
      in_.expect_sign("=");
      made.values.push_back(parse_expression(in_));
      if (!in_.take_sign(",")) break;
    }
    made.body = block("endwith", line);
    return made;
  }

  TokenReader& in_;
  std::string ended_;
  int loops_ = 0;  // around this place, and in its macro
};

}  // namespace

Token TokenReader::take() {
  Token token = tokens_[at_];
  if (at_ + 1 < tokens_.size()) ++at_;
  return token;
}

bool TokenReader::take_sign(std::string_view sign) {
  if (!now().is(sign)) return false;
  take();
  return true;
}

bool TokenReader::take_name(std::string_view name) {
  if (!now().is_name(name)) return false;
  take();
  return true;
}

void TokenReader::expect_sign(std::string_view sign) {
  if (!take_sign(sign)) fail("'" + std::string(sign) + "'");
}

void TokenReader::expect_name(std::string_view name) {
  if (!take_name(name)) fail("'" + std::string(name) + "'");
}

std::string TokenReader::expect_any_name() {
  if (now().kind != Token::Kind::name) fail("a name");
  return take().text;
}

void TokenReader::expect(Token::Kind kind, const char* words) {
  if (now().kind != kind) fail(words);
  links_ = 0;
  take();
}

void TokenReader::fail(const std::string& expected) const {
  const Token& token = now();
  std::string found = "'" + token.text + "'";
  if (token.kind == Token::Kind::end) found = "the end of the template";
  if (token.kind == Token::Kind::block_end) found = "'%}'";
  if (token.kind == Token::Kind::variable_end) found = "'}}'";
  throw Failure("expected " + expected + ", found " + found, token.line);
}

void TokenReader::link() {
  if (++links_ > kMostLinks) throw Failure("a tag with too many operators", now().line);
}

TokenReader::Level::Level(TokenReader& reader) : reader_(reader) {
  if (++reader_.depth_ <= kMostDepth) return;
  --reader_.depth_;
  throw Failure("expressions or blocks inside one another, too deep", reader_.now().line);
}

Body parse_template(std::string_view source) {
  TokenReader reader(tokens_of(source));
  return StatementParser(reader).all();
}

}  // namespace moe::jinja
