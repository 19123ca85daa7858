// SPDX-License-Identifier: MIT
#include "data/conversation.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <map>
#include <vector>

#include "base/error.h"

namespace moe::data {
namespace {

constexpr const char* kForms =
    "data.conversations: messages, conversations (ShareGPT), instruction and output, or prompt and "
    "completion";

[[noreturn]] void refuse(std::string expected, std::string found, std::string hint = "") {
  throw BadExample{{std::move(expected), std::move(found), std::move(hint)}};
}

const OrderedJson* find(const OrderedJson& object, const char* name) {
  const auto found = object.find(name);
  return found == object.end() || found->is_null() ? nullptr : &*found;
}

std::string text_of(const OrderedJson& object, const char* name, bool needed = true) {
  const OrderedJson* found = find(object, name);
  if (found == nullptr && !needed) return {};
  if (found == nullptr || !found->is_string())
    refuse(fmt::format("text in field \"{}\"", name), found == nullptr ? "no such field" : quote(*found));
  return found->get<std::string>();
}

// A list of parts that are texts is their concatenation.
OrderedJson plain_content(const OrderedJson& content) {
  if (!content.is_array()) {
    if (content.is_string() || content.is_null()) return content;
    refuse("a content that is a text, or a list of texts", quote(content));
  }
  std::string text;
  for (const OrderedJson& part : content) {
    if (part.is_string())
      text += part.get<std::string>();
    else if (part.is_object() && part.value("type", "") == "text" && find(part, "text") != nullptr)
      text += text_of(part, "text");
    else
      refuse("parts of a content that are texts", quote(part));
  }
  return text;
}

std::string role_of_sharegpt(const std::string& from) {
  static const std::map<std::string, std::string> kRoles{
      {"human", "user"},     {"gpt", "assistant"},     {"chatgpt", "assistant"}, {"bing", "assistant"},
      {"bard", "assistant"}, {"bot", "assistant"},     {"model", "assistant"},   {"observation", "tool"},
      {"function", "tool"},  {"tool_response", "tool"}};
  const auto found = kRoles.find(from);
  return found == kRoles.end() ? from : found->second;
}

OrderedJson message_of(const OrderedJson& given) {
  if (!given.is_object()) refuse("messages that are objects", quote(given));
  OrderedJson message = given;
  if (find(given, "role") == nullptr && find(given, "from") != nullptr) {
    message = OrderedJson::object();
    message["role"] = role_of_sharegpt(text_of(given, "from"));
    message["content"] = find(given, "value") == nullptr ? OrderedJson("") : *find(given, "value");
  }
  if (text_of(message, "role").empty()) refuse("a role", "an empty text");
  if (message.contains("content")) message["content"] = plain_content(message["content"]);
  return message;
}

void add_messages(const OrderedJson& list, text::Conversation& conversation) {
  OrderedJson parsed;
  const OrderedJson* messages = &list;
  if (list.is_string()) {  // as some Parquet files have them
    if (auto json = try_parse_ordered_json(list.get<std::string>())) parsed = std::move(*json);
    messages = &parsed;
  }
  if (!messages->is_array()) refuse("a list of messages", quote(list));
  for (const OrderedJson& one : *messages) conversation.messages.push_back(message_of(one));
}

void add_tools(const OrderedJson& object, text::Conversation& conversation) {
  const OrderedJson* tools = find(object, "tools");
  if (tools == nullptr) return;
  if (tools->is_string()) {
    if (auto json = try_parse_ordered_json(tools->get<std::string>())) conversation.tools = std::move(*json);
  } else {
    conversation.tools = *tools;
  }
  if (!conversation.tools.is_array() && !conversation.tools.is_null())
    refuse("a list of tools", quote(*tools));
}

ConversationFormat form_of(const OrderedJson& object) {
  if (find(object, "messages") != nullptr) return ConversationFormat::messages;
  if (find(object, "conversations") != nullptr) return ConversationFormat::sharegpt;
  if (find(object, "instruction") != nullptr) return ConversationFormat::alpaca;
  if (find(object, "completion") != nullptr) return ConversationFormat::prompt;
  std::vector<std::string> keys;
  for (const auto& entry : object.items()) keys.push_back(entry.key());
  refuse("a conversation",
         keys.empty() ? "no fields" : quote(Json(fmt::format("the fields {}", fmt::join(keys, ", ")))),
         kForms);
}

void add_system(const OrderedJson& object, text::Conversation& conversation) {
  if (const std::string system = text_of(object, "system", false); !system.empty())
    conversation.add("system", system);
}

}  // namespace

Example read_example(const OrderedJson& object, ConversationFormat format) {
  if (!object.is_object()) refuse("a JSON object", quote(object));
  if (format == ConversationFormat::automatic) format = form_of(object);
  Example example;
  text::Conversation& conversation = example.conversation;
  const auto list = [&](const char* name) -> const OrderedJson& {
    const OrderedJson* found = find(object, name);
    if (found == nullptr) refuse(fmt::format("a field \"{}\"", name), "no such field", kForms);
    return *found;
  };
  switch (format) {
    case ConversationFormat::none:
    case ConversationFormat::automatic:
      CHECK(false, "a conversation of no form");
    case ConversationFormat::messages:
      add_messages(list("messages"), conversation);
      break;
    case ConversationFormat::sharegpt:
      add_system(object, conversation);
      add_messages(list("conversations"), conversation);
      break;
    case ConversationFormat::alpaca: {
      add_system(object, conversation);
      const std::string input = text_of(object, "input", false);
      conversation.add("user", text_of(object, "instruction") + (input.empty() ? "" : "\n\n" + input));
      conversation.add("assistant", text_of(object, "output"));
      break;
    }
    case ConversationFormat::prompt:
      example.plain = list("completion").is_string() && list("prompt").is_string();
      if (example.plain) {
        example.prompt = text_of(object, "prompt");
        example.completion = text_of(object, "completion");
        return example;
      }
      add_messages(list("prompt"), conversation);
      add_messages(list("completion"), conversation);
      break;
  }
  add_tools(object, conversation);
  return example;
}

text::Conversation read_conversation(const std::string& where, std::string_view line) {
  const OrderedJson object = parse_ordered_json(where, line);
  try {
    Example example = read_example(object, ConversationFormat::automatic);
    if (example.plain) example.conversation.add("user", example.prompt);
    return example.conversation;
  } catch (const BadExample& bad) {
    throw UserError(where, bad.row.expected, bad.row.found, bad.row.hint);
  }
}

}  // namespace moe::data
