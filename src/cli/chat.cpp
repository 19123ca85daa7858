// SPDX-License-Identifier: MIT
// moe chat: a conversation with a trained model in the terminal. The conversation itself is
// generate/chat_loop.h.
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "cli/arguments.h"
#include "cli/commands.h"
#include "cli/keyboard.h"
#include "cli/run_chat.h"
#include "cli/sampling_options.h"
#include "cli/text_writer.h"
#include "generate/chat_loop.h"
#include "generate/kept_prefix.h"

namespace moe::cli {
namespace {

constexpr int64_t kMostContext = 8192;  // where nothing else is asked for: keys and values take memory
constexpr int64_t kReadAtATime = 512;   // tokens of a question between two looks at Ctrl-C

struct ChatOptions {
  std::string model, system;
  std::vector<std::string> variables, overrides;
  generate::SamplingOptions sampling{.max_new_tokens = 512};
  int64_t context = 0;
  bool average = false, speeds = false;
};

// What the model's own files say of sampling, where the command line says nothing. Returns it in words.
std::string take_sampling(const interop::GenerationSettings& theirs, const CLI::App& command,
                          generate::SamplingOptions& ours) {
  if (!theirs.sample) return "";
  std::string words;
  const auto take = [&](const char* option, const auto& from, auto& into) {
    if (!from || command.get_option(option)->count() > 0) return;
    into = *from;
    words += fmt::format("{}{} {}", words.empty() ? "" : ", ", option + 2, *from);
  };
  take("--temperature", theirs.temperature, ours.temperature);
  take("--top-k", theirs.top_k, ours.top_k);
  take("--top-p", theirs.top_p, ours.top_p);
  take("--min-p", theirs.min_p, ours.min_p);
  take("--repetition-penalty", theirs.repetition_penalty, ours.repetition_penalty);
  return words;
}

void say_how(const TrainedModel& model, const RunChat& talk, int64_t context, const std::string& sampling,
             Terminal& terminal) {
  terminal.line(fmt::format("{}, step {}; template {}; {} tokens of context; /help lists commands",
                            run_of(model.checkpoint).filename().string(), model.checkpoint.step(),
                            talk.chat->chat_template().where(), context));
  if (!sampling.empty()) terminal.line("as the model's generation_config.json says: " + sampling);
  if (!talk.taught)
    terminal.warning(
        "this run was not taught to answer: nothing is known of its template. `moe generate` continues a "
        "text");
}

int64_t context_of(const ChatOptions& options, const model::ModelConfig& config) {
  if (options.context > 0) return options.context;
  return std::min(config.max_seq_len, kMostContext);
}

int run(ChatOptions options, const CLI::App& command) {
  // Before any thread is started.
  std::optional<InterruptKey> key;
  if (isatty(STDIN_FILENO) != 0) key.emplace();
  const TrainedModel model = open_model(options.model, options.overrides, options.average);
  const RunChat talk = chat_of(model);
  const std::string sampling = take_sampling(talk.generation, command, options.sampling);
  options.sampling.validate();
  const int64_t context = context_of(options, model.config.model);
  generate::Talk conversation(talk.chat, context, std::min(options.sampling.max_new_tokens, context / 2),
                              talk.special, parse_variables(options.variables));
  conversation.set_system(options.system);
  TextWriter writer(model);
  writer.open(1, context, kReadAtATime);
  say_how(model, talk, context, sampling, writer.terminal());

  const generate::TokenTable table(*talk.chat, talk.ends);
  generate::KeptPrefix kept;
  uint64_t seed = options.sampling.seed;
  const generate::Interrupted interrupted = [&] { return key && key->pressed(); };
  const auto answer = [&](std::vector<text::TokenId> ids, const auto& on_text) {
    const generate::Prompt prompt = kept.prompt(std::move(ids), seed++);
    generate::Completion made = writer
                                    .write(
                                        {&prompt, 1}, table, options.sampling,
                                        [&](size_t, std::string_view text) { on_text(text); }, interrupted)
                                    .front();
    kept.keep(prompt, made);
    return made;
  };
  Keyboard keyboard(key ? &*key : nullptr, writer.terminal());
  generate::ChatLoop loop(conversation, answer, keyboard);
  if (key) key->listen();
  const int64_t failed = loop.run();
  if (options.speeds) writer.report();
  return key || failed == 0 ? 0 : 1;
}

}  // namespace

void add_chat(CLI::App& app, Command& chosen) {
  auto options = std::make_shared<ChatOptions>();
  CLI::App* command = app.add_subcommand("chat", "Talk with a trained model in the terminal");
  command->add_option("model", options->model, "A run, or one checkpoint of it")
      ->required()
      ->type_name("RUN");
  command->add_option("--system", options->system, "The system's message, in front of the conversation")
      ->type_name("TEXT");
  command
      ->add_option(
          "--context", options->context,
          "Tokens that a question, all before it and its answer may have; default: model.max_seq_len, "
          "at most 8192")
      ->check(CLI::Range(16, 1 << 24));
  add_template_variables(*command, options->variables);
  add_sampling(*command, options->sampling);
  command->add_flag("--speeds", options->speeds, "Print tokens/s at the end");
  add_average(*command, options->average);
  add_settings(*command, options->overrides, "Settings that replace those of the run");
  command->footer(
      "Examples:\n"
      "  moe chat runs/tuned\n"
      "  moe chat runs/tuned --system \"Answer in one sentence.\" --temperature 0.3\n"
      "  printf 'What is a lantern?\\nAnd a lamp?\\n' | moe chat runs/tuned --temperature 0\n"
      "Commands in it: /reset, /system TEXT, /save FILE, /help, /exit. Ctrl-C ends an answer, Ctrl-D "
      "leaves.\n"
      "Where standard input is no terminal, each line is a message. Answers go to standard output, "
      "everything\n"
      "else to standard error.");
  command->callback(
      [options, command, &chosen] { chosen = [options, command] { return run(*options, *command); }; });
}

}  // namespace moe::cli
