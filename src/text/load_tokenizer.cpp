// SPDX-License-Identifier: MIT
#include "text/load_tokenizer.h"

#include <system_error>

#include "base/error.h"
#include "base/file.h"
#include "text/byte_pair_tokenizer.h"
#include "text/tiktoken_file.h"
#include "text/tokenizer_json.h"

namespace moe::text {
namespace fs = std::filesystem;

std::unique_ptr<const Tokenizer> load_tokenizer(const fs::path& path) {
  std::error_code ignored;  // reading says what is wrong
  const fs::path file = fs::is_directory(path, ignored) ? path / "tokenizer.json" : path;
  const fs::path config = folder_of(file) / "tokenizer_config.json";
  NamedTokens named;
  if (fs::exists(config, ignored)) named = read_tokenizer_config(config.string(), read_file(config));
  BytePairModel model = read_tokenizer_json(file.string(), read_file(file), named);
  model.name = fs::absolute(file).parent_path().filename().string();
  return std::make_unique<const BytePairTokenizer>(std::move(model));
}

std::unique_ptr<const Tokenizer> load_tiktoken(const fs::path& path, SplitPattern pattern,
                                               TokenId end_of_text) {
  BytePairModel model = read_tiktoken(path.string(), read_file(path));
  const auto free = static_cast<TokenId>(model.tokens.size());
  model.end_of_text = end_of_text < 0 ? free : end_of_text;
  if (model.end_of_text >= BytePairModel::kMostIds ||
      (model.end_of_text < free && !model.tokens[static_cast<size_t>(model.end_of_text)].empty())) {
    throw UserError(path.string(), "an id for the end of a text that no token has",
                    std::to_string(model.end_of_text));
  }
  if (model.end_of_text >= free) model.tokens.resize(static_cast<size_t>(model.end_of_text) + 1);
  model.end_of_text_name = "<|endoftext|>";
  model.name = path.filename().string();
  model.pattern = pattern;
  return std::make_unique<const BytePairTokenizer>(std::move(model));
}

}  // namespace moe::text
