// SPDX-License-Identifier: MIT
// A text as matches and what lies between them, as `tokenizers` finds them.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

#include "text/regex.h"

namespace moe::text {

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

  // text: well-formed UTF-8 that outlives its segments.
  virtual void begin(std::string_view text) = 0;
  virtual std::optional<Segment> next() = 0;
};

class Matches : public Segments {
 public:
  void begin(std::string_view text) override;
  std::optional<Segment> next() override;

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

// How long the patterns of one text may take: a second of processor time and ten for each megabyte. (A wall
// clock would count other programs, too.)
class Budget {
 public:
  explicit Budget(size_t bytes) : end_(now() + 1 + static_cast<double>(bytes) * 10 / 1e6) {}

  // Asks the clock now and then. Throws UserError that names `where` and the byte where time ran out.
  void check(const std::string& where, size_t at);

 private:
  static double now();

  double end_;
  size_t asked_ = 0;
};

// next() throws UserError as Regex::Search::find() and Budget::check() do.
class RegexMatches final : public Matches {
 public:
  RegexMatches(const Regex& regex, Budget& budget) : regex_(regex), search_(regex), budget_(budget) {}

  void begin(std::string_view text) override;

 protected:
  // An empty match does not count where the one before ends, and the search goes on a character behind it.
  std::optional<Regex::Match> find() override;

 private:
  const Regex& regex_;
  Regex::Search search_;
  Budget& budget_;
  size_t from_ = 0, last_ = 0;  // last_: the end of the match before
};

class TextMatches final : public Matches {
 public:
  // wanted: not empty; it outlives this.
  explicit TextMatches(std::string_view wanted) : wanted_(wanted) {}

 protected:
  std::optional<Regex::Match> find() override;

 private:
  std::string_view wanted_;
};

}  // namespace moe::text
