// SPDX-License-Identifier: MIT
// Expressions of a template.
#include "jinja/machine.h"
#include "jinja/operations.h"

namespace moe::jinja {

using Kind = Expression::Kind;

std::vector<Value> Machine::evaluate_all(const std::vector<ExpressionPtr>& list, const ScopePtr& scope) {
  std::vector<Value> values;
  values.reserve(list.size());
  for (const ExpressionPtr& one : list) values.push_back(evaluate(*one, scope));
  return values;
}

Arguments Machine::evaluate(const CallArguments& arguments, const ScopePtr& scope) {
  Arguments given{.places = evaluate_all(arguments.places, scope), .named = {}};
  for (const auto& entry : arguments.named)
    given.named.emplace_back(entry.first, evaluate(*entry.second, scope));
  return given;
}

Value Machine::evaluate(const Expression& expression, const ScopePtr& scope) {
  if (++steps_ > kMostSteps) throw Failure("the template takes too many steps");
  const auto part = [&](size_t i) { return evaluate(*expression.parts[i], scope); };
  switch (expression.kind) {
    case Kind::constant:
      return expression.value;
    case Kind::name: {
      const Value* found = scope->find(expression.name);
      return found != nullptr ? *found : Value::undefined("'" + expression.name + "' is undefined");
    }
    case Kind::list:
    case Kind::tuple:
      return Value::list(evaluate_all(expression.parts, scope), expression.kind == Kind::tuple);
    case Kind::dict:
      return evaluate_dict(expression, scope);
    case Kind::attribute:
      return attribute(part(0), expression.name);
    case Kind::item:
      return item(part(0), part(1));
    case Kind::slice:
      return evaluate_slice(expression, scope);
    case Kind::call:
      return evaluate_call(expression, scope);
    case Kind::filter:
    case Kind::test: {
      Arguments given = evaluate(expression.arguments, scope);
      given.places.insert(given.places.begin(), part(0));
      if (expression.kind == Kind::test) return Value::of(test(expression.name, given));
      Value result = filter(expression.name, given);
      if (result.text() != nullptr) spend_bytes(result.text()->size());
      return result;
    }
    case Kind::unary:
      if (expression.name == "not") return Value::of(!part(0).truth());
      return expression.name == "-" ? negated(part(0)) : part(0);
    case Kind::binary:
      return evaluate_binary(expression, scope);
    case Kind::compare:
      return evaluate_comparison(expression, scope);
    case Kind::choice:
      if (part(1).truth()) return part(0);
      return expression.parts[2] ? part(2) : Value::undefined("the inline if-expression has no else part");
  }
  return Value();
}

Value Machine::evaluate_binary(const Expression& expression, const ScopePtr& scope) {
  Value left = evaluate(*expression.parts[0], scope);
  if (expression.name == "and") return left.truth() ? evaluate(*expression.parts[1], scope) : left;
  if (expression.name == "or") return left.truth() ? left : evaluate(*expression.parts[1], scope);
  Value result = arithmetic(expression.name, left, evaluate(*expression.parts[1], scope));
  if (result.text() != nullptr) spend_bytes(result.text()->size());
  if (result.list() != nullptr) spend_bytes(result.list()->items.size() * sizeof(Value));
  return result;
}

Value Machine::evaluate_comparison(const Expression& expression, const ScopePtr& scope) {
  Value left = evaluate(*expression.parts[0], scope);
  for (size_t i = 0; i < expression.names.size(); ++i) {
    Value right = evaluate(*expression.parts[i + 1], scope);
    if (!compares(expression.names[i], left, right)) return Value::of(false);
    left = std::move(right);
  }
  return Value::of(true);
}

Value Machine::evaluate_slice(const Expression& expression, const ScopePtr& scope) {
  const auto bound = [&](size_t i) {
    return expression.parts[i] ? evaluate(*expression.parts[i], scope) : Value::none();
  };
  const Value whole = bound(0), begin = bound(1), end = bound(2), step = bound(3);
  return slice(whole, begin, end, step);
}

Value Machine::evaluate_dict(const Expression& expression, const ScopePtr& scope) {
  Dict dict;
  for (size_t i = 0; i + 1 < expression.parts.size(); i += 2) {
    const Value key = evaluate(*expression.parts[i], scope);
    if (key.text() == nullptr) throw Failure("a key of a dictionary must be a text here");
    dict.set(*key.text(), evaluate(*expression.parts[i + 1], scope));
  }
  return Value::of(std::move(dict));
}

// caller: the block of {% call %}, which the macro knows by this name.
Value Machine::evaluate_call(const Expression& expression, const ScopePtr& scope, const Value* caller) {
  const Value callee = evaluate(*expression.parts[0], scope);
  if (callee.is_undefined()) throw Failure(callee.get_if<Undefined>()->what);
  if (callee.function() == nullptr)
    throw Failure(std::string("'") + callee.kind() + "' object is not callable");
  Arguments given = evaluate(expression.arguments, scope);
  if (caller != nullptr) given.named.emplace_back("caller", *caller);
  Value result = callee.function()->call(given);
  if (result.text() != nullptr) spend_bytes(result.text()->size());
  return result;
}

}  // namespace moe::jinja
