// SPDX-License-Identifier: MIT
#include "data/jsonl.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <vector>

#include "base/error.h"
#include "base/excerpt.h"
#include "base/json.h"
#include "base/lines.h"
#include "data/file_source.h"
#include "data/text.h"

namespace moe {
namespace {

enum class Found : uint8_t { nothing, text, number, null, other };
struct Value {
  Found found = Found::nothing;
  std::string text;        // true and false are text for filters
  long double number = 0;  // holds every integer and double
  const char* kind = "";   // in words
  bool is_bool = false;
};

constexpr size_t kShownKeys = 20;
// Nothing is built of what is deep inside.
constexpr JsonLimits kLineLimits{.bytes = static_cast<size_t>(kLongestDocument), .depth = 1 << 30};

// Takes some fields of the outermost object and builds nothing of the rest.
class FieldReader : public JsonEvents {
 public:
  explicit FieldReader(const std::vector<std::string>& columns) : values(columns.size()), columns_(columns) {}

  std::vector<Value> values;      // of the columns
  std::vector<std::string> keys;  // of the outermost object, the first ones: for a message
  bool is_object = false;

  bool null() override { return put({Found::null, "", 0, "null"}); }
  bool boolean(bool value) override {
    return put({Found::text, value ? "true" : "false", 0, "true or false", true});
  }
  bool number_integer(number_integer_t value) override {
    return put({Found::number, "", static_cast<long double>(value), "a number"});
  }
  bool number_unsigned(number_unsigned_t value) override {
    return put({Found::number, "", static_cast<long double>(value), "a number"});
  }
  bool number_float(number_float_t value, const string_t&) override {
    return put({Found::number, "", static_cast<long double>(value), "a number"});
  }
  bool string(string_t& content) override {
    return depth_ != 1 || !wanted_ || put({Found::text, std::move(content), 0, "text"});
  }
  bool binary(binary_t&) override { return put({Found::other, "", 0, "binary data"}); }
  bool start_object(size_t) override {
    if (depth_ == 0) is_object = true;
    return open("an object");
  }
  bool start_array(size_t) override { return open("a list"); }
  bool end_object() override { return close(); }
  bool end_array() override { return close(); }
  bool key(string_t& name) override {
    if (depth_ != 1) return true;
    wanted_ = std::find(columns_.begin(), columns_.end(), name) != columns_.end();
    name_ = name;
    if (keys.size() < kShownKeys && std::find(keys.begin(), keys.end(), name) == keys.end())
      keys.push_back(excerpt(name));
    return true;
  }
  bool parse_error(size_t, const std::string&, const Json::exception&) override { return false; }

 private:
  bool put(const Value& value) {
    if (depth_ != 1 || !wanted_) return true;
    for (size_t i = 0; i < columns_.size(); ++i)
      if (columns_[i] == name_) values[i] = value;
    return true;
  }
  bool open(const char* kind) {
    put({Found::other, "", 0, kind});
    ++depth_;
    return true;
  }
  bool close() {
    --depth_;
    return true;
  }

  const std::vector<std::string>& columns_;
  std::string name_;
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

// Reads the lines of one range.
class LineReader {
 public:
  LineReader(const Input& input, const std::string& column, const Filters& filters)
      : input_(input), filters_(filters), columns_{column} {
    for (const Filter& filter : filters) columns_.push_back(filter.column());
  }

  void read(int64_t offset, std::string_view line, Documents& documents) const {
    FieldReader reader(columns_);
    const std::string wrong = scan_json(line, reader, kLineLimits);
    if (!wrong.empty()) throw UserError(place(input_, offset), "a JSON object", wrong);
    if (!reader.is_object) throw UserError(place(input_, offset), "a JSON object", "another JSON value");
    for (size_t i = 0; i < columns_.size(); ++i)
      if (reader.values[i].found == Found::nothing)
        throw UserError(
            place(input_, offset), fmt::format("a field \"{}\"", columns_[i]),
            reader.keys.empty() ? "no fields" : fmt::format("the fields {}", fmt::join(reader.keys, ", ")),
            i == 0 ? "data.text_column names the field that holds the text"
                   : "data.filters names a field that each line must have");
    bool passes = true;
    for (size_t i = 0; i < filters_.size(); ++i)
      if (!pass(filters_[i], reader.values[i + 1], offset)) passes = false;
    const Value& text = reader.values.front();
    if (text.found == Found::null) return;
    if (text.found != Found::text || text.is_bool)
      throw UserError(place(input_, offset), fmt::format("text in field \"{}\"", columns_.front()),
                      text.kind);
    if (passes) documents.add_text(text.text);
  }

 private:
  bool pass(const Filter& filter, const Value& value, int64_t offset) const {
    if (value.found == Found::null) return false;
    if (value.found == Found::text && filter.takes_text()) return filter.passes(value.text);
    if (value.found == Found::number && filter.takes_numbers()) return filter.passes(value.number);
    throw UserError(
        place(input_, offset),
        fmt::format("{} in field \"{}\"", filter.takes_text() ? "text" : "a number", filter.column()),
        value.kind, fmt::format("data.filters has {}", filter.text()));
  }

  const Input& input_;
  const Filters& filters_;
  std::vector<std::string> columns_;  // the text, then those of the filters
};

class JsonlSource : public FileSource {
 public:
  JsonlSource(const DataFilePtr& file, const std::string& column, const Filters& filters, int64_t unit_bytes)
      : FileSource(file, unit_bytes, "jsonl " + column + to_text(filters)),
        column_(column),
        filters_(filters) {
    check_is_text(*file->open());
  }

 private:
  void read_range(const Input& input, int64_t begin, int64_t end, Documents& documents) const override {
    read_jsonl(input, begin, end, column_, filters_, documents);
  }
  std::string column_;
  Filters filters_;
};

}  // namespace

void read_jsonl(const Input& input, int64_t begin, int64_t end, const std::string& column,
                const Filters& filters, Documents& documents) {
  const LineReader reader(input, column, filters);
  const int64_t from = next_document(input, begin, DocumentSplit::line);
  const std::string text = input.read(from, next_document(input, end, DocumentSplit::line));
  std::string_view rest = text;
  if (from == 0 && rest.starts_with("\xEF\xBB\xBF")) rest.remove_prefix(3);
  while (!rest.empty()) {
    const std::string_view line = take_line(rest);
    if (line.find_first_not_of(" \t\r") != std::string_view::npos)
      reader.read(from + (line.data() - text.data()), line, documents);
  }
}

std::unique_ptr<Source> jsonl_source(const DataFilePtr& file, const std::string& column,
                                     const Filters& filters, int64_t unit_bytes) {
  return std::make_unique<JsonlSource>(file, column, filters, unit_bytes);
}

}  // namespace moe
