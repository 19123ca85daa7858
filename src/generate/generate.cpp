// SPDX-License-Identifier: MIT
#include "generate/generate.h"

#include <algorithm>
#include <limits>
#include <memory>

#include "base/error.h"
#include "base/steady_seconds.h"
#include "base/threads.h"
#include "tensor/host_floats.h"

namespace moe::generate {
namespace {

// One text being written.
class Text {
 public:
  Text(const Prompt& prompt, const SamplingOptions& options, const text::Tokenizer& tokenizer)
      : options_(options), random_(prompt.seed, "generate"), all_(prompt.ids) {
    const auto is_text = [&](text::TokenId id) { return !tokenizer.bytes(id).empty(); };
    drop_space_ = tokenizer.facts().space_in_front && std::none_of(all_.begin(), all_.end(), is_text);
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
  std::string_view add(text::TokenId id, const text::Tokenizer& tokenizer, bool room) {
    if (id == tokenizer.end_of_text()) return close(Finish::end_of_text, done_.text.size());
    done_.ids.push_back(id);
    all_.push_back(id);
    const size_t before = done_.text.size();
    done_.text += bytes_of(id, tokenizer);
    size_t stop = std::string::npos;
    for (const std::string& text : options_.stop)
      stop = std::min(stop, done_.text.find(text, before - std::min(before, text.size() - 1)));
    if (stop != std::string::npos) return close(Finish::stop, stop);
    if (!room || std::ssize(done_.ids) == options_.max_new_tokens)
      return close(Finish::length, done_.text.size());
    return shown_until(done_.text.size() - held_back());
  }

 private:
  std::string_view bytes_of(text::TokenId id, const text::Tokenizer& tokenizer) {
    std::string_view bytes = tokenizer.bytes(id);
    if (drop_space_ && bytes.starts_with(' ')) bytes.remove_prefix(1);
    drop_space_ = drop_space_ && tokenizer.bytes(id).empty();
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
  Chooser(size_t texts, const text::Tokenizer& tokenizer, const SamplingOptions& options, Device& device)
      : options_(options),
        vocabulary_(tokenizer.vocabulary()),
        end_of_text_(tokenizer.end_of_text()),
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
    CHECK(!prompt.ids.empty());
    if (std::ssize(prompt.ids) >= decoder.capacity())
      throw UserError("prompt", "fewer than " + std::to_string(decoder.capacity()) + " tokens",
                      std::to_string(prompt.ids.size()), "shorten the prompt");
  }
}

// All tokens of the prompts but the last of each, which asks for what follows.
void read_prompts(model::Decoder& decoder, std::span<const Prompt> prompts, Device& device, Ops& ops) {
  int64_t longest = 0;
  for (const Prompt& prompt : prompts) longest = std::max(longest, std::ssize(prompt.ids) - 1);
  for (int64_t start = 0; start < longest; start += decoder.chunk()) {
    const int64_t count = std::min(decoder.chunk(), longest - start);
    std::vector<text::TokenId> piece(static_cast<size_t>(decoder.batch() * count), model::Decoder::kNone);
    for (size_t i = 0; i < prompts.size(); ++i) {
      const int64_t here = std::clamp<int64_t>(std::ssize(prompts[i].ids) - 1 - start, 0, count);
      if (here > 0)
        std::copy_n(prompts[i].ids.begin() + start, here, piece.begin() + static_cast<int64_t>(i) * count);
    }
    decoder.read(piece.data(), count, start, device, ops);
  }
}

}  // namespace

std::vector<Completion> generate(model::Decoder& decoder, std::span<const Prompt> prompts,
                                 const text::Tokenizer& tokenizer, const SamplingOptions& options,
                                 Device& device, Ops& ops, GenerateTimes& times, const OnText& on_text) {
  check_prompts(decoder, prompts);
  std::vector<Text> texts;
  for (const Prompt& prompt : prompts) texts.emplace_back(prompt, options, tokenizer);
  double before = steady_seconds();
  read_prompts(decoder, prompts, device, ops);

  const auto B = static_cast<size_t>(decoder.batch());
  std::vector<text::TokenId> ids(B, model::Decoder::kNone), chosen(B);
  std::vector<int32_t> places(B, 0);
  Chooser chooser(prompts.size(), tokenizer, options, device);
  const auto is_open = [](const Text& text) { return text.open(); };
  for (bool first = true; std::any_of(texts.begin(), texts.end(), is_open); first = false) {
    for (size_t i = 0; i < texts.size(); ++i) {
      ids[i] = texts[i].open() ? texts[i].tokens().back() : model::Decoder::kNone;
      if (texts[i].open()) places[i] = static_cast<int32_t>(texts[i].tokens().size() - 1);
    }
    chooser.choose(chosen, texts, decoder.next(ids.data(), places.data(), device, ops), decoder, ops);
    int64_t made = 0;
    for (size_t i = 0; i < texts.size(); ++i) {
      if (!texts[i].open()) continue;
      ++made;
      const bool room = std::ssize(texts[i].tokens()) < decoder.capacity();  // for the new token to be read
      const std::string_view fresh = texts[i].add(chosen[i], tokenizer, room);
      if (on_text && !fresh.empty()) on_text(i, fresh);
    }
    const double now = steady_seconds();
    (first ? times.prefill_seconds : times.decode_seconds) += now - before;
    before = now;
    if (!first) times.decoded_tokens += made;
  }
  std::vector<Completion> completions;
  completions.reserve(texts.size());
  for (Text& text : texts) completions.push_back(text.take());
  for (const Prompt& prompt : prompts) times.prompt_tokens += std::ssize(prompt.ids);
  return completions;
}

}  // namespace moe::generate
