// SPDX-License-Identifier: MIT
// Batches, made in the background: one thread reads windows, data.num_workers threads tokenise, one packs,
// and up to data.prefetch_batches wait for the trainer. The stream of batches depends on the seed and the
// start alone.
#pragma once

#include <atomic>
#include <cstdint>
#include <exception>
#include <memory>
#include <optional>
#include <thread>

#include "data/batch.h"
#include "data/cursor.h"
#include "data/order.h"
#include "data/queue.h"
#include "data/source.h"

namespace moe {

class Packer;
class Tokenizer;
class TokenStream;

class Loader {
 public:
  // rows x length is the shape of a batch. The tokenizer must outlive the loader.
  Loader(std::shared_ptr<const Source> source, const Tokenizer& tokenizer, const DataConfig& config,
         uint64_t seed, int64_t rows, int64_t length, Cursor start, Part part);
  ~Loader();  // stops the threads; returns within about the time of reading one unit
  Loader(const Loader&) = delete;
  Loader& operator=(const Loader&) = delete;

  // The next batch; waits for it. Part::train never ends. The other parts end with std::nullopt, after a last
  // batch that is padded when the text does not fill it, so that every token counts once. Throws what the
  // threads threw (UserError for a bad file), after all batches before that place.
  std::optional<Batch> next();

  double waited_seconds() const { return waited_; }  // spent inside next() so far
  int64_t queued() const;                            // batches ready now
  int64_t replaced() const;                          // invalid UTF-8 sequences replaced by U+FFFD so far

 private:
  struct Item {
    Batch batch;
    std::exception_ptr error;
  };
  void pack();

  std::unique_ptr<TokenStream> stream_;
  std::unique_ptr<Packer> packer_;
  Queue<Item> ready_;
  double waited_ = 0;
  std::thread thread_;
};

}  // namespace moe
