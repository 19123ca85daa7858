// SPDX-License-Identifier: MIT
#include "data/tokenize.h"

#include <fmt/format.h>

#include <algorithm>
#include <system_error>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "base/progress.h"
#include "base/terminal.h"
#include "base/threads.h"
#include "data/config.h"
#include "data/held_out.h"
#include "data/order.h"
#include "data/source_bytes.h"
#include "data/token_file.h"
#include "data/token_streams.h"
#include "data/tokenize_state.h"
#include "text/gpt2_tokenizer.h"
#include "text/tokenizer.h"

namespace moe::data {
namespace {

std::filesystem::path state_file(const TokenizeOptions& options) {
  return options.folder / (options.prefix + "_state.json");
}

// What the shards depend on; with data.rules 1 as version 0.1 wrote it.
Json settings_of(const Source& source, const text::Tokenizer& tokenizer, const DataConfig& config,
                 const TokenizeOptions& options) {
  if (config.rules > 1) {
    Json settings{{"source", source.identity()},
                  {"shard_tokens", options.shard_tokens},
                  {"held_out", config.validation_source.empty() ? config.validation_fraction : 0}};
    // Of shards that say nothing of it, GPT-2 is the tokenizer.
    if (tokenizer.fingerprint() != text::Gpt2Tokenizer::kFacts.fingerprint)
      settings["tokenizer"] = text::fingerprint_text(tokenizer.fingerprint());
    return settings;
  }
  int64_t units = 0;
  for (const Share& share : source.shares()) units += std::ssize(held_out(source, share, config).units);
  return {
      {"source", source.old_identity()}, {"shard_tokens", options.shard_tokens}, {"held_out_units", units}};
}

// What version 0.1 began goes on as it began.
DataConfig as_begun(DataConfig config, const TokenizeOptions& options) {
  const auto file = state_file(options);
  if (!std::filesystem::exists(file)) return config;
  const auto state =
      try_parse_json(read_file(file));  // one that is damaged is refused by who goes on from it
  if (state && state->is_object() && state->contains("settings") &&
      state->at("settings").contains("held_out_units"))
    config.rules = 1;
  return config;
}

// The shards and, beside them, the state from which an interrupted run goes on.
class Shards {
 public:
  Shards(const Source& source, const text::Tokenizer& tokenizer, const DataConfig& config,
         const TokenizeOptions& options, Terminal& terminal)
      : options_(options),
        state_file_(state_file(options)),
        settings_(settings_of(source, tokenizer, config, options)),
        tokenizer_(tokenizer.facts()) {
    for (text::TokenId id = 0; id < tokenizer.vocabulary(); ++id)
      token_bytes_.push_back(static_cast<int64_t>(tokenizer.bytes(id).size()));
    make_folders(options.folder);
    if (!std::filesystem::exists(state_file_)) return;
    restore();
    go_back_to_damage(terminal);
  }

  bool done() const { return now_.done; }
  Part part() const { return now_.validation ? Part::validation : Part::train_once; }
  const StreamCursor& cursor() const { return now_.cursor; }
  const TokenizeCounts& counts() const { return now_.counts; }

  // Adds the tokens of one piece, but the first `skip` ones, which an earlier shard holds.
  void add(const TokenPiece& piece, int64_t skip) {
    int64_t begin = 0;
    for (size_t d = 0; d < piece.ends.size(); ++d) {
      for (int64_t at = begin + skip; at < piece.ends[d]; ++at) {
        if (full()) {
          write();
          now_.cursor = {piece.epoch, piece.window, piece.document + static_cast<int64_t>(d), at - begin};
          save();
        }
        const text::TokenId marked = piece.ids[static_cast<size_t>(at)], id = id_of(marked);
        ids_.push_back(id);
        bytes_ += token_bytes_[static_cast<size_t>(id)] - excess_of(marked);
        if (at == begin) ++now_.counts.documents;
      }
      begin = piece.ends[d];
      skip = 0;
    }
  }

  void end_part() {
    if (!ids_.empty()) write();
    now_.cursor = {};
    now_.done = !now_.validation;
    now_.validation = false;
    save();
  }

 private:
  bool full() const {
    const auto size = static_cast<int64_t>(ids_.size());
    if (now_.validation && size == kTokenFileMost)
      throw UserError("data.validation_fraction", fmt::format("at most {} held-out tokens", kTokenFileMost),
                      "more", "hold out a smaller part");
    return !now_.validation && size == options_.shard_tokens;
  }

  std::filesystem::path shard(bool validation, int64_t number) const {
    return options_.folder /
           fmt::format("{}_{}_{:06}.bin", options_.prefix, validation ? "val" : "train", number);
  }

  void write() {
    write_token_file(shard(now_.validation, now_.validation ? 0 : now_.next_shard), ids_, tokenizer_);
    begun_.push_back(saved_);
    if (!now_.validation) ++now_.next_shard;
    ++now_.counts.shards;
    now_.counts.tokens += static_cast<int64_t>(ids_.size());
    now_.counts.bytes += std::exchange(bytes_, 0);
    ids_.clear();
  }

  void save() {
    saved_ = now_;
    write_file_atomically(state_file_, to_json(TokenizeRecord{settings_, now_, begun_}));
  }

  void restore() {
    TokenizeRecord record = read_tokenize_record(state_file_.string(), read_file(state_file_));
    if (record.settings != settings_)
      throw UserError(state_file_.string(), fmt::format("the settings of this call, {}", settings_.dump()),
                      quote(record.settings), "write to another folder, or remove this file and its shards");
    now_ = saved_ = record.now;
    begun_ = std::move(record.begun);
  }

  // The state says which shards are finished. Where one is gone or cut, the work goes on from its beginning.
  // (Earlier versions did not note where shards begin: then from the very beginning.)
  void go_back_to_damage(Terminal& terminal) {
    const int64_t held_out = now_.counts.shards - (now_.next_shard - 1);
    int64_t tokens = 0;
    for (int64_t i = 0; i < now_.counts.shards; ++i) {
      const auto path = held_out > 0 && i == 0 ? shard(true, 0) : shard(false, i - held_out + 1);
      const int64_t present = tokens_in(path);
      tokens += std::max<int64_t>(present, 0);
      const int64_t noted = std::ssize(begun_) - (now_.counts.shards - i);  // its place there; negative: none
      const bool last = i + 1 == now_.counts.shards;
      const int64_t end = last         ? now_.counts.tokens
                          : noted < -1 ? tokens
                                       : begun_[static_cast<size_t>(noted + 1)].counts.tokens;
      if (present >= 0 && tokens == end) continue;
      terminal.warning(fmt::format("{}: {}; going on from there", path.string(),
                                   present < 0 ? "missing or damaged" : "not what the state file says"));
      now_ = saved_ = noted < 0 ? TokenizeState{} : begun_[static_cast<size_t>(noted)];
      begun_.resize(static_cast<size_t>(std::max<int64_t>(noted, 0)));
      return;
    }
  }

  // -1: it is no whole token file.
  static int64_t tokens_in(const std::filesystem::path& path) {
    try {
      return read_token_file_header(FileInput(path)).tokens;
    } catch (const UserError&) {
      return -1;
    }
  }

  const TokenizeOptions options_;
  const std::filesystem::path state_file_;
  const Json settings_;
  const text::TokenizerFacts tokenizer_;
  std::vector<int64_t> token_bytes_;  // bytes of text of each id
  std::vector<text::TokenId> ids_;    // of the shard being filled
  int64_t bytes_ = 0;                 // of the source, for these
  TokenizeState now_, saved_;         // and at the beginning of the shard being filled
  std::vector<TokenizeState> begun_;  // at the beginning of each finished shard
};

// What is still to read of one part.
int64_t remaining_bytes(const Order& order, const StreamCursor& cursor) {
  const Order::Epoch epoch = order.epoch(0);
  int64_t bytes = 0;
  if (cursor.window >= epoch.windows()) return bytes;
  for (auto i = static_cast<size_t>(epoch.begin[static_cast<size_t>(cursor.window)]); i < epoch.units.size();
       ++i)
    bytes += order.source().unit_bytes(epoch.units[i]);
  return bytes;
}

}  // namespace

TokenizeCounts tokenize(const std::shared_ptr<const Source>& source, const text::Tokenizer& tokenizer,
                        const DataConfig& settings, const TokenizeOptions& options, Terminal& terminal) {
  if (options.shard_tokens < 1 || options.shard_tokens > kTokenFileMost)
    throw UserError("tokens per shard", fmt::format("1 to {}", kTokenFileMost),
                    std::to_string(options.shard_tokens));
  const int64_t threads = options.threads > 0 ? options.threads : available_cores();
  const DataConfig config = as_begun(settings, options);
  Shards shards(*source, tokenizer, config, options, terminal);
  int64_t replaced = 0;
  while (!shards.done()) {
    const StreamCursor start = shards.cursor();
    const Order order(source, config, 0, shards.part());
    Progress progress(terminal, shards.part() == Part::validation ? "tokenising held-out text" : "tokenising",
                      static_cast<uint64_t>(remaining_bytes(order, start)), "bytes");
    TokenStreams stream({{order, start}}, tokenizer, threads, config.read_threads);
    int64_t skip = start.token;
    while (const auto piece = stream.next(0)) {
      shards.add(*piece, skip);
      skip = 0;
      progress.add(static_cast<uint64_t>(piece->bytes));
    }
    shards.end_part();
    replaced += stream.replaced();
    if (order.epoch(0).windows() > 0) progress.done();
  }
  TokenizeCounts counts = shards.counts();
  counts.replaced = replaced;
  return counts;
}

}  // namespace moe::data
