// SPDX-License-Identifier: MIT
#include "data/text.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "base/error.h"
#include "data/file_source.h"

namespace moe {
namespace {

constexpr std::string_view kSpace = " \t\r\n\f\v";
constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";
// A line of white space longer than this does not count as blank at the edge of a range.
constexpr int64_t kLookBehind = 64 << 10;

// The first document start in text at or after `line`, which is the start of a line. may_start: the line
// before lets a document start here (it is blank, or every line is a document).
size_t find_start(std::string_view text, size_t line, bool may_start, DocumentSplit split) {
  if (split == DocumentSplit::file) return std::string_view::npos;
  while (line < text.size()) {
    const size_t newline = text.find('\n', line);
    if (split == DocumentSplit::line) {
      if (may_start) return line;
      may_start = true;
    } else {
      const size_t indent = text.substr(line, newline - line).find_first_not_of(kSpace);
      const bool blank = indent == std::string_view::npos;
      if (may_start && !blank && (split == DocumentSplit::blank_line || indent == 0)) return line;
      may_start = blank;
    }
    if (newline == std::string_view::npos) break;
    line = newline + 1;
  }
  return std::string_view::npos;
}

// Whether the line that ends at text[newline] is blank and begins in text. (A blank first line of the file counts as
// none: what follows it then belongs to the range before, which changes no document.)
bool is_blank_before(std::string_view text, size_t newline) {
  while (newline > 0) {
    const char c = text[--newline];
    if (c == '\n') return true;
    if (kSpace.find(c) == std::string_view::npos) return false;
  }
  return false;
}

// Length of the UTF-8 sequence at text[i], 0 when its bytes do not have the pattern of one; a sequence cut by
// the end of text is taken as good.
size_t sequence_length(std::string_view text, size_t i) {
  const auto byte = [&](size_t k) { return static_cast<uint8_t>(text[k]); };
  const uint8_t lead = byte(i);
  const size_t length = lead < 0x80   ? 1
                        : lead < 0xC2 ? 0
                        : lead < 0xE0 ? 2
                        : lead < 0xF0 ? 3
                        : lead < 0xF5 ? 4
                                      : 0;
  for (size_t k = 1; k < length && i + k < text.size(); ++k)
    if ((byte(i + k) & 0xC0) != 0x80) return 0;
  return length;
}

class TextSource : public FileSource {
 public:
  TextSource(const DataFilePtr& file, DocumentSplit split, int64_t unit_bytes)
      : FileSource(file, split == DocumentSplit::file ? 0 : unit_bytes,
                   fmt::format("text {}", static_cast<int>(split))),
        split_(split) {
    check_is_text(*file->open());
  }

 private:
  void read_range(const Input& input, int64_t begin, int64_t end, Documents& documents) const override {
    read_text(input, begin, end, split_, documents);
  }
  DocumentSplit split_;
};

}  // namespace

DocumentSplit parse_document_split(std::string_view name) {
  if (name == "file") return DocumentSplit::file;
  if (name == "line") return DocumentSplit::line;
  if (name == "blank_line") return DocumentSplit::blank_line;
  if (name == "unindented") return DocumentSplit::unindented;
  throw UserError("data.document_split", "file, line, blank_line or unindented", std::string(name));
}

int64_t next_document(const Input& input, int64_t position, DocumentSplit split) {
  if (position <= 0) return 0;
  const int64_t size = input.size();
  if (position >= size || split == DocumentSplit::file) return size;
  const int64_t base = std::max<int64_t>(0, position - kLookBehind);
  for (int64_t ahead = 64 << 10;; ahead *= 2) {
    const std::string text = input.read(base, position + ahead);
    const size_t newline = text.find('\n', static_cast<size_t>(position - base) - 1);
    if (newline != std::string::npos) {
      const bool may_start = split == DocumentSplit::line || is_blank_before(text, newline);
      const size_t start = find_start(text, newline + 1, may_start, split);
      if (start != std::string::npos) return base + static_cast<int64_t>(start);
    }
    if (position + ahead >= size) return size;
    if (ahead >= kLongestDocument)
      throw UserError(fmt::format("{}, byte {}", input.name(), position),
                      fmt::format("documents shorter than {} MiB", kLongestDocument >> 20), "a longer one",
                      "data.document_split says where documents start: file, line, blank_line or unindented");
  }
}

void read_text(const Input& input, int64_t begin, int64_t end, DocumentSplit split, Documents& documents) {
  const int64_t from = next_document(input, begin, split);
  const std::string buffer = input.read(from, next_document(input, end, split));
  std::string_view text = buffer;
  if (from == 0 && text.starts_with(kByteOrderMark)) text.remove_prefix(kByteOrderMark.size());
  for (size_t start = 0; start < text.size();) {
    const size_t next = find_start(text, start, false, split);
    const std::string_view document = text.substr(start, next - start);
    const size_t last = document.find_last_not_of(kSpace);
    if (last != std::string_view::npos) documents.add_text(document.substr(0, last + 1), "\n");
    start = std::min(next, text.size());
  }
}

void check_is_text(const Input& input) {
  const std::string head = input.read(0, 64 << 10);
  if (const size_t nul = head.find('\0'); nul != std::string::npos)
    throw UserError(input.name(), "UTF-8 text", fmt::format("a zero byte at byte {}", nul),
                    "it looks like a binary file, or like UTF-16");
  size_t odd = 0;
  for (size_t i = 0; i < head.size();) {
    const size_t length = sequence_length(head, i);
    const bool control =
        length == 1 && (head[i] == '\x7F' || (static_cast<uint8_t>(head[i]) < 0x20 &&
                                              kSpace.find(head[i]) == std::string_view::npos));
    if (length == 0 || control) ++odd;
    i += std::max<size_t>(length, 1);
  }
  if (odd * 10 > head.size() * 3)
    throw UserError(
        input.name(), "UTF-8 text",
        fmt::format("{} of the first {} bytes are control characters or not UTF-8", odd, head.size()),
        "it looks like a binary file, or like text in another encoding");
}

std::unique_ptr<Source> text_source(const DataFilePtr& file, DocumentSplit split, int64_t unit_bytes) {
  return std::make_unique<TextSource>(file, split, unit_bytes);
}

}  // namespace moe
