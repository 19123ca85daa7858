// SPDX-License-Identifier: MIT
#include "data/jsonl.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <vector>

#include "base/error.h"
#include "data/file_source.h"
#include "data/text.h"

namespace moe {
namespace {

using Json = nlohmann::json;

// Takes one field of the outermost object and builds nothing of the rest.
class FieldReader : public nlohmann::json_sax<Json> {
 public:
  explicit FieldReader(const std::string& column) : column_(column) {}

  enum class Found : uint8_t { nothing, text, null, other };
  Found found = Found::nothing;
  std::string text, kind;         // the text; what `other` was
  std::vector<std::string> keys;  // of the outermost object
  bool is_object = false;
  std::string error;

  bool null() override { return value(Found::null, "null"); }
  bool boolean(bool) override { return value(Found::other, "true or false"); }
  bool number_integer(number_integer_t) override { return value(Found::other, "a number"); }
  bool number_unsigned(number_unsigned_t) override { return value(Found::other, "a number"); }
  bool number_float(number_float_t, const string_t&) override { return value(Found::other, "a number"); }
  bool string(string_t& content) override {
    if (wanted_ && depth_ == 1) text = std::move(content);
    return value(Found::text, "text");
  }
  bool binary(binary_t&) override { return value(Found::other, "binary data"); }
  bool start_object(size_t) override {
    if (depth_ == 0) is_object = true;
    return open("an object");
  }
  bool start_array(size_t) override { return open("a list"); }
  bool end_object() override { return close(); }
  bool end_array() override { return close(); }
  bool key(string_t& name) override {
    if (depth_ != 1) return true;
    wanted_ = name == column_;
    if (std::find(keys.begin(), keys.end(), name) == keys.end()) keys.push_back(name);
    return true;
  }
  bool parse_error(size_t, const std::string&, const Json::exception& e) override {
    error = e.what();
    return false;
  }

 private:
  bool value(Found what, const char* name) {
    if (wanted_ && depth_ == 1) {
      found = what;
      kind = name;
    }
    return true;
  }
  bool open(const char* name) {
    value(Found::other, name);
    ++depth_;
    return true;
  }
  bool close() {
    --depth_;
    return true;
  }

  const std::string& column_;
  int64_t depth_ = 0;
  bool wanted_ = false;
};

// "file, line 12": counted only when something is wrong.
std::string place(const Input& input, int64_t offset) {
  int64_t line = 1;
  for (int64_t at = 0; at < offset;) {
    const std::string block = input.read(at, std::min(offset, at + (1 << 20)));
    line += std::count(block.begin(), block.end(), '\n');
    at += static_cast<int64_t>(block.size());
  }
  return fmt::format("{}, line {}", input.name(), line);
}

// The parser's own words without its error number: "[json.exception.parse_error.101] parse error at ...".
std::string reason(const std::string& error) {
  const size_t end = error.find("] ");
  return end == std::string::npos ? error : error.substr(end + 2);
}

void read_line(const Input& input, int64_t offset, std::string_view line, const std::string& column,
               Documents& documents) {
  FieldReader reader(column);
  const bool good = Json::sax_parse(line.begin(), line.end(), &reader);
  if (!good) throw UserError(place(input, offset), "a JSON object", reason(reader.error));
  if (!reader.is_object) throw UserError(place(input, offset), "a JSON object", "another JSON value");
  switch (reader.found) {
    case FieldReader::Found::text:
      documents.add_text(reader.text);
      break;
    case FieldReader::Found::null:
      break;
    case FieldReader::Found::other:
      throw UserError(place(input, offset), fmt::format("text in field \"{}\"", column), reader.kind);
    case FieldReader::Found::nothing:
      throw UserError(
          place(input, offset), fmt::format("a field \"{}\"", column),
          reader.keys.empty() ? "no fields" : fmt::format("the fields {}", fmt::join(reader.keys, ", ")),
          "data.text_column names the field that holds the text");
  }
}

class JsonlSource : public FileSource {
 public:
  JsonlSource(const std::filesystem::path& path, const std::string& column, int64_t unit_bytes)
      : FileSource(path, unit_bytes, "jsonl " + column), column_(column) {
    check_is_text(FileInput(path));
  }

 private:
  void read_range(const Input& input, int64_t begin, int64_t end, Documents& documents) const override {
    read_jsonl(input, begin, end, column_, documents);
  }
  std::string column_;
};

}  // namespace

void read_jsonl(const Input& input, int64_t begin, int64_t end, const std::string& column,
                Documents& documents) {
  const int64_t from = next_document(input, begin, DocumentSplit::line);
  const std::string text = input.read(from, next_document(input, end, DocumentSplit::line));
  size_t start = from == 0 && text.starts_with("\xEF\xBB\xBF") ? 3 : 0;
  while (start < text.size()) {
    const size_t stop = std::min(text.find('\n', start), text.size());
    const std::string_view line(text.data() + start, stop - start);
    if (line.find_first_not_of(" \t\r") != std::string_view::npos)
      read_line(input, from + static_cast<int64_t>(start), line, column, documents);
    start = stop + 1;
  }
}

std::unique_ptr<Source> jsonl_source(const std::filesystem::path& path, const std::string& column,
                                     int64_t unit_bytes) {
  return std::make_unique<JsonlSource>(path, column, unit_bytes);
}

}  // namespace moe
