// SPDX-License-Identifier: MIT
#include "generate/generate.h"

#include <algorithm>
#include <limits>
#include <memory>

#include "base/error.h"
#include "base/steady_seconds.h"
#include "base/threads.h"
#include "base/utf8.h"
#include "tensor/host_floats.h"

namespace moe::generate {
namespace {

// One text being written.
class Text {
 public:
  Text(const Prompt& prompt, const SamplingOptions& options, const TokenTable& table)
      : options_(options), random_(prompt.seed, "generate"), all_(prompt.ids) {
    const auto is_text = [&](text::TokenId id) { return !table.bytes(id).empty(); };
    drop_space_ = table.space_in_front() && std::none_of(all_.begin(), all_.end(), is_text);
  }

  bool open() const { return open_; }
  const std::vector<text::TokenId>& tokens() const { return all_; }  // prompt and what was made
  Completion take() { return std::move(done_); }

  // Of all logits of the vocabulary.
  text::TokenId pick(std::span<float> logits, text::TokenId end_of_text) const {
    penalise(logits, all_, options_.repetition_penalty);
    const auto end = static_cast<size_t>(end_of_text);
    if (options_.ignore_end_of_text && logits.size() > end)
      logits[end] = -std::numeric_limits<float>::infinity();
    return pick_token(logits, options_, draw());
  }
  // For its next token.
  uint32_t draw() const { return draw_of(random_, done_.ids.size()); }

  // Takes the next token. Returns the text that is certain by now.
  std::string_view add(text::TokenId id, const TokenTable& table, bool room) {
    if (table.ends(id))
      return close(id == table.end_of_text() ? Finish::end_of_text : Finish::end_of_turn, done_.text.size());
    done_.ids.push_back(id);
    all_.push_back(id);
    const size_t before = done_.text.size();
    done_.text += bytes_of(id, table);
    size_t stop = std::string::npos;
    for (const std::string& text : options_.stop)
      stop = std::min(stop, done_.text.find(text, before - std::min(before, text.size() - 1)));
    if (stop != std::string::npos) return close(Finish::stop, stop);
    if (!room || std::ssize(done_.ids) == options_.max_new_tokens)
      return close(Finish::length, done_.text.size());
    const std::string_view certain(done_.text.data(), done_.text.size() - held_back());
    return shown_until(certain.size() - begun_utf8(certain));
  }
  std::string_view interrupt() { return close(Finish::interrupted, done_.text.size()); }
  // The decoder has read so many of its tokens.
  void set_cached(int64_t tokens) { done_.cached = tokens; }

 private:
  std::string_view bytes_of(text::TokenId id, const TokenTable& table) {
    std::string_view bytes = table.bytes(id);
    if (drop_space_ && bytes.starts_with(' ')) bytes.remove_prefix(1);
    drop_space_ = drop_space_ && table.bytes(id).empty();
    return bytes;
  }
  std::string_view close(Finish why, size_t length) {
    open_ = false;
    done_.finish = why;
    done_.text.resize(length);
    return shown_until(length);
  }
  std::string_view shown_until(size_t end) {
    end = std::max(end, shown_);
    const std::string_view fresh = std::string_view(done_.text).substr(shown_, end - shown_);
    shown_ = end;
    return fresh;
  }
  // The longest end of the text that a stop begins with.
  size_t held_back() const {
    size_t longest = 0;
    for (const std::string& stop : options_.stop)
      for (size_t n = std::min(stop.size() - 1, done_.text.size()); n > longest; --n)
        if (done_.text.ends_with(std::string_view(stop).substr(0, n))) longest = n;
    return longest;
  }

  const SamplingOptions& options_;
  Random random_;
  std::vector<text::TokenId> all_;
  Completion done_;
  size_t shown_ = 0;
  bool open_ = true;
  bool drop_space_ = false;  // the tokenizer's own, in front of the text
};

// The device's logits as floats, row by row, only of the ids that exist.
class Logits {
 public:
  Logits(text::TokenId vocabulary, Device& device)
      : vocabulary_(static_cast<size_t>(vocabulary)), device_(device) {}
  ~Logits() {
    if (raw_ != nullptr) device_.release_host(raw_);
  }
  Logits(const Logits&) = delete;
  Logits& operator=(const Logits&) = delete;
  void fetch(const Tensor& logits_BV) {
    width_ = static_cast<size_t>(logits_BV.dim(1));
    type_ = logits_BV.dtype();
    if (raw_ == nullptr) raw_ = device_.allocate_host(logits_BV.bytes());  // faster than memory of our own
    device_.to_host(raw_, logits_BV);
    values_.resize(static_cast<size_t>(logits_BV.numel()));
  }
  std::span<float> row(int64_t b) {
    const size_t begin = static_cast<size_t>(b) * width_;
    const std::span row = std::span(values_).subspan(begin, std::min(width_, vocabulary_));
    widen(row.data(), static_cast<const uint8_t*>(raw_) + begin * size_of(type_), type_, std::ssize(row));
    return row;
  }

 private:
  const size_t vocabulary_;
  Device& device_;
  size_t width_ = 0;
  DType type_ = DType::f32;
  void* raw_ = nullptr;  // of all rows, of one decoder
  std::vector<float> values_;
};

// Chooses what follows each text.
class Chooser {
 public:
  Chooser(size_t texts, const TokenTable& table, const SamplingOptions& options, Device& device)
      : options_(options),
        vocabulary_(table.vocabulary()),
        end_of_text_(table.end_of_text()),
        device_(device),
        logits_(vocabulary_, device),
        pool_(on_device() || texts == 1 ? 1 : std::min(available_cores(), static_cast<int>(texts))) {}

  // chosen: one for each sequence of the decoder. Those of texts that are not open mean nothing.
  void choose(std::span<text::TokenId> chosen, std::span<const Text> texts, const Tensor& logits_BV,
              model::Decoder& decoder, Ops& ops) {
    if (on_device()) {
      device_.to_host(chosen.data(), chosen_on_device(texts, decoder, ops));
    } else {
      logits_.fetch(logits_BV);
      pool_.parallel_for(std::ssize(texts), 1, [&](int64_t i, int64_t) {
        const auto at = static_cast<size_t>(i);
        if (texts[at].open()) chosen[at] = texts[at].pick(logits_.row(i), end_of_text_);
      });
    }
    for (size_t i = 0; i < texts.size(); ++i)
      if (texts[i].open() && chosen[i] == Sample::kNone)
        throw UserError("the model", "logits that are numbers", "NaN or infinity",
                        "a product of the weights is too large for its type");
  }

 private:
  // A penalty is of what each text has so far, which the host knows.
  bool on_device() const { return options_.repetition_penalty == 1; }
  Tensor chosen_on_device(std::span<const Text> texts, model::Decoder& decoder, Ops& ops) {
    const text::TokenId except = options_.ignore_end_of_text ? end_of_text_ : model::Decoder::kNone;
    if (options_.temperature == 0) return decoder.most_likely(vocabulary_, except, ops);
    draws_.resize(static_cast<size_t>(decoder.batch()));
    for (size_t i = 0; i < texts.size(); ++i) draws_[i] = static_cast<int32_t>(texts[i].draw());
    return decoder.sample(draws_.data(), options_.rule(), vocabulary_, except, device_, ops);
  }

  const SamplingOptions& options_;
  const text::TokenId vocabulary_, end_of_text_;
  Device& device_;
  Logits logits_;
  std::vector<int32_t> draws_;
  ThreadPool pool_;
};

void check_prompts(const model::Decoder& decoder, std::span<const Prompt> prompts) {
  CHECK(std::ssize(prompts) <= decoder.batch());
  for (const Prompt& prompt : prompts) {
    CHECK(!prompt.ids.empty() && prompt.cached >= 0 && prompt.cached < std::ssize(prompt.ids));
    if (std::ssize(prompt.ids) >= decoder.capacity())
      throw UserError("prompt", "fewer than " + std::to_string(decoder.capacity()) + " tokens",
                      std::to_string(prompt.ids.size()), "shorten the prompt");
  }
}

// All tokens of the prompts but the last of each, which asks for what follows; from the first one on that is
// not cached. Returns the place that it came to.
int64_t read_prompts(model::Decoder& decoder, std::span<const Prompt> prompts, Device& device, Ops& ops,
                     const Interrupted& interrupted) {
  int64_t longest = 0, start = decoder.capacity();
  for (const Prompt& prompt : prompts) {
    longest = std::max(longest, std::ssize(prompt.ids) - 1);
    start = std::min(start, prompt.cached);
  }
  for (; start < longest && !interrupted(); start += decoder.chunk()) {
    const int64_t count = std::min(decoder.chunk(), longest - start);
    std::vector<text::TokenId> piece(static_cast<size_t>(decoder.batch() * count), model::Decoder::kNone);
    for (size_t i = 0; i < prompts.size(); ++i) {
      const int64_t here = std::clamp<int64_t>(std::ssize(prompts[i].ids) - 1 - start, 0, count);
      if (here > 0)
        std::copy_n(prompts[i].ids.begin() + start, here, piece.begin() + static_cast<int64_t>(i) * count);
    }
    decoder.read(piece.data(), count, start, device, ops);
  }
  return start;
}

// Its texts, token by token.
class Writing {
 public:
  Writing(model::Decoder& decoder, std::span<const Prompt> prompts, const TokenTable& table,
          const SamplingOptions& options, Device& device, Ops& ops)
      : decoder_(decoder),
        table_(table),
        device_(device),
        ops_(ops),
        chooser_(prompts.size(), table, options, device),
        ids_(static_cast<size_t>(decoder.batch()), model::Decoder::kNone),
        chosen_(ids_.size()),
        places_(ids_.size(), 0) {
    for (const Prompt& prompt : prompts) texts_.emplace_back(prompt, options, table);
  }

  bool open() const {
    return std::any_of(texts_.begin(), texts_.end(), [](const Text& text) { return text.open(); });
  }
  // prompts: what the decoder has read of them.
  void set_read(std::span<const Prompt> prompts, int64_t place) {
    for (size_t i = 0; i < texts_.size(); ++i)
      texts_[i].set_cached(std::max(prompts[i].cached, std::min(place, std::ssize(prompts[i].ids) - 1)));
  }
  // The next token of each open text. Returns how many there were.
  int64_t step(const OnText& on_text) {
    for (size_t i = 0; i < texts_.size(); ++i) {
      ids_[i] = texts_[i].open() ? texts_[i].tokens().back() : model::Decoder::kNone;
      if (texts_[i].open()) places_[i] = static_cast<int32_t>(texts_[i].tokens().size() - 1);
    }
    chooser_.choose(chosen_, texts_, decoder_.next(ids_.data(), places_.data(), device_, ops_), decoder_,
                    ops_);
    int64_t made = 0;
    for (size_t i = 0; i < texts_.size(); ++i) {
      if (!texts_[i].open()) continue;
      ++made;
      const int64_t length = std::ssize(texts_[i].tokens());
      texts_[i].set_cached(length);
      show(i, texts_[i].add(chosen_[i], table_, length + 1 < decoder_.capacity()), on_text);
    }
    return made;
  }
  void interrupt(const OnText& on_text) {
    for (size_t i = 0; i < texts_.size(); ++i)
      if (texts_[i].open()) show(i, texts_[i].interrupt(), on_text);
  }
  std::vector<Completion> take() {
    std::vector<Completion> completions;
    completions.reserve(texts_.size());
    for (Text& text : texts_) completions.push_back(text.take());
    return completions;
  }

 private:
  static void show(size_t i, std::string_view fresh, const OnText& on_text) {
    if (on_text && !fresh.empty()) on_text(i, fresh);
  }

  model::Decoder& decoder_;
  const TokenTable& table_;
  Device& device_;
  Ops& ops_;
  Chooser chooser_;
  std::vector<Text> texts_;
  std::vector<text::TokenId> ids_, chosen_;
  std::vector<int32_t> places_;
};

}  // namespace

std::string_view name_of(Finish finish) {
  switch (finish) {
    case Finish::length:
      return "length";
    case Finish::end_of_text:
      return "end_of_text";
    case Finish::end_of_turn:
      return "end_of_turn";
    case Finish::stop:
      return "stop";
    case Finish::interrupted:
      return "interrupted";
  }
  CHECK(false, "an end without a name");
}

std::vector<Completion> generate(model::Decoder& decoder, std::span<const Prompt> prompts,
                                 const TokenTable& table, const SamplingOptions& options, Device& device,
                                 Ops& ops, GenerateTimes& times, const OnText& on_text,
                                 const Interrupted& interrupted) {
  check_prompts(decoder, prompts);
  Writing writing(decoder, prompts, table, options, device, ops);
  bool stopped = false;
  const Interrupted stop = [&] { return stopped = stopped || (interrupted && interrupted()); };
  double before = steady_seconds();
  writing.set_read(prompts, read_prompts(decoder, prompts, device, ops, stop));
  for (bool first = true; writing.open(); first = false) {
    if (stop()) {
      writing.interrupt(on_text);
      break;
    }
    const int64_t made = writing.step(on_text);
    const double now = steady_seconds();
    (first ? times.prefill_seconds : times.decode_seconds) += now - before;
    before = now;
    if (!first) times.decoded_tokens += made;
  }
  for (const Prompt& prompt : prompts) times.prompt_tokens += std::ssize(prompt.ids) - prompt.cached;
  return writing.take();
}

}  // namespace moe::generate
