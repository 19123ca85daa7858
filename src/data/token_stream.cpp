// SPDX-License-Identifier: MIT
#include "data/token_stream.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/error.h"

namespace moe {
namespace {

// Text a worker takes at once: small enough that workers share a window evenly, large enough that locks are
// rare.
constexpr int64_t kPieceBytes = 64 << 10;

[[noreturn]] void refuse(const char* what, int64_t wanted, int64_t present) {
  throw UserError("data cursor", fmt::format("{} {}", what, wanted), fmt::format("{} of them", present),
                  "the data or its settings differ from those of the run that wrote the checkpoint");
}

}  // namespace

TokenStream::TokenStream(Order order, const Tokenizer& tokenizer, int64_t workers, const Cursor& start)
    : order_(std::move(order)), tokenizer_(tokenizer), pieces_(2 * workers + 2) {
  CHECK(workers >= 1);
  threads_.emplace_back([this, start] { read_windows(start); });
  for (int64_t i = 0; i < workers; ++i) threads_.emplace_back([this] { work(); });
}

TokenStream::~TokenStream() {
  close();
  for (std::thread& thread : threads_) thread.join();
}

void TokenStream::close() {
  closing_ = true;
  windows_.close();
  pieces_.close();
}

std::optional<TokenPiece> TokenStream::next() {
  if (ended_) return std::nullopt;
  auto output = pieces_.pop();
  ended_ = !output || output->end || output->error;
  if (output && output->error) std::rethrow_exception(output->error);
  if (ended_) return std::nullopt;
  return std::move(output->piece);
}

void TokenStream::read_windows(const Cursor& start) {
  try {
    for (int64_t number = start.epoch;; ++number) {
      const Order::Epoch epoch = order_.epoch(number);
      const bool resumed = number == start.epoch;
      const int64_t first = resumed ? start.window : 0;
      if (first > 0 && first >= epoch.windows()) refuse("window", first, epoch.windows());
      size_t documents = 0;
      for (int64_t w = first; w < epoch.windows(); ++w) {
        if (!windows_.wait_for_room()) return;
        auto window = read_window(epoch, number, w);
        const size_t count = window->order.size();
        if (resumed && w == first && (start.document > 0 || start.token > 0)) {
          window->taken = static_cast<size_t>(start.document);
          if (window->taken >= count) refuse("document", start.document, static_cast<int64_t>(count));
        }
        documents += count;
        if (!windows_.push(std::move(window))) return;
      }
      if (!order_.endless()) break;
      if (first == 0 && documents == 0)
        throw UserError("data.source", "documents with text", "none in the whole training part",
                        "are all of them empty or null?");
    }
  } catch (...) {
    auto window = std::make_shared<Window>();
    window->error = std::current_exception();
    windows_.push(std::move(window));
  }
  windows_.close();
}

std::shared_ptr<TokenStream::Window> TokenStream::read_window(const Order::Epoch& epoch, int64_t number,
                                                              int64_t w) {
  auto window = std::make_shared<Window>();
  window->epoch = number;
  window->number = w;
  for (int64_t i = epoch.begin[static_cast<size_t>(w)];
       i < epoch.begin[static_cast<size_t>(w) + 1] && !closing_; ++i)
    order_.source().read(epoch.units[static_cast<size_t>(i)], window->documents);
  const int64_t count = window->documents.size();
  CHECK(count < (int64_t{1} << 32));
  window->order = order_.documents(number, w, static_cast<uint32_t>(count));
  return window;
}

// The next documents to tokenise, one worker at a time; nothing when there are no more.
std::optional<TokenStream::Task> TokenStream::take() {
  const std::lock_guard lock(take_mutex_);
  while (!no_more_ && (!current_ || (!current_->error && current_->taken == current_->order.size()))) {
    auto window = windows_.pop();
    if (closing_) return std::nullopt;
    no_more_ = !window.has_value();
    if (no_more_) return Task{next_task_++, nullptr};
    current_ = std::move(*window);
  }
  if (no_more_) return std::nullopt;
  Task task{next_task_++, current_, current_->taken, current_->taken};
  if (current_->error) {
    no_more_ = true;
    return task;
  }
  for (int64_t bytes = 0; task.end < current_->order.size() && bytes < kPieceBytes; ++task.end)
    bytes += current_->documents.bytes(current_->order[task.end]);
  current_->taken = task.end;
  return task;
}

void TokenStream::work() {
  Tokenizer::Encoder encoder;
  uint64_t counted = 0;
  while (auto task = take()) {
    const int64_t number = task->number;
    Output output;
    try {
      output = tokenize(*task, encoder);
    } catch (...) {
      output.error = std::current_exception();
    }
    task.reset();  // a finished window need not wait in memory for its place in the queue
    replaced_ += static_cast<int64_t>(encoder.replaced() - counted);
    counted = encoder.replaced();
    if (!pieces_.push(number, std::move(output))) return;
  }
}

TokenStream::Output TokenStream::tokenize(const Task& task, Tokenizer::Encoder& encoder) {
  Output output;
  output.end = task.window == nullptr;
  if (output.end) return output;
  const Window& window = *task.window;
  output.error = window.error;
  TokenPiece& piece = output.piece;
  piece.epoch = window.epoch;
  piece.window = window.number;
  piece.document = static_cast<int64_t>(task.begin);
  for (size_t i = task.begin; i < task.end; ++i) {
    const int64_t document = window.order[i];
    const auto ids = window.documents.ids(document);
    piece.ids.push_back(Tokenizer::kEndOfText);
    piece.ids.insert(piece.ids.end(), ids.begin(), ids.end());
    tokenizer_.encode(window.documents.text(document), piece.ids, encoder);
    piece.ends.push_back(static_cast<int64_t>(piece.ids.size()));
    piece.bytes += window.documents.bytes(document);
  }
  return output;
}

}  // namespace moe
