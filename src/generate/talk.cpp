// SPDX-License-Identifier: MIT
#include "generate/talk.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/error.h"

namespace moe::generate {
namespace {

constexpr std::string_view kUser = "user", kAssistant = "assistant", kSystem = "system";

}  // namespace

Talk::Talk(std::shared_ptr<const text::Chat> chat, int64_t context, int64_t room, text::SpecialText special,
           OrderedJson variables)
    : chat_(std::move(chat)),
      encoder_(chat_->tokenizer().encoder()),
      context_(context),
      room_(room),
      special_(special),
      variables_(std::move(variables)) {
  CHECK(context > 1 && room >= 1 && room < context);
}

text::Conversation Talk::messages_from(size_t begin) const {
  text::Conversation conversation;
  conversation.variables = variables_;
  if (!system_.empty()) conversation.add(kSystem, system_);
  for (size_t i = begin; i < messages_.size(); ++i) conversation.add(messages_[i].role, messages_[i].content);
  return conversation;
}

Talk::Question Talk::fitting() {
  Question question;
  for (size_t begin = begin_;;) {
    question.ids = chat_->encode(messages_from(begin), true, *encoder_, special_).ids;
    const auto behind = messages_.begin() + static_cast<ptrdiff_t>(begin) + 1;
    const auto next = std::ranges::find(behind, messages_.end(), kUser, &Message::role);
    const int64_t tokens = std::ssize(question.ids);
    if (tokens == 0)
      throw UserError(chat_->chat_template().where(), "a template that writes something", "no text");
    if (tokens + room_ > context_ && next != messages_.end()) {
      begin = static_cast<size_t>(next - messages_.begin());
      ++question.left_out;
      continue;
    }
    if (tokens >= context_)
      throw UserError("the message", fmt::format("fewer than {} tokens with its template", context_),
                      fmt::format("{}", tokens), "shorten it; model.max_seq_len is the model's context");
    begin_ = begin;
    return question;
  }
}

Talk::Question Talk::ask(std::string message) {
  messages_.push_back({kUser, std::move(message)});
  try {
    return fitting();
  } catch (...) {
    messages_.pop_back();
    throw;
  }
}

void Talk::answer(std::string message) {
  messages_.push_back({kAssistant, std::move(message)});
}

void Talk::take_back() {
  CHECK(!messages_.empty() && messages_.back().role == kUser);
  messages_.pop_back();
  begin_ = std::min(begin_, messages_.size());
}

void Talk::reset() {
  messages_.clear();
  begin_ = 0;
}

}  // namespace moe::generate
