// SPDX-License-Identifier: MIT
// Documents in order, as tokens, made by several threads: one reads the next window while the workers
// tokenise pieces of this one, and the pieces leave in order. Two windows are in memory at a time.
#pragma once

#include <atomic>
#include <cstdint>
#include <exception>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "data/cursor.h"
#include "data/order.h"
#include "data/queue.h"
#include "data/source.h"
#include "text/tokenizer.h"

namespace moe {

// Some documents of one window, one after another.
struct TokenPiece {
  int64_t epoch = 0, window = 0, document = 0;  // of the first document
  std::vector<int32_t> ids;                     // for each document <|endoftext|>, then its tokens
  std::vector<int64_t> ends;                    // where each document ends in ids
  int64_t bytes = 0;                            // of text (of the file, where it holds tokens)
};

class TokenStream {
 public:
  // Begins with document start.document of window start.window (whole: start.token is the caller's affair).
  // The tokenizer must outlive it.
  TokenStream(Order order, const Tokenizer& tokenizer, int64_t workers, const Cursor& start);
  ~TokenStream();
  TokenStream(const TokenStream&) = delete;
  TokenStream& operator=(const TokenStream&) = delete;

  // Waits for the next piece. Nothing at the end of a pass, or after close(). Throws what a thread threw at
  // this place in the stream; after that there is nothing more.
  std::optional<TokenPiece> next();
  // From any thread: stop soon.
  void close();
  int64_t replaced() const { return replaced_; }  // invalid UTF-8 sequences so far

 private:
  struct Window {
    int64_t epoch = 0, number = 0;
    Documents documents;
    std::vector<uint32_t> order;
    size_t taken = 0;  // documents handed to workers
    std::exception_ptr error;
  };
  struct Task {
    int64_t number = 0;
    std::shared_ptr<const Window> window;  // none: the end of the stream
    size_t begin = 0, end = 0;
  };
  struct Output {
    TokenPiece piece;
    std::exception_ptr error;
    bool end = false;
  };

  void read_windows(const Cursor& start);
  std::shared_ptr<Window> read_window(const Order::Epoch& epoch, int64_t number, int64_t window);
  void work();
  std::optional<Task> take();
  Output tokenize(const Task& task, Tokenizer::Encoder& encoder);

  const Order order_;
  const Tokenizer& tokenizer_;
  Queue<std::shared_ptr<Window>> windows_{1};
  OrderedQueue<Output> pieces_;

  std::mutex take_mutex_;  // guards the next four
  std::shared_ptr<Window> current_;
  int64_t next_task_ = 0;
  bool no_more_ = false;
  bool ended_ = false;  // next() has seen the end or an error; used by its caller alone

  std::atomic<bool> closing_{false};
  std::atomic<int64_t> replaced_{0};
  std::vector<std::thread> threads_;
};

}  // namespace moe
