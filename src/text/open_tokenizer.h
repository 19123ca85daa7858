// SPDX-License-Identifier: MIT
// Which tokenizer a run uses: the setting data.tokenizer, and the one place that turns its value into one.
#pragma once

#include <memory>
#include <string>

#include "text/tokenizer.h"

namespace moe::text {

inline constexpr const char* kBuiltInTokenizer = "gpt2";

// name:
//   gpt2                  inside the program; takes some 20 ms
//   gpt2:N                so many ids of it, for small models (text/gpt2_prefix.h)
//   PATH                  a tokenizer.json, tekken.json or tokenizer.model, or a folder that has one
//   PATH#PATTERN[#ID]     a file of tiktoken's, how it cuts text (text/split_pattern.h), and the id of the
//                         end of a text; without it the first id above all of the file's
// Throws UserError that names the setting, for a name that is none of these and for what a file lacks.
std::shared_ptr<const Tokenizer> open_tokenizer(const std::string& name);

// The part of such a name that is a path; "" where it has none.
std::string tokenizer_path(const std::string& name);
std::string with_tokenizer_path(const std::string& name, const std::string& path);

// The setting, and what it opens: once, when it is first asked for. Copies share that, from any thread.
class TokenizerChoice {
 public:
  TokenizerChoice();

  std::string name = kBuiltInTokenizer;

  // Those of GPT-2 are known without. What they view lives as long as this object or a copy.
  TokenizerFacts facts() const;
  std::shared_ptr<const Tokenizer> open() const;
  // From here on `name` means this one.
  void use(std::shared_ptr<const Tokenizer> tokenizer);

 private:
  struct Opened;
  std::shared_ptr<Opened> opened_;
};

}  // namespace moe::text
