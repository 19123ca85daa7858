// SPDX-License-Identifier: MIT
// Which template a run has, and its copy in the run's folder.
#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"
#include "base/file.h"
#include "text/chat.h"
#include "text/open_tokenizer.h"

namespace moe::text {
namespace {

namespace fs = std::filesystem;

constexpr const char* kTemplate = "chat_template.jinja";
constexpr const char* kHint = "copy the run's folder chat/ again from where it is whole";

// Where the tokenizer's files lie; empty where it has none.
fs::path folder_of_tokenizer(const std::string& name) {
  const fs::path path = tokenizer_path(name);
  std::error_code ignored;
  return path.empty() || fs::is_directory(path, ignored) ? path : folder_of(path);
}

ChatTemplate::TokenNames token_names(const fs::path& folder, const Tokenizer& tokenizer) {
  ChatTemplate::TokenNames names;
  const fs::path config = folder / "tokenizer_config.json";
  std::error_code ignored;
  if (!folder.empty() && fs::exists(config, ignored))
    names = read_token_names(config.string(), read_file(config));
  const std::string end(tokenizer.facts().end_of_text_name);
  names.try_emplace("eos_token", end);
  // Not all vocabularies have a token for the beginning: then a text begins behind the end of another.
  if (folder.empty() || !fs::exists(config, ignored)) {
    const SpecialTokens special(tokenizer, {});
    const char* const known[] = {"<s>", "<|begin_of_text|>", "<|startoftext|>"};
    const auto begin = std::find_if(std::begin(known), std::end(known),
                                    [&](const char* one) { return special.named(one) != nullptr; });
    names.try_emplace("bos_token", begin == std::end(known) ? end : *begin);
  }
  return names;
}

std::shared_ptr<const Chat> built_in_chat(const std::string& name, const fs::path& folder,
                                          std::shared_ptr<const Tokenizer> tokenizer) {
  const BuiltInTemplate* found = find_built_in_template(name);
  ChatTemplate::TokenNames names = token_names(folder, *tokenizer);
  names.try_emplace("bos_token", tokenizer->facts().end_of_text_name);
  return std::make_shared<const Chat>(std::move(tokenizer), ChatTemplate::built_in(name, std::move(names)),
                                      found->markers);
}

std::vector<std::string> read_added(const JsonFields& note) {
  std::vector<std::string> added;
  for (const Json& one : note.list("added")) {
    if (!one.is_string() || one.get<std::string>().empty()) note.refuse("added", "texts", quote(one));
    added.push_back(one.get<std::string>());
  }
  return added;
}

}  // namespace

std::shared_ptr<const Chat> open_chat(const std::string& name, const std::string& tokenizer_name,
                                      std::shared_ptr<const Tokenizer> tokenizer) {
  const fs::path folder = folder_of_tokenizer(tokenizer_name);
  if (find_built_in_template(name) != nullptr) return built_in_chat(name, folder, std::move(tokenizer));
  const bool automatic = name == kAutomaticTemplate;
  if (automatic && (folder.empty() || !ChatTemplate::is_in(folder)))
    return built_in_chat("default", folder, std::move(tokenizer));
  const ChatTemplate found = ChatTemplate::load(automatic ? folder : fs::path(name));
  ChatTemplate::TokenNames names = token_names(folder, *tokenizer);
  for (const auto& [key, text] : found.names()) names[key] = text;
  return std::make_shared<const Chat>(std::move(tokenizer),
                                      ChatTemplate(found.where(), found.source(), std::move(names)));
}

void keep_chat(const fs::path& folder, const Chat& chat) {
  make_folders(folder);
  OrderedJson names = OrderedJson::object();
  for (const auto& [name, text] : chat.chat_template().names()) names[name] = text;
  const OrderedJson note{{"special_tokens", names},
                         {"added", chat.added()},
                         {"fingerprint", fingerprint_text(chat.fingerprint())}};
  write_file_atomically(folder / kTemplate, chat.chat_template().source());
  write_file_atomically(folder / kChatNote, note.dump(1, ' ', false, Json::error_handler_t::replace) + "\n");
}

bool has_kept_chat(const fs::path& folder) {
  std::error_code ignored;
  return fs::exists(folder / kChatNote, ignored);
}

std::vector<std::string> kept_chat_tokens(const fs::path& folder) {
  const std::string where = (folder / kChatNote).string();
  const Json json = parse_json(where, read_file(folder / kChatNote), kHint);
  return read_added(JsonFields(where, json, kHint));
}

std::shared_ptr<const Chat> open_kept_chat(const fs::path& folder,
                                           std::shared_ptr<const Tokenizer> tokenizer) {
  const std::string where = (folder / kChatNote).string();
  const Json json = parse_json(where, read_file(folder / kChatNote), kHint);
  const JsonFields note(where, json, kHint);
  ChatTemplate::TokenNames names;
  const JsonFields special = note.inside("special_tokens");
  for (const auto& [name, text] : special.value().items()) names[name] = special.text(name.c_str());
  const std::vector<std::string> added = read_added(note);
  const fs::path file = folder / kTemplate;
  auto chat = std::make_shared<const Chat>(
      std::move(tokenizer), ChatTemplate(file.string(), read_file(file), std::move(names)), added);
  const std::string fingerprint = note.text("fingerprint");
  if (const std::string found = fingerprint_text(chat->fingerprint()); found != fingerprint)
    throw UserError(folder.string(), fmt::format("the template of the run, fingerprint {}", fingerprint),
                    "another, " + found, kHint);
  return chat;
}

}  // namespace moe::text
