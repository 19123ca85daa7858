// SPDX-License-Identifier: MIT
#include "data/token_streams.h"

#include <fmt/format.h>

#include <algorithm>
#include <span>
#include <utility>

#include "base/error.h"
#include "base/start_thread.h"
#include "data/source_bytes.h"
#include "net/stop_scope.h"

namespace moe::data {
namespace {

// Text a thread takes at once: small enough that they share a window evenly, large enough that locks are
// rare.
constexpr int64_t kPieceBytes = 64 << 10;
constexpr size_t kWindowsAhead = 2;

[[noreturn]] void refuse(const char* what, int64_t wanted, int64_t present) {
  throw UserError("data cursor", fmt::format("{} {}", what, wanted), fmt::format("{} of them", present),
                  "the data or its settings differ from those of the run that wrote the checkpoint");
}

UserError no_documents(const Order& order) {
  return {order.one_of_many() ? fmt::format("data.mixture, place {}", order.share() + 1) : "data.source",
          "documents with text", "none in the whole training part",
          "are all of them empty or null, or does data.filters leave none?"};
}

}  // namespace

std::pair<const Documents*, int64_t> TokenStreams::Window::document(size_t place) const {
  const int64_t wanted = order[place];
  const auto part = std::upper_bound(first.begin(), first.end(), wanted) - first.begin() - 1;
  return {&parts[static_cast<size_t>(part)], wanted - first[static_cast<size_t>(part)]};
}

TokenStreams::State::State(Stream stream)
    : order(std::move(stream.order)),
      start(stream.start),
      whole(start.whole != 0),
      epoch(order.epoch(start.epoch, whole)),
      epoch_number(start.epoch),
      next_window(start.window),
      found(start.window > 0 || start.document > 0 || start.token > 0) {}

TokenStreams::TokenStreams(std::vector<Stream> streams, const text::Tokenizer& tokenizer, int64_t tokenizers,
                           int64_t readers)
    : tokenizer_(tokenizer) {
  CHECK(!streams.empty() && tokenizers >= 1 && readers >= 1);
  CHECK(tokenizer.vocabulary() <= 1 << kIdBits, "a vocabulary larger than data/source_bytes.h allows");
  ahead_ = std::max<int64_t>(2, (2 * tokenizers + 2) / static_cast<int64_t>(streams.size()));
  states_.reserve(streams.size());
  empty_.resize(static_cast<size_t>(streams.front().order.source().units()));
  for (Stream& stream : streams) {
    states_.emplace_back(std::move(stream));
  }
  try {
    threads_.reserve(
        static_cast<size_t>(readers + tokenizers));  // a thread without a place would be waited for
    for (int64_t i = 0; i < readers; ++i) threads_.push_back(start_thread<std::jthread>([this] { read(); }));
    for (int64_t i = 0; i < tokenizers; ++i)
      threads_.push_back(start_thread<std::jthread>([this] { tokenize(); }));
  } catch (...) {
    close();
    throw;
  }
}

TokenStreams::~TokenStreams() {
  close();
}

void TokenStreams::close() {
  stop_.request_stop();
  const std::lock_guard lock(mutex_);
  closing_ = true;
  to_read_.notify_all();
  to_tokenize_.notify_all();
  to_give_.notify_all();
}

int64_t TokenStreams::replaced() const {
  const std::lock_guard lock(mutex_);
  return replaced_;
}

int64_t TokenStreams::text_bytes() const {
  const std::lock_guard lock(mutex_);
  return text_bytes_;
}

std::optional<TokenPiece> TokenStreams::next(size_t stream) {
  std::unique_lock lock(mutex_);
  State& state = states_.at(stream);
  if (state.ended) return std::nullopt;
  to_give_.wait(lock, [&] { return closing_ || state.pieces.contains(state.next_out); });
  if (closing_) return std::nullopt;
  Output output = std::move(state.pieces.extract(state.next_out).mapped());
  ++state.next_out;
  to_tokenize_.notify_one();
  state.ended = output.end || output.error;
  if (output.error) std::rethrow_exception(output.error);
  if (output.end) return std::nullopt;
  return std::move(output.piece);
}

// Reading.

void TokenStreams::read() {
  const net::StopScope scope(stop_.get_token());
  std::unique_lock lock(mutex_);
  while (true) {
    std::optional<Read> job;
    to_read_.wait(lock, [&] { return closing_ || (job = find_read()).has_value(); });
    if (closing_) return;
    const int64_t unit = job->window->units[job->unit];
    const bool empty = empty_[static_cast<size_t>(unit)];
    lock.unlock();
    Documents documents;
    std::exception_ptr error;
    try {
      if (!empty) documents = job->state->order.read(unit);
    } catch (...) {
      error = std::current_exception();
    }
    int64_t bytes = 0;
    for (int64_t i = 0; i < documents.size(); ++i) bytes += documents.bytes(i);
    lock.lock();
    text_bytes_ += bytes;
    if (!error && documents.size() == 0) empty_[static_cast<size_t>(unit)] = true;
    finish(*job, std::move(documents), error, lock);
  }
}

// The unit that is needed first: of the first windows of all streams, then of the second ones.
std::optional<TokenStreams::Read> TokenStreams::find_read() {
  for (size_t depth = 0; depth < kWindowsAhead; ++depth) {
    for (State& state : states_) {
      if (state.windows.size() == depth && !plan(state)) continue;
      if (state.windows.size() <= depth) continue;
      Window& window = *state.windows[depth];
      if (!window.ready && window.begun < window.units.size())
        return Read{&state, state.windows[depth], window.begun++};
    }
  }
  return std::nullopt;
}

// Adds the stream's next window, to be read; false when there is none. A place outside of the epoch becomes a
// window with an error.
bool TokenStreams::plan(State& state) {
  if (state.planned_all) return false;
  const bool resumed = state.epoch_number == state.start.epoch;
  if (state.next_window >= state.epoch.windows()) {
    const bool outside = resumed && state.start.window > 0 && state.start.window >= state.epoch.windows();
    if (!outside && state.order.endless() && state.epoch.windows() > 0)
      return plan_epoch(state) && plan(state);
    state.planned_all = true;
    to_tokenize_.notify_all();
    if (!outside) return false;
    auto window = std::make_shared<Window>();
    window->ready = true;
    try {
      refuse("window", state.start.window, state.epoch.windows());
    } catch (...) {
      window->error = std::current_exception();
    }
    state.windows.push_back(std::move(window));
    return true;
  }
  auto window = std::make_shared<Window>();
  window->epoch = state.epoch_number;
  window->whole = state.whole;
  window->number = state.next_window++;
  const auto begin = state.epoch.begin[static_cast<size_t>(window->number)];
  const auto end = state.epoch.begin[static_cast<size_t>(window->number) + 1];
  window->units.assign(state.epoch.units.begin() + begin, state.epoch.units.begin() + end);
  window->parts.resize(window->units.size());
  state.windows.push_back(std::move(window));
  return true;
}

// Goes on to the next epoch, once it is known whether this one has documents. A stream whose units hold none
// (a filter lets few rows pass) reads those of all its share from then on, in an order of its own; so each
// rank knows by itself what its streams give. False: not yet, or there are none at all.
bool TokenStreams::plan_epoch(State& state) {
  if (!state.found) {
    for (const auto& window : state.windows)
      if (!window->ready) return false;
    if (state.whole || state.order.has_all()) {
      state.planned_all = true;
      to_tokenize_.notify_all();
      return false;
    }
    state.whole = true;
  }
  state.epoch = state.order.epoch(++state.epoch_number, state.whole);
  state.next_window = 0;
  state.found = false;
  return true;
}

// Puts a unit where it belongs; with the last unit of a window, the window can be tokenised.
void TokenStreams::finish(const Read& read, Documents documents, const std::exception_ptr& error,
                          std::unique_lock<std::mutex>& lock) {
  Window& window = *read.window;
  if (documents.size() > 0 && window.epoch == read.state->epoch_number) read.state->found = true;
  window.parts[read.unit] = std::move(documents);
  ++window.read;
  if (error && !window.error) {
    window.error = error;
    window.read += window.units.size() - window.begun;  // they need not be read
    window.begun = window.units.size();
    read.state->planned_all = true;
  }
  if (window.read < window.units.size()) return;
  if (!window.error) {
    lock.unlock();  // nobody else has this window now
    try {
      order_documents(*read.state, window);
    } catch (...) {
      window.error = std::current_exception();
    }
    lock.lock();
  }
  window.ready = true;
  to_read_.notify_all();
  to_tokenize_.notify_all();
}

void TokenStreams::order_documents(const State& state, Window& window) const {
  window.first.push_back(0);
  for (const Documents& part : window.parts) window.first.push_back(window.first.back() + part.size());
  const int64_t count = window.first.back();
  CHECK(count < (int64_t{1} << 32));
  window.order = state.order.documents(window.epoch, window.number, static_cast<uint32_t>(count));
  const StreamCursor& start = state.start;
  const bool resumed = window.epoch == start.epoch && window.number == start.window;
  if (resumed && (start.document > 0 || start.token > 0)) {
    window.taken = static_cast<size_t>(start.document);
    if (start.document > count || (start.document == count && start.token > 0))
      refuse("document", start.document, count);
  }
}

// Tokenising.

void TokenStreams::tokenize() {
  const auto encoder = tokenizer_.encoder();
  uint64_t counted = 0;
  std::unique_lock lock(mutex_);
  while (true) {
    std::optional<Task> task;
    to_tokenize_.wait(lock, [&] { return closing_ || (task = find_task()).has_value(); });
    if (closing_) return;
    lock.unlock();
    try {
      tokenize(*task, *encoder);
    } catch (...) {
      task->output.error = std::current_exception();
    }
    task->window.reset();  // a finished window need not wait in memory for its place in the queue
    lock.lock();
    replaced_ += static_cast<int64_t>(encoder->replaced() - counted);
    counted = encoder->replaced();
    State& state = states_[task->stream];
    state.pieces.emplace(task->number, std::move(task->output));
    if (task->number == state.next_out) to_give_.notify_all();
  }
}

// Of the stream with the fewest pieces ahead.
std::optional<TokenStreams::Task> TokenStreams::find_task() {
  std::vector<size_t> streams;
  for (size_t i = 0; i < states_.size(); ++i)
    if (states_[i].next_task - states_[i].next_out < ahead_) streams.push_back(i);
  std::stable_sort(streams.begin(), streams.end(), [&](size_t a, size_t b) {
    return states_[a].next_task - states_[a].next_out < states_[b].next_task - states_[b].next_out;
  });
  for (const size_t stream : streams) {
    auto task = take(states_[stream]);
    if (!task) continue;
    task->stream = stream;
    return task;
  }
  return std::nullopt;
}

std::optional<TokenStreams::Task> TokenStreams::take(State& state) {
  if (state.taken_all) return std::nullopt;
  Task task;
  task.number = state.next_task;
  if (state.windows.empty()) {
    if (!state.planned_all) return std::nullopt;
    state.taken_all = task.output.end = true;
    if (state.order.endless()) task.output.error = std::make_exception_ptr(no_documents(state.order));
    ++state.next_task;
    return task;
  }
  const auto window = state.windows.front();
  if (!window->ready) return std::nullopt;
  ++state.next_task;
  task.output.error = window->error;
  if (!window->error) {
    task.window = window;
    task.begin = task.end = window->taken;
    for (int64_t bytes = 0; task.end < window->order.size() && bytes < kPieceBytes; ++task.end) {
      const auto [part, number] = window->document(task.end);
      bytes += part->bytes(number);
    }
    window->taken = task.end;
    if (window->taken < window->order.size()) return task;
    task.output.piece.last = true;
  }
  state.taken_all = task.output.error != nullptr;
  state.windows.pop_front();
  to_read_.notify_all();
  return task;
}

void TokenStreams::tokenize(Task& task, text::Tokenizer::Encoder& encoder) const {
  if (!task.window || task.output.error) return;
  TokenPiece& piece = task.output.piece;
  piece.epoch = task.window->epoch;
  piece.window = task.window->number;
  piece.whole = task.window->whole;
  piece.document = static_cast<int64_t>(task.begin);
  for (size_t i = task.begin; i < task.end; ++i) {
    const auto [documents, number] = task.window->document(i);
    const auto ids = documents->ids(number);
    if (!is_conversation(ids)) piece.ids.push_back(tokenizer_.end_of_text());
    piece.ids.insert(piece.ids.end(), ids.begin(), ids.end());
    const uint64_t replaced = encoder.replaced();
    const size_t begin = piece.ids.size();
    encoder.encode(documents->text(number), piece.ids);
    if (encoder.replaced() > replaced)
      mark_excess(documents->text(number), std::span(piece.ids).subspan(begin), tokenizer_);
    piece.ends.push_back(static_cast<int64_t>(piece.ids.size()));
    piece.bytes += documents->bytes(number);
  }
}

}  // namespace moe::data
