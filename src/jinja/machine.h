// SPDX-License-Identifier: MIT
// Runs the tree of a template. What it may spend is limited: templates come from outside.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "jinja/syntax.h"
#include "jinja/value.h"

namespace moe::jinja {

// Names and values; those of an outer scope are seen too.
struct Scope {
  std::map<std::string, Value> names;
  std::shared_ptr<Scope> outer;
  const Value* find(const std::string& name) const;
};
using ScopePtr = std::shared_ptr<Scope>;

class Machine {
 public:
  // Evaluations and bytes of texts made, over which a template ends as a Failure.
  static constexpr int64_t kMostSteps = 2'000'000, kMostBytes = int64_t{1} << 30;
  static constexpr int kMostCalls = 100;  // of macros inside one another

  // now: for strftime_now, seconds since 1970; below 0: the clock's.
  Machine(const Dict& variables, int64_t now);

  void run(const Body& body) { run(body, root_); }
  const Text& out() const { return top_; }
  // Of {% generation %}, in bytes of out().
  const std::vector<std::pair<size_t, size_t>>& generated() const { return generated_; }

 private:
  enum class Flow : uint8_t { on, break_, continue_ };

  Flow run(const Body& body, const ScopePtr& scope);
  Flow run(const Statement& statement, const ScopePtr& scope);
  Flow loop(const Statement& statement, const ScopePtr& scope);
  Flow iterate(const Statement& statement, const std::vector<Value>& items, const ScopePtr& scope);
  void set(const Statement& statement, const ScopePtr& scope);
  void generation(const Statement& statement, const ScopePtr& scope);
  // What a block writes, as a text of its own.
  Text captured(const Body& body, const ScopePtr& scope);
  Value block_value(const Statement& statement, const ScopePtr& scope);
  Value macro(const std::string& name, const Statement& statement, const ScopePtr& scope);
  Value call_macro(const std::string& name, const Statement& statement, const ScopePtr& scope,
                   const Arguments& given);
  void bind(const std::vector<std::string>& names, const Value& value, Scope& scope) const;

  Value evaluate(const Expression& expression, const ScopePtr& scope);
  Value evaluate_call(const Expression& expression, const ScopePtr& scope, const Value* caller = nullptr);
  Value evaluate_binary(const Expression& expression, const ScopePtr& scope);
  Value evaluate_comparison(const Expression& expression, const ScopePtr& scope);
  Value evaluate_slice(const Expression& expression, const ScopePtr& scope);
  Value evaluate_dict(const Expression& expression, const ScopePtr& scope);
  std::vector<Value> evaluate_all(const std::vector<ExpressionPtr>& list, const ScopePtr& scope);
  Arguments evaluate(const CallArguments& arguments, const ScopePtr& scope);
  void write(const Text& text);
  void spend_bytes(size_t bytes);

  ScopePtr root_ = std::make_shared<Scope>();
  Text top_;
  Text* out_ = &top_;
  std::vector<std::pair<size_t, size_t>> generated_;
  int64_t steps_ = 0, bytes_ = 0;
  int calls_ = 0;
};

}  // namespace moe::jinja
