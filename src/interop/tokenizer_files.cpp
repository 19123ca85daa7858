// SPDX-License-Identifier: MIT
#include "interop/tokenizer_files.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "base/lines.h"
#include "text/byte_alphabet.h"
#include "text/gpt2_tokenizer.h"
#include "text/load_tokenizer.h"
#include "text/open_tokenizer.h"
#include "text/vocabulary.h"

namespace moe::interop {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kEndOfText = text::Gpt2Tokenizer::kFacts.end_of_text_name;
constexpr const char* kOther = "another tokenizer needs its tokenizer.json: data.tokenizer=PATH names one";

std::vector<std::string> tokens(std::string_view merges) {
  std::vector<std::string> list;
  for (text::ByteCharacter& one : text::byte_characters()) list.push_back(std::move(one.character));
  take_line(merges);  // the version
  while (!merges.empty()) {
    std::string line(take_line(merges));
    if (line.empty()) continue;
    line.erase(line.find(' '), 1);  // what two tokens merge to is their characters, one after the other
    list.push_back(std::move(line));
  }
  list.emplace_back(kEndOfText);
  return list;
}

void compare(const std::string& where, const Json& vocabulary, std::string_view merges) {
  const auto expected = tokens(merges);
  if (!vocabulary.is_object() || vocabulary.size() + 1 < expected.size() ||
      vocabulary.size() > expected.size())
    throw UserError(where, fmt::format("the {} tokens of GPT-2", expected.size()),
                    fmt::format("{}", vocabulary.is_object() ? vocabulary.size() : 0), kOther);
  size_t id = 0;
  for (const std::string& token : expected) {
    const auto found = vocabulary.find(token);
    // tokenizer.json may keep the special token apart.
    const bool apart = found == vocabulary.end() && token == kEndOfText;
    if (!apart && (found == vocabulary.end() || *found != id))
      throw UserError(where, fmt::format("token {} to be {}", id, quote(Json(token))),
                      found == vocabulary.end() ? "no such token" : "number " + quote(*found), kOther);
    ++id;
  }
}

// A token beside the vocabulary: only <|endoftext|>, as the last one.
void compare_added(const std::string& where, const Json& content, const Json& id, size_t last) {
  if (content != kEndOfText || id != last)
    throw UserError(where, fmt::format("no added token but {} as number {}", kEndOfText, last),
                    fmt::format("{} as {}", quote(content), quote(id)), kOther);
}

}  // namespace

std::string vocabulary_json(std::string_view merges) {
  std::string text = "{";
  size_t id = 0;
  for (const std::string& token : tokens(merges))
    text += fmt::format("{}{}: {}", id == 0 ? "" : ", ", Json(token).dump(-1, ' ', true), id), ++id;
  return text + "}";
}

std::string gpt2_tokenizer_json(std::string_view merges) {
  const OrderedJson byte_level{
      {"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", true}, {"use_regex", true}};
  const auto id = tokens(merges).size() - 1;
  const OrderedJson end{{"id", id},        {"content", kEndOfText}, {"single_word", false}, {"lstrip", false},
                        {"rstrip", false}, {"normalized", false},   {"special", true}};
  const OrderedJson file{{"version", "1.0"},          {"truncation", nullptr},
                         {"padding", nullptr},        {"added_tokens", OrderedJson::array({end})},
                         {"normalizer", nullptr},     {"pre_tokenizer", byte_level},
                         {"post_processor", nullptr}, {"decoder", byte_level}};
  const OrderedJson bpe{{"type", "BPE"},
                        {"dropout", nullptr},
                        {"unk_token", nullptr},
                        {"continuing_subword_prefix", ""},
                        {"end_of_word_suffix", ""},
                        {"fuse_unk", false},
                        {"byte_fallback", false},
                        {"ignore_merges", false}};
  Json list = Json::array();
  std::string_view rest = merges;
  take_line(rest);  // the version
  while (!rest.empty())
    if (const auto line = take_line(rest); !line.empty()) list.push_back(line);
  std::string text = file.dump(), inner = bpe.dump();
  text.pop_back();  // the closing brace
  inner.pop_back();
  return text + ",\"model\":" + inner + ",\"vocab\":" + vocabulary_json(merges) +
         ",\"merges\":" + list.dump() + "}}\n";
}

std::string tokenizer_config_json(int64_t max_length) {
  const OrderedJson json{{"tokenizer_class", "GPT2Tokenizer"},
                         {"add_prefix_space", false},
                         {"add_bos_token", false},  // llama.cpp's converter asks for it
                         {"bos_token", kEndOfText},
                         {"eos_token", kEndOfText},
                         {"unk_token", kEndOfText},
                         {"pad_token", kEndOfText},
                         {"clean_up_tokenization_spaces", false},
                         {"model_max_length", max_length}};
  return json.dump(2) + "\n";
}

void check_vocab_json(const std::string& where, std::string_view text, std::string_view merges) {
  const Json json = parse_json(where, text);
  compare(where, JsonFields(where, json).value(), merges);
}

void check_tokenizer_json(const std::string& where, std::string_view text, std::string_view merges) {
  const Json json = parse_json(where, text);
  const JsonFields fields(where, json, kOther);
  compare(where + ": model.vocab", fields.inside("model").inside("vocab").value(), merges);
  if (!fields.has("added_tokens")) return;
  const size_t last = tokens(merges).size() - 1;
  for (const Json& token : fields.list("added_tokens")) {
    const JsonFields added(where + ": added_tokens", token, kOther);
    compare_added(added.where(), added.at("content"), added.at("id"), last);
  }
}

void check_added_tokens_json(const std::string& where, std::string_view text, std::string_view merges) {
  const Json added = parse_json(where, text);
  const size_t last = tokens(merges).size() - 1;
  for (const auto& [content, id] : JsonFields(where, added).value().items())
    compare_added(where, content, id, last);
}

std::string fast_tokenizer_config_json(const text::Tokenizer& tokenizer, int64_t max_length) {
  const text::TokenizerFacts& facts = tokenizer.facts();
  const std::string_view padding = facts.padding ? facts.padding_name : facts.end_of_text_name;
  const OrderedJson json{
      {"tokenizer_class", "PreTrainedTokenizerFast"}, {"bos_token", facts.end_of_text_name},
      {"eos_token", facts.end_of_text_name},          {"pad_token", padding},
      {"clean_up_tokenization_spaces", false},        {"model_max_length", max_length}};
  return json.dump(2) + "\n";
}

namespace {

// Whether there is anything to check.
bool check_gpt2(const fs::path& folder) {
  using Check = void (*)(const std::string&, std::string_view, std::string_view);
  bool any = false;
  for (const auto& [name, check] : {std::pair<const char*, Check>{"vocab.json", check_vocab_json},
                                    {"tokenizer.json", check_tokenizer_json},
                                    {"added_tokens.json", check_added_tokens_json}}) {
    const fs::path file = folder / name;
    if (!fs::exists(file)) continue;
    check(file.string(), read_file(file), text::gpt2_merges());
    any = true;
  }
  return any;
}

}  // namespace

std::vector<TokenizerFile> tokenizer_files(const text::Tokenizer& tokenizer, int64_t max_length) {
  const text::TokenizerOrigin& origin = tokenizer.origin();
  if (origin.files.empty())
    return {{"vocab.json", vocabulary_json(text::gpt2_merges())},
            {"merges.txt", std::string(text::gpt2_merges())},
            {"tokenizer.json", gpt2_tokenizer_json(text::gpt2_merges())},
            {"tokenizer_config.json", tokenizer_config_json(max_length)}};
  if (origin.files.front().name == text::kSentencePieceFile)
    return {{text::kSentencePieceFile, origin.files.front().bytes},
            {"tokenizer_config.json", fast_tokenizer_config_json(tokenizer, max_length)}};
  std::vector<TokenizerFile> files{
      {"tokenizer.json", text::tokenizer_as_json(tokenizer)},
      {"tokenizer_config.json", fast_tokenizer_config_json(tokenizer, max_length)}};
  if (origin.files.front().name == "tekken.json")
    files.push_back({"tekken.json", origin.files.front().bytes});
  return files;
}

void replace_files(std::vector<TokenizerFile>& files, const std::vector<TokenizerFile>& others) {
  for (const TokenizerFile& other : others) {
    const auto found = std::ranges::find(files, other.name, &TokenizerFile::name);
    if (found == files.end())
      files.push_back(other);
    else
      found->text = other.text;
  }
}

std::string tokenizer_in(const fs::path& folder) {
  const fs::path file = text::tokenizer_file(folder);
  const auto absolute = [&] { return fs::absolute(file).lexically_normal().string(); };
  try {
    if (check_gpt2(folder)) return text::kBuiltInTokenizer;
  } catch (const UserError&) {
    if (!fs::exists(file)) throw;
    return absolute();  // what is wrong with it, who reads it says
  }
  if (fs::exists(file)) return absolute();
  for (const auto& entry : fs::directory_iterator(folder)) {
    const fs::path& found = entry.path();
    if (found.extension() == ".model")
      throw UserError(found.string(), "tokenizer.json, tekken.json or tokenizer.model",
                      "a file of SentencePiece under another name",
                      "data.tokenizer=" + found.string() + " names it");
    if (found.extension() == ".tiktoken")
      throw UserError(
          found.string(), "tokenizer.json, tekken.json or tokenizer.model",
          "a file of ranks, without its pattern",
          "data.tokenizer=" + found.string() + "#PATTERN names it; docs/tokenizers.md has the patterns");
  }
  return "";
}

}  // namespace moe::interop
