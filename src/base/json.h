// SPDX-License-Identifier: MIT
// JSON read from outside: every file and answer comes through here, and every line but those of a text to
// train on (data/json_line.h). The text is untrusted:
// its size and depth are limited, a name twice in one object is refused, the time is linear in the text (but
// for the logarithm of an object's size), and memory stays below 40 times the text. What is written needs no
// rules: nlohmann's dump() does it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>

namespace moe {

using Json = nlohmann::json;  // an object's names are sorted and found in logarithmic time
// An object's names stand as in the text. Finding one looks at all of them: for objects of some hundred
// names.
using OrderedJson = nlohmann::ordered_json;

struct JsonLimits {
  size_t bytes = size_t{64} << 20;
  int depth = 64;  // objects and lists inside one another; what later walks over a value may recurse so far
};

// Throw UserError naming `where` (a file, a server) and what is wrong.
Json parse_json(const std::string& where, std::string_view text, const std::string& hint = "",
                const JsonLimits& limits = {});
OrderedJson parse_ordered_json(const std::string& where, std::string_view text, const std::string& hint = "",
                               const JsonLimits& limits = {});
// The same, but for one list of the outermost object, too large to be held: take(index, element) has each of
// its elements as soon as it is read, and the list in the value returned is empty.
Json parse_json_list(const std::string& where, std::string_view text, std::string_view list,
                     const std::function<void(size_t index, const Json& element)>& take,
                     const std::string& hint = "", const JsonLimits& limits = {});
// The same as parse_json; nothing where the text is not such JSON.
std::optional<Json> try_parse_json(std::string_view text, const JsonLimits& limits = {});
std::optional<OrderedJson> try_parse_ordered_json(std::string_view text, const JsonLimits& limits = {});

// A value for a message: ASCII, cut where it is long.
std::string quote(const Json& value);
std::string quote(const OrderedJson& value);

// The fields of one object, each mistake a UserError that names the file and the field.
class JsonFields {
 public:
  // Refuses what is no object. hint: what to do about any mistake here. `value` must outlive this.
  JsonFields(std::string where, const Json& value, std::string hint = "");

  bool has(const char* name) const;  // null counts as none
  const Json& at(const char* name) const;
  std::string text(const char* name) const;
  bool flag(const char* name) const;
  double number(const char* name) const;
  int64_t whole(const char* name, int64_t least = 0,
                int64_t most = std::numeric_limits<int64_t>::max()) const;
  const Json& list(const char* name) const;
  JsonFields inside(const char* name) const;

  [[noreturn]] void refuse(const std::string& name, const std::string& expected,
                           const std::string& found) const;
  const std::string& where() const { return where_; }
  const Json& value() const { return value_; }

 private:
  std::string where_;
  const Json& value_;
  std::string hint_;
};

}  // namespace moe
