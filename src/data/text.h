// SPDX-License-Identifier: MIT
// Plain text: where its documents start (data.document_split) and which of them belong to a range of bytes.
// Every document belongs to the range its first byte lies in; whoever reads the range reads on to the
// document's end. A range in which no document starts costs its own bytes only, so that the work is linear in
// the bytes of a file, however long its documents are.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/input.h"
#include "data/config.h"
#include "data/data_file.h"
#include "data/source.h"
#include "data/stretch.h"

namespace moe::data {

// Where a document starts; the marker is that of DocumentSplit::marker.
struct DocumentRule {
  // A split alone is a rule.  NOLINTNEXTLINE(google-explicit-constructor)
  DocumentRule(DocumentSplit where, std::string text = "") : split(where), marker(std::move(text)) {}
  static DocumentRule of(const DataConfig& config);
  DocumentSplit split;
  std::string marker;
};

// A longer document (other than a whole file) is taken for a wrong data.document_split: UserError.
inline constexpr int64_t kLongestDocument = int64_t{64} << 20;
inline constexpr int64_t kLongestMarker = 256;  // bytes

// The first document start at or after byte `position` (0 is one), else the size of the file.
int64_t next_document(const Input& input, int64_t position, const DocumentRule& rule);

// The documents that start in a range, whole, and where they lie.
struct DocumentRange {
  Stretch bytes;
  int64_t from, until;
  std::string_view text() const { return bytes.text(from).substr(0, static_cast<size_t>(until - from)); }
};
// Nothing when no document starts in [begin, end).
std::optional<DocumentRange> find_documents(const Input& input, int64_t begin, int64_t end,
                                            const DocumentRule& rule);

// Adds the documents that start in [begin, end). White space at their ends becomes one newline; empty ones
// are dropped, and so are a byte order mark and line ends after a marker.
void read_text(const Input& input, int64_t begin, int64_t end, const DocumentRule& rule,
               Documents& documents);

// The first 64 KiB. Throws UserError, which says what else it is where that can be told, when they hold a NUL
// or more than 30 % of bytes that are control characters or not UTF-8.
std::string text_head(const Input& input);
// What a person should know of a text that begins so: bytes that are not UTF-8, markers between documents
// that the rule would learn as words. rule: null where documents are not split by one.
std::vector<std::string> hints_about(std::string_view head, const DocumentRule* rule);
// "3 stretches of invalid UTF-8 became U+FFFD", and what may be the reason.
std::string replaced_words(int64_t replaced);

std::unique_ptr<Source> text_source(const DataFilePtr& file, const DocumentRule& rule, int64_t unit_bytes);

}  // namespace moe::data
