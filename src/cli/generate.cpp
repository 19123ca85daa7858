// SPDX-License-Identifier: MIT
// moe generate: text from a trained model: one prompt as it comes, many at a time, lines of standard input,
// or answers to conversations (cli/answer_messages.h).
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <iostream>
#include <memory>
#include <string>
#include <vector>

#include "base/ascii.h"
#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "base/lines.h"
#include "base/terminal.h"
#include "cli/answer_messages.h"
#include "cli/arguments.h"
#include "cli/commands.h"
#include "cli/model_files.h"
#include "cli/run_chat.h"
#include "cli/sampling_options.h"
#include "cli/text_writer.h"
#include "generate/generate.h"
#include "text/tokenizer.h"

namespace moe::cli {
namespace {

struct GenerateOptions {
  std::string model, prompts_file, messages_file;
  std::vector<std::string> prompts, variables, overrides;
  generate::SamplingOptions sampling;
  int64_t samples = 1, batch = 32;
  bool json = false, interactive = false, quiet = false, warm_up = false, average = false;
};

// One text to write.
struct Job {
  std::string text;
  generate::Prompt prompt;
};

constexpr std::string_view kSpace = " \t\r\v\f";  // around a line of text

// --prompt as given; of --prompts, each line: a JSON object with a field "prompt" in .jsonl, else the line
// itself without white space around it, so that files of other systems (a byte order mark, CR LF) are read
// alike.
std::vector<std::string> read_prompts(const GenerateOptions& options) {
  std::vector<std::string> prompts = options.prompts;
  if (options.prompts_file.empty()) return prompts.empty() ? std::vector<std::string>{""} : prompts;
  const std::string text = read_file(options.prompts_file);
  const bool is_json = options.prompts_file.ends_with(".jsonl");
  size_t number = 0;
  constexpr std::string_view kMark = "\xef\xbb\xbf";
  for (std::string_view rest = std::string_view(text).substr(text.starts_with(kMark) ? kMark.size() : 0);
       !rest.empty();) {
    const std::string_view line = trim(take_line(rest), kSpace);
    ++number;
    if (line.empty()) continue;
    const std::string where = fmt::format("{}:{}", options.prompts_file, number);
    prompts.push_back(is_json ? JsonFields(where, parse_json(where, line)).text("prompt")
                              : std::string(line));
  }
  if (prompts.empty()) throw UserError(options.prompts_file, "prompts, one a line", "none");
  return prompts;
}

class Session {
 public:
  Session(const GenerateOptions& options, const TrainedModel& model)
      : options_(options),
        tokenizer_(model.config.data.tokenizer.open()),
        encoder_(tokenizer_->encoder()),
        table_(*tokenizer_),
        writer_(model) {}

  Job job(const std::string& text, uint64_t seed) {
    Job job{text, {{tokenizer_->end_of_text()}, seed}};  // documents were learnt with one in front
    encoder_->encode(text, job.prompt.ids);
    return job;
  }
  std::vector<generate::Completion> write(std::span<const Job> jobs, const generate::OnText& on_text) {
    return writer_.write(prompts_of(jobs), table_, options_.sampling, on_text);
  }
  void warm_up(std::span<const Job> jobs) { writer_.warm_up(prompts_of(jobs), table_, options_.sampling); }
  TextWriter& writer() { return writer_; }

 private:
  static std::vector<generate::Prompt> prompts_of(std::span<const Job> jobs) {
    std::vector<generate::Prompt> prompts;
    for (const Job& job : jobs) prompts.push_back(job.prompt);
    return prompts;
  }

  const GenerateOptions& options_;
  std::shared_ptr<const text::Tokenizer> tokenizer_;
  std::unique_ptr<text::Tokenizer::Encoder> encoder_;
  generate::TokenTable table_;
  TextWriter writer_;
};

void put(std::string_view text) {
  std::fwrite(text.data(), 1, text.size(), stdout);
  std::fflush(stdout);
}

void print(const Job& job, const generate::Completion& completion, bool json) {
  if (!json) return put(job.text + completion.text + "\n");
  const OrderedJson line{{"prompt", job.text},
                         {"text", completion.text},
                         {"finish", generate::name_of(completion.finish)},
                         {"seed", job.prompt.seed},
                         {"prompt_ids", job.prompt.ids},
                         {"ids", completion.ids}};
  put(line.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n");
}

void write_all(Session& session, const GenerateOptions& options) {
  std::vector<Job> jobs;
  for (const std::string& prompt : read_prompts(options))
    for (int64_t i = 0; i < options.samples; ++i)
      jobs.push_back(session.job(prompt, options.sampling.seed + static_cast<uint64_t>(i)));
  int64_t longest = 0;
  for (const Job& job : jobs) longest = std::max(longest, std::ssize(job.prompt.ids));
  const int64_t batch = std::min(options.batch, std::ssize(jobs));
  session.writer().open(batch, longest + options.sampling.max_new_tokens);
  if (options.warm_up) session.warm_up(std::span(jobs).first(static_cast<size_t>(batch)));
  for (int64_t begin = 0; begin < std::ssize(jobs); begin += batch) {
    const auto group = std::span(jobs).subspan(
        static_cast<size_t>(begin), static_cast<size_t>(std::min(batch, std::ssize(jobs) - begin)));
    const bool stream = batch == 1 && !options.json;
    if (stream) put(group.front().text);
    const auto texts =
        session.write(group, stream ? generate::OnText([](size_t, std::string_view text) { put(text); })
                                    : generate::OnText());
    if (stream) {
      put("\n");
    } else {
      for (size_t i = 0; i < texts.size(); ++i) print(group[i], texts[i], options.json);
    }
    if (stream && !options.quiet) session.writer().report();
  }
  if ((batch > 1 || options.json) && !options.quiet) session.writer().report();
}

// Each line of standard input is a prompt of its own.
void converse(Session& session, const GenerateOptions& options, int64_t max_seq_len) {
  session.writer().open(1, std::max(max_seq_len, options.sampling.max_new_tokens + 1));
  const bool at_terminal = isatty(STDIN_FILENO) != 0;
  uint64_t seed = options.sampling.seed;
  if (at_terminal) session.writer().terminal().line("each line is a prompt; an empty line or Ctrl-D ends");
  for (std::string line;;) {
    if (at_terminal) put("> ");
    if (!std::getline(std::cin, line)) break;
    line = trim(line, kSpace);
    if (line.empty()) break;
    try {
      const Job job = session.job(line, seed++);
      put(line);
      session.write({&job, 1}, [](size_t, std::string_view text) { put(text); });
      put("\n");
      if (!options.quiet) session.writer().report();
    } catch (const UserError& error) {
      session.writer().terminal().warning(error.what());
    }
  }
}

int run(const GenerateOptions& options) {
  options.sampling.validate();
  const TrainedModel model = open_model(options.model, options.overrides, options.average);
  if (!options.messages_file.empty()) {
    answer_messages(model, {.file = options.messages_file,
                            .sampling = options.sampling,
                            .samples = options.samples,
                            .batch = options.batch,
                            .warm_up = options.warm_up,
                            .quiet = options.quiet,
                            .variables = options.variables});
    return 0;
  }
  Session session(options, model);
  if (options.interactive) {
    converse(session, options, model.config.model.max_seq_len);
  } else {
    write_all(session, options);
  }
  return 0;
}

}  // namespace

void add_generate(CLI::App& app, Command& chosen) {
  auto options = std::make_shared<GenerateOptions>();
  CLI::App* command = app.add_subcommand("generate", "Write text with a trained model");
  command->add_option("model", options->model, "A run, or one checkpoint of it")
      ->required()
      ->type_name("RUN");
  command
      ->add_option("--prompt", options->prompts,
                   "Text to continue, may be given again; none or empty: start a new document")
      ->allow_extra_args(false);
  command
      ->add_option("--prompts", options->prompts_file, "One prompt a line; of .jsonl, the field \"prompt\"")
      ->type_name("FILE");
  command
      ->add_option("--messages", options->messages_file,
                   "One conversation a line, each to be answered; answers are JSON lines")
      ->type_name("FILE.jsonl")
      ->excludes("--prompt")
      ->excludes("--prompts");
  add_template_variables(*command, options->variables);
  add_sampling(*command, options->sampling);
  command->add_option("--samples", options->samples, "How many texts of each prompt, each with the next seed")
      ->capture_default_str()
      ->check(CLI::Range(1, 1000000));
  command->add_option("--batch", options->batch, "At most so many texts at a time")
      ->capture_default_str()
      ->check(CLI::Range(1, 65536));
  CLI::Option* json = command->add_flag("--json", options->json, "One JSON object a text, with token ids");
  command->add_flag("--interactive", options->interactive, "Read prompts from standard input, a line each")
      ->excludes(json)
      ->excludes("--messages");
  command->add_flag("--ignore-end-of-text", options->sampling.ignore_end_of_text,
                    "Write on to the full length");
  command->add_flag("--warm-up", options->warm_up,
                    "Write the first batch once before, unseen, for speeds to compare");
  command->add_flag("--quiet", options->quiet, "No speeds");
  add_average(*command, options->average);
  add_settings(*command, options->overrides, "Settings that replace those of the run");
  command->footer(
      "Examples:\n"
      "  moe generate runs/latest --prompt \"Lantern\" --temperature 0.7 --top-p 0.95\n"
      "  moe generate runs/latest --prompts prompts.jsonl --json --batch 64 --stop $'\\n\\n'\n"
      "  moe generate runs/tuned --messages questions.jsonl --temperature 0 > answers.jsonl\n"
      "  moe generate runs/latest/checkpoints/step-00000400 --temperature 0 training.threads=1\n"
      "A single text appears as it is written. Texts go to standard output, everything else to standard "
      "error.");
  command->callback([options, &chosen] { chosen = [options] { return run(*options); }; });
}

}  // namespace moe::cli
