// SPDX-License-Identifier: MIT
// Methods of texts. Upper and lower case are those of ASCII: templates change the case of roles and keys.
#include <algorithm>
#include <map>

#include "base/utf8.h"
#include "jinja/operations.h"

namespace moe::jinja {
namespace {

// str.isspace() of Python.
bool is_space(char32_t c) {
  return (c >= 9 && c <= 13) || (c >= 28 && c <= 32) || c == 0x85 || c == 0xA0 || c == 0x1680 ||
         (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F ||
         c == 0x3000;
}

template <class Wanted>
Text trimmed_by(const Text& text, const Wanted& wanted, bool left, bool right) {
  size_t begin = 0, end = text.size();
  while (left && begin < end) {
    const CodePoint c = decode_utf8(text.bytes.data() + begin);
    if (!wanted(c.value)) break;
    begin += static_cast<size_t>(c.length);
  }
  while (right && begin < end) {
    size_t last = end - 1;
    while (last > begin && is_continuation(text.bytes[last])) --last;
    if (!wanted(decode_utf8(text.bytes.data() + last).value)) break;
    end = last;
  }
  return text.part(begin, end);
}

const Text& text_argument(const Value& value, const std::string& name) {
  if (value.text() == nullptr) throw Failure(name + "() takes a text, not '" + value.kind() + "'");
  return *value.text();
}

bool is_given(const Value& value) {
  return !value.is_undefined() && !value.is_none();
}

Value strip(const Text& text, const std::string& name, const Arguments& given) {
  const bool left = name != "rstrip", right = name != "lstrip";
  const Value characters = given.at(0, "chars");
  if (!is_given(characters)) return Value::of(trimmed(text, left, right));
  return Value::of(trimmed(text, text_argument(characters, name).bytes, left, right));
}

// At white space; a part is never empty.
std::vector<Text> words(const Text& text, int64_t most, bool from_right) {
  std::vector<Text> parts;
  Text rest = trimmed(text, true, true);
  while (!rest.empty()) {
    if (most == 0) {
      from_right ? parts.push_back(trimmed(rest, false, true)) : parts.push_back(trimmed(rest, true, false));
      break;
    }
    if (most > 0) --most;
    const std::vector<size_t> places = character_places(rest.bytes);
    size_t at = from_right ? places.size() - 1 : 0;
    const auto space_at = [&](size_t i) {
      return is_space(decode_utf8(rest.bytes.data() + places[i]).value);
    };
    if (from_right) {
      while (at > 0 && !space_at(at - 1)) --at;
      parts.push_back(rest.part(places[at], rest.size()));
      rest = trimmed(rest.part(0, places[at]), false, true);
    } else {
      while (at + 1 < places.size() && !space_at(at)) ++at;
      parts.push_back(rest.part(0, places[at]));
      rest = trimmed(rest.part(places[at], rest.size()), true, false);
    }
  }
  if (from_right) std::reverse(parts.begin(), parts.end());
  return parts;
}

std::vector<Text> parts_between(const Text& text, const std::string& between, int64_t most, bool from_right) {
  if (between.empty()) throw Failure("empty separator");
  std::vector<Text> parts;
  size_t begin = 0, end = text.size();
  while (most != 0 && begin <= end) {
    const size_t at = from_right ? (end < between.size() ? std::string::npos
                                                         : text.bytes.rfind(between, end - between.size()))
                                 : text.bytes.find(between, begin);
    if (at == std::string::npos) break;
    parts.push_back(from_right ? text.part(at + between.size(), end) : text.part(begin, at));
    (from_right ? end : begin) = from_right ? at : at + between.size();
    if (most > 0) --most;
  }
  parts.push_back(text.part(begin, end));
  if (from_right) std::reverse(parts.begin(), parts.end());
  return parts;
}

Value split(const Text& text, const std::string& name, const Arguments& given) {
  const Value between = given.at(0, "sep"), count = given.at(1, "maxsplit");
  const int64_t most = is_given(count) ? whole_of(count, "maxsplit") : -1;
  const bool right = name == "rsplit";
  const std::vector<Text> parts = is_given(between)
                                      ? parts_between(text, text_argument(between, name).bytes, most, right)
                                      : words(text, most, right);
  std::vector<Value> result;
  for (const Text& part : parts) result.push_back(Value::of(part));
  return Value::list(std::move(result));
}

Value starts_or_ends(const Text& text, const std::string& name, const Arguments& given) {
  const Value wanted = given.at(0);
  const std::vector<Value> one{wanted};
  for (const Value& each : wanted.list() != nullptr ? wanted.list()->items : one) {
    const std::string& bytes = text_argument(each, name).bytes;
    if (name == "startswith" ? text.bytes.starts_with(bytes) : text.bytes.ends_with(bytes))
      return Value::of(true);
  }
  return Value::of(false);
}

Value find(const Text& text, const std::string& name, const Arguments& given) {
  const std::string& wanted = text_argument(given.at(0), name).bytes;
  if (name == "count") {
    if (wanted.empty()) return Value::of(static_cast<int64_t>(character_places(text.bytes).size()));
    int64_t count = 0;
    for (size_t at = text.bytes.find(wanted); at != std::string::npos;
         at = text.bytes.find(wanted, at + wanted.size()))
      ++count;
    return Value::of(count);
  }
  const size_t at = name == "rfind" ? text.bytes.rfind(wanted) : text.bytes.find(wanted);
  if (at != std::string::npos)
    return Value::of(static_cast<int64_t>(character_places(text.bytes.substr(0, at)).size()) - 1);
  if (name == "index") throw Failure("substring not found");
  return Value::of(int64_t{-1});
}

Value lines(const Text& text, const std::string&, const Arguments& given) {
  const bool keep = given.at(0, "keepends").truth();
  std::vector<Value> result;
  for (size_t begin = 0; begin < text.size();) {
    size_t end = text.bytes.find_first_of("\r\n", begin), next = text.size();
    if (end == std::string::npos)
      end = text.size();
    else
      next = text.bytes.compare(end, 2, "\r\n") == 0 ? end + 2 : end + 1;
    result.push_back(Value::of(text.part(begin, keep ? next : end)));
    begin = next;
  }
  return Value::list(std::move(result));
}

Value replace(const Text& text, const std::string& name, const Arguments& given) {
  const Value count = given.at(2, "count");
  return Value::of(replaced(text, text_argument(given.at(0), name), text_argument(given.at(1), name),
                            is_given(count) ? whole_of(count, "count") : -1));
}

Value without(const Text& text, const std::string& name, const Arguments& given) {
  const std::string& part = text_argument(given.at(0), name).bytes;
  if (name == "removeprefix")
    return Value::of(text.bytes.starts_with(part) ? text.part(part.size(), text.size()) : text);
  return Value::of(text.bytes.ends_with(part) ? text.part(0, text.size() - part.size()) : text);
}

Value join(const Text& text, const std::string&, const Arguments& given) {
  return Value::of(joined(elements(given.at(0)), text));
}

Value cased(const Text& text, const std::string& name, const Arguments&) {
  if (name == "upper" || name == "lower") return Value::of(changed_case(text, name == "upper"));
  Text result = changed_case(text, false);
  bool begins = true;
  for (char& c : result.bytes) {
    const bool letter = (c >= 'a' && c <= 'z') || static_cast<unsigned char>(c) >= 0x80;
    if (begins && c >= 'a' && c <= 'z') c = static_cast<char>(c - 32);
    begins = name == "title" && !letter;
  }
  return Value::of(std::move(result));
}

Value all_of(const Text& text, const std::string& name, const Arguments&) {
  const auto fits = [&](char c) {
    const bool digit = c >= '0' && c <= '9';
    const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    if (name == "isdigit" || name == "isnumeric") return digit;
    if (name == "isalpha") return letter;
    if (name == "isalnum") return digit || letter;
    return (c >= 9 && c <= 13) || c == ' ';
  };
  return Value::of(!text.empty() && std::all_of(text.bytes.begin(), text.bytes.end(), fits));
}

using Method = Value (*)(const Text&, const std::string&, const Arguments&);

}  // namespace

std::vector<size_t> character_places(const std::string& bytes) {
  std::vector<size_t> places;
  for (size_t i = 0; i < bytes.size(); ++i)
    if (!is_continuation(bytes[i])) places.push_back(i);
  places.push_back(bytes.size());
  return places;
}

Text trimmed(const Text& text, bool left, bool right) {
  return trimmed_by(text, is_space, left, right);
}

Text trimmed(const Text& text, std::string_view characters, bool left, bool right) {
  const auto wanted = [&](char32_t c) {
    for (size_t at = 0; at < characters.size();) {
      const CodePoint one = decode_utf8(characters.data() + at);
      if (one.value == c) return true;
      at += static_cast<size_t>(one.length);
    }
    return false;
  };
  return trimmed_by(text, wanted, left, right);
}

Text replaced(const Text& text, const Text& from, const Text& to, int64_t most) {
  Text result;
  size_t at = 0;
  while (most != 0) {
    const size_t found = from.empty() ? at : text.bytes.find(from.bytes, at);
    if (found == std::string::npos || found > text.size()) break;
    result.add(text.part(at, found));
    result.add(to);
    if (result.size() > kLongestText) throw Failure("a text of more than 64 MiB");
    at = found + from.size();
    if (most > 0) --most;
    if (!from.empty()) continue;
    if (at >= text.size()) return result;
    const auto next = at + static_cast<size_t>(decode_utf8(text.bytes.data() + at).length);
    result.add(text.part(at, next));
    at = next;
  }
  result.add(text.part(at, text.size()));
  return result;
}

Text changed_case(const Text& text, bool upper) {
  Text result = text;
  for (char& c : result.bytes) {
    if (upper && c >= 'a' && c <= 'z') c = static_cast<char>(c - 32);
    if (!upper && c >= 'A' && c <= 'Z') c = static_cast<char>(c + 32);
  }
  return result;
}

Text joined(const std::vector<Value>& items, const Text& between) {
  Text result;
  for (size_t i = 0; i < items.size(); ++i) {
    if (i > 0) result.add(between);
    result.add(text_of(items[i]));
    if (result.size() > kLongestText) throw Failure("a text of more than 64 MiB");
  }
  return result;
}

Value text_method(const Value& text, const std::string& name) {
  static const std::map<std::string, Method> kMethods{{"strip", strip},
                                                      {"lstrip", strip},
                                                      {"rstrip", strip},
                                                      {"split", split},
                                                      {"rsplit", split},
                                                      {"find", find},
                                                      {"rfind", find},
                                                      {"index", find},
                                                      {"count", find},
                                                      {"splitlines", lines},
                                                      {"replace", replace},
                                                      {"removeprefix", without},
                                                      {"removesuffix", without},
                                                      {"join", join},
                                                      {"upper", cased},
                                                      {"lower", cased},
                                                      {"capitalize", cased},
                                                      {"title", cased},
                                                      {"isdigit", all_of},
                                                      {"isnumeric", all_of},
                                                      {"isalpha", all_of},
                                                      {"isalnum", all_of},
                                                      {"isspace", all_of},
                                                      {"startswith", starts_or_ends},
                                                      {"endswith", starts_or_ends}};
  const auto found = kMethods.find(name);
  if (found == kMethods.end()) return Value();
  return Value::function(name, [text, name, method = found->second](const Arguments& given) {
    return method(*text.text(), name, given);
  });
}

}  // namespace moe::jinja
