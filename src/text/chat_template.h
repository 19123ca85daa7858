// SPDX-License-Identifier: MIT
// Conversations to text: the Jinja template of a model's files, or one inside the program, rendered as
// transformers' apply_chat_template does it. Which ids the text has: text/chat.h.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"

namespace moe::jinja {
class Template;
}

namespace moe::text {

// What a template sees. Keys keep their order: it is that of the text.
struct Conversation {
  OrderedJson messages = OrderedJson::array();  // objects: role, content, tool_calls, reasoning_content, ...
  OrderedJson tools = nullptr;                  // a list of schemas, or null
  OrderedJson variables = OrderedJson::object();  // further names, such as enable_thinking
  int64_t time = -1;                              // for strftime_now, seconds since 1970; below 0: now

  void add(std::string_view role, std::string_view content);
};

struct ByteRange {
  size_t begin = 0, end = 0;
  bool operator==(const ByteRange&) const = default;
};

struct RenderedChat {
  std::string text;
  // Inside of {% generation %}, where the template has it. In order.
  std::vector<ByteRange> answers;
  // What came from the conversation and not from the template or its special tokens. In order.
  std::vector<ByteRange> typed;
};

class ChatTemplate {
 public:
  // Of the names that templates ask for: bos_token, eos_token, ... to their texts.
  using TokenNames = std::map<std::string, std::string>;

  // where: of the source, for messages. Throws UserError with the line for what is no template.
  ChatTemplate(std::string where, std::string source, TokenNames names = {});
  // One of built_in_templates(). Its source has {% generation %}.
  static ChatTemplate built_in(const std::string& name, TokenNames names = {});
  // The template of a model's folder: chat_template.jinja, else chat_template of tokenizer_config.json (a
  // text, or a list of which `variant` is taken: "default", "tool_use"), with the special tokens that
  // tokenizer_config.json names. A file of another name is a template itself. Throws UserError where there
  // is none.
  static ChatTemplate load(const std::filesystem::path& path, const std::string& variant = "default");
  // Whether load() finds one in this folder.
  static bool is_in(const std::filesystem::path& folder);

  // Throws UserError for what the template refuses (raise_exception) or cannot do with this conversation.
  RenderedChat render(const Conversation& conversation, bool add_generation_prompt) const;

  const std::string& where() const { return where_; }
  const std::string& source() const { return source_; }
  const TokenNames& names() const { return names_; }
  // Whether the source says itself which text is an answer's.
  bool marks_answers() const;

 private:
  std::string where_, source_;
  TokenNames names_;
  std::shared_ptr<const jinja::Template> compiled_;
};

// The special tokens that a tokenizer_config.json names.
ChatTemplate::TokenNames read_token_names(const std::string& where, std::string_view text);

// default, chatml, qwen3, llama3, tulu, mistral.
std::vector<std::string> built_in_templates();
struct BuiltInTemplate {
  std::string_view name, source;
  std::vector<std::string>
      markers;  // special tokens that it cannot do without, but for bos_token and eos_token
};
const BuiltInTemplate* find_built_in_template(std::string_view name);  // null: none

}  // namespace moe::text
