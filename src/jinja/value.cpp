// SPDX-License-Identifier: MIT
#include "jinja/value.h"

#include <algorithm>
#include <cmath>

#include "base/utf8.h"

namespace moe::jinja {

Text Text::part(size_t begin, size_t end) const {
  Text result;
  if (begin >= end) return result;
  result.bytes = bytes.substr(begin, end - begin);
  result.typed = typed.substr(begin, end - begin);
  return result;
}

void Text::add(const Text& other) {
  bytes += other.bytes;
  typed += other.typed;
}

const Value* Dict::find(std::string_view key) const {
  for (const auto& entry : entries)
    if (entry.first.bytes == key) return &entry.second;
  return nullptr;
}

void Dict::set(const Text& key, Value value) {
  for (auto& entry : entries) {
    if (entry.first.bytes != key.bytes) continue;
    entry.second = std::move(value);
    return;
  }
  entries.emplace_back(key, std::move(value));
}

Value Arguments::at(size_t i, std::string_view name) const {
  if (i < places.size()) return places[i];
  if (!name.empty())
    for (const auto& entry : named)
      if (entry.first == name) return entry.second;
  return Value();
}

bool Arguments::has(size_t i, std::string_view name) const {
  if (i < places.size()) return true;
  return !name.empty() &&
         std::any_of(named.begin(), named.end(), [&](const auto& entry) { return entry.first == name; });
}

Value Value::from_json(const OrderedJson& json) {
  switch (json.type()) {
    case OrderedJson::value_t::object: {
      Dict dict;
      for (const auto& [key, value] : json.items())
        dict.entries.emplace_back(Text(key, true), from_json(value));
      return of(std::move(dict));
    }
    case OrderedJson::value_t::array: {
      std::vector<Value> items;
      items.reserve(json.size());
      for (const OrderedJson& value : json) items.push_back(from_json(value));
      return list(std::move(items));
    }
    case OrderedJson::value_t::string:
      return of(Text(json.get<std::string>(), true));
    case OrderedJson::value_t::boolean:
      return of(json.get<bool>());
    case OrderedJson::value_t::number_integer:
      return of(json.get<int64_t>());
    case OrderedJson::value_t::number_unsigned:
      if (json.get<uint64_t>() <= static_cast<uint64_t>(INT64_MAX)) return of(json.get<int64_t>());
      return of(json.get<double>());
    case OrderedJson::value_t::number_float:
      return of(json.get<double>());
    default:
      return none();
  }
}

std::pair<bool, int64_t> Value::integer() const {
  if (const auto* whole = get_if<int64_t>()) return {true, *whole};
  if (const auto* flag = get_if<bool>()) return {true, *flag ? 1 : 0};
  return {false, 0};
}

double Value::number() const {
  if (const auto* real = get_if<double>()) return *real;
  return static_cast<double>(integer().second);
}

bool Value::truth() const {
  if (is_undefined() || is_none()) return false;
  if (const auto whole = integer(); whole.first) return whole.second != 0;
  if (const auto* real = get_if<double>()) return *real != 0;
  if (text() != nullptr) return !text()->empty();
  if (list() != nullptr) return !list()->items.empty();
  if (dict() != nullptr) return !dict()->entries.empty();
  return true;
}

const char* Value::kind() const {
  if (is_undefined()) return "Undefined";
  if (is_none()) return "NoneType";
  if (get_if<bool>() != nullptr) return "bool";
  if (get_if<int64_t>() != nullptr) return "int";
  if (get_if<double>() != nullptr) return "float";
  if (text() != nullptr) return "str";
  if (list() != nullptr) return list()->tuple ? "tuple" : "list";
  if (dict() != nullptr) return "dict";
  return function() != nullptr ? "function" : "namespace";
}

bool equal(const Value& a, const Value& b) {
  if (a.is_number() && b.is_number()) {
    const auto x = a.integer(), y = b.integer();
    return x.first && y.first ? x.second == y.second : a.number() == b.number();
  }
  if (a.text() != nullptr && b.text() != nullptr) return a.text()->bytes == b.text()->bytes;
  if (a.list() != nullptr && b.list() != nullptr) {
    const auto &x = a.list()->items, &y = b.list()->items;
    return a.list()->tuple == b.list()->tuple && std::equal(x.begin(), x.end(), y.begin(), y.end(), equal);
  }
  if (a.dict() != nullptr && b.dict() != nullptr) {
    const auto& x = a.dict()->entries;
    return x.size() == b.dict()->entries.size() && std::all_of(x.begin(), x.end(), [&](const auto& entry) {
             const Value* other = b.dict()->find(entry.first.bytes);
             return other != nullptr && equal(entry.second, *other);
           });
  }
  if (a.is_none() || a.is_undefined())
    return b.is_none() == a.is_none() && b.is_undefined() == a.is_undefined();
  if (a.function() != nullptr) return a.function() == b.function();
  return a.name_space() != nullptr && a.name_space() == b.name_space();
}

int compare(const Value& a, const Value& b) {
  const auto sign = [](auto x, auto y) { return x < y ? -1 : (y < x ? 1 : 0); };
  if (a.is_number() && b.is_number()) {
    const auto x = a.integer(), y = b.integer();
    return x.first && y.first ? sign(x.second, y.second) : sign(a.number(), b.number());
  }
  if (a.text() != nullptr && b.text() != nullptr) return sign(a.text()->bytes, b.text()->bytes);
  if (a.list() != nullptr && b.list() != nullptr) {
    const auto &x = a.list()->items, &y = b.list()->items;
    for (size_t i = 0; i < std::min(x.size(), y.size()); ++i)
      if (!equal(x[i], y[i])) return compare(x[i], y[i]);
    return sign(x.size(), y.size());
  }
  if (a.is_undefined()) throw Failure(a.get_if<Undefined>()->what);
  if (b.is_undefined()) throw Failure(b.get_if<Undefined>()->what);
  throw Failure(std::string("'") + a.kind() + "' and '" + b.kind() + "' have no order");
}

std::vector<Value> elements(const Value& value) {
  if (value.list() != nullptr) return value.list()->items;
  std::vector<Value> result;
  if (value.is_undefined()) return result;
  if (const Dict* dict = value.dict()) {
    for (const auto& entry : dict->entries) result.push_back(Value::of(entry.first));
    return result;
  }
  if (const Text* text = value.text()) {
    for (size_t at = 0; at < text->size();) {
      const auto end = at + static_cast<size_t>(decode_utf8(text->bytes.data() + at).length);
      result.push_back(Value::of(text->part(at, end)));
      at = end;
    }
    return result;
  }
  throw Failure(std::string("'") + value.kind() + "' object is not iterable");
}

}  // namespace moe::jinja
