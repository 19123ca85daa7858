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
#include "data/cursor.h"
#include "data/held_out.h"
#include "data/order.h"
#include "data/token_file.h"
#include "data/token_streams.h"
#include "text/tokenizer.h"

namespace moe {
namespace {

std::filesystem::path state_file(const TokenizeOptions& options) {
  return options.folder / (options.prefix + "_state.json");
}

// What the shards depend on; with data.rules 1 as version 0.1 wrote it.
Json settings_of(const Source& source, const DataConfig& config, const TokenizeOptions& options) {
  if (config.rules > 1)
    return {{"source", source.identity()},
            {"shard_tokens", options.shard_tokens},
            {"held_out", config.validation_source.empty() ? config.validation_fraction : 0}};
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
  Shards(const Source& source, const Tokenizer& tokenizer, const DataConfig& config,
         const TokenizeOptions& options)
      : options_(options), state_file_(state_file(options)), settings_(settings_of(source, config, options)) {
    for (int32_t id = 0; id < Tokenizer::kVocabulary; ++id)
      token_bytes_.push_back(static_cast<int64_t>(tokenizer.bytes(id).size()));
    make_folders(options.folder);
    if (std::filesystem::exists(state_file_)) restore();
  }

  bool done() const { return done_; }
  Part part() const { return validation_ ? Part::validation : Part::train_once; }
  const StreamCursor& cursor() const { return cursor_; }  // of the first token that no shard holds
  const TokenizeCounts& counts() const { return counts_; }

  // Adds the tokens of one piece, but the first `skip` ones, which an earlier shard holds.
  void add(const TokenPiece& piece, int64_t skip) {
    int64_t begin = 0;
    for (size_t d = 0; d < piece.ends.size(); ++d) {
      for (int64_t at = begin + skip; at < piece.ends[d]; ++at) {
        if (full()) {
          write();
          cursor_ = {piece.epoch, piece.window, piece.document + static_cast<int64_t>(d), at - begin};
          save();
        }
        ids_.push_back(static_cast<uint16_t>(piece.ids[static_cast<size_t>(at)]));
        if (at == begin) ++counts_.documents;
      }
      begin = piece.ends[d];
      skip = 0;
    }
  }

  void end_part() {
    if (!ids_.empty()) write();
    cursor_ = {};
    done_ = !validation_;
    validation_ = false;
    save();
  }

 private:
  bool full() const {
    const auto size = static_cast<int64_t>(ids_.size());
    if (validation_ && size == kTokenFileMost)
      throw UserError("data.validation_fraction", fmt::format("at most {} held-out tokens", kTokenFileMost),
                      "more", "hold out a smaller part");
    return !validation_ && size == options_.shard_tokens;
  }

  void write() {
    const std::string name = fmt::format("{}_{}_{:06}.bin", options_.prefix, validation_ ? "val" : "train",
                                         validation_ ? 0 : next_shard_);
    write_token_file(options_.folder / name, ids_);
    if (!validation_) ++next_shard_;
    ++counts_.shards;
    counts_.tokens += static_cast<int64_t>(ids_.size());
    for (const uint16_t id : ids_) counts_.bytes += token_bytes_[id];
    ids_.clear();
  }

  void save() const {
    const Json state{
        {"settings", settings_},          {"validation", validation_}, {"done", done_},
        {"cursor", Cursor{{cursor_}}},    {"next_shard", next_shard_}, {"shards", counts_.shards},
        {"documents", counts_.documents}, {"tokens", counts_.tokens},  {"bytes", counts_.bytes}};
    write_file_atomically(state_file_, state.dump(2) + "\n");
  }

  void restore() {
    constexpr const char* kAgain = "remove this file and its shards to begin again";
    const Json json = parse_json(state_file_.string(), read_file(state_file_), kAgain);
    const JsonFields state(state_file_.string(), json, kAgain);
    if (state.at("settings") != settings_)
      throw UserError(state_file_.string(), fmt::format("the settings of this call, {}", settings_.dump()),
                      state.at("settings").dump(),
                      "write to another folder, or remove this file and its shards");
    validation_ = state.flag("validation");
    done_ = state.flag("done");
    const auto cursor = state.at("cursor").get<Cursor>();
    if (cursor.streams.size() == 1) cursor_ = cursor.streams[0];
    next_shard_ = state.whole("next_shard");
    counts_.documents = state.whole("documents");
    counts_.tokens = state.whole("tokens");
    counts_.bytes = state.whole("bytes");
    counts_.shards = state.whole("shards");
  }

  const TokenizeOptions options_;
  const std::filesystem::path state_file_;
  const Json settings_;
  std::vector<int64_t> token_bytes_;  // bytes of text of each id
  std::vector<uint16_t> ids_;         // of the shard being filled
  bool validation_ = true, done_ = false;
  StreamCursor cursor_;
  int64_t next_shard_ = 1;  // shard 0 is the held-out text, whatever its length
  TokenizeCounts counts_;
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

TokenizeCounts tokenize(const std::shared_ptr<const Source>& source, const Tokenizer& tokenizer,
                        const DataConfig& settings, const TokenizeOptions& options, Terminal& terminal) {
  if (options.shard_tokens < 1 || options.shard_tokens > kTokenFileMost)
    throw UserError("tokens per shard", fmt::format("1 to {}", kTokenFileMost),
                    std::to_string(options.shard_tokens));
  const int64_t threads = options.threads > 0 ? options.threads : available_cores();
  const DataConfig config = as_begun(settings, options);
  Shards shards(*source, tokenizer, config, options);
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

}  // namespace moe
