// SPDX-License-Identifier: MIT
// Conversations of a file as documents of ids (text/chat.h), marked for what is learned
// (data/source_bytes.h). One that is longer than a row loses its last turns, behind the last answer that
// fits; one of which no answer fits, or that has none, is left out. All is counted, and said in the end.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/terminal.h"
#include "data/complaints.h"
#include "data/config.h"
#include "data/conversation.h"
#include "data/data_file.h"
#include "data/source.h"
#include "text/chat.h"

namespace moe::data {

// Since the source was opened; a conversation that is read again, in a later epoch, counts again.
struct ConversationCounts {
  int64_t read = 0, tokens = 0, learned = 0;
  int64_t cut = 0, turns_cut = 0;            // longer than a row
  int64_t too_long = 0, without_answer = 0;  // left out
  int64_t unmarked = 0;                      // answers that are not learned: text::ChatTokens
};
// "of 100 conversations 3 lost 7 turns, ..."; "" where nothing was cut or left out.
std::string words_of(const ConversationCounts& counts);

// Safe to use from many threads. One for all files of a source.
class ConversationEncoder {
 public:
  ConversationEncoder(const DataConfig& config, Terminal& terminal);
  // Says the counts.
  ~ConversationEncoder();
  ConversationEncoder(const ConversationEncoder&) = delete;
  ConversationEncoder& operator=(const ConversationEncoder&) = delete;

  // Adds the conversation of this text, a JSON object, or nothing. Throws BadExample.
  void add(std::string_view json, text::Tokenizer::Encoder& encoder, Documents& documents) const;
  // Marked ids, for those who look at one; empty: left out.
  std::vector<text::TokenId> encode(const Example& example, text::Tokenizer::Encoder& encoder) const;

  const text::Chat& chat() const { return *chat_; }
  ConversationCounts counts() const;
  // All that decides what documents become.
  std::string description() const;

 private:
  text::ChatTokens tokens_of(const Example& example, text::Tokenizer::Encoder& encoder) const;
  bool shorten(text::Conversation& conversation, text::ChatTokens& tokens,
               text::Tokenizer::Encoder& encoder) const;

  const ConversationFormat format_;
  const Learned learned_;
  const text::SpecialText special_;
  const int64_t length_;  // 0: any
  const std::shared_ptr<const text::Chat> chat_;
  Terminal& terminal_;
  struct Counters {
    std::atomic<int64_t> read{0}, tokens{0}, learned{0}, cut{0}, turns_cut{0}, too_long{0}, without_answer{0},
        unmarked{0};
  };
  mutable Counters counters_;
};
using ConversationEncoderPtr = std::shared_ptr<const ConversationEncoder>;

std::unique_ptr<Source> conversation_lines(const DataFilePtr& file, ConversationEncoderPtr encoder,
                                           int64_t unit_bytes, std::shared_ptr<Complaints> complaints);
std::unique_ptr<Source> conversation_rows(const DataFilePtr& file, ConversationEncoderPtr encoder,
                                          std::shared_ptr<Complaints> complaints);

}  // namespace moe::data
