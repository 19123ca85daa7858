// SPDX-License-Identifier: MIT
// Any bytes as a model of SentencePiece: refused with a UserError, or a tokenizer that encodes and decodes
// whatever text it is given, without a special token, and the same text the same way.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "text/sentencepiece_tokenizer.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string file(reinterpret_cast<const char*>(data), size);
  try {
    const auto tokenizer = moe::text::SentencePieceTokenizer::read(
        "fuzz", {.files = {{"tokenizer.model", file}}, .pattern = {}}, "fuzz");
    const auto encoder = tokenizer->encoder();
    const std::string samples[] = {"A  sample's text, 12345\n\n漢字e\u0301 ﬁ -> </s> <s><sep>\t\t ▁ ▁a  ",
                                   " ", "the the tokenizer the", std::string("\0\x7f\xff", 3),
                                   file.substr(0, 1000)};
    for (const std::string& sample : samples) {
      std::vector<moe::text::TokenId> ids, again;
      encoder->encode(sample, ids);
      encoder->encode(sample, again);
      CHECK(ids == again);
      for (const moe::text::TokenId id : ids) {
        CHECK(id >= 0 && id < tokenizer->vocabulary() && id != tokenizer->end_of_text());
      }
      tokenizer->decode(ids);
    }
  } catch (const moe::UserError&) {
    // what a bad file is for
  }
  return 0;
}
