// SPDX-License-Identifier: MIT
// What operators, filters, tests and methods of values do, as Python and Jinja have them. All throw Failure.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "jinja/value.h"

namespace moe::jinja {

inline constexpr size_t kLongestText = size_t{64} << 20;  // that one operation makes

// sign: + - * / // % ** ~
Value arithmetic(const std::string& sign, const Value& a, const Value& b);
Value negated(const Value& value);
bool contains(const Value& whole, const Value& part);
// sign: == != < <= > >= in, not in
bool compares(const std::string& sign, const Value& a, const Value& b);

// value.name: a method, or what a dictionary has there. Undefined where there is neither.
Value attribute(const Value& value, const std::string& name);
// value[index]
Value item(const Value& value, const Value& index);
// value[begin:end:step]; None or Undefined: not given
Value slice(const Value& value, const Value& begin, const Value& end, const Value& step);

// A method of a text, bound to it; Undefined where there is none of this name.
Value text_method(const Value& text, const std::string& name);

// given.places[0] is the value in front of the bar, or of "is".
Value filter(const std::string& name, const Arguments& given);
bool test(const std::string& name, const Arguments& given);
// range, dict, namespace, raise_exception, strftime_now; Undefined for others. now: as Machine's.
Dict global_functions(int64_t now);

// The characters' places: byte offsets of each, and the end.
std::vector<size_t> character_places(const std::string& bytes);
Text trimmed(const Text& text, std::string_view characters, bool left, bool right);
// With white space of Unicode, as strip() without arguments.
Text trimmed(const Text& text, bool left, bool right);
Text replaced(const Text& text, const Text& from, const Text& to, int64_t most);
Text changed_case(const Text& text, bool upper);
int64_t whole_of(const Value& value, const char* what);
Text joined(const std::vector<Value>& items, const Text& between);

}  // namespace moe::jinja
