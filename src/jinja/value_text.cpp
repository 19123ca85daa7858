// SPDX-License-Identifier: MIT
// Values as text: Python's str() and repr(), and json.dumps().
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

#include "base/utf8.h"
#include "jinja/value.h"

namespace moe::jinja {
namespace {

constexpr int kMostDepth = 100;  // of lists and dictionaries inside one another

// Of those that a text of a conversation may well hold; Python has some more.
bool is_printable(char32_t c) {
  return c >= 0x20 && c != 0x7F && !(c >= 0x80 && c <= 0xA0) && c != 0xAD && c != 0x1680 &&
         !(c >= 0x2000 && c <= 0x200F) && !(c >= 0x2028 && c <= 0x202F) && !(c >= 0x205F && c <= 0x206F) &&
         c != 0x3000 && c != 0xFEFF && !(c >= 0xE000 && c <= 0xF8FF) && !(c >= 0xFFF0 && c <= 0xFFFB);
}

std::string python_quoted(std::string_view text) {
  const bool twice = text.find('\'') != std::string_view::npos && text.find('"') == std::string_view::npos;
  const char quote = twice ? '"' : '\'';
  std::string result(1, quote);
  for (size_t at = 0; at < text.size();) {
    const CodePoint c = decode_utf8(text.data() + at);
    const auto length = static_cast<size_t>(c.length);
    const auto code = static_cast<uint32_t>(c.value);
    if (c.value == '\\' || c.value == static_cast<unsigned char>(quote))
      result += {'\\', text[at]};
    else if (c.value == '\n')
      result += "\\n";
    else if (c.value == '\r')
      result += "\\r";
    else if (c.value == '\t')
      result += "\\t";
    else if (is_printable(c.value))
      result += text.substr(at, length);
    else
      result += code < 0x100     ? fmt::format("\\x{:02x}", code)
                : code < 0x10000 ? fmt::format("\\u{:04x}", code)
                                 : fmt::format("\\U{:08x}", code);
    at += length;
  }
  return result + quote;
}

void add_repr(const Value& value, int depth, Text& out);

void add_list(const List& list, int depth, Text& out) {
  out.add(Text(list.tuple ? "(" : "[", false));
  for (size_t i = 0; i < list.items.size(); ++i) {
    if (i > 0) out.add(Text(", ", false));
    add_repr(list.items[i], depth + 1, out);
  }
  if (list.tuple && list.items.size() == 1) out.add(Text(",", false));
  out.add(Text(list.tuple ? ")" : "]", false));
}

void add_dict(const Dict& dict, int depth, Text& out) {
  out.add(Text("{", false));
  bool first = true;
  for (const auto& entry : dict.entries) {
    if (!first) out.add(Text(", ", false));
    first = false;
    out.add(Text(python_quoted(entry.first.bytes), entry.first.any_typed()));
    out.add(Text(": ", false));
    add_repr(entry.second, depth + 1, out);
  }
  out.add(Text("}", false));
}

void add_repr(const Value& value, int depth, Text& out) {
  if (depth > kMostDepth) throw Failure("lists inside one another, too deep");
  if (const Text* text = value.text()) return out.add(Text(python_quoted(text->bytes), text->any_typed()));
  if (value.list() != nullptr) return add_list(*value.list(), depth, out);
  if (value.dict() != nullptr) return add_dict(*value.dict(), depth, out);
  if (value.is_undefined()) return out.add(Text("Undefined", false));
  out.add(text_of(value));
}

class JsonWriter {
 public:
  JsonWriter(const JsonStyle& style, std::string& out)
      : style_(style),
        out_(out),
        item_(!style.between_items.empty() ? style.between_items : (style.indent < 0 ? ", " : ",")),
        key_(style.behind_key.empty() ? ": " : style.behind_key) {}

  void add(const Value& value, int depth) {
    if (depth > kMostDepth) throw Failure("lists inside one another, too deep for tojson");
    if (value.text() != nullptr) {
      out_ += Json(value.text()->bytes).dump(-1, ' ', style_.ascii, Json::error_handler_t::replace);
    } else if (const auto* flag = value.get_if<bool>()) {
      out_ += *flag ? "true" : "false";
    } else if (value.is_none()) {
      out_ += "null";
    } else if (value.is_number()) {
      add_number(value);
    } else if (value.list() != nullptr) {
      add_items(*value.list(), depth);
    } else if (value.dict() != nullptr) {
      add_entries(*value.dict(), depth);
    } else {
      throw Failure(std::string("Object of type ") + value.kind() + " is not JSON serializable");
    }
  }

 private:
  void add_number(const Value& value) {
    const double real = value.number();
    if (value.get_if<double>() == nullptr)
      out_ += std::to_string(value.integer().second);
    else if (std::isnan(real))
      out_ += "NaN";
    else if (std::isinf(real))
      out_ += real < 0 ? "-Infinity" : "Infinity";
    else
      out_ += float_text(real);
  }
  void begin_line(int depth) {
    if (style_.indent >= 0) out_ += "\n" + std::string(static_cast<size_t>(style_.indent * depth), ' ');
  }
  void add_items(const List& list, int depth) {
    out_ += "[";
    for (size_t i = 0; i < list.items.size(); ++i) {
      if (i > 0) out_ += item_;
      begin_line(depth + 1);
      add(list.items[i], depth + 1);
    }
    if (!list.items.empty()) begin_line(depth);
    out_ += "]";
  }
  void add_entries(const Dict& dict, int depth) {
    std::vector<const std::pair<Text, Value>*> entries;
    for (const auto& entry : dict.entries) entries.push_back(&entry);
    if (style_.sorted)
      std::sort(entries.begin(), entries.end(),
                [](const auto* a, const auto* b) { return a->first.bytes < b->first.bytes; });
    out_ += "{";
    for (size_t i = 0; i < entries.size(); ++i) {
      if (i > 0) out_ += item_;
      begin_line(depth + 1);
      add(Value::of(entries[i]->first), depth + 1);
      out_ += key_;
      add(entries[i]->second, depth + 1);
    }
    if (!entries.empty()) begin_line(depth);
    out_ += "}";
  }

  const JsonStyle& style_;
  std::string& out_;
  const std::string item_, key_;
};

}  // namespace

std::string float_text(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value < 0 ? "-inf" : "inf";
  std::array<char, 32> buffer{};
  const auto end =
      std::to_chars(buffer.data(), buffer.data() + buffer.size(), value, std::chars_format::scientific);
  const std::string shortest(buffer.data(), end.ptr);
  // Python writes out what has an exponent of -4 to 15.
  const int exponent = std::stoi(shortest.substr(shortest.find('e') + 1));
  if (exponent < -4 || exponent >= 16) return shortest;
  const auto plain =
      std::to_chars(buffer.data(), buffer.data() + buffer.size(), value, std::chars_format::fixed);
  std::string result(buffer.data(), plain.ptr);
  return result.find('.') == std::string::npos ? result + ".0" : result;
}

Text text_of(const Value& value) {
  if (const Text* text = value.text()) return *text;
  if (value.is_undefined()) return {};
  if (value.is_none()) return {"None", false};
  if (const auto* flag = value.get_if<bool>()) return {*flag ? "True" : "False", false};
  if (const auto* whole = value.get_if<int64_t>()) return {std::to_string(*whole), false};
  if (const auto* real = value.get_if<double>()) return {float_text(*real), false};
  if (value.function() != nullptr) return {"<function " + value.function()->name + ">", false};
  if (value.name_space() != nullptr) return {"<Namespace>", false};
  return repr_of(value);
}

Text repr_of(const Value& value) {
  Text out;
  add_repr(value, 0, out);
  return out;
}

Text json_of(const Value& value, const JsonStyle& style) {
  std::string out;
  JsonWriter(style, out).add(value, 0);
  return {std::move(out), true};
}

}  // namespace moe::jinja
