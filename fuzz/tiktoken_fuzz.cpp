// SPDX-License-Identifier: MIT
// Any bytes as a file of tiktoken's: refused with a UserError, or a tokenizer that merges each token to
// itself and under which the file's own bytes come back, whatever the pattern.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/utf8.h"
#include "text/tiktoken_file.h"

namespace {

// A token for each byte goes first, since no mutation would find all of them.
std::string with_bytes(std::string_view text) {
  constexpr std::string_view kDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string file;
  for (size_t byte = 0; byte < 256; ++byte) {
    file += {kDigits[byte >> 2], kDigits[(byte & 3) << 4], '=', '=', ' '};
    file += std::to_string(byte) + '\n';
  }
  return file.append(text);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  try {
    moe::text::BytePairModel model = moe::text::read_tiktoken("fuzz", with_bytes(text));
    const moe::text::BytePairEncoder<moe::text::PairTable> pairs(model.of_byte, model.merges);
    moe::text::BytePairScratch scratch;
    for (size_t id = 0; id < model.tokens.size(); ++id) {
      if (model.tokens[id].empty()) continue;
      std::vector<moe::text::TokenId> ids;
      pairs.encode(model.tokens[id], ids, scratch);
      CHECK(ids == std::vector{static_cast<moe::text::TokenId>(id)});
    }
    model.end_of_text = static_cast<moe::text::TokenId>(model.tokens.size());
    model.tokens.emplace_back();
    if (model.tokens.size() > static_cast<size_t>(moe::text::BytePairModel::kMostIds)) return 0;
    std::string repaired;
    moe::repair_utf8(text, repaired);
    constexpr auto kPatterns = moe::text::choices_of(moe::text::SplitPattern());
    model.pattern = kPatterns[size % kPatterns.size()].value;
    const moe::text::BytePairTokenizer tokenizer(std::move(model));
    CHECK(tokenizer.decode(tokenizer.encode(text)) == repaired);
  } catch (const moe::UserError&) {
    // what a bad file is for
  }
  return 0;
}
