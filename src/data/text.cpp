// SPDX-License-Identifier: MIT
#include "data/text.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "base/error.h"
#include "base/utf8.h"
#include "data/config.h"
#include "data/file_kind.h"
#include "data/file_source.h"

namespace moe::data {
namespace {

constexpr std::string_view kSpace = " \t\r\n\f\v";
constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";
// A line of white space longer than this does not count as blank at the edge of a range.
constexpr int64_t kLookBehind = 64 << 10;
constexpr int64_t kLookAhead = 64 << 10;  // at first
constexpr int64_t kNone = -1;

// The first document start in text at or after `line`, which is the start of a line. may_start: the line
// before lets a document start here (it is blank, or every line is a document).
size_t find_start(std::string_view text, size_t line, bool may_start, DocumentSplit split) {
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

// Whether the line that ends at text[newline] is blank and begins in text. (A blank first line of the file
// counts as none: what follows it then belongs to the range before, which changes no document.)
bool is_blank_before(std::string_view text, size_t newline) {
  while (newline > 0) {
    const char c = text[--newline];
    if (c == '\n') return true;
    if (kSpace.find(c) == std::string_view::npos) return false;
  }
  return false;
}

// The first document start at or after byte `position` > 0 of the file that these bytes show; kNone when they
// show none.
int64_t start_in(const Stretch& bytes, int64_t position, const DocumentRule& rule) {
  if (rule.split == DocumentSplit::file) return kNone;
  if (rule.split == DocumentSplit::marker) {
    const int64_t before = std::max(bytes.begin(), position - std::ssize(rule.marker));
    const size_t found = bytes.text(before).find(rule.marker);
    return found == std::string_view::npos ? kNone
                                           : before + static_cast<int64_t>(found + rule.marker.size());
  }
  const int64_t base = std::max(bytes.begin(), position - kLookBehind);
  const std::string_view text = bytes.text(base);
  const size_t newline = text.find('\n', static_cast<size_t>(position - base) - 1);
  if (newline == std::string_view::npos) return kNone;
  const bool may_start = rule.split == DocumentSplit::line || is_blank_before(text, newline);
  const size_t start = find_start(text, newline + 1, may_start, rule.split);
  return start == std::string_view::npos ? kNone : base + static_cast<int64_t>(start);
}

int64_t look_behind(const DocumentRule& rule) {
  if (rule.split == DocumentSplit::line) return 1;
  return rule.split == DocumentSplit::marker ? std::ssize(rule.marker) : kLookBehind;
}

// The first document start at or after byte `position`, else the size of the file; reads on until it is
// there.
int64_t next_start(const Input& input, Stretch& bytes, int64_t position, const DocumentRule& rule) {
  if (position <= 0) return 0;
  if (position >= input.size() || rule.split == DocumentSplit::file) return input.size();
  for (int64_t ahead = kLookAhead;; ahead *= 2) {
    bytes.extend(position + ahead);
    if (const int64_t start = start_in(bytes, position, rule); start != kNone) return start;
    if (bytes.at_end()) return input.size();
    if (ahead >= kLongestDocument)
      throw UserError(fmt::format("{}, byte {}", input.name(), position),
                      fmt::format("documents shorter than {} MiB", kLongestDocument >> 20), "a longer one",
                      "data.document_split says where documents start: file, line, blank_line, unindented or "
                      "marker");
  }
}

void add_document(std::string_view document, Documents& documents) {
  const size_t last = document.find_last_not_of(kSpace);
  if (last != std::string_view::npos) documents.add_text(document.substr(0, last + 1), "\n");
}

// The documents of a text that begins with `before` bytes of what lies before the first. Markers may overlap,
// as in a row of dashes: each ends a document.
void split_at_markers(std::string_view text, size_t before, std::string_view marker, Documents& documents) {
  size_t start = before;
  for (size_t at = 0; at < text.size(); ++at) {
    at = std::min(text.find(marker, at), text.size());
    if (at > start) {
      std::string_view document = text.substr(start, at - start);
      document.remove_prefix(std::min(document.find_first_not_of("\r\n"), document.size()));
      add_document(document, documents);
    }
    if (at < text.size()) start = at + marker.size();
  }
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
  TextSource(const DataFilePtr& file, const DocumentRule& rule, int64_t unit_bytes)
      : FileSource(file, rule.split == DocumentSplit::file ? 0 : unit_bytes, kind(rule)), rule_(rule) {}

 private:
  // For identity(): the words of a rule without a marker stay those of earlier versions.
  static std::string kind(const DocumentRule& rule) {
    return fmt::format("text {}{}{}", static_cast<int>(rule.split), rule.marker.empty() ? "" : " ",
                       rule.marker);
  }
  void read_range(const Input& input, int64_t begin, int64_t end, Documents& documents) const override {
    read_text(input, begin, end, rule_, documents);
  }
  DocumentRule rule_;
};

// What tokenizers and data sets put between documents.
constexpr std::array<std::string_view, 12> kMarkers{"<|endoftext|>", "<|end_of_text|>", "<|begin_of_text|>",
                                                    "<|endofdoc|>",  "<|im_end|>",      "<eos>",
                                                    "<bos>",         "<EOS>",           "</s>",
                                                    "[EOS]",         "<EOD>",           "<|eod|>"};

int64_t occurrences(std::string_view text, std::string_view word) {
  int64_t count = 0;
  for (size_t at = text.find(word); at != std::string_view::npos; at = text.find(word, at + word.size()))
    ++count;
  return count;
}

}  // namespace

DocumentRule DocumentRule::of(const DataConfig& config) {
  if (config.document_split != DocumentSplit::marker) return config.document_split;
  return {DocumentSplit::marker, config.document_marker};
}

int64_t next_document(const Input& input, int64_t position, const DocumentRule& rule) {
  Stretch bytes(input, position - look_behind(rule), position);
  return next_start(input, bytes, position, rule);
}

std::optional<DocumentRange> find_documents(const Input& input, int64_t begin, int64_t end,
                                            const DocumentRule& rule) {
  const int64_t behind = begin > 0 ? look_behind(rule) : 0;
  // In one piece: a remote file should be asked once.
  Stretch bytes(input, begin - behind, rule.split == DocumentSplit::file ? end : end + kLookAhead);
  const int64_t from = begin <= 0 ? 0 : start_in(bytes, begin, rule);
  if (from == kNone || from >= end) return std::nullopt;
  const int64_t until = next_start(input, bytes, end, rule);
  return DocumentRange{std::move(bytes), from, until};
}

void read_text(const Input& input, int64_t begin, int64_t end, const DocumentRule& rule,
               Documents& documents) {
  const auto range = find_documents(input, begin, end, rule);
  if (!range) return;
  std::string_view text = range->text();
  if (range->from == 0 && text.starts_with(kByteOrderMark)) text.remove_prefix(kByteOrderMark.size());
  if (rule.split == DocumentSplit::file) return add_document(text, documents);
  if (rule.split == DocumentSplit::marker) {
    const int64_t before =
        range->from == 0 ? 0 : std::min(range->from - range->bytes.begin(), std::ssize(rule.marker) - 1);
    const auto whole = range->bytes.text(range->from - before);
    return split_at_markers(
        range->from == 0 ? text : whole.substr(0, text.size() + static_cast<size_t>(before)),
        static_cast<size_t>(before), rule.marker, documents);
  }
  for (size_t start = 0; start < text.size();) {
    const size_t next = find_start(text, start, false, rule.split);
    add_document(text.substr(start, next - start), documents);
    start = std::min(next, text.size());
  }
}

std::string text_head(const Input& input) {
  std::string head = input.read(0, 64 << 10);
  const auto refuse = [&](const std::string& found, const std::string& guess) {
    const auto kind = kind_of_content(head, input.name());
    throw UserError(input.name(), "UTF-8 text", kind ? kind->what : found, kind ? kind->hint : guess);
  };
  if (const size_t nul = head.find('\0'); nul != std::string::npos || kind_of_content(head, input.name()))
    refuse(fmt::format("a zero byte at byte {}", nul), "it looks like a binary file");
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
    refuse(fmt::format("{} of the first {} bytes are control characters or not UTF-8", odd, head.size()),
           "it looks like a binary file, or like text in another encoding");
  return head;
}

std::vector<std::string> hints_about(std::string_view head, const DocumentRule* rule) {
  std::vector<std::string> hints;
  std::string repaired;
  // A character that the head cuts is none of the file's.
  const uint64_t replaced = repair_utf8(head.substr(0, head.find_last_of('\n') + 1), repaired);
  if (replaced > 0) hints.push_back(replaced_words(static_cast<int64_t>(replaced)));
  for (const std::string_view marker : kMarkers) {
    const int64_t count = occurrences(head, marker);
    if (count < 2 || (rule != nullptr && rule->marker == marker)) continue;
    hints.push_back(fmt::format(
        "\"{}\" stands in it as text, and is learnt as text{}", marker,
        rule == nullptr
            ? ""
            : fmt::format("; data.document_split=marker data.document_marker='{}' takes it for the "
                          "end of a document",
                          marker)));
  }
  return hints;
}

std::string replaced_words(int64_t replaced) {
  return fmt::format(
      "{} stretches of invalid UTF-8 became U+FFFD; if the text is in another encoding, convert it first, as "
      "with "
      "iconv -f latin1 -t utf-8",
      replaced);
}

std::unique_ptr<Source> text_source(const DataFilePtr& file, const DocumentRule& rule, int64_t unit_bytes) {
  return std::make_unique<TextSource>(file, rule, unit_bytes);
}

}  // namespace moe::data
