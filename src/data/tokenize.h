// SPDX-License-Identifier: MIT
// The work of `moe tokenize`: a source becomes token files (data/token_file.h), so that later runs skip
// tokenising. Shard 0 is the held-out text, as in llm.c; the others hold the rest in natural order.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>

#include "data/source.h"

namespace moe::text {
class Tokenizer;
}

namespace moe::data {

struct TokenizeOptions {
  std::filesystem::path folder;        // made when missing
  std::string prefix = "tokens";       // <prefix>_val_000000.bin, <prefix>_train_000001.bin, ...
  int64_t shard_tokens = 100'000'000;  // of each training shard but the last
  int64_t threads = 0;                 // 0: all cores
};

struct TokenizeCounts {
  int64_t documents = 0;  // begun
  int64_t tokens = 0;     // end of text included
  int64_t bytes = 0;      // of text
  int64_t shards = 0;     // files, those of an earlier, interrupted call included
  int64_t replaced = 0;   // invalid UTF-8 sequences that became U+FFFD, in this call
};

// Interrupted, it goes on where the last finished shard ended (<prefix>_state.json beside the shards) when
// called again with the same arguments; other arguments are a UserError. Every file is complete or absent. A
// finished shard that has gone or been cut since is made again, and with it those after it.
TokenizeCounts tokenize(const std::shared_ptr<const Source>& source, const text::Tokenizer& tokenizer,
                        const DataConfig& config, const TokenizeOptions& options, Terminal& terminal);

}  // namespace moe::data
