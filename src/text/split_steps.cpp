// SPDX-License-Identifier: MIT
// A step is a stream of segments: matches, and what lies between. Neighbours that belong together become one
// piece, which is the text of the next step.
#include "text/split_steps.h"

#include <fmt/core.h>

#include <array>
#include <cstddef>
#include <optional>
#include <span>
#include <utility>

#include "base/error.h"
#include "text/matches.h"
#include "text/regex.h"
#include "text/scan.h"

namespace moe::text {
namespace {

constexpr const char* kHint = "docs/tokenizers.md says what is read";

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
