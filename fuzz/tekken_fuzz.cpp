// SPDX-License-Identifier: MIT
// Any bytes as a tekken.json: refused with a UserError, or a tokenizer under which a text comes back, without
// a special token, and which is the same once it is written as a tokenizer.json.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "text/tekken_file.h"
#include "text/tokenizer_json.h"
#include "text/write_tokenizer_json.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  try {
    moe::text::BytePairModel model = moe::text::read_tekken("fuzz", text);
    const std::string json = moe::text::write_tokenizer_json(model);
    const moe::text::BytePairTokenizer tokenizer(std::move(model));
    const std::string_view sample = "A  sample's text, 12345\n\n漢字e\u0301 </s> [INST]\t\t  ";
    const std::vector<moe::text::TokenId> ids = tokenizer.encode(sample);
    CHECK(tokenizer.decode(ids) == sample);
    for (const moe::text::TokenId id : ids) CHECK(id != tokenizer.end_of_text());
    try {
      const moe::text::BytePairTokenizer again(moe::text::read_tokenizer_json("fuzz", json, {}));
      CHECK(again.encode(sample) == ids);
    } catch (const moe::UserError&) {
      // a special token that is called as a token is spelt: tokenizer.json has one name for both
    }
  } catch (const moe::UserError&) {
    // what a bad file is for
  }
  return 0;
}
