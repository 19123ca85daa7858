// SPDX-License-Identifier: MIT
// Any bytes encode without an error, and decode to what they are after repair; with a warm cache as with a
// cold.
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/utf8.h"
#include "text/gpt2_tokenizer.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const moe::text::Gpt2Tokenizer tokenizer;
  static const auto encoder = tokenizer.encoder();
  const std::string_view text(reinterpret_cast<const char*>(data), size);

  std::vector<moe::text::TokenId> ids, again;
  const uint64_t before = encoder->replaced();
  encoder->encode(text, ids);
  std::string repaired;
  CHECK(encoder->replaced() - before == moe::repair_utf8(text, repaired));
  CHECK(tokenizer.decode(ids) == repaired);
  encoder->encode(text, again);
  CHECK(again == ids);
  return 0;
}
