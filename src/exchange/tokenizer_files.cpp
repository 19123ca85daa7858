// SPDX-License-Identifier: MIT
#include "exchange/tokenizer_files.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/file.h"
#include "base/lines.h"
#include "base/utf8.h"

namespace moe {
namespace {

using Json = nlohmann::json;
namespace fs = std::filesystem;

constexpr const char* kEndOfText = "<|endoftext|>";
constexpr const char* kOther = "moe knows GPT-2's vocabulary only: the model cannot be used with it";

// GPT-2's printable alphabet: a byte that is a printable character of Latin-1 stands for itself, the others for
// U+0100 and up; in this order, that of the ids.
std::vector<std::string> alphabet() {
  std::vector<std::string> characters;
  const auto range = [&](char32_t first, char32_t last) {
    for (char32_t code = first; code <= last; ++code) append_utf8(characters.emplace_back(), code);
  };
  range('!', '~');
  range(0xA1, 0xAC);
  range(0xAE, 0xFF);
  range(0x100, 0x143);  // the 68 bytes that are left
  return characters;
}

std::vector<std::string> tokens(std::string_view merges) {
  std::vector<std::string> list = alphabet();
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

Json parse(const std::string& where, std::string_view text) {
  try {
    Json json = Json::parse(text);
    if (json.is_object()) return json;
    throw UserError(where, "a JSON object", json.type_name());
  } catch (const Json::exception& error) {
    throw UserError(where, "a JSON file", error.what());
  }
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
      throw UserError(where, fmt::format("token {} to be {}", id, Json(token).dump()),
                      found == vocabulary.end() ? "no such token" : "number " + found->dump(), kOther);
    ++id;
  }
}

// A token beside the vocabulary: only <|endoftext|>, as the last one.
void compare_added(const std::string& where, const Json& content, const Json& id, size_t last) {
  if (content != kEndOfText || id != last)
    throw UserError(where, fmt::format("no added token but {} as number {}", kEndOfText, last),
                    fmt::format("{} as {}", content.dump(), id.dump()), kOther);
}

}  // namespace

std::string vocabulary_json(std::string_view merges) {
  std::string text = "{";
  size_t id = 0;
  for (const std::string& token : tokens(merges))
    text += fmt::format("{}{}: {}", id == 0 ? "" : ", ", Json(token).dump(-1, ' ', true), id), ++id;
  return text + "}";
}

std::string tokenizer_config_json(int64_t max_length) {
  const nlohmann::ordered_json json{{"tokenizer_class", "GPT2Tokenizer"},
                                    {"add_prefix_space", false},
                                    {"bos_token", kEndOfText},
                                    {"eos_token", kEndOfText},
                                    {"unk_token", kEndOfText},
                                    {"pad_token", kEndOfText},
                                    {"clean_up_tokenization_spaces", false},
                                    {"model_max_length", max_length}};
  return json.dump(2) + "\n";
}

void check_vocab_json(const std::string& where, std::string_view text, std::string_view merges) {
  compare(where, parse(where, text), merges);
}

void check_tokenizer_json(const std::string& where, std::string_view text, std::string_view merges) {
  const Json json = parse(where, text);
  const bool has_vocabulary =
      json.contains("model") && json["model"].is_object() && json["model"].contains("vocab");
  if (!has_vocabulary) throw UserError(where, "a model with a vocab", "none", kOther);
  compare(where + ": model.vocab", json["model"]["vocab"], merges);
  if (!json.contains("added_tokens")) return;
  const size_t last = tokens(merges).size() - 1;
  for (const Json& token : json["added_tokens"])
    compare_added(where + ": added_tokens", token.is_object() ? token.value("content", Json()) : Json(),
                  token.is_object() ? token.value("id", Json()) : Json(), last);
}

void check_added_tokens_json(const std::string& where, std::string_view text, std::string_view merges) {
  const Json added = parse(where, text);
  const size_t last = tokens(merges).size() - 1;
  for (const auto& [content, id] : added.items()) compare_added(where, content, id, last);
}

void check_vocabulary(const fs::path& folder, std::string_view merges) {
  using Check = void (*)(const std::string&, std::string_view, std::string_view);
  for (const auto& [name, check] : {std::pair<const char*, Check>{"vocab.json", check_vocab_json},
                                    {"tokenizer.json", check_tokenizer_json},
                                    {"added_tokens.json", check_added_tokens_json}})
    if (const fs::path file = folder / name; fs::exists(file)) check(file.string(), read_file(file), merges);
}

}  // namespace moe
