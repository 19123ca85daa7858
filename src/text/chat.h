// SPDX-License-Identifier: MIT
// Conversations to ids, and which of them are an assistant's: a template, a tokenizer and its special tokens.
// What training, `moe chat`, `moe generate --messages` and an export share.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/choices.h"
#include "text/chat_template.h"
#include "text/special_tokens.h"
#include "text/tokenizer.h"

namespace moe::text {

// Where the name of a special token becomes that token.
enum class SpecialText : uint8_t {
  anywhere,    // as in transformers: also where a user has typed it
  of_template  // in the template's own text only
};
constexpr auto choices_of(SpecialText) {
  return choices<SpecialText>({{SpecialText::anywhere, "anywhere"}, {SpecialText::of_template, "template"}});
}

struct ChatTokens {
  std::vector<TokenId> ids;
  std::vector<uint8_t> answer;  // 1: of a text that an assistant has written
  // Answers that are none here: the template has no {% generation %} and writes them otherwise once the
  // conversation goes on.
  int64_t unmarked = 0;
};

// Immutable, for any number of threads, each with an Encoder of the tokenizer.
class Chat {
 public:
  // added: special tokens with ids from tokenizer->vocabulary() on, in this order; those that the tokenizer
  // has are left out.
  Chat(std::shared_ptr<const Tokenizer> tokenizer, ChatTemplate chat_template,
       const std::vector<std::string>& added = {});

  // add_generation_prompt: ends with the beginning of an answer. Nothing is put in front: templates write
  // their own beginning of text. Ids and answers are those of transformers (`anywhere`). A template without
  // {% generation %}: an answer is what the text has more than the text up to it with a generation prompt.
  ChatTokens encode(const Conversation& conversation, bool add_generation_prompt, Tokenizer::Encoder& encoder,
                    SpecialText special = SpecialText::anywhere) const;
  // Text with special tokens in it.
  std::vector<TokenId> encode_text(std::string_view text, Tokenizer::Encoder& encoder) const;
  // special: their names too; else they are left out, as skip_special_tokens does.
  std::string decode(std::span<const TokenId> ids, bool special = false) const;

  // Ids are below: the tokenizer's vocabulary and what was added to it. A model needs so many rows, and
  // sampling may choose among these.
  TokenId vocabulary() const { return special_.vocabulary(); }
  // An answer ends at any of these: what the template writes behind an answer, its eos_token, the end of a
  // text.
  const std::vector<TokenId>& stops() const { return stops_; }
  const ChatTemplate& chat_template() const { return template_; }
  const SpecialTokens& special() const { return special_; }
  // With ids from the tokenizer's vocabulary on: for export.
  const std::vector<std::string>& added() const { return added_; }
  const Tokenizer& tokenizer() const { return *tokenizer_; }
  // Of all that decides ids and answers.
  uint64_t fingerprint() const;

 private:
  // Spans of a text to tokens, with the bytes of the text that each stands for.
  struct Placed {
    TokenId id;
    size_t begin, end;
  };
  std::vector<Placed> placed(const RenderedChat& chat, Tokenizer::Encoder& encoder,
                             SpecialText special) const;
  void place_stretch(std::string_view text, size_t at, std::span<const size_t> places,
                     Tokenizer::Encoder& encoder, std::vector<Placed>& tokens) const;
  std::vector<ByteRange> answers_of(const Conversation& conversation, const RenderedChat& whole,
                                    int64_t& unmarked) const;
  void trim_ends(std::vector<Placed>& tokens) const;
  void find_stops();

  std::shared_ptr<const Tokenizer> tokenizer_;
  ChatTemplate template_;
  std::vector<std::string> added_;
  SpecialTokens special_;
  std::vector<TokenId> stops_;
};

inline constexpr const char* kAutomaticTemplate = "auto";
inline constexpr const char* kChatNote = "moe_chat.json";  // in the folder of a kept chat

// name: the setting data.chat_template.
//   auto     the template beside the tokenizer's files, else default
//   default, chatml, qwen3, llama3, tulu, mistral    inside the program
//   PATH     a template, or a folder that has one (ChatTemplate::load)
// tokenizer_name: data.tokenizer. What bos_token and eos_token are, the tokenizer_config.json beside template
// or tokenizer says; without one they are the tokenizer's end of a text.
std::shared_ptr<const Chat> open_chat(const std::string& name, const std::string& tokenizer_name,
                                      std::shared_ptr<const Tokenizer> tokenizer);

// In a folder of a run: chat_template.jinja, and moe_chat.json with the names of special tokens and what was
// added. The folder is made.
void keep_chat(const std::filesystem::path& folder, const Chat& chat);
bool has_kept_chat(const std::filesystem::path& folder);
// What was added, without the tokenizer.
std::vector<std::string> kept_chat_tokens(const std::filesystem::path& folder);
std::shared_ptr<const Chat> open_kept_chat(const std::filesystem::path& folder,
                                           std::shared_ptr<const Tokenizer> tokenizer);

}  // namespace moe::text
