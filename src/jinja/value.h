// SPDX-License-Identifier: MIT
// What an expression of a template is worth. Lists and dictionaries never change, as in Jinja's immutable
// sandbox; a namespace does. Each byte of a text knows whether it came from outside.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "base/json.h"

namespace moe::jinja {

// What is wrong, at a line of the template; 0: at no line of its own.
struct Failure : std::runtime_error {
  explicit Failure(const std::string& message, int at = 0) : std::runtime_error(message), line(at) {}
  int line;
};

// Well-formed UTF-8. typed has a byte for each byte: 1 where it came from outside and not from the template.
struct Text {
  std::string bytes, typed;

  Text() = default;
  Text(std::string text, bool from_outside)
      : bytes(std::move(text)), typed(bytes.size(), from_outside ? '\1' : '\0') {}
  bool empty() const { return bytes.empty(); }
  size_t size() const { return bytes.size(); }
  Text part(size_t begin, size_t end) const;  // bytes
  void add(const Text& other);
  bool any_typed() const { return typed.find('\1') != std::string::npos; }
};

class Value;
struct List {
  std::vector<Value> items;
  bool tuple = false;
};
struct Dict {
  std::vector<std::pair<Text, Value>> entries;  // in the order of insertion
  const Value* find(std::string_view key) const;
  void set(const Text& key, Value value);
};
// {% set name.x = ... %} changes it.
struct Namespace {
  Dict members;
};
struct Undefined {
  std::string what;  // "'x' is undefined"
};
struct None {};

struct Arguments {
  std::vector<Value> places;
  std::vector<std::pair<std::string, Value>> named;

  // Argument `i`, or `name`; Undefined where there is none.
  Value at(size_t i, std::string_view name = {}) const;
  bool has(size_t i, std::string_view name = {}) const;
};
struct Function {
  std::string name;
  std::function<Value(const Arguments&)> call;
};

class Value {
 public:
  using Holder = std::variant<Undefined, None, bool, int64_t, double, std::shared_ptr<const Text>,
                              std::shared_ptr<const List>, std::shared_ptr<const Dict>,
                              std::shared_ptr<Namespace>, std::shared_ptr<const Function>>;

  Value() : held_(Undefined{}) {}
  explicit Value(Holder held) : held_(std::move(held)) {}
  static Value none() { return Value(Holder(None{})); }
  static Value of(bool value) { return Value(Holder(value)); }
  static Value of(int64_t value) { return Value(Holder(value)); }
  static Value of(double value) { return Value(Holder(value)); }
  static Value of(Text text) { return Value(Holder(std::make_shared<const Text>(std::move(text)))); }
  static Value text(std::string_view text) { return of(Text(std::string(text), false)); }
  static Value list(std::vector<Value> items, bool tuple = false) {
    return Value(Holder(std::make_shared<const List>(List{std::move(items), tuple})));
  }
  static Value of(Dict dict) { return Value(Holder(std::make_shared<const Dict>(std::move(dict)))); }
  static Value function(std::string name, std::function<Value(const Arguments&)> call) {
    return Value(Holder(std::make_shared<const Function>(Function{std::move(name), std::move(call)})));
  }
  static Value undefined(std::string what) { return Value(Holder(Undefined{std::move(what)})); }
  // All its texts are typed. An integer above 2^63 - 1 is a float.
  static Value from_json(const OrderedJson& json);

  template <class T>
  const T* get_if() const {
    return std::get_if<T>(&held_);
  }
  template <class T>
  const T* pointer() const {
    const auto* shared = std::get_if<std::shared_ptr<const T>>(&held_);
    return shared == nullptr ? nullptr : shared->get();
  }
  const Text* text() const { return pointer<Text>(); }
  const List* list() const { return pointer<List>(); }
  const Dict* dict() const { return pointer<Dict>(); }
  const Function* function() const { return pointer<Function>(); }
  Namespace* name_space() const {
    const auto* shared = std::get_if<std::shared_ptr<Namespace>>(&held_);
    return shared == nullptr ? nullptr : shared->get();
  }
  bool is_undefined() const { return std::holds_alternative<Undefined>(held_); }
  bool is_none() const { return std::holds_alternative<None>(held_); }
  bool is_number() const { return integer().first || get_if<double>() != nullptr; }
  // Of an integer, or a boolean as 0 and 1: {true, its value}.
  std::pair<bool, int64_t> integer() const;
  double number() const;  // of is_number()

  bool truth() const;
  const char* kind() const;  // "str", "dict", ...

 private:
  Holder held_;
};

// Python's str() and repr().
Text text_of(const Value& value);
Text repr_of(const Value& value);
std::string float_text(double value);
// json.dumps with these. indent < 0: on one line. Throws Failure for what JSON has not.
struct JsonStyle {
  int64_t indent = -1;
  bool ascii = false, sorted = false;
  std::string between_items, behind_key;  // "": Python's own
};
Text json_of(const Value& value, const JsonStyle& style);
bool equal(const Value& a, const Value& b);
// Less than 0, 0, more than 0. Throws Failure where these two have no order.
int compare(const Value& a, const Value& b);
// The elements of what a loop can go over: characters, keys, items. Throws Failure for others.
std::vector<Value> elements(const Value& value);

}  // namespace moe::jinja
