// SPDX-License-Identifier: MIT
#include "text/chat_template.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "base/error.h"
#include "base/file.h"
#include "jinja/template.h"

namespace moe::text {
namespace {

namespace fs = std::filesystem;

constexpr const char* kTemplateFile = "chat_template.jinja";
constexpr const char* kConfigFile = "tokenizer_config.json";
constexpr const char* kHint =
    "data.chat_template names one: a file, a folder, or default, chatml, qwen3, llama3, tulu, mistral";

bool is_there(const fs::path& path) {
  std::error_code ignored;
  return fs::exists(path, ignored);
}

// transformers drops what is null, and knows reasoning under three names.
OrderedJson normal_message(const OrderedJson& message) {
  static constexpr std::array<const char*, 3> kReasoning{"reasoning_content", "thinking", "reasoning"};
  OrderedJson reasoning, result = OrderedJson::object();
  for (const char* name : kReasoning)
    if (reasoning.is_null() && message.contains(name)) reasoning = message[name];
  if (!reasoning.is_null()) result["thinking"] = reasoning;
  for (const auto& [key, value] : message.items())
    if (!value.is_null()) result[key] = value;
  if (!reasoning.is_null()) result["reasoning_content"] = reasoning;
  return result;
}

OrderedJson normal_messages(const std::string& where, const OrderedJson& messages) {
  OrderedJson result = OrderedJson::array();
  for (const OrderedJson& message : messages) {
    if (!message.is_object())
      throw UserError(where, "messages that are objects with a role and a content", quote(message));
    result.push_back(normal_message(message));
  }
  return result;
}

std::string template_of_config(const std::string& where, const Json& config, const std::string& variant) {
  const auto found = config.find("chat_template");
  if (found == config.end() || found->is_null()) return {};
  if (found->is_string()) return found->get<std::string>();
  std::string names;
  if (found->is_array())
    for (const Json& one : *found) {
      const JsonFields fields(where + ": chat_template", one);
      if (fields.text("name") == variant) return fields.text("template");
      names += (names.empty() ? "" : ", ") + fields.text("name");
    }
  throw UserError(where + ": chat_template", fmt::format("a text, or one named {}", variant),
                  names.empty() ? quote(*found) : names);
}

bool is_typed(char mark) {
  return mark != '\0';
}

std::vector<ByteRange> typed_ranges(const std::string& marks) {
  std::vector<ByteRange> ranges;
  for (auto at = marks.begin(); at != marks.end();) {
    const auto begin = std::find_if(at, marks.end(), is_typed);
    at = std::find_if_not(begin, marks.end(), is_typed);
    if (begin != at)
      ranges.push_back({static_cast<size_t>(begin - marks.begin()), static_cast<size_t>(at - marks.begin())});
  }
  return ranges;
}

}  // namespace

void Conversation::add(std::string_view role, std::string_view content) {
  messages.push_back({{"role", role}, {"content", content}});
}

ChatTemplate::ChatTemplate(std::string where, std::string source, TokenNames names)
    : where_(std::move(where)),
      source_(std::move(source)),
      names_(std::move(names)),
      compiled_(std::make_shared<const jinja::Template>(where_, source_)) {}

ChatTemplate ChatTemplate::built_in(const std::string& name, TokenNames names) {
  const BuiltInTemplate* found = find_built_in_template(name);
  if (found == nullptr)
    throw UserError("data.chat_template", fmt::format("one of {}", fmt::join(built_in_templates(), ", ")),
                    name);
  return ChatTemplate("the built-in template " + name, std::string(found->source), std::move(names));
}

bool ChatTemplate::is_in(const fs::path& folder) {
  if (is_there(folder / kTemplateFile)) return true;
  if (!is_there(folder / kConfigFile)) return false;
  const auto config = try_parse_json(read_file(folder / kConfigFile));
  return config && config->is_object() && config->contains("chat_template") &&
         !(*config)["chat_template"].is_null();
}

ChatTemplate ChatTemplate::load(const fs::path& path, const std::string& variant) {
  if (!is_there(path))
    throw UserError(path.string(), "a template, or a folder that has one", "nothing", kHint);
  const fs::path folder = fs::is_directory(path) ? path : path.parent_path();
  const fs::path config_file = folder / kConfigFile;
  Json config = Json::object();
  TokenNames names;
  if (is_there(config_file)) {
    const std::string text = read_file(config_file);
    config = parse_json(config_file.string(), text);
    names = read_token_names(config_file.string(), text);
  }
  if (!fs::is_directory(path) && path.filename() != kConfigFile)
    return ChatTemplate(path.string(), read_file(path), std::move(names));
  if (const fs::path file = folder / kTemplateFile; variant == "default" && is_there(file))
    return ChatTemplate(file.string(), read_file(file), std::move(names));
  const std::string source = template_of_config(config_file.string(), config, variant);
  if (source.empty())
    throw UserError(folder.string(), "chat_template.jinja, or chat_template in tokenizer_config.json",
                    "neither", kHint);
  return ChatTemplate(config_file.string() + ": chat_template", source, std::move(names));
}

bool ChatTemplate::marks_answers() const {
  return compiled_->marks_generation();
}

RenderedChat ChatTemplate::render(const Conversation& conversation, bool add_generation_prompt) const {
  jinja::Dict variables;
  const auto put = [&](const std::string& name, jinja::Value value) {
    variables.set(jinja::Text(name, false), std::move(value));
  };
  for (const auto& [name, text] : names_) put(name, jinja::Value::text(text));
  for (const auto& [name, value] : conversation.variables.items()) put(name, jinja::Value::from_json(value));
  put("messages", jinja::Value::from_json(normal_messages(where_, conversation.messages)));
  const bool tools = conversation.tools.is_array() && !conversation.tools.empty();
  put("tools", tools ? jinja::Value::from_json(conversation.tools) : jinja::Value::none());
  put("documents", jinja::Value::none());
  put("add_generation_prompt", jinja::Value::of(add_generation_prompt));
  jinja::Rendered rendered = compiled_->render(variables, conversation.time);
  RenderedChat result{
      .text = std::move(rendered.text.bytes), .answers = {}, .typed = typed_ranges(rendered.text.typed)};
  for (const auto& [begin, end] : rendered.generated)
    if (begin < end) result.answers.push_back({begin, end});
  return result;
}

ChatTemplate::TokenNames read_token_names(const std::string& where, std::string_view text) {
  const Json config = parse_json(where, text);
  ChatTemplate::TokenNames names;
  if (!config.is_object()) return names;
  for (const auto& [name, value] : config.items()) {
    if (!name.ends_with("_token") || name.starts_with("add_")) continue;
    if (value.is_string()) names[name] = value.get<std::string>();
    if (value.is_object() && value.contains("content") && value["content"].is_string())
      names[name] = value["content"].get<std::string>();
  }
  return names;
}

}  // namespace moe::text
