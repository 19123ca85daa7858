// SPDX-License-Identifier: MIT
#include "interop/chat_files.h"

#include <algorithm>
#include <cstdint>
#include <utility>

#include "base/error.h"
#include "base/json.h"
#include "interop/generation_settings.h"

namespace moe::interop {
namespace {

constexpr const char* kTemplate = "chat_template.jinja";
constexpr const char* kTemplateKey = "chat_template";
constexpr const char* kConfig = "tokenizer_config.json";
constexpr const char* kGeneration = "generation_config.json";
constexpr const char* kTokenizer = "tokenizer.json";

TokenizerFile* find(std::vector<TokenizerFile>& files, std::string_view name) {
  const auto found = std::ranges::find(files, name, &TokenizerFile::name);
  return found == files.end() ? nullptr : &*found;
}

OrderedJson added_token(const std::string& content) {
  return {{"content", content}, {"single_word", false}, {"lstrip", false},
          {"rstrip", false},    {"normalized", false},  {"special", true}};
}

// Behind the white space at `at`.
size_t behind_space(std::string_view json, size_t at) {
  return std::min(json.find_first_not_of(" \t\r\n", at), json.size());
}

// Behind the bracket that opens the list of added tokens. No token and no key beside it can read so: inside
// of a string its quotes would be escaped, and a token's value is a number.
size_t list_of_added(const std::string& where, std::string_view json) {
  constexpr std::string_view kKey = "\"added_tokens\"";
  for (size_t at = 0; (at = json.find(kKey, at)) != std::string_view::npos;) {
    at = behind_space(json, at + kKey.size());
    if (at >= json.size() || json[at] != ':') continue;
    at = behind_space(json, at + 1);
    if (at < json.size() && json[at] == '[') return at + 1;
  }
  throw UserError(where, "a list of added_tokens", "none");
}

// The bracket that closes what was open at `at`.
size_t closing(const std::string& where, std::string_view json, size_t at) {
  bool text = false;
  int depth = 1;
  for (; at < json.size(); ++at) {
    const char c = json[at];
    if (text) {
      if (c == '\\') ++at;
      if (c == '"') text = false;
    } else if (c == '"') {
      text = true;
    } else if (c == '[' || c == '{') {
      ++depth;
    } else if ((c == ']' || c == '}') && --depth == 0) {
      return at;
    }
  }
  throw UserError(where, "an end of the list of added_tokens", "none");
}

// Whether a chat_template says `source`: a text, or a list of which one does.
bool says(const OrderedJson& value, const std::string& source) {
  if (value.is_string()) return value == source;
  return value.is_array() && std::ranges::any_of(value, [&](const OrderedJson& one) {
           return one.is_object() && one.contains("template") && one.at("template") == source;
         });
}

// Returns whether it has the template.
bool add_to_config(TokenizerFile& file, const text::Chat& chat) {
  OrderedJson json = parse_ordered_json(file.name, file.text);
  const OrderedJson before = json;
  for (const auto& [name, content] : chat.chat_template().names())
    if (!json.contains(name) || json.at(name).is_null()) json[name] = content;
  text::TokenId id = chat.tokenizer().vocabulary();
  for (const std::string& content : chat.added())
    json["added_tokens_decoder"][std::to_string(id++)] = added_token(content);
  const bool there =
      json.contains(kTemplateKey) && says(json.at(kTemplateKey), chat.chat_template().source());
  if (!there) json.erase(kTemplateKey);  // some programs read it first
  if (json != before) file.text = json.dump(2) + "\n";
  return there;
}

}  // namespace

std::string with_added_tokens(const std::string& where, std::string_view tokenizer_json, text::TokenId first,
                              const std::vector<std::string>& added) {
  const size_t begin = list_of_added(where, tokenizer_json), end = closing(where, tokenizer_json, begin);
  const Json there = parse_json(where, tokenizer_json.substr(begin - 1, end + 2 - begin));
  const auto has = [&](const std::string& content) {
    return std::ranges::any_of(there, [&](const Json& token) {
      return token.is_object() && token.contains("content") && token.at("content") == content;
    });
  };
  std::string text;
  for (const std::string& content : added) {
    OrderedJson token{{"id", first++}};
    token.update(added_token(content));
    if (!has(content)) text += (text.empty() && there.empty() ? "" : ",") + token.dump();
  }
  const size_t last = tokenizer_json.find_last_not_of(" \t\r\n", end - 1);
  return std::string(tokenizer_json.substr(0, last + 1)) + text +
         std::string(tokenizer_json.substr(last + 1));
}

bool add_chat(std::vector<TokenizerFile>& files, const text::Chat& chat) {
  const std::vector<TokenizerFile> before = files;
  TokenizerFile* const file = find(files, kTemplate);
  // Then the files are those that the chat was read from.
  const bool said = file != nullptr && file->text == chat.chat_template().source() && chat.added().empty();
  TokenizerFile* const config = find(files, kConfig);
  const bool in_config = !said && config != nullptr && add_to_config(*config, chat);
  if (TokenizerFile* const json = find(files, kTokenizer); json != nullptr && !chat.added().empty())
    json->text = with_added_tokens(json->name, json->text, chat.tokenizer().vocabulary(), chat.added());
  if (TokenizerFile* const generation = find(files, kGeneration); generation != nullptr)
    generation->text =
        with_ends(generation->name, generation->text, {chat.stops().begin(), chat.stops().end()});
  if (file != nullptr)
    file->text = chat.chat_template().source();
  else if (!in_config)
    files.push_back({kTemplate, chat.chat_template().source()});
  return files != before;
}

}  // namespace moe::interop
