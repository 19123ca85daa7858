// SPDX-License-Identifier: MIT
#include "text/gpt2_prefix.h"

#include <fmt/format.h>

#include <utility>

#include "base/error.h"
#include "text/byte_pair_tokenizer.h"
#include "text/gpt2_tokenizer.h"
#include "text/vocabulary.h"
#include "text/write_tokenizer_json.h"

namespace moe::text {
namespace {

BytePairModel first_of_gpt2(TokenId vocabulary) {
  const Vocabulary gpt2(gpt2_merges());
  BytePairModel model;
  for (size_t byte = 0; byte < 256; ++byte) model.of_byte[byte] = gpt2.of_byte()[byte];
  model.end_of_text = vocabulary - 1;
  model.end_of_text_name = Gpt2Tokenizer::kFacts.end_of_text_name;
  model.added = {{model.end_of_text, model.end_of_text_name, false}};
  for (TokenId id = 0; id < model.end_of_text; ++id) model.tokens.emplace_back(gpt2.bytes(id));
  model.tokens.emplace_back();
  const auto merges = gpt2.merges().first(static_cast<size_t>(vocabulary - kLeastGpt2Prefix));
  model.merges = PairTable(merges.size());
  TokenId made = 256;
  for (const Merge& merge : merges) CHECK(model.merges.add({merge.left, merge.right, made++}));
  return model;
}

}  // namespace

std::unique_ptr<const Tokenizer> gpt2_prefix(TokenId vocabulary) {
  CHECK(vocabulary >= kLeastGpt2Prefix && vocabulary <= Gpt2Tokenizer::kVocabulary);
  if (vocabulary == Gpt2Tokenizer::kVocabulary) return std::make_unique<const Gpt2Tokenizer>();
  BytePairModel model = first_of_gpt2(vocabulary);
  model.name = fmt::format("GPT-2's first {} ids", vocabulary);
  TokenizerOrigin origin{.files = {{"tokenizer.json", write_tokenizer_json(model)}}, .pattern = {}};
  return std::make_unique<const BytePairTokenizer>(std::move(model), std::move(origin));
}

}  // namespace moe::text
