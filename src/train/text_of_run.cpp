// SPDX-License-Identifier: MIT
#include "train/text_of_run.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "base/error.h"
#include "base/format.h"
#include "data/find_files.h"
#include "data/remote.h"
#include "data/text_size.h"

namespace moe::train {
namespace {

// Muennighoff et al., "Scaling Data-Constrained Language Models" (arXiv 2305.16264): up to 4 passes are
// nearly as good as new text, and at about 16 a further one is worth a third of that.
constexpr double kManyPasses = 16;

std::string passes_words(double passes) {
  if (passes < 1) return fmt::format("{:.2g} % of one pass", 100 * passes);
  if (passes < 1.05) return "one pass";
  return fmt::format("{:.{}f} passes", passes, passes < 9.95 ? 1 : 0);
}

// What is ahead of the run, of all its text.
struct Ahead {
  double tokens = 0, rows = 0;
};

Ahead ahead_of(const RunConfig& config, int64_t ranks, int64_t step, int64_t tokens) {
  const TrainingConfig& training = config.training;
  const auto of_steps = static_cast<double>(config.tokens_of_step(ranks) * (training.max_steps - step));
  Ahead ahead{.tokens =
                  training.max_tokens > 0 ? static_cast<double>(training.max_tokens - tokens) : of_steps};
  ahead.tokens = std::max(ahead.tokens, 0.0);
  ahead.rows = ahead.tokens / static_cast<double>(config.model.max_seq_len);
  return ahead;
}

// Of one place; share: its part of what is read. Without a size, nothing.
double passes_of(const RunConfig& config, const data::TextSize& size, const Ahead& ahead, double share) {
  // A row has one document, or the end of one is cut off.
  const bool by_documents = config.data.packing == data::Packing::pad;
  const double of_text = by_documents ? size.documents : size.tokens;
  return of_text > 0 ? share * (by_documents ? ahead.rows : ahead.tokens) / of_text : 0;
}

std::string words_of(const RunConfig& config, const std::optional<data::TextSize>& size, const Ahead& ahead,
                     double share, bool resumes, double& passes) {
  if (!size) return "";
  const TrainingConfig& training = config.training;
  passes = passes_of(config, *size, ahead, share);
  std::string text = fmt::format(", about {} tokens", format_count(size->tokens));
  if (ahead.tokens == 0) return text;  // nothing is trained
  text += fmt::format("; {} {}{}: {}", resumes ? "still to read:" : "the run reads",
                      training.max_minutes > 0 ? "at most " : "", format_count(share * ahead.tokens),
                      passes_words(passes));
  const auto most = static_cast<double>(training.max_epochs);
  if (!resumes && most > 0 && passes > most) {
    passes = most;
    text += fmt::format(", of which training.max_epochs lets it do {}", training.max_epochs);
  }
  return text;
}

// What cannot be read is told when the run comes there.
std::optional<data::TextSize> size_of(const data::Source& source, const data::Share& share,
                                      const RunConfig& config, const text::Tokenizer& tokenizer) {
  try {
    return data::training_text_size(source, share, config.data, tokenizer);
  } catch (const UserError&) {
    return std::nullopt;
  }
}

int64_t bytes_of(const data::Source& source, const data::Share& share) {
  int64_t bytes = 0;
  for (int64_t unit = share.begin; unit < share.end; ++unit) bytes += source.unit_bytes(unit);
  return bytes;
}

}  // namespace

void expect_named_files(const RunConfig& config) {
  data::expect_places(config.data.mixture.empty() ? "data.source" : "data.mixture",
                      data::training_places(config.data));
  if (config.training.eval_every > 0)
    data::expect_places("data.validation_source", config.data.validation_source);
  for (const std::string& entry : config.training.tasks)
    if (const size_t equals = entry.find('='); equals != std::string::npos)
      data::expect_places("training.tasks", {entry.substr(equals + 1)});
}

TextOfRun text_of_run(const RunConfig& config, const data::Source& source, const text::Tokenizer& tokenizer,
                      int64_t ranks, int64_t step, int64_t tokens) {
  const std::vector<data::Share> shares = source.shares();
  const std::vector<std::string> places = data::training_places(config.data);
  const bool mixture = shares.size() > 1;
  const Ahead ahead = ahead_of(config, ranks, step, tokens);
  double weights = 0, most = 0;
  for (const data::Share& share : shares) weights += static_cast<double>(share.weight);
  TextOfRun text;
  for (size_t i = 0; i < shares.size(); ++i) {
    const bool remote =
        mixture ? data::is_remote(places[i]) : std::any_of(places.begin(), places.end(), data::is_remote);
    if (remote) continue;
    double passes = 0;
    const std::string words = words_of(config, size_of(source, shares[i], config, tokenizer), ahead,
                                       static_cast<double>(shares[i].weight) / weights, step > 0, passes);
    const size_t files = source.files().size();
    text.lines.push_back(
        fmt::format("text      {}{}{}", mixture ? places[i] + ": " : "",
                    format_bytes(static_cast<double>(bytes_of(source, shares[i]))),
                    mixture ? "" : fmt::format(" in {} file{}", files, files == 1 ? "" : "s")) +
        words);
    most = std::max(most, passes);
  }
  if (step == 0 && most > kManyPasses)
    text.warning = fmt::format(
        "the run reads {}its text {:.0f} times and will learn it by heart. Up to 4 passes are nearly as good "
        "as new text, and beyond {:.0f} a pass brings little (arXiv 2305.16264). Add text, or end the run "
        "earlier: training.max_epochs={:.0f}",
        mixture ? "a part of " : "", most, kManyPasses, kManyPasses);
  return text;
}

}  // namespace moe::train
