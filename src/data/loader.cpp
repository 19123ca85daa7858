// SPDX-License-Identifier: MIT
#include "data/loader.h"

#include <chrono>
#include <utility>

#include "base/error.h"
#include "data/config.h"
#include "data/packer.h"
#include "data/token_stream.h"
#include "text/tokenizer.h"

namespace moe {

Loader::Loader(std::shared_ptr<const Source> source, const Tokenizer& tokenizer, const DataConfig& config,
               uint64_t seed, int64_t rows, int64_t length, Cursor start, Part part)
    : stream_(std::make_unique<TokenStream>(Order(std::move(source), config, seed, part), tokenizer,
                                            config.num_workers, start)),
      packer_(std::make_unique<Packer>([this] { return stream_->next(); }, tokenizer, rows, length,
                                       config.document_mask, start)),
      ready_(static_cast<size_t>(config.prefetch_batches)),
      thread_([this] { pack(); }) {}

Loader::~Loader() {
  stream_->close();
  ready_.close();
  thread_.join();
}

void Loader::pack() {
  try {
    while (auto batch = packer_->next())
      if (!ready_.push({std::move(*batch), nullptr})) return;
  } catch (...) {
    ready_.push({{}, std::current_exception()});
  }
  ready_.close();
}

std::optional<Batch> Loader::next() {
  const auto begin = std::chrono::steady_clock::now();
  auto item = ready_.pop();
  waited_ += std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  if (!item) return std::nullopt;
  if (item->error) std::rethrow_exception(item->error);
  return std::move(item->batch);
}

int64_t Loader::queued() const {
  return static_cast<int64_t>(ready_.size());
}

int64_t Loader::replaced() const {
  return stream_->replaced();
}

}  // namespace moe
