// SPDX-License-Identifier: MIT
// Any bytes as a tokenizer.json: refused with a UserError, or a tokenizer under which a text comes back.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "text/normalizer.h"
#include "text/tokenizer_json.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  try {
    moe::text::read_tokenizer_config("fuzz", text);
  } catch (const moe::UserError&) {
    // what a bad file is for
  }
  try {
    moe::text::BytePairModel model = moe::text::read_tokenizer_json("fuzz", text, {"a", "b"});
    const auto normalizer = model.normalizer;
    const moe::text::BytePairTokenizer tokenizer(std::move(model));
    const std::string_view sample = "A  sample's text, 12345\n\n漢字e\u0301 <|endoftext|>\t\t  ";
    const std::vector<moe::text::TokenId> ids = tokenizer.encode(sample);
    if (normalizer) {
      moe::text::Normalizer::Pass normal(*normalizer);
      CHECK(tokenizer.decode(ids) == normal.apply(sample));
    } else {
      CHECK(tokenizer.decode(ids) == sample);
    }
    for (const moe::text::TokenId id : ids) CHECK(id != tokenizer.end_of_text());
  } catch (const moe::UserError&) {
    // what a bad file is for
  }
  return 0;
}
