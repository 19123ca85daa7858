// SPDX-License-Identifier: MIT
// Filters by name.
#include <algorithm>
#include <cmath>
#include <map>
#include <optional>

#include "jinja/operations.h"

namespace moe::jinja {
namespace {

using Filter = Value (*)(const Arguments&);

Text soft_text(const Value& value) {
  return text_of(value);
}

Value to_json(const Arguments& given) {
  JsonStyle style;
  const Value indent = given.at(2, "indent"), separators = given.at(3, "separators");
  style.ascii = given.at(1, "ensure_ascii").truth();
  style.sorted = given.at(4, "sort_keys").truth();
  if (indent.integer().first) style.indent = std::clamp<int64_t>(indent.integer().second, 0, 64);
  if (separators.list() != nullptr && separators.list()->items.size() == 2) {
    style.between_items = text_of(separators.list()->items[0]).bytes;
    style.behind_key = text_of(separators.list()->items[1]).bytes;
  }
  return Value::of(json_of(given.at(0), style));
}

Value trim(const Arguments& given) {
  const Value characters = given.at(1, "chars");
  const Text text = soft_text(given.at(0));
  return Value::of(characters.text() == nullptr ? trimmed(text, true, true)
                                                : trimmed(text, characters.text()->bytes, true, true));
}

Value length(const Arguments& given) {
  const Value value = given.at(0);
  if (value.text() != nullptr)
    return Value::of(static_cast<int64_t>(character_places(value.text()->bytes).size()) - 1);
  if (value.list() != nullptr) return Value::of(static_cast<int64_t>(value.list()->items.size()));
  if (value.dict() != nullptr) return Value::of(static_cast<int64_t>(value.dict()->entries.size()));
  if (value.is_undefined()) return Value::of(int64_t{0});
  throw Failure(std::string("object of type '") + value.kind() + "' has no len()");
}

Value string(const Arguments& given) {
  return Value::of(soft_text(given.at(0)));
}

Value otherwise(const Arguments& given) {
  const Value value = given.at(0);
  const bool missing = value.is_undefined() || (given.at(2, "boolean").truth() && !value.truth());
  if (!missing) return value;
  return given.has(1, "default_value") ? given.at(1, "default_value") : Value::text("");
}

Value items(const Arguments& given) {
  const Value value = given.at(0);
  if (value.is_undefined()) return Value::list({});
  if (value.dict() == nullptr) throw Failure("can only get item pairs from a mapping");
  std::vector<Value> pairs;
  for (const auto& entry : value.dict()->entries)
    pairs.push_back(Value::list({Value::of(entry.first), entry.second}, true));
  return Value::list(std::move(pairs));
}

Value to_list(const Arguments& given) {
  return Value::list(elements(given.at(0)));
}

// x.a.b of "a.b".
Value attribute_of(const Value& value, const Value& path) {
  if (path.integer().first) return item(value, path);
  Value result = value;
  const std::string names = text_of(path).bytes;
  for (size_t begin = 0; begin <= names.size();) {
    const size_t end = std::min(names.find('.', begin), names.size());
    result = item(result, Value::text(names.substr(begin, end - begin)));
    begin = end + 1;
  }
  return result;
}

Value join(const Arguments& given) {
  std::vector<Value> parts = elements(given.at(0));
  const Value between = given.at(1, "d"), path = given.at(2, "attribute");
  if (!path.is_undefined())
    for (Value& part : parts) part = attribute_of(part, path);
  return Value::of(joined(parts, soft_text(between)));
}

bool less_in_order(const Value& a, const Value& b, bool case_matters) {
  if (case_matters || a.text() == nullptr || b.text() == nullptr) return compare(a, b) < 0;
  return changed_case(*a.text(), false).bytes < changed_case(*b.text(), false).bytes;
}

Value dict_sort(const Arguments& given) {
  std::vector<Value> pairs = elements(items({{given.at(0)}, {}}));
  const bool case_matters = given.at(1, "case_sensitive").truth();
  const size_t by = text_of(given.at(2, "by")).bytes == "value" ? 1 : 0;
  std::stable_sort(pairs.begin(), pairs.end(), [&](const Value& a, const Value& b) {
    return less_in_order(a.list()->items[by], b.list()->items[by], case_matters);
  });
  if (given.at(3, "reverse").truth()) std::reverse(pairs.begin(), pairs.end());
  return Value::list(std::move(pairs));
}

Value sort(const Arguments& given) {
  std::vector<Value> list = elements(given.at(0));
  const bool down = given.at(1, "reverse").truth(), case_matters = given.at(2, "case_sensitive").truth();
  const Value path = given.at(3, "attribute");
  const auto key = [&](const Value& one) { return path.is_undefined() ? one : attribute_of(one, path); };
  std::stable_sort(list.begin(), list.end(), [&](const Value& a, const Value& b) {
    return down ? less_in_order(key(b), key(a), case_matters) : less_in_order(key(a), key(b), case_matters);
  });
  return Value::list(std::move(list));
}

Value text_change(const char* method, const Arguments& given) {
  return text_method(Value::of(soft_text(given.at(0))), method).function()->call({});
}
Value upper(const Arguments& given) {
  return text_change("upper", given);
}
Value lower(const Arguments& given) {
  return text_change("lower", given);
}
Value capitalize(const Arguments& given) {
  return text_change("capitalize", given);
}
Value title(const Arguments& given) {
  return text_change("title", given);
}

Value replace(const Arguments& given) {
  const Value count = given.at(3, "count");
  return Value::of(replaced(soft_text(given.at(0)), soft_text(given.at(1, "old")),
                            soft_text(given.at(2, "new")),
                            count.integer().first ? count.integer().second : -1));
}

Value first(const Arguments& given) {
  const std::vector<Value> list = elements(given.at(0));
  return list.empty() ? Value::undefined("No first item, sequence was empty.") : list.front();
}
Value last(const Arguments& given) {
  const std::vector<Value> list = elements(given.at(0));
  return list.empty() ? Value::undefined("No last item, sequence was empty.") : list.back();
}

Value reverse(const Arguments& given) {
  std::vector<Value> list = elements(given.at(0));
  std::reverse(list.begin(), list.end());
  if (given.at(0).text() != nullptr) return Value::of(joined(list, {}));
  return Value::list(std::move(list));
}

Value unique(const Arguments& given) {
  std::vector<Value> result;
  for (const Value& one : elements(given.at(0)))
    if (std::none_of(result.begin(), result.end(), [&](const Value& other) { return equal(one, other); }))
      result.push_back(one);
  return Value::list(std::move(result));
}

std::optional<double> number_in(const Value& value) {
  if (value.is_number()) return value.number();
  if (value.text() == nullptr) return std::nullopt;
  const std::string digits = trimmed(*value.text(), true, true).bytes;
  size_t end = 0;
  try {
    const double number = std::stod(digits, &end);
    if (end == digits.size()) return number;
  } catch (const std::exception&) {
    return std::nullopt;
  }
  return std::nullopt;
}

Value to_int(const Arguments& given) {
  if (const auto whole = given.at(0).integer(); whole.first) return Value::of(whole.second);
  const auto number = number_in(given.at(0));
  if (number && std::isfinite(*number) && std::abs(*number) < 9e18)
    return Value::of(static_cast<int64_t>(*number));
  return given.has(1, "default") ? given.at(1, "default") : Value::of(int64_t{0});
}

Value to_float(const Arguments& given) {
  if (const auto number = number_in(given.at(0))) return Value::of(*number);
  return given.has(1, "default") ? given.at(1, "default") : Value::of(0.0);
}

Value absolute(const Arguments& given) {
  return compare(given.at(0), Value::of(int64_t{0})) < 0 ? negated(given.at(0)) : given.at(0);
}

Value rounded(const Arguments& given) {
  const Value digits = given.at(1, "precision");
  if (!given.at(0).is_number()) throw Failure("round takes a number");
  const std::string method = given.has(2, "method") ? text_of(given.at(2, "method")).bytes : "common";
  const double scale = std::pow(10.0, digits.is_number() ? digits.number() : 0.0);
  const double scaled = given.at(0).number() * scale;
  if (method == "ceil") return Value::of(std::ceil(scaled) / scale);
  if (method == "floor") return Value::of(std::floor(scaled) / scale);
  return Value::of(std::nearbyint(scaled) / scale);
}

Value extreme(const Arguments& given, bool largest) {
  std::optional<Value> best;
  for (const Value& one : elements(given.at(0)))
    if (!best || (largest ? compare(one, *best) > 0 : compare(one, *best) < 0)) best = one;
  return best ? *best : Value::undefined("No aggregated item, sequence was empty.");
}
Value smallest(const Arguments& given) {
  return extreme(given, false);
}
Value largest(const Arguments& given) {
  return extreme(given, true);
}

Value sum(const Arguments& given) {
  const Value path = given.at(1, "attribute");
  Value total = given.has(2, "start") ? given.at(2, "start") : Value::of(int64_t{0});
  for (const Value& one : elements(given.at(0)))
    total = arithmetic("+", total, path.is_undefined() ? one : attribute_of(one, path));
  return total;
}

Value indent(const Arguments& given) {
  const Value width = given.at(1, "width");
  const Text by = width.text() != nullptr
                      ? *width.text()
                      : Text(std::string(static_cast<size_t>(std::clamp<int64_t>(
                                             width.is_undefined() ? 4 : whole_of(width, "width"), 0, 1000)),
                                         ' '),
                             false);
  const bool first_too = given.at(2, "first").truth(), blank = given.at(3, "blank").truth();
  Text result;
  const Text text = soft_text(given.at(0));
  bool first_line = true;
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.bytes.find('\n', begin), text.size());
    if (first_line ? first_too : (blank || end > begin)) result.add(by);
    result.add(text.part(begin, std::min(end + 1, text.size())));
    first_line = false;
    begin = end + 1;
  }
  return Value::of(std::move(result));
}

Value escape(const Arguments& given) {
  Text text = soft_text(given.at(0));
  for (const auto& [from, to] : std::initializer_list<std::pair<const char*, const char*>>{
           {"&", "&amp;"}, {">", "&gt;"}, {"<", "&lt;"}, {"'", "&#39;"}, {"\"", "&#34;"}})
    text = replaced(text, Text(from, false), Text(to, false), -1);
  return Value::of(std::move(text));
}

Value map(const Arguments& given) {
  std::vector<Value> result;
  const Value path = given.at(given.places.size(), "attribute");
  for (const Value& one : elements(given.at(0))) {
    if (!path.is_undefined()) {
      Value found = attribute_of(one, path);
      const Value instead = given.at(given.places.size(), "default");
      result.push_back(found.is_undefined() && !instead.is_undefined() ? instead : found);
      continue;
    }
    Arguments inner{.places = {one}, .named = given.named};
    for (size_t i = 2; i < given.places.size(); ++i) inner.places.push_back(given.places[i]);
    result.push_back(filter(text_of(given.at(1)).bytes, inner));
  }
  return Value::list(std::move(result));
}

// select, reject; of an attribute: selectattr, rejectattr.
Value chosen(const Arguments& given, bool passing, bool by_attribute) {
  std::vector<Value> result;
  const size_t at = by_attribute ? 2 : 1;
  for (const Value& one : elements(given.at(0))) {
    const Value asked = by_attribute ? attribute_of(one, given.at(1)) : one;
    bool passes = asked.truth();
    if (given.places.size() > at) {
      Arguments inner{.places = {asked}, .named = {}};
      for (size_t i = at + 1; i < given.places.size(); ++i) inner.places.push_back(given.places[i]);
      passes = test(text_of(given.places[at]).bytes, inner);
    }
    if (passes == passing) result.push_back(one);
  }
  return Value::list(std::move(result));
}
Value select(const Arguments& given) {
  return chosen(given, true, false);
}
Value reject(const Arguments& given) {
  return chosen(given, false, false);
}
Value select_attribute(const Arguments& given) {
  return chosen(given, true, true);
}
Value reject_attribute(const Arguments& given) {
  return chosen(given, false, true);
}

}  // namespace

Value filter(const std::string& name, const Arguments& given) {
  static const std::map<std::string, Filter> kFilters{{"tojson", to_json},
                                                      {"trim", trim},
                                                      {"length", length},
                                                      {"count", length},
                                                      {"string", string},
                                                      {"safe", string},
                                                      {"default", otherwise},
                                                      {"d", otherwise},
                                                      {"items", items},
                                                      {"list", to_list},
                                                      {"join", join},
                                                      {"dictsort", dict_sort},
                                                      {"sort", sort},
                                                      {"upper", upper},
                                                      {"lower", lower},
                                                      {"capitalize", capitalize},
                                                      {"title", title},
                                                      {"replace", replace},
                                                      {"first", first},
                                                      {"last", last},
                                                      {"reverse", reverse},
                                                      {"unique", unique},
                                                      {"int", to_int},
                                                      {"float", to_float},
                                                      {"abs", absolute},
                                                      {"round", rounded},
                                                      {"min", smallest},
                                                      {"max", largest},
                                                      {"sum", sum},
                                                      {"indent", indent},
                                                      {"escape", escape},
                                                      {"e", escape},
                                                      {"map", map},
                                                      {"select", select},
                                                      {"reject", reject},
                                                      {"selectattr", select_attribute},
                                                      {"rejectattr", reject_attribute}};
  const auto found = kFilters.find(name);
  if (found == kFilters.end()) throw Failure("no filter named '" + name + "'");
  return found->second(given);
}

}  // namespace moe::jinja
