// SPDX-License-Identifier: MIT
// Token files as llm.c's dev/data scripts write them: 256 int32 (20240520, version 1, number of tokens), then
// the tokens as uint16, little-endian. A document is <|endoftext|> and the tokens after it; the tokens before
// a file's first <|endoftext|> (the end of a document cut between files) count as a document too.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>

#include "base/input.h"
#include "data/data_file.h"
#include "data/source.h"

namespace moe {

inline constexpr int64_t kTokenFileHeader = 1024;                  // bytes
inline constexpr int64_t kTokenFileMost = (int64_t{1} << 31) - 1;  // tokens in one file: the header's int32

// Throws UserError when the header is not one, or does not fit the size of the file.
void check_token_file(const Input& input);

// Adds the documents that start in bytes [begin, end) of the tokens (that is, after the header). Throws
// UserError for ids outside the vocabulary.
void read_tokens(const Input& input, int64_t begin, int64_t end, Documents& documents);

std::unique_ptr<Source> token_source(const DataFilePtr& file, int64_t unit_bytes);

// Appears under its name when complete.
void write_token_file(const std::filesystem::path& path, std::span<const uint16_t> ids);

}  // namespace moe
