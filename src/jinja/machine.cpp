// SPDX-License-Identifier: MIT
// Statements; expressions are in evaluate.cpp.
#include "jinja/machine.h"

#include "jinja/operations.h"

namespace moe::jinja {

using Kind = Statement::Kind;

const Value* Scope::find(const std::string& name) const {
  for (const Scope* scope = this; scope != nullptr; scope = scope->outer.get())
    if (const auto found = scope->names.find(name); found != scope->names.end()) return &found->second;
  return nullptr;
}

namespace {

ScopePtr inside(const ScopePtr& outer) {
  auto scope = std::make_shared<Scope>();
  scope->outer = outer;
  return scope;
}

}  // namespace

Machine::Machine(const Dict& variables, int64_t now) {
  for (const auto& entry : global_functions(now).entries) root_->names[entry.first.bytes] = entry.second;
  for (const auto& entry : variables.entries) root_->names[entry.first.bytes] = entry.second;
}

void Machine::spend_bytes(size_t bytes) {
  bytes_ += static_cast<int64_t>(bytes);
  if (bytes_ > kMostBytes) throw Failure("the template makes more than 1 GiB of text");
}

void Machine::write(const Text& text) {
  spend_bytes(text.size());
  out_->add(text);
}

Machine::Flow Machine::run(const Body& body, const ScopePtr& scope) {
  for (const Statement& statement : body) {
    try {
      if (const Flow flow = run(statement, scope); flow != Flow::on) return flow;
    } catch (const Failure& failure) {
      if (failure.line > 0) throw;
      throw Failure(failure.what(), statement.line);
    }
  }
  return Flow::on;
}

Machine::Flow Machine::run(const Statement& statement, const ScopePtr& scope) {
  switch (statement.kind) {
    case Kind::text:
      write(statement.text);
      return Flow::on;
    case Kind::output:
      write(text_of(evaluate(*statement.expression, scope)));
      return Flow::on;
    case Kind::if_:
      return run(evaluate(*statement.expression, scope).truth() ? statement.body : statement.other, scope);
    case Kind::for_:
      return loop(statement, scope);
    case Kind::set:
      set(statement, scope);
      return Flow::on;
    case Kind::set_block:
      scope->names[statement.names[0]] = block_value(statement, scope);
      return Flow::on;
    case Kind::macro:
      scope->names[statement.names[0]] = macro(statement.names[0], statement, scope);
      return Flow::on;
    case Kind::call: {
      const Value caller = macro("caller", statement, scope);
      write(text_of(evaluate_call(*statement.expression, scope, &caller)));
      return Flow::on;
    }
    case Kind::filter:
      write(text_of(block_value(statement, scope)));
      return Flow::on;
    case Kind::with: {
      const ScopePtr inner = inside(scope);
      for (size_t i = 0; i < statement.names.size(); ++i)
        inner->names[statement.names[i]] = evaluate(*statement.values[i], scope);
      return run(statement.body, inner);
    }
    case Kind::generation:
      generation(statement, scope);
      return Flow::on;
    case Kind::break_:
      return Flow::break_;
    case Kind::continue_:
      return Flow::continue_;
  }
  return Flow::on;
}

// transformers, too, counts from what the template has written outside of macros and other captured blocks.
void Machine::generation(const Statement& statement, const ScopePtr& scope) {
  const Text text = captured(statement.body, inside(scope));
  generated_.emplace_back(top_.size(), top_.size() + text.size());
  write(text);
}

Text Machine::captured(const Body& body, const ScopePtr& scope) {
  Text text;
  Text* const before = std::exchange(out_, &text);
  try {
    run(body, scope);
  } catch (...) {
    out_ = before;
    throw;
  }
  out_ = before;
  return text;
}

Value Machine::block_value(const Statement& statement, const ScopePtr& scope) {
  const ScopePtr inner = inside(scope);
  Text text = captured(statement.body, inner);
  inner->names[kBlockText] = Value::of(std::move(text));
  return evaluate(*statement.expression, inner);
}

void Machine::set(const Statement& statement, const ScopePtr& scope) {
  const Value value = evaluate(*statement.expression, scope);
  if (statement.member.empty()) return bind(statement.names, value, *scope);
  const Value* target = scope->find(statement.names[0]);
  Namespace* const name_space = target == nullptr ? nullptr : target->name_space();
  if (name_space == nullptr)
    throw Failure("cannot assign attribute on non-namespace object '" + statement.names[0] + "'");
  if (statement.member.starts_with('_'))
    throw Failure("a namespace has no names that begin with '_': '" + statement.member + "'");
  name_space->members.set(Text(statement.member, false), value);
}

void Machine::bind(const std::vector<std::string>& names, const Value& value, Scope& scope) const {
  if (names.size() == 1) {
    scope.names[names[0]] = value;
    return;
  }
  const std::vector<Value> parts = elements(value);
  if (parts.size() != names.size())
    throw Failure(std::to_string(parts.size()) + " values for " + std::to_string(names.size()) + " names");
  for (size_t i = 0; i < names.size(); ++i) scope.names[names[i]] = parts[i];
}

Machine::Flow Machine::loop(const Statement& statement, const ScopePtr& scope) {
  std::vector<Value> items = elements(evaluate(*statement.expression, scope));
  if (statement.condition) {
    std::vector<Value> passing;
    for (Value& one : items) {
      const ScopePtr inner = inside(scope);
      bind(statement.names, one, *inner);
      if (evaluate(*statement.condition, inner).truth()) passing.push_back(std::move(one));
    }
    items = std::move(passing);
  }
  if (items.empty()) return run(statement.other, scope);
  return iterate(statement, items, scope);
}

Machine::Flow Machine::iterate(const Statement& statement, const std::vector<Value>& items,
                               const ScopePtr& scope) {
  const auto count = std::ssize(items);
  for (int64_t i = 0; i < count; ++i) {
    const ScopePtr inner = inside(scope);
    Dict loop;
    const auto put = [&](const char* name, Value value) {
      loop.entries.emplace_back(Text(name, false), std::move(value));
    };
    put("index", Value::of(i + 1));
    put("index0", Value::of(i));
    put("revindex", Value::of(count - i));
    put("revindex0", Value::of(count - i - 1));
    put("first", Value::of(i == 0));
    put("last", Value::of(i + 1 == count));
    put("length", Value::of(static_cast<int64_t>(count)));
    put("depth", Value::of(int64_t{1}));
    put("depth0", Value::of(int64_t{0}));
    const auto at = static_cast<size_t>(i);
    put("previtem", i > 0 ? items[at - 1] : Value::undefined("there is no previous item"));
    put("nextitem", i + 1 < count ? items[at + 1] : Value::undefined("there is no next item"));
    put("cycle", Value::function("cycle", [i](const Arguments& given) {
          if (given.places.empty()) throw Failure("no items for cycling given");
          return given.places[static_cast<size_t>(i) % given.places.size()];
        }));
    inner->names["loop"] = Value::of(std::move(loop));
    bind(statement.names, items[at], *inner);
    if (run(statement.body, inner) == Flow::break_) break;
  }
  return Flow::on;
}

// It holds its scope weakly: the scope holds the macro.
Value Machine::macro(const std::string& name, const Statement& statement, const ScopePtr& scope) {
  const std::weak_ptr<Scope> around = scope;
  return Value::function(name, [this, name, around, &statement](const Arguments& given) {
    const ScopePtr outer = around.lock();
    if (!outer) throw Failure("macro '" + name + "' is called outside of the block that it stands in");
    return call_macro(name, statement, outer, given);
  });
}

Value Machine::call_macro(const std::string& name, const Statement& statement, const ScopePtr& scope,
                          const Arguments& given) {
  if (calls_ >= kMostCalls) throw Failure("macros that call one another, too deep");
  const ScopePtr inner = inside(scope);
  const auto& parameters = statement.parameters;
  if (given.places.size() > parameters.size())
    throw Failure("macro '" + name + "' takes not more than " + std::to_string(parameters.size()) +
                  " argument(s)");
  for (const auto& entry : given.named) {
    bool known = entry.first == "caller";
    for (const Parameter& parameter : parameters) known = known || parameter.name == entry.first;
    if (!known) throw Failure("macro '" + name + "' takes no keyword argument '" + entry.first + "'");
    if (entry.first == "caller") inner->names["caller"] = entry.second;
  }
  for (size_t i = 0; i < parameters.size(); ++i) {
    const Parameter& parameter = parameters[i];
    if (given.has(i, parameter.name)) {
      inner->names[parameter.name] = given.at(i, parameter.name);
    } else {
      inner->names[parameter.name] =
          parameter.otherwise ? evaluate(*parameter.otherwise, inner)
                              : Value::undefined("parameter '" + parameter.name + "' was not provided");
    }
  }
  ++calls_;
  try {
    Text text = captured(statement.body, inner);
    --calls_;
    return Value::of(std::move(text));
  } catch (...) {
    --calls_;
    throw;
  }
}

}  // namespace moe::jinja
