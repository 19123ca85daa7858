// SPDX-License-Identifier: MIT
// A conversation from one JSON object: a line of JSON lines, or a row of Parquet.
//
//   messages   {"messages": [{"role", "content", ...}], "tools"?: [...]}; content: text, a list of
//              {"type": "text", "text"}, or null
//   sharegpt   {"conversations": [{"from": human, gpt, system, ..., "value"}], "system"?, "tools"?}
//   alpaca     {"instruction", "input"?, "output", "system"?}
//   prompt     {"prompt", "completion"}: two texts, without a template; or two lists of messages
#pragma once

#include <string>
#include <string_view>

#include "base/json.h"
#include "data/complaints.h"
#include "data/config.h"
#include "text/chat_template.h"

namespace moe::data {

struct Example {
  text::Conversation conversation;  // where it has messages
  bool plain = false;               // else these two
  std::string prompt, completion;
};

// What an object is not; data.bad_rows says what becomes of it.
struct BadExample {
  BadRow row;
};

// Throws BadExample.
Example read_example(const OrderedJson& object, ConversationFormat format);
// where: of the text, for messages. Throws UserError. For those who read a few lines themselves.
text::Conversation read_conversation(const std::string& where, std::string_view line);

}  // namespace moe::data
