// SPDX-License-Identifier: MIT
// Plain text: where its documents start (data.document_split) and which of them belong to a range of bytes.
// Every document belongs to the range its first byte lies in; whoever reads the range reads on to the
// document's end.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "base/input.h"
#include "data/data_file.h"
#include "data/source.h"

namespace moe {

enum class DocumentSplit : uint8_t {
  file,        // the whole file is one document
  line,        // every line
  blank_line,  // blocks between blank lines (lines of white space only)
  unindented   // a line that begins with a non-space after a blank line; indented blocks stay with it
};
DocumentSplit parse_document_split(std::string_view name);

// A longer document (other than a whole file) is taken for a wrong data.document_split: UserError.
inline constexpr int64_t kLongestDocument = int64_t{64} << 20;

// The first document start at or after byte `position` (0 is one), else the size of the file.
int64_t next_document(const Input& input, int64_t position, DocumentSplit split);

// Adds the documents that start in [begin, end). White space at their ends becomes one newline; empty ones
// are dropped, and so is a byte order mark.
void read_text(const Input& input, int64_t begin, int64_t end, DocumentSplit split, Documents& documents);

// Throws UserError when the first 64 KiB hold a NUL or more than 30 % of bytes that are control characters or
// not UTF-8.
void check_is_text(const Input& input);

std::unique_ptr<Source> text_source(const DataFilePtr& file, DocumentSplit split, int64_t unit_bytes);

}  // namespace moe
