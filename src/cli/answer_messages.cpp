// SPDX-License-Identifier: MIT
#include "cli/answer_messages.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <memory>
#include <span>
#include <string_view>
#include <utility>

#include "base/ascii.h"
#include "base/error.h"
#include "base/file.h"
#include "base/lines.h"
#include "base/utf8.h"
#include "cli/run_chat.h"
#include "cli/text_writer.h"
#include "data/conversation.h"
#include "generate/generate.h"
#include "text/chat.h"

namespace moe::cli {
namespace {

struct Asked {
  text::Conversation conversation;
  OrderedJson reference;  // the answer that the file has; null: none
  std::vector<text::TokenId> ids;
};

bool is_answer(const OrderedJson& message) {
  return message.is_object() && message.contains("role") && message.at("role") == "assistant";
}

Asked read_line(const std::string& where, std::string_view line, const RunChat& run,
                const OrderedJson& variables, text::Tokenizer::Encoder& encoder) {
  Asked asked{.conversation = data::read_conversation(where, line), .reference = {}, .ids = {}};
  OrderedJson& messages = asked.conversation.messages;
  if (!messages.empty() && is_answer(messages.back())) {
    asked.reference = messages.back().contains("content") ? messages.back().at("content") : OrderedJson();
    messages.erase(messages.size() - 1);
  }
  if (messages.empty()) throw UserError(where, "a message to answer", "none");
  asked.conversation.variables.update(variables);
  try {
    asked.ids = run.chat->encode(asked.conversation, true, encoder, run.special).ids;
  } catch (const UserError& error) {
    throw UserError(fmt::format("{}: {}", where, error.where), error.expected, error.found, error.hint);
  }
  if (asked.ids.empty()) throw UserError(where, "a template that writes something", "no text");
  return asked;
}

std::vector<Asked> read_messages(const MessageOptions& options, const RunChat& run, Terminal& terminal) {
  constexpr int64_t kTold = 20;
  constexpr std::string_view kMark = "\xef\xbb\xbf";
  const OrderedJson variables = parse_variables(options.variables);
  const auto encoder = run.chat->tokenizer().encoder();
  const std::string text = read_file(options.file);
  std::vector<Asked> all;
  int64_t number = 0, bad = 0;
  for (std::string_view rest = std::string_view(text).substr(text.starts_with(kMark) ? kMark.size() : 0);
       !rest.empty();) {
    const std::string_view line = trim(take_line(rest));
    ++number;
    if (line.empty()) continue;
    try {
      all.push_back(read_line(fmt::format("{}:{}", options.file, number), line, run, variables, *encoder));
    } catch (const UserError& error) {
      if (++bad <= kTold) terminal.warning(error.what());
    }
  }
  if (bad > kTold) terminal.warning(fmt::format("{}: {} more such lines", options.file, bad - kTold));
  if (bad > 0)
    throw UserError(options.file, "a conversation in each line", fmt::format("{} bad ones", bad),
                    "nothing was written: mend or remove these lines");
  if (all.empty()) throw UserError(options.file, "conversations, one a line", "none");
  return all;
}

void print(const Asked& asked, const generate::Prompt& prompt, const generate::Completion& answer) {
  OrderedJson messages = asked.conversation.messages;
  std::string content;  // it may end inside of a character
  repair_utf8(answer.text, content);
  messages.push_back({{"role", "assistant"}, {"content", content}});
  OrderedJson line{{"messages", std::move(messages)}};
  if (!asked.conversation.tools.is_null()) line["tools"] = asked.conversation.tools;
  if (!asked.reference.is_null()) line["reference"] = asked.reference;
  line["finish"] = generate::name_of(answer.finish);
  line["seed"] = prompt.seed;
  line["prompt_ids"] = prompt.ids;
  line["ids"] = answer.ids;
  const std::string text = line.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
  std::fwrite(text.data(), 1, text.size(), stdout);
  std::fflush(stdout);
}

}  // namespace

void answer_messages(const TrainedModel& model, const MessageOptions& options) {
  TextWriter writer(model);
  const RunChat run = chat_of(model);
  const std::vector<Asked> all = read_messages(options, run, writer.terminal());
  std::vector<generate::Prompt> prompts;
  std::vector<const Asked*> asked;  // of each prompt
  size_t longest = 0;
  for (const Asked& one : all) {
    longest = std::max(longest, one.ids.size());
    for (int64_t i = 0; i < options.samples; ++i) {
      prompts.push_back({one.ids, options.sampling.seed + static_cast<uint64_t>(i)});
      asked.push_back(&one);
    }
  }
  const generate::TokenTable table(*run.chat, run.ends);
  const auto batch = std::min(static_cast<size_t>(options.batch), prompts.size());
  writer.open(static_cast<int64_t>(batch), static_cast<int64_t>(longest) + options.sampling.max_new_tokens);
  if (options.warm_up) writer.warm_up(std::span(prompts).first(batch), table, options.sampling);
  for (size_t begin = 0; begin < prompts.size(); begin += batch) {
    const auto group = std::span(prompts).subspan(begin, std::min(batch, prompts.size() - begin));
    const auto answers = writer.write(group, table, options.sampling);
    for (size_t i = 0; i < group.size(); ++i) print(*asked[begin + i], group[i], answers[i]);
  }
  if (!options.quiet) writer.report();
}

}  // namespace moe::cli
