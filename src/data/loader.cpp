// SPDX-License-Identifier: MIT
#include "data/loader.h"

#include <algorithm>
#include <chrono>
#include <numeric>
#include <utility>

#include "base/error.h"
#include "base/start_thread.h"
#include "data/config.h"
#include "data/packer.h"
#include "data/source_bytes.h"
#include "data/token_streams.h"
#include "net/stop_scope.h"
#include "text/tokenizer.h"

namespace moe::data {

Loader::Loader(const std::shared_ptr<const Source>& source, const text::Tokenizer& tokenizer,
               const DataConfig& config, uint64_t seed, int64_t rows, int64_t length, const Cursor& start,
               Part part, Shard shard)
    : shard_(shard),
      rows_(rows),
      length_(length),
      filler_(tokenizer.facts().filler()),
      cursor_(start),
      interleave_(layout(*source, config, part), start),
      streams_(interleave_.read_by(shard.rank, shard.world, rows)),
      ready_(static_cast<size_t>(config.prefetch_batches)) {
  CHECK(rows >= 1 && length >= 1 && shard.rank >= 0 && shard.rank < shard.world);
  for (text::TokenId id = 0; id < tokenizer.vocabulary(); ++id)
    token_bytes_.push_back(static_cast<int32_t>(tokenizer.bytes(id).size()));
  cursor_.streams.resize(static_cast<size_t>(layout(*source, config, part).streams()));

  const Packer::Options options{config.packing, length, config.document_mask, tokenizer.end_of_text()};
  std::vector<TokenStreams::Stream> streams;
  for (size_t i = 0; i < streams_.size(); ++i) {
    const Order order(source, config, seed, part, streams_[i]);
    const StreamCursor& from = cursor_.streams[static_cast<size_t>(streams_[i])];
    packers_.push_back(Packer::make(
        options, [this, i] { return tokens_->next(i); },
        [order](int64_t epoch, int64_t window, uint32_t count) {
          return order.permutation("rows", epoch, window, count);
        },
        from));
    streams.push_back({order, Packer::stream_start(options.packing, from)});
  }
  tokens_ =
      std::make_unique<TokenStreams>(std::move(streams), tokenizer, config.num_workers, config.read_threads);
  thread_ = start_thread([this] { pack(); });
}

Loader::~Loader() {
  tokens_->close();
  ready_.close();
  thread_.join();
}

void Loader::pack() {
  std::exception_ptr error;  // given away after the handler: then this thread is done with it
  try {
    while (auto batch = pack_batch())
      if (!ready_.push({std::move(*batch), nullptr})) return;
  } catch (...) {
    error = std::current_exception();
  }
  if (error) ready_.push({{}, std::move(error)});
  ready_.close();
}

Packer& Loader::packer(int64_t stream) {
  const auto place = std::lower_bound(streams_.begin(), streams_.end(), stream) - streams_.begin();
  return *packers_[static_cast<size_t>(place)];
}

// Packs the rows of the streams that this rank reads and keeps its own: the others move the cursor on.
std::optional<Batch> Loader::pack_batch() {
  if (ended_) return std::nullopt;
  std::vector<int64_t> columns, streams;
  for (int64_t i = 0; i < shard_.world * rows_; ++i) {
    const Interleave::Row row = interleave_.next();
    columns.push_back(row.column);
    streams.push_back(row.stream);
  }
  std::vector<int64_t> place(columns.size(), -1);  // in this rank's batch
  const auto mine = rows_of_rank(columns, shard_.rank, shard_.world);
  for (size_t i = 0; i < mine.size(); ++i) place[static_cast<size_t>(mine[i])] = static_cast<int64_t>(i);

  Batch batch;
  batch.rows = rows_;
  batch.length = length_;
  const auto size = static_cast<size_t>((rows_ + 1) * length_);  // one more row, for those of other ranks
  batch.input.assign(size, filler_);
  batch.target.assign(size, -1);
  batch.first.assign(size, -1);
  const auto length = static_cast<size_t>(length_);
  int64_t of_all = 0;  // targets of any rank, as far as this one sees
  for (size_t i = 0; i < columns.size() && !ended_; ++i) {
    if (!std::binary_search(streams_.begin(), streams_.end(), streams[i])) continue;
    const auto begin = static_cast<size_t>(place[i] < 0 ? rows_ : place[i]) * length;
    BatchRow row{std::span(batch.input).subspan(begin, length),
                 std::span(batch.target).subspan(begin, length),
                 std::span(batch.first).subspan(begin, length)};
    ended_ = !packer(streams[i]).fill(row);
    of_all += row.targets;
    if (place[i] >= 0) batch.targets += row.targets;
  }
  if (of_all == 0) return std::nullopt;
  for (auto* array : {&batch.input, &batch.target, &batch.first}) array->resize(size - length);
  for (text::TokenId& input : batch.input) input = id_of(input);
  for (text::TokenId& target : batch.target) {
    if (target < 0) continue;
    const auto id = static_cast<size_t>(id_of(target));
    // The tokens that a template adds to a vocabulary stand for no bytes of a text.
    batch.target_bytes += (id < token_bytes_.size() ? token_bytes_[id] : 0) - excess_of(target);
    target = id_of(target);
  }
  for (size_t i = 0; i < streams_.size(); ++i)
    cursor_.streams[static_cast<size_t>(streams_[i])] = packers_[i]->cursor();
  batch.after = cursor_;
  return batch;
}

bool Loader::wait_for(std::chrono::milliseconds longest) {
  const auto begin = std::chrono::steady_clock::now();
  const bool ready = ready_.wait_for(longest);
  waited_ += std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  return ready;
}

std::optional<Batch> Loader::next() {
  while (!wait_for(std::chrono::milliseconds(200)))
    if (net::StopScope::current().stop_requested()) throw net::Cancelled();
  auto item = ready_.pop();
  if (!item) return std::nullopt;
  if (item->error) std::rethrow_exception(item->error);
  return std::move(item->batch);
}

std::vector<int64_t> Loader::epochs_of_all(const Cursor& at) const {
  std::vector<int64_t> streams(cursor_.streams.size());
  std::iota(streams.begin(), streams.end(), 0);
  return interleave_.epochs(at, streams);
}

int64_t Loader::queued() const {
  return static_cast<int64_t>(ready_.size());
}

int64_t Loader::replaced() const {
  return tokens_->replaced();
}

int64_t Loader::text_bytes() const {
  return tokens_->text_bytes();
}

}  // namespace moe::data
