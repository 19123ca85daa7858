// SPDX-License-Identifier: MIT
// The number of a token, from the tokenizer to the device. 32 bits, because vocabularies have up to 262,144
// tokens. Signed, because the operations take ids as DType::i32, where -1 stands for no token.
#pragma once

#include <cstdint>

namespace moe::text {

using TokenId = int32_t;

}  // namespace moe::text
