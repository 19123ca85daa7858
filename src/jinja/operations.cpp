// SPDX-License-Identifier: MIT
// Operators, attributes, items and slices.
#include "jinja/operations.h"

#include <algorithm>
#include <cmath>

namespace moe::jinja {
namespace {

[[noreturn]] void refuse(const std::string& sign, const Value& a, const Value& b) {
  for (const Value* one : {&a, &b})
    if (one->is_undefined()) throw Failure(one->get_if<Undefined>()->what);
  throw Failure("unsupported operand type(s) for " + sign + ": '" + a.kind() + "' and '" + b.kind() + "'");
}

[[noreturn]] void refuse_large() {
  throw Failure("an integer beyond 64 bits");
}

Value power(int64_t base, int64_t exponent) {
  if (exponent < 0) return Value::of(std::pow(static_cast<double>(base), static_cast<double>(exponent)));
  int64_t result = 1;
  for (int64_t i = 0; i < exponent && (i < 64 || (base > 1 || base < -1)); ++i)
    if (__builtin_mul_overflow(result, base, &result)) refuse_large();
  if (base == -1) result = exponent % 2 == 0 ? 1 : -1;
  return Value::of(base == 0 && exponent > 0 ? int64_t{0} : result);
}

Value of_integers(const std::string& sign, int64_t a, int64_t b) {
  int64_t result = 0;
  if (sign == "+" || sign == "-" || sign == "*") {
    const bool overflow = sign == "+"   ? __builtin_add_overflow(a, b, &result)
                          : sign == "-" ? __builtin_sub_overflow(a, b, &result)
                                        : __builtin_mul_overflow(a, b, &result);
    if (overflow) refuse_large();
    return Value::of(result);
  }
  if (sign == "**") return power(a, b);
  if (b == 0) throw Failure("division by zero");
  if (sign == "/") return Value::of(static_cast<double>(a) / static_cast<double>(b));
  if (b == -1) return sign == "%" ? Value::of(int64_t{0}) : of_integers("-", 0, a);
  const bool down = a % b != 0 && (a < 0) != (b < 0);
  return Value::of(sign == "//" ? a / b - (down ? 1 : 0) : a % b + (down ? b : 0));
}

Value of_reals(const std::string& sign, double a, double b) {
  if (sign == "+") return Value::of(a + b);
  if (sign == "-") return Value::of(a - b);
  if (sign == "*") return Value::of(a * b);
  if (sign == "**") return Value::of(std::pow(a, b));
  if (b == 0) throw Failure("division by zero");
  if (sign == "/") return Value::of(a / b);
  if (sign == "//") return Value::of(std::floor(a / b));
  const double rest = std::fmod(a, b);
  return Value::of(rest != 0 && (rest < 0) != (b < 0) ? rest + b : rest);
}

Value repeated(const Value& value, int64_t times) {
  const auto count = static_cast<size_t>(std::max<int64_t>(times, 0));
  const size_t size =
      value.text() != nullptr ? value.text()->size() : value.list()->items.size() * sizeof(Value);
  if (size > 0 && count > kLongestText / size) throw Failure("a text or a list of more than 64 MiB");
  if (value.text() != nullptr) {
    Text text;
    for (size_t i = 0; i < count && size > 0; ++i) text.add(*value.text());
    return Value::of(std::move(text));
  }
  std::vector<Value> items;
  for (size_t i = 0; i < count && size > 0; ++i)
    items.insert(items.end(), value.list()->items.begin(), value.list()->items.end());
  return Value::list(std::move(items), value.list()->tuple);
}

bool repeats(const Value& value, const Value& times) {
  return (value.text() != nullptr || value.list() != nullptr) && times.integer().first;
}

Value dict_method(const Value& value, const std::string& name) {
  if (name == "get")
    return Value::function(name, [value](const Arguments& given) {
      const Value key = given.at(0);
      const Value* found = key.text() == nullptr ? nullptr : value.dict()->find(key.text()->bytes);
      if (found != nullptr) return *found;
      return given.has(1) ? given.at(1) : Value::none();
    });
  if (name == "items")
    return Value::function(name, [value](const Arguments&) { return filter("items", {{value}, {}}); });
  if (name == "keys")
    return Value::function(name, [value](const Arguments&) { return Value::list(elements(value)); });
  if (name == "values")
    return Value::function(name, [value](const Arguments&) {
      std::vector<Value> values;
      for (const auto& entry : value.dict()->entries) values.push_back(entry.second);
      return Value::list(std::move(values));
    });
  if (name == "copy") return Value::function(name, [value](const Arguments&) { return value; });
  return Value();
}

Value list_method(const Value& value, const std::string& name) {
  if (name == "count" || name == "index")
    return Value::function(name, [value, name](const Arguments& given) {
      int64_t count = 0;
      const auto& items = value.list()->items;
      for (size_t i = 0; i < items.size(); ++i) {
        if (!equal(items[i], given.at(0))) continue;
        if (name == "index") return Value::of(static_cast<int64_t>(i));
        ++count;
      }
      if (name == "index") throw Failure("what index() looks for is not in the list");
      return Value::of(count);
    });
  if (name == "append" || name == "pop" || name == "insert" || name == "extend" || name == "remove")
    throw Failure("a list cannot be changed: " + name + "()");
  return Value();
}

// Python's rule: what is out of range is the end.
int64_t clamped(const Value& bound, int64_t size, int64_t otherwise, bool down) {
  if (bound.is_none() || bound.is_undefined()) return otherwise;
  int64_t value = whole_of(bound, "a bound of a slice");
  if (value < 0) value += size;
  return std::clamp(value, down ? int64_t{-1} : int64_t{0}, down ? size - 1 : size);
}

}  // namespace

int64_t whole_of(const Value& value, const char* what) {
  if (const auto whole = value.integer(); whole.first) return whole.second;
  throw Failure(std::string(what) + " must be an integer, not '" + value.kind() + "'");
}

Value arithmetic(const std::string& sign, const Value& a, const Value& b) {
  if (sign == "~") {
    Text text = text_of(a);
    text.add(text_of(b));
    if (text.size() > kLongestText) throw Failure("a text of more than 64 MiB");
    return Value::of(std::move(text));
  }
  if (a.is_number() && b.is_number()) {
    const auto x = a.integer(), y = b.integer();
    return x.first && y.first ? of_integers(sign, x.second, y.second)
                              : of_reals(sign, a.number(), b.number());
  }
  if (sign == "+" && a.text() != nullptr && b.text() != nullptr) return arithmetic("~", a, b);
  if (sign == "+" && a.list() != nullptr && b.list() != nullptr && a.list()->tuple == b.list()->tuple) {
    std::vector<Value> items = a.list()->items;
    items.insert(items.end(), b.list()->items.begin(), b.list()->items.end());
    return Value::list(std::move(items), a.list()->tuple);
  }
  if (sign == "*" && repeats(a, b)) return repeated(a, b.integer().second);
  if (sign == "*" && repeats(b, a)) return repeated(b, a.integer().second);
  refuse(sign, a, b);
}

Value negated(const Value& value) {
  if (const auto whole = value.integer(); whole.first) return of_integers("-", 0, whole.second);
  if (value.is_number()) return Value::of(-value.number());
  if (value.is_undefined()) throw Failure(value.get_if<Undefined>()->what);
  throw Failure(std::string("bad operand type for unary -: '") + value.kind() + "'");
}

bool contains(const Value& whole, const Value& part) {
  if (const Text* text = whole.text()) {
    if (part.text() == nullptr) refuse("in", part, whole);
    return text->bytes.find(part.text()->bytes) != std::string::npos;
  }
  if (const Dict* dict = whole.dict())
    return part.text() != nullptr && dict->find(part.text()->bytes) != nullptr;
  if (whole.is_undefined()) return false;
  if (whole.list() == nullptr) throw Failure(std::string("'") + whole.kind() + "' holds nothing to look in");
  const auto& items = whole.list()->items;
  return std::any_of(items.begin(), items.end(), [&](const Value& one) { return equal(one, part); });
}

bool compares(const std::string& sign, const Value& a, const Value& b) {
  if (sign == "==") return equal(a, b);
  if (sign == "!=") return !equal(a, b);
  if (sign == "in") return contains(b, a);
  if (sign == "not in") return !contains(b, a);
  const int order = compare(a, b);
  if (sign == "<") return order < 0;
  if (sign == "<=") return order <= 0;
  return sign == ">" ? order > 0 : order >= 0;
}

Value attribute(const Value& value, const std::string& name) {
  const auto missing = [&](const std::string& of) {
    return Value::undefined("'" + of + "' has no attribute '" + name + "'");
  };
  if (value.is_undefined()) throw Failure(value.get_if<Undefined>()->what);
  if (const Dict* dict = value.dict()) {
    if (Value method = dict_method(value, name); !method.is_undefined()) return method;
    const Value* found = dict->find(name);
    return found != nullptr ? *found : missing("dict object");
  }
  if (const Namespace* space = value.name_space()) {
    const Value* found = space->members.find(name);
    return found != nullptr ? *found : missing("namespace object");
  }
  Value method;
  if (value.text() != nullptr) method = text_method(value, name);
  if (value.list() != nullptr) method = list_method(value, name);
  return method.is_undefined() ? missing(std::string(value.kind()) + " object") : method;
}

Value item(const Value& value, const Value& index) {
  if (value.is_undefined()) throw Failure(value.get_if<Undefined>()->what);
  if (value.dict() != nullptr) {
    const Value* found = index.text() == nullptr ? nullptr : value.dict()->find(index.text()->bytes);
    if (found != nullptr) return *found;
    return Value::undefined("'dict object' has no attribute '" + text_of(index).bytes + "'");
  }
  if (value.name_space() != nullptr && index.text() != nullptr) return attribute(value, index.text()->bytes);
  const auto whole = index.integer();
  if (!whole.first || (value.list() == nullptr && value.text() == nullptr)) {
    if (index.text() != nullptr) return attribute(value, index.text()->bytes);
    return Value::undefined(std::string(value.kind()) + " object has no such element");
  }
  const std::vector<size_t> places =
      value.text() != nullptr ? character_places(value.text()->bytes) : std::vector<size_t>{};
  const int64_t size = value.text() != nullptr ? std::ssize(places) - 1 : std::ssize(value.list()->items);
  const int64_t at = whole.second < 0 ? whole.second + size : whole.second;
  if (at < 0 || at >= size)
    return Value::undefined(std::string(value.kind()) + " object has no element " +
                            std::to_string(whole.second));
  const auto i = static_cast<size_t>(at);
  if (value.list() != nullptr) return value.list()->items[i];
  return Value::of(value.text()->part(places[i], places[i + 1]));
}

Value slice(const Value& value, const Value& begin, const Value& end, const Value& step) {
  if (value.is_undefined()) throw Failure(value.get_if<Undefined>()->what);
  if (value.list() == nullptr && value.text() == nullptr)
    throw Failure(std::string("'") + value.kind() + "' object is not subscriptable");
  const Text* const text = value.text();
  const std::vector<size_t> places = text != nullptr ? character_places(text->bytes) : std::vector<size_t>{};
  const int64_t size = text != nullptr ? std::ssize(places) - 1 : std::ssize(value.list()->items);
  const int64_t by = step.is_none() || step.is_undefined() ? 1 : whole_of(step, "the step of a slice");
  if (by == 0) throw Failure("slice step cannot be zero");
  const int64_t from = clamped(begin, size, by > 0 ? 0 : size - 1, by < 0);
  const int64_t until = clamped(end, size, by > 0 ? size : -1, by < 0);
  std::vector<Value> part;
  Text characters;
  for (int64_t i = from; by > 0 ? i < until : i > until; i += by) {
    const auto at = static_cast<size_t>(i);
    if (text != nullptr)
      characters.add(text->part(places[at], places[at + 1]));
    else
      part.push_back(value.list()->items[at]);
    if (by > size || by < -size) break;  // so large a step takes one element
  }
  if (text != nullptr) return Value::of(std::move(characters));
  return Value::list(std::move(part), value.list()->tuple);
}

}  // namespace moe::jinja
