// SPDX-License-Identifier: MIT
#include "data/jsonl.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <optional>
#include <vector>

#include "base/error.h"
#include "base/lines.h"
#include "data/file_source.h"
#include "data/json_line.h"
#include "data/text.h"

namespace moe::data {
namespace {

using Kind = LineField::Kind;

// Lines are counted this far into a file: it may be behind a network.
constexpr int64_t kMostCounted = 64 << 20;

// "file, line 12"; "file, byte 123456789" far from the beginning.
std::string place(const Input& input, int64_t offset) {
  if (offset > kMostCounted) return fmt::format("{}, byte {}", input.name(), offset);
  int64_t line = 1;
  for (int64_t at = 0; at < offset;) {
    const std::string block = input.read(at, std::min(offset, at + (1 << 20)));
    line += std::count(block.begin(), block.end(), '\n');
    at += static_cast<int64_t>(block.size());
  }
  return fmt::format("{}, line {}", input.name(), line);
}

// Reads one line after another.
class LineReader {
 public:
  LineReader(const std::string& column, const Filters& filters)
      : filters_(filters), fields_(names(column, filters)) {}

  // Nothing when the line is good.
  std::optional<BadRow> read(std::string_view line, Documents& documents) {
    if (std::string wrong = fields_.read(line); !wrong.empty())
      return BadRow{"a JSON object", std::move(wrong), ""};
    for (size_t i = 0; i < fields_.names().size(); ++i)
      if (fields_[i].kind == Kind::missing) return missing(i, line);
    bool passes = true;
    for (size_t i = 0; i < filters_.size(); ++i) {
      const LineField& value = fields_[i + 1];
      if (value.kind == Kind::null) {
        passes = false;
      } else if ((value.kind == Kind::text || value.kind == Kind::boolean) && filters_[i].takes_text()) {
        passes = passes && filters_[i].passes(value.text);
      } else if (value.kind == Kind::number && filters_[i].takes_numbers()) {
        passes = passes && filters_[i].passes(value.number);
      } else {
        return BadRow{fmt::format("{} in field \"{}\"", filters_[i].takes_text() ? "text" : "a number",
                                  filters_[i].column()),
                      value.kind_words(), fmt::format("data.filters has {}", filters_[i].text())};
      }
    }
    const LineField& text = fields_[0];
    if (text.kind != Kind::text && text.kind != Kind::null)
      return BadRow{fmt::format("text in field \"{}\"", fields_.names().front()), text.kind_words(), ""};
    if (passes && text.kind == Kind::text) documents.add_text(text.text);
    return std::nullopt;
  }

 private:
  static std::vector<std::string> names(const std::string& column, const Filters& filters) {
    std::vector<std::string> names{column};
    for (const Filter& filter : filters) names.push_back(filter.column());
    return names;
  }

  BadRow missing(size_t i, std::string_view line) const {
    const auto keys = json_keys(line);
    return {fmt::format("a field \"{}\"", fields_.names()[i]),
            keys.empty() ? "no fields" : fmt::format("the fields {}", fmt::join(keys, ", ")),
            i == 0 ? "data.text_column names the field that holds the text"
                   : "data.filters names a field that each line must have"};
  }

  const Filters& filters_;
  JsonLine fields_;  // the text, then those of the filters
};

class JsonlSource : public FileSource {
 public:
  JsonlSource(const DataFilePtr& file, const std::string& column, const Filters& filters, int64_t unit_bytes,
              std::shared_ptr<Complaints> complaints)
      : FileSource(file, unit_bytes, "jsonl " + column + to_text(filters)),
        column_(column),
        filters_(filters),
        complaints_(std::move(complaints)) {}

 private:
  void read_range(const Input& input, int64_t begin, int64_t end, Documents& documents) const override {
    read_jsonl(input, begin, end, column_, filters_, documents, complaints_.get());
  }
  std::string column_;
  Filters filters_;
  std::shared_ptr<Complaints> complaints_;
};

}  // namespace

void read_jsonl(const Input& input, int64_t begin, int64_t end, const std::string& column,
                const Filters& filters, Documents& documents, Complaints* complaints) {
  LineReader reader(column, filters);
  read_lines(input, begin, end, complaints,
             [&](std::string_view line) { return reader.read(line, documents); });
}

void read_lines(const Input& input, int64_t begin, int64_t end, Complaints* complaints,
                const std::function<std::optional<BadRow>(std::string_view line)>& take) {
  const auto range = find_documents(input, begin, end, DocumentSplit::line);
  if (!range) return;
  const std::string_view text = range->text();
  std::string_view rest = text;
  if (range->from == 0 && rest.starts_with("\xEF\xBB\xBF")) rest.remove_prefix(3);
  while (!rest.empty()) {
    const std::string_view line = take_line(rest);
    if (line.find_first_not_of(" \t\r") == std::string_view::npos) continue;
    const auto bad = take(line);
    if (!bad) continue;
    const int64_t offset = range->from + (line.data() - text.data());
    if (complaints == nullptr) throw UserError(place(input, offset), bad->expected, bad->found, bad->hint);
    complaints->bad_row(input.name(), offset, *bad, [&] { return place(input, offset); });
  }
}

std::unique_ptr<Source> jsonl_source(const DataFilePtr& file, const std::string& column,
                                     const Filters& filters, int64_t unit_bytes,
                                     std::shared_ptr<Complaints> complaints) {
  return std::make_unique<JsonlSource>(file, column, filters, unit_bytes, std::move(complaints));
}

}  // namespace moe::data
