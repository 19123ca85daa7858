// SPDX-License-Identifier: MIT
// A tokenizer's own files in a folder of a run, byte for byte, with a note of which tokenizer they make: the
// run goes on when the files that it was started with are gone or changed.
#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include "text/tokenizer.h"

namespace moe::text {

struct KeptTokenizer {
  std::string setting;  // the name by which it was opened (text/open_tokenizer.h)
  std::shared_ptr<const Tokenizer> tokenizer;
};

// Nothing for one inside the program. The folder appears whole, in place of one that is there.
void keep_tokenizer(const std::filesystem::path& folder, const std::string& setting,
                    const Tokenizer& tokenizer);

bool has_kept_tokenizer(const std::filesystem::path& folder);
// Throws UserError where the files do not make the tokenizer that the note says.
KeptTokenizer open_kept_tokenizer(const std::filesystem::path& folder);

}  // namespace moe::text
