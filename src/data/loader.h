// SPDX-License-Identifier: MIT
// Batches, made in the background: data.read_threads read units, data.num_workers tokenise, one thread packs,
// and up to data.prefetch_batches wait for the trainer. The stream of batches depends on the seed and the
// start alone.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <exception>
#include <memory>
#include <optional>
#include <thread>
#include <vector>

#include "base/shard.h"
#include "data/batch.h"
#include "data/cursor.h"
#include "data/interleave.h"
#include "data/order.h"
#include "data/queue.h"
#include "data/source.h"

namespace moe::text {
class Tokenizer;
}

namespace moe::data {

class Packer;
class TokenStreams;

class Loader {
 public:
  // rows x length is the shape of this rank's batches; a global batch has world * rows rows, the next ones of
  // the global stream (data/interleave.h), whatever the number of ranks. start: of all streams (merge() when
  // the run had several ranks). shard: of each global batch. The tokenizer must outlive the loader.
  Loader(const std::shared_ptr<const Source>& source, const text::Tokenizer& tokenizer,
         const DataConfig& config, uint64_t seed, int64_t rows, int64_t length, const Cursor& start,
         Part part, Shard shard = {});
  ~Loader();  // stops the threads
  Loader(const Loader&) = delete;
  Loader& operator=(const Loader&) = delete;

  // The next batch; waits for it. Part::train never ends. The other parts end with std::nullopt (on all ranks
  // at the same batch), after a last one that is padded when the text does not fill it, so that every token
  // counts once. Throws what the threads threw (UserError for a bad file), after all batches before that
  // place. While it waits the thread's net::StopScope counts: then it throws net::Cancelled.
  std::optional<Batch> next();
  // Waits at most so long. False: next() would wait.
  bool wait_for(std::chrono::milliseconds longest);

  double waited_seconds() const { return waited_; }  // spent inside next() and wait_for() so far
  int64_t queued() const;                            // batches ready now
  int64_t replaced() const;                          // invalid UTF-8 sequences replaced by U+FFFD so far
  int64_t text_bytes() const;                        // of documents read so far, before packing
  // Passes over each share that this rank's streams have completed at a place, or all streams:
  // Interleave::epochs.
  std::vector<int64_t> epochs(const Cursor& at) const { return interleave_.epochs(at, streams_); }
  std::vector<int64_t> epochs_of_all(const Cursor& at) const;
  const std::vector<int64_t>& streams() const { return streams_; }  // that this rank reads

 private:
  struct Item {
    Batch batch;
    std::exception_ptr error;
  };
  void pack();
  std::optional<Batch> pack_batch();
  Packer& packer(int64_t stream);

  const Shard shard_;
  const int64_t rows_, length_;
  const text::TokenId filler_;
  std::vector<int32_t> token_bytes_;  // bytes of text of each id
  Cursor cursor_;
  Interleave interleave_;
  std::vector<int64_t> streams_;
  std::unique_ptr<TokenStreams> tokens_;
  std::vector<std::unique_ptr<Packer>> packers_;  // of streams_
  bool ended_ = false;

  Queue<Item> ready_;
  double waited_ = 0;
  std::thread thread_;
};

}  // namespace moe::data
