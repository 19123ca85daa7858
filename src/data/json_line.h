// SPDX-License-Identifier: MIT
// Some fields of the outermost object of a line of JSON. What lies between them is passed over, not checked:
// a field that nobody reads can hold NaN, half a surrogate pair, bytes that are not UTF-8 or any depth of
// lists. base/json.h, which reads all other JSON, refuses a line for these. Linear, without recursion, builds
// nothing.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace moe::data {

struct LineField {
  enum class Kind : uint8_t { missing, text, number, boolean, null, object, list };
  Kind kind = Kind::missing;
  // Of text and, as "true" or "false", boolean. Bytes that are not UTF-8 stay as they are, and half of a
  // surrogate pair is the byte FF: the tokenizer makes U+FFFD of each, and counts it.
  std::string text;
  long double number = 0;  // holds every integer of 64 bits and every double; NaN and infinities too
  const char* kind_words() const;
};

class JsonLine {
 public:
  explicit JsonLine(std::vector<std::string> names) : names_(std::move(names)), fields_(names_.size()) {}

  // Of a key that comes twice, the last. Returns what is wrong with the line, in words; empty when it is an
  // object.
  std::string read(std::string_view line);

  const LineField& operator[](size_t i) const { return fields_[i]; }
  const std::vector<std::string>& names() const { return names_; }

 private:
  std::vector<std::string> names_;
  std::vector<LineField> fields_;
};

// The first keys of the outermost object, for messages.
std::vector<std::string> json_keys(std::string_view line);

}  // namespace moe::data
