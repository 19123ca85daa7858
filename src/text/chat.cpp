// SPDX-License-Identifier: MIT
#include "text/chat.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "base/random.h"
#include "base/utf8.h"

namespace moe::text {
namespace {

std::vector<std::string> lacking(const Tokenizer& tokenizer, const std::vector<std::string>& added) {
  const SpecialTokens has(tokenizer, {});
  std::vector<std::string> result;
  for (const std::string& content : added)
    if (has.named(content) == nullptr && std::find(result.begin(), result.end(), content) == result.end())
      result.push_back(content);
  return result;
}

std::string role_of(const OrderedJson& message) {
  const auto role = message.find("role");
  return role != message.end() && role->is_string() ? role->get<std::string>() : "";
}

// Whether typed text has a part in [begin, end).
bool is_typed(const std::vector<ByteRange>& typed, size_t begin, size_t end) {
  const auto found = std::upper_bound(typed.begin(), typed.end(), begin,
                                      [](size_t at, const ByteRange& range) { return at < range.end; });
  return found != typed.end() && found->begin < end;
}

}  // namespace

Chat::Chat(std::shared_ptr<const Tokenizer> tokenizer, ChatTemplate chat_template,
           const std::vector<std::string>& added)
    : tokenizer_(std::move(tokenizer)),
      template_(std::move(chat_template)),
      added_(lacking(*tokenizer_, added)),
      special_(*tokenizer_, added_) {
  find_stops();
}

// What an answer is made of, from a conversation of one.
void Chat::find_stops() {
  const auto add = [this](const SpecialToken* token) {
    if (token != nullptr && std::find(stops_.begin(), stops_.end(), token->id) == stops_.end())
      stops_.push_back(token->id);
  };
  constexpr std::string_view kAnswer = "Answer-0";
  Conversation conversation;
  conversation.add("user", "Question-0");
  conversation.add("assistant", kAnswer);
  try {
    const std::string text = template_.render(conversation, false).text;
    const size_t found = text.rfind(kAnswer);
    if (found != std::string::npos) {
      const auto match = special_.find(text, found + kAnswer.size());
      const std::string_view between =
          match ? std::string_view(text).substr(found + kAnswer.size(), match->begin - found - kAnswer.size())
                : std::string_view();
      if (match && between.find_first_not_of(" \n") == std::string_view::npos) add(match->token);
    }
  } catch (const UserError&) {
    // A template that refuses this conversation says nothing of its end here.
    stops_.clear();
  }
  if (const auto name = template_.names().find("eos_token"); name != template_.names().end())
    add(special_.named(name->second));
  if (std::find(stops_.begin(), stops_.end(), tokenizer_->end_of_text()) == stops_.end())
    stops_.push_back(tokenizer_->end_of_text());
}

// Offsets follow from the tokens' bytes, which together are the text. Where a normal form has changed it, the
// length of the normal form up to each of the places that matter is measured; what lies between two of them
// is only known to lie there.
void Chat::place_stretch(std::string_view text, size_t at, std::span<const size_t> places,
                         Tokenizer::Encoder& encoder, std::vector<Placed>& tokens) const {
  std::vector<TokenId> ids;
  encoder.encode(text, ids);
  std::string made;
  for (const TokenId id : ids) made += tokenizer_->bytes(id);
  const size_t shift = tokenizer_->facts().space_in_front && made.size() == text.size() + 1 ? 1 : 0;
  const bool same = std::string_view(made).substr(shift) == text;
  std::vector<std::pair<size_t, size_t>> known{{0, 0}};  // byte of `made`, byte of the text
  if (!same) {
    std::vector<TokenId> part;
    for (const size_t place : places) {
      if (place <= at || place >= at + text.size()) continue;
      part.clear();
      encoder.encode(text.substr(0, place - at), part);
      size_t length = 0;
      for (const TokenId id : part) length += tokenizer_->bytes(id).size();
      known.emplace_back(std::min(length, made.size()), place - at);
    }
    known.emplace_back(made.size(), text.size());
  }
  const auto place_of = [&](size_t byte) {
    if (same) return byte < shift ? 0 : byte - shift;
    const auto next = std::lower_bound(known.begin(), known.end(), std::pair(byte, size_t{0}));
    if (next == known.end() || next->first == byte || next == known.begin())
      return next == known.end() ? text.size() : next->second;
    const auto before = std::prev(next);
    return before->second + std::min(byte - before->first, next->second - before->second - 1);
  };
  size_t byte = 0;
  for (const TokenId id : ids) {
    const size_t end = byte + tokenizer_->bytes(id).size();
    tokens.push_back({id, at + place_of(byte), at + place_of(end)});
    byte = end;
  }
}

std::vector<Chat::Placed> Chat::placed(const RenderedChat& chat, Tokenizer::Encoder& encoder,
                                       SpecialText special) const {
  const auto counts = [&](size_t begin, size_t end) {
    return special == SpecialText::anywhere || !is_typed(chat.typed, begin, end);
  };
  const std::string_view text = chat.text;
  std::vector<size_t> places;
  for (const ByteRange& answer : chat.answers) places.insert(places.end(), {answer.begin, answer.end});
  std::vector<Placed> tokens;
  for (size_t at = 0; at < text.size();) {
    const auto match = special_.find(text, at, counts);
    const size_t end = match ? match->begin : text.size();
    if (end > at) place_stretch(text.substr(at, end - at), at, places, encoder, tokens);
    if (match) tokens.push_back({match->token->id, match->begin, match->end});
    at = match ? match->end : end;
  }
  return tokens;
}

// As the post-processor ByteLevel of tokenizers trims offsets: spaces, no other white space.
void Chat::trim_ends(std::vector<Placed>& tokens) const {
  const TokenEnds ends = tokenizer_->token_ends();
  if (ends.spaces_count) return;
  for (size_t i = 0; i < tokens.size(); ++i) {
    Placed& token = tokens[i];
    const std::string_view bytes = tokenizer_->bytes(token.id);
    size_t front = std::min(bytes.find_first_not_of(' '), bytes.size());
    const size_t last = bytes.find_last_not_of(' ');
    const size_t back = bytes.size() - (last == std::string_view::npos ? 0 : last + 1);
    if (front > 0) {
      if (ends.first_keeps_one && (i == 0 || token.begin == 0)) --front;
      token.begin = std::min(token.begin + front, token.end);
    }
    if (back > 0 && token.end >= back) token.end = std::max(token.end - back, token.begin);
  }
}

std::vector<ByteRange> Chat::answers_of(const Conversation& conversation, const RenderedChat& whole,
                                        int64_t& unmarked) const {
  if (template_.marks_answers()) return whole.answers;
  std::vector<ByteRange> answers;
  Conversation part = conversation;
  part.messages = OrderedJson::array();
  for (const OrderedJson& message : conversation.messages) {
    const bool answer = role_of(message) == "assistant";
    std::string before;
    if (answer) before = template_.render(part, true).text;
    part.messages.push_back(message);
    if (!answer) continue;
    const bool last = part.messages.size() == conversation.messages.size();
    const std::string after = last ? whole.text : template_.render(part, false).text;
    if (after.starts_with(before) && whole.text.starts_with(after))
      answers.push_back({before.size(), after.size()});
    else
      ++unmarked;
  }
  return answers;
}

ChatTokens Chat::encode(const Conversation& conversation, bool add_generation_prompt,
                        Tokenizer::Encoder& encoder, SpecialText special) const {
  ChatTokens result;
  RenderedChat chat = template_.render(conversation, add_generation_prompt);
  chat.answers = answers_of(conversation, chat, result.unmarked);
  const std::vector<ByteRange>& answers = chat.answers;
  std::vector<Placed> tokens = placed(chat, encoder, special);
  trim_ends(tokens);
  result.ids.reserve(tokens.size());
  result.answer.reserve(tokens.size());
  size_t next = 0;
  for (const Placed& token : tokens) {
    while (next < answers.size() && token.begin >= answers[next].end) ++next;
    result.ids.push_back(token.id);
    result.answer.push_back(next < answers.size() && token.end > answers[next].begin ? 1 : 0);
  }
  return result;
}

std::vector<TokenId> Chat::encode_text(std::string_view text, Tokenizer::Encoder& encoder) const {
  std::vector<TokenId> ids;
  const RenderedChat chat{.text = std::string(text), .answers = {}, .typed = {}};
  for (const Placed& token : placed(chat, encoder, SpecialText::anywhere)) ids.push_back(token.id);
  return ids;
}

std::string Chat::decode(std::span<const TokenId> ids, bool special) const {
  std::string text;
  std::vector<TokenId> stretch;
  const auto flush = [&] {
    if (!stretch.empty()) text += tokenizer_->decode(stretch);
    stretch.clear();
  };
  for (const TokenId id : ids) {
    const SpecialToken* token = special_.of(id);
    if (token == nullptr) {
      stretch.push_back(id);
      continue;
    }
    flush();
    if (special || !token->special) text += token->content;
  }
  flush();
  return text;
}

uint64_t Chat::fingerprint() const {
  std::string all = fingerprint_text(tokenizer_->fingerprint()) + template_.source();
  for (const auto& [name, text] : template_.names()) all += "\n" + name + " " + text;
  for (const std::string& content : added_) all += "\nadded " + content;
  return stream_id(all);
}

}  // namespace moe::text
