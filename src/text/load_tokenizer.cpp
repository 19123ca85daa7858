// SPDX-License-Identifier: MIT
#include "text/load_tokenizer.h"

#include <algorithm>
#include <system_error>
#include <utility>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "text/byte_pair_tokenizer.h"
#include "text/gpt2_tokenizer.h"
#include "text/sentencepiece_file.h"
#include "text/sentencepiece_tokenizer.h"
#include "text/tekken_file.h"
#include "text/tiktoken_file.h"
#include "text/tokenizer_json.h"
#include "text/vocabulary.h"
#include "text/write_tokenizer_json.h"

namespace moe::text {
namespace fs = std::filesystem;

namespace {

bool is_gpt2(const BytePairModel& model) {
  if (std::ssize(model.tokens) != Gpt2Tokenizer::kVocabulary || model.padding || model.normalizer ||
      model.end_of_text != Gpt2Tokenizer::kEndOfText || model.pattern != SplitPattern::gpt2 || model.steps ||
      model.characters || model.added.size() != 1 ||
      model.end_of_text_name != Gpt2Tokenizer::kFacts.end_of_text_name) {
    return false;
  }
  const Vocabulary gpt2(gpt2_merges());
  for (TokenId id = 0; id < gpt2.size(); ++id) {
    if (model.tokens[static_cast<size_t>(id)] != gpt2.bytes(id)) return false;
  }
  const std::vector<PairMerge> merges = model.merges.merges();
  return std::equal(merges.begin(), merges.end(), gpt2.merges().begin(), gpt2.merges().end(),
                    [](const PairMerge& ours, const Merge& theirs) {
                      return ours.left == theirs.left && ours.right == theirs.right;
                    });
}

BytePairModel tiktoken_model(const std::string& where, std::string_view ranks, SplitPattern pattern,
                             TokenId end_of_text) {
  BytePairModel model = read_tiktoken(where, ranks);
  const auto free = static_cast<TokenId>(model.tokens.size());
  model.end_of_text = end_of_text < 0 ? free : end_of_text;
  if (model.end_of_text >= BytePairModel::kMostIds ||
      (model.end_of_text < free && !model.tokens[static_cast<size_t>(model.end_of_text)].empty())) {
    throw UserError(where, "an id for the end of a text that no token has",
                    std::to_string(model.end_of_text));
  }
  if (model.end_of_text >= free) model.tokens.resize(static_cast<size_t>(model.end_of_text) + 1);
  model.end_of_text_name = "<|endoftext|>";
  model.added = {{model.end_of_text, model.end_of_text_name, false}};
  model.pattern = pattern;
  return model;
}

constexpr const char* kTekkenFile = "tekken.json";

// Whether a JSON text has the field with this value; inside of a string the signs around it would be escaped.
bool has_field(std::string_view json, std::string_view name, std::string_view value) {
  for (size_t at = 0; (at = json.find(name, at)) != std::string_view::npos;) {
    at += name.size();
    const std::string_view rest = json.substr(std::min(json.find_first_not_of(" \t\r\n:", at), json.size()));
    if (rest.starts_with(value)) return true;
  }
  return false;
}

// Whether a tokenizer.json is what became of a file of SentencePiece.
bool is_conversion(std::string_view json) {
  return has_field(json, "\"byte_fallback\"", "true") || has_field(json, "\"type\"", "\"Unigram\"");
}

std::string name_for_people(const fs::path& file, std::string name) {
  return name.empty() ? fs::absolute(file).parent_path().filename().string() : std::move(name);
}

std::unique_ptr<const Tokenizer> load_tekken(const fs::path& file, TokenizerOrigin origin, std::string name) {
  origin.files.front().name = kTekkenFile;
  BytePairModel model = read_tekken(file.string(), origin.files.front().bytes);
  model.name = name_for_people(file, std::move(name));
  return std::make_unique<const BytePairTokenizer>(std::move(model), std::move(origin));
}

std::string without_added(const std::string& where, const std::string& bytes,
                          const std::vector<std::string>& contents) {
  Json json = parse_json(where, bytes);
  if (!json.is_object() || !json.contains("added_tokens") || !json.at("added_tokens").is_array())
    return bytes;  // reading says what is wrong
  Json& list = json.at("added_tokens");
  const auto leaves = [&](const Json& token) {
    return token.is_object() && token.contains("content") && token.at("content").is_string() &&
           std::ranges::find(contents, token.at("content").get<std::string>()) != contents.end();
  };
  list.erase(std::remove_if(list.begin(), list.end(), leaves), list.end());
  return json.dump();
}

}  // namespace

fs::path tokenizer_file(const fs::path& path) {
  std::error_code ignored;  // reading says what is wrong
  if (!fs::is_directory(path, ignored)) return path;
  fs::path usual = path / "tokenizer.json";
  const fs::path pieces = path / kSentencePieceFile;
  if (fs::exists(usual, ignored))
    return fs::exists(pieces, ignored) && is_conversion(read_file(usual)) ? pieces : usual;
  for (const char* other : {kTekkenFile, kSentencePieceFile}) {
    if (fs::exists(path / other, ignored)) return path / other;
  }
  return usual;
}

std::unique_ptr<const Tokenizer> load_tokenizer(const fs::path& path, std::string name,
                                                const std::vector<std::string>& without) {
  std::error_code ignored;
  const fs::path file = tokenizer_file(path);
  const fs::path config = folder_of(file) / "tokenizer_config.json";
  NamedTokens named;
  TokenizerOrigin origin;
  if (is_sentencepiece_name(file.filename().string())) {
    origin.files.push_back({kSentencePieceFile, read_file(file)});
    return SentencePieceTokenizer::read(file.string(), std::move(origin),
                                        name_for_people(file, std::move(name)));
  }
  origin.files.push_back({"tokenizer.json", read_file(file)});
  std::string& bytes = origin.files.front().bytes;
  if (!without.empty()) bytes = without_added(file.string(), bytes, without);
  if (is_tekken(bytes)) return load_tekken(file, std::move(origin), std::move(name));
  if (fs::exists(config, ignored)) {
    origin.files.push_back({"tokenizer_config.json", read_file(config)});
    named = read_tokenizer_config(config.string(), origin.files.back().bytes);
  }
  BytePairModel model = read_tokenizer_json(file.string(), origin.files.front().bytes, named);
  if (is_gpt2(model)) return std::make_unique<const Gpt2Tokenizer>();
  model.name = name_for_people(file, std::move(name));
  return std::make_unique<const BytePairTokenizer>(std::move(model), std::move(origin));
}

std::unique_ptr<const Tokenizer> load_tiktoken(const fs::path& path, SplitPattern pattern,
                                               TokenId end_of_text, std::string name) {
  TokenizerOrigin origin{.files = {{"ranks.tiktoken", read_file(path)}},
                         .pattern = std::string(name_of(pattern))};
  BytePairModel model = tiktoken_model(path.string(), origin.files.front().bytes, pattern, end_of_text);
  model.name = name.empty() ? path.filename().string() : std::move(name);
  return std::make_unique<const BytePairTokenizer>(std::move(model), std::move(origin));
}

std::string tokenizer_as_json(const Tokenizer& tokenizer) {
  const TokenizerOrigin& origin = tokenizer.origin();
  CHECK(!origin.files.empty(), "a tokenizer inside the program");
  CHECK(origin.files.front().name != kSentencePieceFile, "SentencePiece's is no tokenizer.json");
  const std::string& bytes = origin.files.front().bytes;
  const std::string name(tokenizer.facts().name);
  if (origin.files.front().name == kTekkenFile) return write_tokenizer_json(read_tekken(name, bytes));
  if (origin.pattern.empty()) return bytes;
  const auto pattern = value_named<SplitPattern>(origin.pattern);
  CHECK(pattern, "a tokenizer that is not tiktoken's");
  return write_tokenizer_json(tiktoken_model(name, bytes, *pattern, tokenizer.end_of_text()));
}

}  // namespace moe::text
