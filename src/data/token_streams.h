// SPDX-License-Identifier: MIT
// Documents in order, as tokens, for one or more streams (data/interleave.h), made by threads that all
// streams share: some read units ahead, others tokenise pieces of the windows that are read. Pieces of a
// stream leave in order. At most two windows of each stream are in memory at a time.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <exception>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>
#include <thread>
#include <vector>

#include "data/cursor.h"
#include "data/order.h"
#include "data/source.h"
#include "text/tokenizer.h"

namespace moe::data {

// Some documents of one window, one after another.
struct TokenPiece {
  int64_t epoch = 0, window = 0, document = 0;  // of the first document
  std::vector<text::TokenId> ids;  // for each document end of text, then its tokens, marked as in
                                   // data/source_bytes.h
  std::vector<int64_t> ends;       // where each document ends in ids
  int64_t bytes = 0;               // of text (of the file, where it holds tokens)
  bool last = false;               // of its window; may hold no documents then
  bool whole = false;              // of a stream that reads all its share: StreamCursor::whole
};

class TokenStreams {
 public:
  struct Stream {
    Order order;
    // Begins with document start.document of window start.window, whole; after the window's last document it
    // begins with the next window.
    StreamCursor start;
  };
  // The tokenizer must outlive it. tokenizers, readers: threads, at least one each.
  TokenStreams(std::vector<Stream> streams, const text::Tokenizer& tokenizer, int64_t tokenizers,
               int64_t readers);
  ~TokenStreams();  // waits for units that are being read from files, not for the network
  TokenStreams(const TokenStreams&) = delete;
  TokenStreams& operator=(const TokenStreams&) = delete;

  // Waits for the stream's next piece. Nothing at the end of a pass, or after close(). Throws what a thread
  // threw at this place in the stream; after that there is nothing more. For one caller's thread.
  std::optional<TokenPiece> next(size_t stream);
  void close();  // from any thread: stop soon

  int64_t replaced() const;    // invalid UTF-8 sequences so far
  int64_t text_bytes() const;  // of documents read so far

 private:
  struct Window {
    int64_t epoch = 0, number = 0;
    std::vector<int64_t> units;
    bool whole = false;            // of an epoch with all units of the share
    size_t begun = 0, read = 0;    // units
    std::vector<Documents> parts;  // of each unit
    std::vector<int64_t> first;    // number of each part's first document, and of all documents
    std::vector<uint32_t> order;
    size_t taken = 0;  // documents handed to tokenizers
    bool ready = false;
    std::exception_ptr error;
    std::pair<const Documents*, int64_t> document(size_t place) const;
  };
  struct Output {
    TokenPiece piece;
    std::exception_ptr error;
    bool end = false;
  };
  struct State {
    explicit State(Stream stream);
    Order order;
    StreamCursor start;
    bool whole;          // the epoch has all units of the share
    Order::Epoch epoch;  // whose windows are planned
    int64_t epoch_number = 0, next_window = 0;
    bool found;                // documents, in the epoch so far
    bool planned_all = false;  // no more windows
    std::deque<std::shared_ptr<Window>> windows;
    bool taken_all = false;  // no more tasks
    int64_t next_task = 0, next_out = 0;
    std::map<int64_t, Output> pieces;
    bool ended = false;  // next() has seen the end or an error
  };
  struct Task {
    size_t stream = 0;
    int64_t number = 0;
    std::shared_ptr<const Window> window;  // none: the output is ready
    size_t begin = 0, end = 0;
    Output output;
  };
  struct Read {
    State* state = nullptr;
    std::shared_ptr<Window> window;
    size_t unit = 0;
  };

  void read();
  std::optional<Read> find_read();
  bool plan(State& state);
  bool plan_epoch(State& state);
  void finish(const Read& read, Documents documents, const std::exception_ptr& error,
              std::unique_lock<std::mutex>& lock);
  void order_documents(const State& state, Window& window) const;
  void tokenize();
  std::optional<Task> find_task();
  std::optional<Task> take(State& state);
  void tokenize(Task& task, text::Tokenizer::Encoder& encoder) const;

  const text::Tokenizer& tokenizer_;
  int64_t ahead_;  // pieces of a stream, made and waiting or being made

  mutable std::mutex mutex_;  // guards all below
  std::condition_variable to_read_, to_tokenize_, to_give_;
  std::vector<State> states_;
  bool closing_ = false;
  std::vector<bool> empty_;  // units known to hold no documents: they are not read again
  int64_t replaced_ = 0, text_bytes_ = 0;

  std::stop_source stop_;              // ends network calls of the readers
  std::vector<std::jthread> threads_;  // last: they use what is above
};

}  // namespace moe::data
