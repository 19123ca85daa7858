// SPDX-License-Identifier: MIT
// A step is a stream of segments: matches, and what lies between. Neighbours that belong together become one
// piece, which is the text of the next step.
#include "text/split_steps.h"

#include <fmt/core.h>

#include <array>
#include <cstddef>
#include <ctime>
#include <optional>
#include <span>
#include <utility>

#include "base/error.h"
#include "text/regex.h"
#include "text/scan.h"

namespace moe::text {
namespace {

constexpr const char* kHint = "docs/tokenizers.md says what is read";

struct Segment {
  size_t end;
  bool match;
};

// Segments together are the text; some may be empty.
class Segments {
 public:
  Segments() = default;
  virtual ~Segments() = default;
  Segments(const Segments&) = delete;
  Segments& operator=(const Segments&) = delete;

  virtual void begin(std::string_view text) = 0;
  virtual std::optional<Segment> next() = 0;
};

class Matches : public Segments {
 public:
  void begin(std::string_view text) override {
    text_ = text;
    at_ = 0;
    found_.reset();
  }

  std::optional<Segment> next() override {
    if (!found_) {
      found_ = find();
      const size_t begin = found_ ? found_->begin : text_.size();
      if (begin != at_) return Segment{at_ = begin, false};
      if (!found_) return std::nullopt;
    }
    at_ = found_->end;
    found_.reset();
    return Segment{at_, true};
  }

 protected:
  // The next match, behind the one before.
  virtual std::optional<Regex::Match> find() = 0;
  std::string_view text() const { return text_; }
  size_t at() const { return at_; }

 private:
  std::string_view text_;
  size_t at_ = 0;  // the end of the last segment
  std::optional<Regex::Match> found_;
};

// How long the patterns of one text may take. A wall clock would count other programs, too.
class Budget {
 public:
  explicit Budget(size_t bytes) : end_(now() + 1 + static_cast<double>(bytes) * 10 / 1e6) {}

  // Asks the clock now and then.
  void check(const std::string& where, size_t at) {
    if (++asked_ % 4 != 0 || now() < end_) return;
    throw UserError(where, "a pattern that takes less than ten seconds for a megabyte",
                    fmt::format("more, up to byte {} of a text", at), kHint);
  }

 private:
  static double now() {
    timespec time{};
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
  }

  double end_;
  size_t asked_ = 0;
};

class RegexMatches final : public Matches {
 public:
  RegexMatches(const Regex& regex, Budget& budget) : regex_(regex), search_(regex), budget_(budget) {}

  void begin(std::string_view text) override {
    Matches::begin(text);
    search_.begin(text);
    from_ = 0;
    last_ = std::string_view::npos;
  }

 protected:
  // As `tokenizers` does: an empty match does not count where the one before ends, and the search goes on a
  // character behind it.
  std::optional<Regex::Match> find() override {
    while (from_ <= text().size()) {
      budget_.check(regex_.where(), from_);
      const std::optional<Regex::Match> match = search_.find(from_);
      from_ = match ? match->end : text().size() + 1;
      if (!match) break;
      if (match->begin == match->end) {
        from_ = from_ < text().size() ? Scan(text()).after(from_) : from_ + 1;
        if (match->end == last_) continue;
      }
      last_ = match->end;
      return match;
    }
    return std::nullopt;
  }

 private:
  const Regex& regex_;
  Regex::Search search_;
  Budget& budget_;
  size_t from_ = 0, last_ = 0;  // last_: the end of the match before
};

class TextMatches final : public Matches {
 public:
  explicit TextMatches(std::string_view wanted) : wanted_(wanted) {}

 protected:
  std::optional<Regex::Match> find() override {
    const size_t begin = text().find(wanted_, at());
    if (begin == std::string_view::npos) return std::nullopt;
    return Regex::Match{begin, begin + wanted_.size()};
  }

 private:
  std::string_view wanted_;
};

class NumberMatches final : public Matches {
 protected:
  std::optional<Regex::Match> find() override {
    const Scan scan(text());
    const size_t begin = scan.run(at(), ~kNumbers);
    if (begin == text().size()) return std::nullopt;
    return Regex::Match{begin, scan.after(begin)};
  }
};

// The pieces of a known pattern, which leaves nothing between them.
class KnownPieces final : public Segments {
 public:
  explicit KnownPieces(SplitPattern pattern) : pattern_(pattern) {}

  void begin(std::string_view text) override {
    cutter_ = make_cutter(pattern_, text);
    ends_ = {};
  }

  std::optional<Segment> next() override {
    if (ends_.empty()) ends_ = cutter_->next();
    if (ends_.empty()) return std::nullopt;
    const size_t end = ends_.front();
    ends_ = ends_.subspan(1);
    return Segment{end, true};
  }

 private:
  SplitPattern pattern_;
  std::unique_ptr<Cutter> cutter_;
  std::span<const size_t> ends_;
};

bool joins(SplitBehavior behavior, bool match, bool next_match) {
  switch (behavior) {
    case SplitBehavior::isolated:
      return false;
    case SplitBehavior::contiguous:
      return match == next_match;
    case SplitBehavior::merged_with_previous:
      return !match && next_match;
    case SplitBehavior::merged_with_next:
      return match && !next_match;
  }
  CHECK(false, "a behavior without a rule");
}

// The pieces that one step makes of one text after another.
class Level {
 public:
  Level(const SplitStep& step, std::unique_ptr<Segments> segments)
      : step_(step), segments_(std::move(segments)) {}

  // The text of this step is `text`, which begins at byte `from` of the whole.
  void begin(std::string_view text, size_t from) {
    from_ = at_ = from;
    end_ = from + text.size();
    segments_->begin(text);
    ahead_ = segments_->next();
  }
  bool is_done() const { return at_ == end_; }
  size_t end() const { return end_; }

  // The end of the next piece.
  size_t next() {
    const size_t before = at_;
    while (at_ == before) {
      CHECK(ahead_, "segments that are not all of the text");
      const Segment segment = *ahead_;
      ahead_ = segments_->next();
      const bool joined =
          ahead_ && joins(step_.behavior, segment.match != step_.invert, ahead_->match != step_.invert);
      if (!joined) at_ = from_ + segment.end;
    }
    return at_;
  }

 private:
  const SplitStep& step_;
  std::unique_ptr<Segments> segments_;
  std::optional<Segment> ahead_;
  size_t from_ = 0, at_ = 0, end_ = 0;
};

// A known pattern of a step by itself, if its matches are the pieces.
std::optional<SplitPattern> known_pattern(const SplitStep& step) {
  if (step.by != SplitStep::By::regex || step.behavior != SplitBehavior::isolated) return std::nullopt;
  return find_pattern({&step.pattern, 1});
}

class StepsCutter final : public Cutter {
 public:
  explicit StepsCutter(std::string_view text) : text_(text), budget_(text.size()) {}
  Budget& budget() { return budget_; }
  void add(Level level) { levels_.push_back(std::move(level)); }

  std::span<const size_t> next() override {
    size_t count = 0;
    while (count < kMaxBatch && position_ < text_.size()) {
      position_ = next_of(levels_.size());
      ends_[count++] = position_;
    }
    return {ends_.data(), count};
  }

 private:
  // The end of the next piece that the first `count` steps make.
  size_t next_of(size_t count) {
    if (count == 0) return text_.size();
    Level& level = levels_[count - 1];
    if (level.is_done()) {
      const size_t begin = level.end(), end = next_of(count - 1);
      level.begin(text_.substr(begin, end - begin), begin);
    }
    return level.next();
  }

  std::string_view text_;
  Budget budget_;
  std::vector<Level> levels_;
  size_t position_ = 0;
  std::array<size_t, kMaxBatch> ends_;
};

std::string describe(const SplitStep& step) {
  constexpr std::array<const char*, 3> kBy{"regex", "text", "number"};
  return fmt::format("\nstep {} {}{} {} {}", kBy.at(static_cast<size_t>(step.by)), name_of(step.behavior),
                     step.invert ? " inverted" : "", step.pattern.size(), step.pattern);
}

}  // namespace

struct SplitSteps::Compiled {
  SplitStep step;
  std::optional<SplitPattern> known;
  std::unique_ptr<const Regex> regex;  // of one that is not known

  std::unique_ptr<Segments> segments(Budget& budget) const {
    if (known) return std::make_unique<KnownPieces>(*known);
    switch (step.by) {
      case SplitStep::By::regex:
        return std::make_unique<RegexMatches>(*regex, budget);
      case SplitStep::By::text:
        return std::make_unique<TextMatches>(step.pattern);
      case SplitStep::By::number:
        return std::make_unique<NumberMatches>();
    }
    CHECK(false, "a step without segments");
  }
};

SplitSteps::SplitSteps(const std::string& where, std::vector<SplitStep> steps) {
  if (steps.size() > kMost) {
    throw UserError(where, fmt::format("at most {} steps", kMost), std::to_string(steps.size()), kHint);
  }
  for (SplitStep& step : steps) {
    description_ += describe(step);
    if (step.by == SplitStep::By::text && step.pattern.empty()) {
      throw UserError(where, "a text of at least one byte to split at", "none", kHint);
    }
    Compiled compiled{.step = std::move(step), .known = {}, .regex = {}};
    compiled.known = known_pattern(compiled.step);
    if (compiled.step.by == SplitStep::By::regex && !compiled.known) {
      compiled.regex = std::make_unique<const Regex>(where, compiled.step.pattern);
    }
    steps_.push_back(std::move(compiled));
  }
}

SplitSteps::~SplitSteps() = default;

std::unique_ptr<Cutter> SplitSteps::cutter(std::string_view text) const {
  auto cutter = std::make_unique<StepsCutter>(text);
  for (const Compiled& compiled : steps_) {
    cutter->add(Level(compiled.step, compiled.segments(cutter->budget())));
  }
  return cutter;
}

}  // namespace moe::text
