// SPDX-License-Identifier: MIT
// A template as a tree: expressions and statements, each with the line it stands in.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "jinja/value.h"

namespace moe::jinja {

struct Expression;
using ExpressionPtr = std::unique_ptr<const Expression>;

struct CallArguments {
  std::vector<ExpressionPtr> places;
  std::vector<std::pair<std::string, ExpressionPtr>> named;
};

struct Expression {
  enum class Kind : uint8_t {
    constant,   // value
    name,       // name
    list,       // parts
    tuple,      // parts
    dict,       // parts: key, value, key, value
    attribute,  // parts[0].name
    item,       // parts[0][parts[1]]
    slice,      // parts[0][parts[1]:parts[2]:parts[3]], of which some are null
    call,       // parts[0](arguments)
    filter,     // parts[0] | name(arguments)
    test,       // parts[0] is name(arguments)
    unary,      // name: "not", "-", "+"
    binary,     // name: "+", "~", "and", "or", ...
    compare,    // parts[0] names[0] parts[1] names[1] parts[2]
    choice      // parts[0] if parts[1] else parts[2], which may be null
  };
  Kind kind;
  int line;
  std::string name{};
  Value value{};
  std::vector<ExpressionPtr> parts{};
  std::vector<std::string> names{};
  CallArguments arguments{};
};

struct Statement;
using Body = std::vector<Statement>;

struct Parameter {
  std::string name;
  ExpressionPtr otherwise;  // null: undefined
};

struct Statement {
  enum class Kind : uint8_t {
    text,        // text
    output,      // {{ expression }}
    if_,         // expression, body, other: elif is an if_ alone in `other`
    for_,        // names in expression if condition, body, other
    set,         // names = expression; or of a namespace: names[0].member
    set_block,   // names[0], body, expression: filters around the constant of the body
    macro,       // names[0], parameters, body
    call,        // {% call(parameters) expression %}: expression is a call
    filter,      // {% filter %}: expression as of set_block
    with,        // names, values, body
    generation,  // body
    break_,
    continue_
  };
  Kind kind;
  int line;
  Text text{};
  std::vector<std::string> names{};
  std::string member{};
  ExpressionPtr expression{}, condition{};
  std::vector<ExpressionPtr> values{};
  std::vector<Parameter> parameters{};
  Body body{}, other{};
};

// The name under which filters of a block find its text.
inline constexpr const char* kBlockText = "\x01text";

}  // namespace moe::jinja
