// SPDX-License-Identifier: MIT
// Token files as llm.c's dev/data scripts write them: a header of 256 int32, then the tokens, little-endian.
//
//   20240520, version 1, number of tokens   uint16: GPT-2, and vocabularies of up to 65,536 tokens
//   20240801, version 7, number of tokens   uint32: Llama 3, and larger vocabularies
//
// Of another tokenizer than GPT-2 the next two int32 are the low and the high half of its fingerprint. Those
// of llm.c's files are 0: ids of 2 bytes are GPT-2's then, ids of 4 bytes anyone's.
//
// A document is the end-of-text token and the tokens after it. The tokens before a file's first end of text
// (the end of a document cut between files) count as a document too.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>

#include "base/input.h"
#include "data/data_file.h"
#include "data/source.h"
#include "text/tokenizer.h"

namespace moe::data {

inline constexpr int64_t kTokenFileHeaderBytes = 1024;
inline constexpr int64_t kTokenFileMost = (int64_t{1} << 31) - 1;  // tokens in one file: the header's int32

// What the header says.
struct TokenFileHeader {
  int64_t width = 2;  // bytes of a token
  int64_t tokens = 0;
  uint64_t fingerprint = 0;  // of the tokenizer; 0: it says none
};
// Throws UserError when there is none, or it does not fit the size of the file.
TokenFileHeader read_token_file_header(const Input& input);

// Adds the documents that start in bytes [begin, end) of the tokens (that is, after the header). Throws
// UserError for ids outside the vocabulary.
void read_tokens(const Input& input, const TokenFileHeader& header, const text::TokenizerFacts& tokenizer,
                 int64_t begin, int64_t end, Documents& documents);

// Throws UserError for a file of another tokenizer.
std::unique_ptr<Source> token_source(const DataFilePtr& file, const text::TokenizerFacts& tokenizer,
                                     int64_t unit_bytes);

// Appears under its name when complete. The size of the vocabulary decides the width.
void write_token_file(const std::filesystem::path& path, std::span<const text::TokenId> ids,
                      const text::TokenizerFacts& tokenizer);

}  // namespace moe::data
