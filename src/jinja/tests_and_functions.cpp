// SPDX-License-Identifier: MIT
// What follows "is", and what a template may call without anything in front.
#include <algorithm>
#include <array>
#include <ctime>
#include <map>

#include "jinja/operations.h"

namespace moe::jinja {
namespace {

constexpr int64_t kLongestRange = 100'000;  // as in Jinja's sandbox

int64_t rest_of(const Arguments& given, int64_t by) {
  if (by == 0) throw Failure("division by zero");
  const int64_t rest = whole_of(given.at(0), "a number") % by;
  return rest;
}

bool is_sequence(const Value& value) {
  return value.text() != nullptr || value.list() != nullptr || value.dict() != nullptr ||
         value.is_undefined();
}

Value range(const Arguments& given) {
  const bool one = given.places.size() == 1;
  const int64_t from = one ? 0 : whole_of(given.at(0), "a bound of range()");
  const int64_t until = whole_of(given.at(one ? 0 : 1), "a bound of range()");
  const int64_t by = given.has(2) ? whole_of(given.at(2), "the step of range()") : 1;
  if (by == 0) throw Failure("range() arg 3 must not be zero");
  std::vector<Value> numbers;
  for (int64_t i = from; by > 0 ? i < until : i > until;) {
    numbers.push_back(Value::of(i));
    if (std::ssize(numbers) > kLongestRange) throw Failure("a range of more than 100000 numbers");
    if (__builtin_add_overflow(i, by, &i)) break;
  }
  return Value::list(std::move(numbers));
}

Dict named_values(const Arguments& given) {
  Dict dict;
  if (given.has(0)) {
    if (given.at(0).dict() == nullptr) throw Failure("dict() takes a dictionary, or names and values");
    dict = *given.at(0).dict();
  }
  for (const auto& entry : given.named) dict.set(Text(entry.first, false), entry.second);
  return dict;
}

Value name_space(const Arguments& given) {
  Dict members = named_values(given);
  for (const auto& entry : members.entries)
    if (entry.first.bytes.starts_with('_'))
      throw Failure("a namespace has no names that begin with '_': '" + entry.first.bytes + "'");
  return Value(Value::Holder(std::make_shared<Namespace>(Namespace{std::move(members)})));
}

Value time_text(const Arguments& given, int64_t now) {
  const Value format = given.at(0, "format");
  if (format.text() == nullptr) throw Failure("strftime_now() takes a text");
  const std::time_t seconds = now < 0 ? std::time(nullptr) : static_cast<std::time_t>(now);
  std::tm parts{};
  if (now < 0)
    localtime_r(&seconds, &parts);
  else
    gmtime_r(&seconds, &parts);
  std::array<char, 512> text{};
  const size_t size = std::strftime(text.data(), text.size(), format.text()->bytes.c_str(), &parts);
  return Value::of(Text(std::string(text.data(), size), false));
}

using Test = bool (*)(const Arguments&);

template <int sign>
bool ordered(const Arguments& given) {
  return compare(given.at(0), given.at(1)) == sign;
}

const std::map<std::string, Test>& tests() {
  static const std::map<std::string, Test> kTests{
      {"defined", [](const Arguments& a) { return !a.at(0).is_undefined(); }},
      {"undefined", [](const Arguments& a) { return a.at(0).is_undefined(); }},
      {"none", [](const Arguments& a) { return a.at(0).is_none(); }},
      {"string", [](const Arguments& a) { return a.at(0).text() != nullptr; }},
      {"mapping", [](const Arguments& a) { return a.at(0).dict() != nullptr; }},
      {"sequence", [](const Arguments& a) { return is_sequence(a.at(0)); }},
      {"iterable", [](const Arguments& a) { return is_sequence(a.at(0)); }},
      {"boolean", [](const Arguments& a) { return a.at(0).get_if<bool>() != nullptr; }},
      {"true", [](const Arguments& a) { return a.at(0).get_if<bool>() != nullptr && a.at(0).truth(); }},
      {"false", [](const Arguments& a) { return a.at(0).get_if<bool>() != nullptr && !a.at(0).truth(); }},
      {"number", [](const Arguments& a) { return a.at(0).is_number(); }},
      {"integer", [](const Arguments& a) { return a.at(0).get_if<int64_t>() != nullptr; }},
      {"float", [](const Arguments& a) { return a.at(0).get_if<double>() != nullptr; }},
      {"callable", [](const Arguments& a) { return a.at(0).function() != nullptr; }},
      {"odd", [](const Arguments& a) { return rest_of(a, 2) != 0; }},
      {"even", [](const Arguments& a) { return rest_of(a, 2) == 0; }},
      {"divisibleby",
       [](const Arguments& a) { return rest_of(a, whole_of(a.at(1, "num"), "divisibleby")) == 0; }},
      {"sameas", [](const Arguments& a) { return equal(a.at(0), a.at(1)); }},
      {"in", [](const Arguments& a) { return contains(a.at(1), a.at(0)); }},
      {"lower",
       [](const Arguments& a) {
         const Text text = text_of(a.at(0));
         return changed_case(text, false).bytes == text.bytes && changed_case(text, true).bytes != text.bytes;
       }},
      {"upper",
       [](const Arguments& a) {
         const Text text = text_of(a.at(0));
         return changed_case(text, true).bytes == text.bytes && changed_case(text, false).bytes != text.bytes;
       }},
      {"==", [](const Arguments& a) { return equal(a.at(0), a.at(1)); }},
      {"!=", [](const Arguments& a) { return !equal(a.at(0), a.at(1)); }},
      {"<", ordered<-1>},
      {">", ordered<1>},
      {"<=", [](const Arguments& a) { return compare(a.at(0), a.at(1)) <= 0; }},
      {">=", [](const Arguments& a) { return compare(a.at(0), a.at(1)) >= 0; }}};
  return kTests;
}

}  // namespace

bool test(const std::string& name, const Arguments& given) {
  static const std::map<std::string, std::string> kOtherNames{
      {"eq", "=="}, {"equalto", "=="},    {"ne", "!="}, {"lt", "<"}, {"lessthan", "<"},
      {"gt", ">"},  {"greaterthan", ">"}, {"le", "<="}, {"ge", ">="}};
  const auto other = kOtherNames.find(name);
  const auto found = tests().find(other == kOtherNames.end() ? name : other->second);
  if (found == tests().end()) throw Failure("no test named '" + name + "'");
  return found->second(given);
}

Dict global_functions(int64_t now) {
  Dict functions;
  const auto add = [&](const char* name, std::function<Value(const Arguments&)> call) {
    functions.entries.emplace_back(Text(name, false), Value::function(name, std::move(call)));
  };
  add("range", range);
  add("dict", [](const Arguments& given) { return Value::of(named_values(given)); });
  add("namespace", name_space);
  add("raise_exception",
      [](const Arguments& given) -> Value { throw Failure(text_of(given.at(0, "message")).bytes); });
  add("strftime_now", [now](const Arguments& given) { return time_text(given, now); });
  return functions;
}

}  // namespace moe::jinja
