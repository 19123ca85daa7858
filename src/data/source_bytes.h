// SPDX-License-Identifier: MIT
// Bits per byte count the bytes of the source, but a byte that is not UTF-8 is learnt as U+FFFD, which has
// three. So an id on its way from the tokenizer to the batch carries, above its own bits, how many bytes its
// token has more than the source has there, and whether it is to be learned. Batches (data/batch.h) hold
// plain ids.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "text/tokenizer.h"

namespace moe::data {

// 2^20 ids, four times the largest vocabularies in use. 11 bits are left, of which the highest is kGiven. A
// token of n bytes has an excess of at most 2 n / 3; what does not fit, of a token of more than 1,535 bytes,
// goes to the next.
inline constexpr int kIdBits = 20;
inline constexpr text::TokenId kGiven = 1 << 30;  // is no target: nobody learns to write it
inline constexpr int32_t kMostExcess = (kGiven >> kIdBits) - 1;

inline text::TokenId id_of(text::TokenId marked) {
  return marked & ((1 << kIdBits) - 1);
}
inline int32_t excess_of(text::TokenId marked) {
  return marked >> kIdBits & kMostExcess;
}
inline bool is_given(text::TokenId marked) {
  return (marked & kGiven) != 0;
}
// Documents of a text begin with the end of the one before, which is learned behind each; those of
// conversations begin and end with what their template writes. Their first token has this mark.
inline bool is_conversation(std::span<const text::TokenId> marked) {
  return !marked.empty() && is_given(marked.front());
}

// ids: what the tokenizer made of `text`, in which it replaced something.
void mark_excess(std::string_view text, std::span<text::TokenId> ids, const text::Tokenizer& tokenizer);

}  // namespace moe::data
