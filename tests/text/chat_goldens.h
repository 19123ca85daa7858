// SPDX-License-Identifier: MIT
// What tools/make_chat_goldens.py wrote: conversations, and hashes of the ids and masks of each.
#pragma once

#include <cstdint>
#include <fstream>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "base/lines.h"
#include "support/source_dir.h"
#include "text/chat.h"

namespace moe::test {

inline std::filesystem::path golden_chat_path(const std::string& name) {
  return source_dir() / "tests/golden/chat" / name;
}

inline std::vector<text::Conversation> golden_conversations() {
  std::vector<text::Conversation> all;
  const std::string lines = read_file(golden_chat_path("conversations.jsonl"));
  std::string_view rest = lines;
  while (!rest.empty()) {
    const OrderedJson line = parse_ordered_json("conversations.jsonl", take_line(rest));
    text::Conversation one;
    one.messages = line["messages"];
    if (line.contains("tools")) one.tools = line["tools"];
    if (line.contains("variables")) one.variables = line["variables"];
    all.push_back(std::move(one));
  }
  return all;
}

struct ChatGolden {
  std::string tokenizer, name;
  bool prompt = false;
  std::vector<std::string> hashes;  // "-": refused
};

inline std::vector<ChatGolden> chat_goldens(const std::filesystem::path& file) {
  std::vector<ChatGolden> all;
  std::ifstream lines(file);
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    ChatGolden one;
    words >> one.tokenizer >> one.name >> one.prompt;
    for (std::string hash; words >> hash;) one.hashes.push_back(hash);
    all.push_back(std::move(one));
  }
  return all;
}

// FNV-1a, as the tool has it.
inline std::string chat_hash(const text::ChatTokens& tokens) {
  uint64_t hash = 0xcbf29ce484222325;
  const auto add = [&](uint64_t byte) { hash = (hash ^ (byte & 0xff)) * 0x100000001b3; };
  for (const text::TokenId id : tokens.ids)
    for (int i = 0; i < 4; ++i) add(static_cast<uint64_t>(id) >> 8 * i);
  for (const uint8_t flag : tokens.answer) add(flag);
  return text::fingerprint_text(hash);
}

// "-" where the template refuses it.
inline std::string hash_of(const text::Chat& chat, const text::Conversation& conversation, bool prompt,
                           text::Tokenizer::Encoder& encoder) {
  try {
    return chat_hash(chat.encode(conversation, prompt, encoder));
  } catch (const UserError&) {
    return "-";
  }
}

}  // namespace moe::test
