// SPDX-License-Identifier: MIT
#include "data/conversation_source.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "base/error.h"
#include "base/lines.h"
#include "data/file_source.h"
#include "data/jsonl.h"
#include "data/parquet_rows.h"
#include "data/source_bytes.h"
#include "data/text.h"

namespace moe::data {
namespace {

// A template may ask for the day. That of training is always the same: a run goes on with the same ids.
constexpr int64_t kDay = 1721952000;  // 26 July 2024

bool has_answer(const text::ChatTokens& tokens) {
  return std::find(tokens.answer.begin(), tokens.answer.end(), 1) != tokens.answer.end();
}

// How many messages there are up to and with each answer.
std::vector<size_t> ends_of_answers(const text::Conversation& conversation) {
  std::vector<size_t> ends;
  for (size_t i = 0; i < conversation.messages.size(); ++i)
    if (conversation.messages[i].value("role", "") == "assistant") ends.push_back(i + 1);
  return ends;
}

class Lines : public FileSource {
 public:
  Lines(const DataFilePtr& file, ConversationEncoderPtr encoder, int64_t unit_bytes,
        std::shared_ptr<Complaints> complaints)
      : FileSource(file, unit_bytes, "jsonl " + encoder->description()),
        encoder_(std::move(encoder)),
        complaints_(std::move(complaints)) {}

 private:
  void read_range(const Input& input, int64_t begin, int64_t end, Documents& documents) const override {
    const auto encoder = encoder_->chat().tokenizer().encoder();
    read_lines(input, begin, end, complaints_.get(), [&](std::string_view line) -> std::optional<BadRow> {
      try {
        encoder_->add(line, *encoder, documents);
      } catch (const BadExample& bad) {
        return bad.row;
      }
      return std::nullopt;
    });
  }

  ConversationEncoderPtr encoder_;
  std::shared_ptr<Complaints> complaints_;
};

class Rows : public Source {
 public:
  Rows(DataFilePtr file, ConversationEncoderPtr encoder, std::shared_ptr<Complaints> complaints)
      : file_(std::move(file)),
        rows_(file_, {"messages", "conversations", "instruction", "input", "output", "prompt", "completion",
                      "system", "tools"}),
        encoder_(std::move(encoder)),
        complaints_(std::move(complaints)) {}

  int64_t units() const override { return rows_.row_groups(); }
  int64_t unit_bytes(int64_t unit) const override { return rows_.bytes(unit); }
  int64_t rows() const override {
    int64_t count = 0;
    for (int64_t unit = 0; unit < units(); ++unit) count += rows_.rows(unit);
    return count;
  }
  void read(int64_t unit, Documents& documents) const override {
    const auto encoder = encoder_->chat().tokenizer().encoder();
    int64_t row = 0;
    for (int64_t before = 0; before < unit; ++before) row += rows_.rows(before);
    for (const std::string& line : rows_.read(unit)) {
      ++row;
      try {
        encoder_->add(line, *encoder, documents);
      } catch (const BadExample& bad) {
        const auto place = [&] { return fmt::format("{}, row {}", file_->name(), row); };
        complaints_->bad_row(file_->name(), row, bad.row, place);
      }
    }
  }
  std::string identity() const override { return identity_with(file_->identity()); }
  std::string old_identity() const override { return identity_with(file_->old_identity()); }
  std::vector<DataFilePtr> files() const override { return {file_}; }

 private:
  std::string identity_with(const std::string& file) const {
    return fmt::format("{} parquet {} {} {}", file, encoder_->description(), units(), rows());
  }

  DataFilePtr file_;
  ParquetRowReader rows_;
  ConversationEncoderPtr encoder_;
  std::shared_ptr<Complaints> complaints_;
};

}  // namespace

std::string words_of(const ConversationCounts& counts) {
  if (counts.cut + counts.too_long + counts.without_answer + counts.unmarked == 0) return {};
  std::string words = fmt::format("of {} conversations", counts.read);
  const auto add = [&](int64_t count, const std::string& what) {
    if (count > 0) words += fmt::format("{} {}", words.ends_with("conversations") ? "" : ",", what);
  };
  add(counts.cut,
      fmt::format("{} were longer than a row and lost {} turns at their ends", counts.cut, counts.turns_cut));
  add(counts.too_long,
      fmt::format("{} were left out, whose first answer ends behind a row", counts.too_long));
  add(counts.without_answer, fmt::format("{} were left out, which have no answer", counts.without_answer));
  add(counts.unmarked,
      fmt::format("{} answers are not learned, as the template writes them otherwise in the end",
                  counts.unmarked));
  return words;
}

ConversationEncoder::ConversationEncoder(const DataConfig& config, Terminal& terminal)
    : format_(config.conversations),
      learned_(config.learned),
      special_(config.special_text),
      length_(config.row_length),
      chat_(config.open_chat()),
      terminal_(terminal) {}

ConversationEncoder::~ConversationEncoder() {
  if (const std::string words = words_of(counts()); !words.empty()) terminal_.warning(words);
}

ConversationCounts ConversationEncoder::counts() const {
  const Counters& c = counters_;
  return {.read = c.read,
          .tokens = c.tokens,
          .learned = c.learned,
          .cut = c.cut,
          .turns_cut = c.turns_cut,
          .too_long = c.too_long,
          .without_answer = c.without_answer,
          .unmarked = c.unmarked};
}

std::string ConversationEncoder::description() const {
  return fmt::format("conversations {} {} {} {} {}", name_of(format_), name_of(learned_), name_of(special_),
                     length_, text::fingerprint_text(chat_->fingerprint()));
}

text::ChatTokens ConversationEncoder::tokens_of(const Example& example,
                                                text::Tokenizer::Encoder& encoder) const {
  if (!example.plain) return chat_->encode(example.conversation, false, encoder, special_);
  text::ChatTokens tokens;
  const text::TokenId end = chat_->tokenizer().end_of_text();
  tokens.ids.push_back(end);
  encoder.encode(example.prompt, tokens.ids);
  tokens.answer.assign(tokens.ids.size(), 0);
  encoder.encode(example.completion, tokens.ids);
  tokens.ids.push_back(end);
  tokens.answer.resize(tokens.ids.size(), 1);
  return tokens;
}

// To the last answer that fits. False where none does.
bool ConversationEncoder::shorten(text::Conversation& conversation, text::ChatTokens& tokens,
                                  text::Tokenizer::Encoder& encoder) const {
  const std::vector<size_t> ends = ends_of_answers(conversation);
  const auto first_of = [&](size_t count) {
    text::Conversation part = conversation;
    part.messages.erase(part.messages.begin() + static_cast<std::ptrdiff_t>(count), part.messages.end());
    return part;
  };
  const auto fits = [&](size_t end) {
    tokens = chat_->encode(first_of(end), false, encoder, special_);
    return std::ssize(tokens.ids) <= length_;
  };
  const auto longer = std::partition_point(ends.begin(), ends.end(), fits);
  if (longer == ends.begin()) return false;
  const size_t kept = *std::prev(longer), turns = conversation.messages.size() - kept;
  conversation = first_of(kept);
  tokens = chat_->encode(conversation, false, encoder, special_);
  ++counters_.cut;
  counters_.turns_cut += static_cast<int64_t>(turns);
  return true;
}

std::vector<text::TokenId> ConversationEncoder::encode(const Example& example,
                                                       text::Tokenizer::Encoder& encoder) const {
  ++counters_.read;
  Example fitting = example;
  fitting.conversation.time = kDay;
  text::ChatTokens tokens = tokens_of(fitting, encoder);
  const bool too_long = length_ > 0 && std::ssize(tokens.ids) > length_;
  if (too_long && (fitting.plain || !shorten(fitting.conversation, tokens, encoder))) {
    ++counters_.too_long;
    return {};
  }
  if (tokens.ids.size() < 2 || (learned_ == Learned::answers && !has_answer(tokens))) {
    ++counters_.without_answer;
    return {};
  }
  counters_.unmarked += tokens.unmarked;
  counters_.tokens += std::ssize(tokens.ids);
  for (size_t i = 0; i < tokens.ids.size(); ++i) {
    const bool learned = i > 0 && (learned_ == Learned::all || tokens.answer[i] != 0);
    if (learned) ++counters_.learned;
    if (!learned) tokens.ids[i] |= kGiven;
  }
  return std::move(tokens.ids);
}

void ConversationEncoder::add(std::string_view json, text::Tokenizer::Encoder& encoder,
                              Documents& documents) const {
  OrderedJson object;
  try {
    object = parse_ordered_json("the line", json);
  } catch (const UserError& error) {
    throw BadExample{{error.expected, error.found, error.hint}};
  }
  const Example example = read_example(object, format_);
  std::vector<text::TokenId> ids;
  try {
    ids = encode(example, encoder);
  } catch (const UserError& error) {  // of the template
    throw BadExample{{"a conversation that the template takes", error.where + ": " + error.found,
                      "data.bad_rows=skip leaves such out and counts them"}};
  }
  if (!ids.empty()) documents.add_conversation(ids);
}

std::unique_ptr<Source> conversation_lines(const DataFilePtr& file, ConversationEncoderPtr encoder,
                                           int64_t unit_bytes, std::shared_ptr<Complaints> complaints) {
  return std::make_unique<Lines>(file, std::move(encoder), unit_bytes, std::move(complaints));
}

std::unique_ptr<Source> conversation_rows(const DataFilePtr& file, ConversationEncoderPtr encoder,
                                          std::shared_ptr<Complaints> complaints) {
  return std::make_unique<Rows>(file, std::move(encoder), std::move(complaints));
}

}  // namespace moe::data
