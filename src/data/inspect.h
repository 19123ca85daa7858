// SPDX-License-Identifier: MIT
// The work of `moe data inspect`: what a source holds, from the metadata of its files and a small sample of
// its units, so that a remote source is not read as a whole.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "base/terminal.h"
#include "data/config.h"
#include "text/token_id.h"

namespace moe::text {
class Tokenizer;
}

namespace moe::data {

inline constexpr std::array<int, 7> kPercentiles{0, 10, 25, 50, 75, 90, 100};

struct Inspection {
  struct File {
    std::string name;
    int64_t bytes = 0;  // as it lies there
    std::string format;
  };
  std::vector<File> files;
  int64_t file_bytes = 0;
  int64_t units = 0;
  int64_t text_bytes = 0;            // of all units, before filters; of Parquet as the footers say
  int64_t rows = 0;                  // of the Parquet files; 0: not known
  std::vector<std::string> columns;  // "name type", of the first Parquet file

  int64_t sample_units = 0, sample_unit_bytes = 0;
  int64_t sample_documents = 0, sample_bytes = 0, sample_tokens = 0;  // end of text included in the tokens
  std::array<int64_t, kPercentiles.size()> tokens_per_document{};
  int64_t replaced = 0;        // invalid UTF-8 sequences in the sample, which become U+FFFD
  std::string first_document;  // its beginning
  std::vector<text::TokenId> first_conversation;  // in place of that: marked as in data/source_bytes.h
  int64_t learned_tokens = 0;                     // of conversations, in the sample

  double bytes_per_token() const;
  // Of one pass over all units, held-out ones included: the sample's, times all bytes over the sample's.
  int64_t epoch_documents() const;
  int64_t epoch_tokens() const;
};

// Reads units from all over, in an order that is the same each time, until they hold `sample_bytes` of text.
Inspection inspect(const std::vector<std::string>& places, const DataConfig& config,
                   const text::Tokenizer& tokenizer, int64_t sample_bytes, Terminal& terminal);

}  // namespace moe::data
