// SPDX-License-Identifier: MIT
// Expressions by recursive descent, with Jinja's order of operators: if, or, and, not, comparisons, + and -,
// ~, * and / and %, **, signs, then filters and tests.
#include <algorithm>
#include <array>
#include <charconv>
#include <optional>

#include "jinja/parser.h"

namespace moe::jinja {
namespace {

using Kind = Expression::Kind;

std::unique_ptr<Expression> make(Kind kind, int line, std::string name = {}) {
  auto result = std::make_unique<Expression>(Expression{.kind = kind, .line = line, .name = std::move(name)});
  return result;
}

ExpressionPtr constant(int line, Value value) {
  auto result = make(Kind::constant, line);
  result->value = std::move(value);
  return result;
}

ExpressionPtr pair(int line, Kind kind, std::string name, ExpressionPtr left, ExpressionPtr right) {
  auto result = make(kind, line, std::move(name));
  result->parts.push_back(std::move(left));
  result->parts.push_back(std::move(right));
  return result;
}

class ExpressionParser {
 public:
  explicit ExpressionParser(TokenReader& reader) : in_(reader) {}

  ExpressionPtr choice() {
    const TokenReader::Level level(in_);
    ExpressionPtr value = or_();
    while (in_.now().is_name("if")) {
      in_.link();
      const int line = in_.take().line;
      auto result = make(Kind::choice, line);
      result->parts.push_back(std::move(value));
      result->parts.push_back(or_());
      result->parts.push_back(in_.take_name("else") ? choice() : nullptr);
      value = std::move(result);
    }
    return value;
  }

  ExpressionPtr or_() {
    ExpressionPtr left = and_();
    while (in_.now().is_name("or")) {
      in_.link();
      const int line = in_.take().line;
      left = pair(line, Kind::binary, "or", std::move(left), and_());
    }
    return left;
  }

  ExpressionPtr filters(ExpressionPtr inner, bool first_bar) {
    for (bool bar = first_bar; !bar || in_.take_sign("|"); bar = true) {
      in_.link();
      const int line = in_.now().line;
      std::string name = in_.expect_any_name();
      while (in_.take_sign(".")) name += "." + in_.expect_any_name();
      auto result = make(Kind::filter, line, name);
      result->parts.push_back(std::move(inner));
      if (in_.take_sign("(")) result->arguments = arguments();
      inner = std::move(result);
    }
    return inner;
  }

  CallArguments arguments() {
    const TokenReader::Level level(in_);
    CallArguments result;
    while (!in_.take_sign(")")) {
      if (!result.places.empty() || !result.named.empty()) {
        in_.expect_sign(",");
        if (in_.take_sign(")")) break;
      }
      if (in_.now().is("*") || in_.now().is("**")) in_.fail("arguments one by one");
      if (in_.now().kind == Token::Kind::name && in_.next().is("=")) {
        const std::string name = in_.take().text;
        in_.take();
        result.named.emplace_back(name, choice());
      } else {
        if (!result.named.empty()) in_.fail("an argument with a name");
        result.places.push_back(choice());
      }
    }
    return result;
  }

 private:
  ExpressionPtr and_() {
    ExpressionPtr left = not_();
    while (in_.now().is_name("and")) {
      in_.link();
      const int line = in_.take().line;
      left = pair(line, Kind::binary, "and", std::move(left), not_());
    }
    return left;
  }

  ExpressionPtr not_() {
    const TokenReader::Level level(in_);
    if (!in_.now().is_name("not")) return comparison();
    auto result = make(Kind::unary, in_.take().line, "not");
    result->parts.push_back(not_());
    return result;
  }

  std::string comparing() {
    for (const char* sign : {"==", "!=", "<=", ">=", "<", ">"})
      if (in_.take_sign(sign)) return sign;
    if (in_.take_name("in")) return "in";
    if (!in_.now().is_name("not") || !in_.next().is_name("in")) return {};
    in_.take();
    in_.take();
    return "not in";
  }

  ExpressionPtr comparison() {
    const int line = in_.now().line;
    ExpressionPtr first = sum();
    auto result = make(Kind::compare, line);
    for (std::string sign = comparing(); !sign.empty(); sign = comparing()) {
      result->names.push_back(sign);
      result->parts.push_back(sum());
    }
    if (result->names.empty()) return first;
    result->parts.insert(result->parts.begin(), std::move(first));
    return result;
  }

  // Operators of one rank, from left to right.
  ExpressionPtr row(std::initializer_list<const char*> signs, ExpressionPtr (ExpressionParser::*inner)()) {
    ExpressionPtr left = (this->*inner)();
    for (;;) {
      const auto sign =
          std::find_if(signs.begin(), signs.end(), [&](const char* one) { return in_.now().is(one); });
      if (sign == signs.end()) return left;
      in_.link();
      const int line = in_.take().line;
      left = pair(line, Kind::binary, *sign, std::move(left), (this->*inner)());
    }
  }
  ExpressionPtr sum() { return row({"+", "-"}, &ExpressionParser::concatenation); }
  ExpressionPtr concatenation() { return row({"~"}, &ExpressionParser::product); }
  ExpressionPtr product() { return row({"*", "/", "//", "%"}, &ExpressionParser::power); }
  ExpressionPtr power() { return row({"**"}, &ExpressionParser::filtered); }

  ExpressionPtr filtered() { return filters_and_tests(unary()); }

  ExpressionPtr unary() {
    const TokenReader::Level level(in_);
    for (const char* sign : {"-", "+"}) {
      if (!in_.now().is(sign)) continue;
      auto result = make(Kind::unary, in_.take().line, sign);
      result->parts.push_back(unary());
      return result;
    }
    return postfix(primary());
  }

  ExpressionPtr filters_and_tests(ExpressionPtr inner) {
    for (;;) {
      in_.link();
      if (in_.now().is("|"))
        inner = filters(std::move(inner), true);
      else if (in_.now().is_name("is"))
        inner = test(std::move(inner));
      else if (in_.now().is("("))
        inner = call(std::move(inner));
      else
        return inner;
    }
  }

  ExpressionPtr test(ExpressionPtr inner) {
    const int line = in_.take().line;
    const bool negated = in_.take_name("not");
    auto result = make(Kind::test, line, in_.expect_any_name());
    result->parts.push_back(std::move(inner));
    using K = Token::Kind;
    const Token& next = in_.now();
    const bool word = next.kind == K::name && !next.is_name("else") && !next.is_name("or") &&
                      !next.is_name("and") && !next.is_name("is") && !next.is_name("if") &&
                      !next.is_name("not") && !next.is_name("in");
    if (in_.take_sign("(")) {
      result->arguments = arguments();
    } else if (word || next.kind == K::string || next.kind == K::integer || next.kind == K::real ||
               next.is("[") || next.is("{")) {
      result->arguments.places.push_back(postfix(primary()));
    }
    if (!negated) return result;
    auto negation = make(Kind::unary, line, "not");
    negation->parts.push_back(std::move(result));
    return negation;
  }

  ExpressionPtr call(ExpressionPtr inner) {
    auto result = make(Kind::call, in_.take().line);
    result->parts.push_back(std::move(inner));
    result->arguments = arguments();
    return result;
  }

  ExpressionPtr postfix(ExpressionPtr inner) {
    for (;;) {
      in_.link();
      const int line = in_.now().line;
      if (in_.take_sign(".")) {
        const bool number = in_.now().kind == Token::Kind::integer;
        const std::string name = number ? in_.take().text : in_.expect_any_name();
        if (number) {
          inner = pair(line, Kind::item, {}, std::move(inner), constant(line, whole(name)));
        } else {
          auto result = make(Kind::attribute, line, name);
          result->parts.push_back(std::move(inner));
          inner = std::move(result);
        }
      } else if (in_.take_sign("[")) {
        inner = subscript(line, std::move(inner));
      } else if (in_.now().is("(")) {
        inner = call(std::move(inner));
      } else {
        return inner;
      }
    }
  }

  // Behind the bracket.
  ExpressionPtr subscript(int line, ExpressionPtr inner) {
    std::array<ExpressionPtr, 3> bounds;
    size_t colons = 0;
    while (!in_.take_sign("]")) {
      if (in_.take_sign(":")) {
        if (++colons > 2) in_.fail("at most two colons");
      } else {
        if (bounds.at(colons)) in_.fail("':' or ']'");
        bounds.at(colons) = choice();
      }
    }
    if (colons == 0) {
      if (!bounds[0]) in_.fail("an index");
      return pair(line, Kind::item, {}, std::move(inner), std::move(bounds[0]));
    }
    auto result = make(Kind::slice, line);
    result->parts.push_back(std::move(inner));
    for (ExpressionPtr& bound : bounds) result->parts.push_back(std::move(bound));
    return result;
  }

  Value whole(const std::string& digits) const {
    int64_t value = 0;
    const auto end = digits.data() + digits.size();
    if (std::from_chars(digits.data(), end, value).ec != std::errc()) in_.fail("an integer of 64 bits");
    return Value::of(value);
  }

  ExpressionPtr primary() {
    const Token token = in_.take();
    switch (token.kind) {
      case Token::Kind::name:
        return named(token);
      case Token::Kind::string: {
        std::string text = token.text;
        while (in_.now().kind == Token::Kind::string) text += in_.take().text;
        return constant(token.line, Value::text(text));
      }
      case Token::Kind::integer:
        return constant(token.line, whole(token.text));
      case Token::Kind::real:
        return constant(token.line, Value::of(std::stod(token.text)));
      default:
        break;
    }
    if (token.is("(")) return bracketed(token.line);
    if (token.is("[")) {
      auto list = make(Kind::list, token.line);
      while (!in_.take_sign("]")) {
        if (!list->parts.empty()) {
          in_.expect_sign(",");
          if (in_.take_sign("]")) break;
        }
        list->parts.push_back(choice());
      }
      return list;
    }
    if (token.is("{")) return dictionary(token.line);
    throw Failure("expected an expression, found '" + token.text + "'", token.line);
  }

  ExpressionPtr named(const Token& token) {
    if (token.text == "true" || token.text == "True") return constant(token.line, Value::of(true));
    if (token.text == "false" || token.text == "False") return constant(token.line, Value::of(false));
    if (token.text == "none" || token.text == "None") return constant(token.line, Value::none());
    return make(Kind::name, token.line, token.text);
  }

  ExpressionPtr bracketed(int line) {
    if (in_.take_sign(")")) return make(Kind::tuple, line);
    ExpressionPtr inner = parse_tuple(in_);
    in_.expect_sign(")");
    return inner;
  }

  ExpressionPtr dictionary(int line) {
    auto dict = make(Kind::dict, line);
    while (!in_.take_sign("}")) {
      if (!dict->parts.empty()) {
        in_.expect_sign(",");
        if (in_.take_sign("}")) break;
      }
      dict->parts.push_back(choice());
      in_.expect_sign(":");
      dict->parts.push_back(choice());
    }
    return dict;
  }

  TokenReader& in_;
};

}  // namespace

ExpressionPtr parse_expression(TokenReader& reader, bool conditions) {
  ExpressionParser parser(reader);
  return conditions ? parser.choice() : parser.or_();
}

ExpressionPtr parse_tuple(TokenReader& reader, bool conditions) {
  const int line = reader.now().line;
  ExpressionPtr first = parse_expression(reader, conditions);
  if (!reader.now().is(",")) return first;
  auto tuple = make(Kind::tuple, line);
  tuple->parts.push_back(std::move(first));
  while (reader.take_sign(",")) {
    const Token& next = reader.now();
    if (next.is(")") || next.kind == Token::Kind::block_end || next.kind == Token::Kind::variable_end ||
        next.is_name("in") || next.is("="))
      break;
    tuple->parts.push_back(parse_expression(reader, conditions));
  }
  return tuple;
}

CallArguments parse_arguments(TokenReader& reader) {
  return ExpressionParser(reader).arguments();
}

ExpressionPtr parse_filters(TokenReader& reader, ExpressionPtr inner, bool first_bar) {
  return ExpressionParser(reader).filters(std::move(inner), first_bar);
}

}  // namespace moe::jinja
