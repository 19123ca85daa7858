// SPDX-License-Identifier: MIT
// A pattern is two functions: where the stretch ends that the first regular expressions cut off, and where
// the piece ends that the last one finds in it. At each place its alternatives are tried in order, as written
// above the function.
#include "text/cutter.h"

#include <array>

#include "base/error.h"
#include "text/pretokenize.h"
#include "text/scan.h"

namespace moe::text {
namespace {

constexpr CharacterClasses kNewlines = classes_of(CharacterClass::kNewline);
constexpr CharacterClasses kMarks = classes_of(CharacterClass::kMark);
constexpr CharacterClasses kPunctuations = classes_of(CharacterClass::kPunctuation);
// [^\s\p{L}\p{N}]
constexpr CharacterClasses kSymbols = kMarks | kPunctuations | classes_of(CharacterClass::kOther);
// [\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}] and [\p{Ll}\p{Lm}\p{Lo}\p{M}]
constexpr CharacterClasses kUpperCase = classes_of(CharacterClass::kUpper, CharacterClass::kAlike) | kMarks;
constexpr CharacterClasses kLowerCase = classes_of(CharacterClass::kLower, CharacterClass::kAlike) | kMarks;

// The whole text is one stretch.
size_t all(const Scan& scan, size_t /*at*/) {
  return scan.size();
}

// \p{N}, and what lies between.
size_t digit_or_rest(const Scan& scan, size_t at) {
  const size_t end = scan.run(at, kNumbers, 1);
  return end != at ? end : scan.run(at, ~kNumbers);
}

//   's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
size_t gpt2(const Scan& scan, size_t at) {
  if (const size_t end = scan.contraction(at, false); end != at) return end;
  const size_t word = scan.byte(at) == ' ' ? at + 1 : at;
  const CharacterClasses found = scan.classes(word);
  for (const CharacterClasses set : {kLetters, kNumbers, kSymbols}) {
    if ((found & set) != 0) return scan.run(word, set);
  }
  return scan.white(at, false);
}

// \p{N}{1,kDigits}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+ ; kSlashes: [\r\n/]*
template <int kDigits, bool kSlashes>
size_t number_or_symbols(const Scan& scan, size_t at) {
  if (const size_t end = scan.run(at, kNumbers, kDigits); end != at) return end;
  const size_t symbols = scan.byte(at) == ' ' ? at + 1 : at;
  if (size_t end = scan.run(symbols, kSymbols); end != symbols) {
    end = scan.run(end, kNewlines);
    while (kSlashes && scan.byte(end) == '/') end = scan.run(end + 1, kNewlines);
    return end;
  }
  return scan.white(at, true);
}

//   (?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,kDigits}|...
template <int kDigits>
size_t llama3(const Scan& scan, size_t at) {
  if (const size_t end = scan.contraction(at, true); end != at) return end;
  const CharacterClasses found = scan.classes(at);
  const size_t word = (found & (kNewlines | kLetters | kNumbers)) == 0 ? scan.after(at) : at;
  if (const size_t end = scan.run(word, kLetters); end != word) return end;
  return number_or_symbols<kDigits, false>(scan, at);
}

// Llama 3's with |\s++$ before the newlines: white space at the end is one piece.
size_t cl100k(const Scan& scan, size_t at) {
  if ((scan.classes(at) & kWhite) != 0 && scan.run(at, kWhite) == scan.size()) return scan.size();
  return llama3<3>(scan, at);
}

// Behind U*W+, where U and W are the two sets of o200k's words; `at` where it does not match. The longest run
// of U gives back what W needs: all behind the last character that is in both.
size_t cased_word(const Scan& scan, size_t at) {
  size_t end = at, last_both = at;
  for (CharacterClasses found = scan.classes(end); (found & kUpperCase) != 0; found = scan.classes(end)) {
    end = scan.after(end);
    if ((found & kLowerCase) != 0) last_both = end;
  }
  const size_t lower = scan.run(end, kLowerCase);
  return lower != end ? lower : last_both;
}

//   [^\r\n\p{L}\p{N}]?U*W+(?i:'s|...)?|[^\r\n\p{L}\p{N}]?U+W*(?i:'s|...)?|\p{N}{1,kDigits}|...
template <int kDigits, bool kContractions>
size_t o200k(const Scan& scan, size_t at) {
  const CharacterClasses found = scan.classes(at);
  const size_t prefixed = (found & (kNewlines | kLetters | kNumbers)) == 0 ? scan.after(at) : at;
  size_t end = at;
  if (const size_t word = cased_word(scan, prefixed); word != prefixed) {
    end = word;
  } else if (const size_t bare = prefixed == at ? at : cased_word(scan, at); bare != at) {
    end = bare;
  } else if (const size_t upper = scan.run(prefixed, kUpperCase); upper != prefixed) {
    end = upper;
  }
  if (end != at) return kContractions ? scan.contraction(end, true) : end;
  return number_or_symbols<kDigits, true>(scan, at);
}

// DeepSeek's first two: \p{N}{1,3} and [一-龥぀-ゟ゠-ヿ]+, and what lies between.
size_t number_or_script(const Scan& scan, size_t at) {
  if (const size_t end = scan.run(at, kNumbers, 3); end != at) return end;
  const auto is_east_asian = [&](size_t place) {
    const char32_t c = scan.code_point(place);
    return (c >= 0x4E00 && c <= 0x9FA5) || (c >= 0x3040 && c <= 0x30FF);
  };
  const bool east_asian = is_east_asian(at);
  do {
    at = scan.after(at);
  } while (at < scan.size() && is_east_asian(at) == east_asian && (scan.classes(at) & kNumbers) == 0);
  return at;
}

//   [!-/:-@\[-`{-~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*
//   |\s*[\r\n]+|\s+(?!\S)|\s+
// `at` where nothing matches.
size_t deepseek3_match(const Scan& scan, size_t at) {
  const CharacterClasses found = scan.classes(at);
  const auto is_ascii_letter = [&](size_t place) {
    const auto folded = static_cast<unsigned char>(scan.byte(place) | 0x20);
    return folded >= 'a' && folded <= 'z';
  };
  if ((found & kPunctuations) != 0 && static_cast<unsigned char>(scan.byte(at)) < 0x80) {
    size_t end = at + 1;
    while (is_ascii_letter(end)) ++end;
    if (end != at + 1) return end;
  }
  constexpr CharacterClasses kWords = kLetters | kMarks;
  const size_t word = (found & (kNewlines | kLetters | kPunctuations)) == 0 ? scan.after(at) : at;
  if (const size_t end = scan.run(word, kWords); end != word) return end;
  if ((found & kMarks) != 0) return scan.run(at, kWords);
  const size_t symbols = scan.byte(at) == ' ' ? at + 1 : at;
  if (const size_t end = scan.run(symbols, kPunctuations); end != symbols) return scan.run(end, kNewlines);
  return (found & kWhite) != 0 ? scan.white(at, true) : at;
}

// What no match covers is a piece up to the next match.
size_t deepseek3(const Scan& scan, size_t at) {
  if (const size_t end = deepseek3_match(scan, at); end != at) return end;
  do {
    at = scan.after(at);
  } while (at < scan.size() && deepseek3_match(scan, at) == at);
  return at;
}

using End = size_t (*)(const Scan&, size_t);

template <End stretch_end, End piece_end>
class PatternCutter final : public Cutter {
 public:
  explicit PatternCutter(std::string_view text) : text_(text) {}

  std::span<const size_t> next() override {
    size_t count = 0;
    while (count < kMaxBatch && position_ < text_.size()) {
      if (position_ == stretch_) stretch_ = stretch_end(Scan(text_), position_);
      const Scan scan(text_.substr(0, stretch_));
      do {
        position_ = piece_end(scan, position_);
        ends_[count++] = position_;
      } while (count < kMaxBatch && position_ < stretch_);
    }
    return {ends_.data(), count};
  }

 private:
  std::string_view text_;
  size_t position_ = 0, stretch_ = 0;
  std::array<size_t, kMaxBatch> ends_;
};

}  // namespace

std::unique_ptr<Cutter> make_cutter(SplitPattern pattern, std::string_view text) {
  switch (pattern) {
    case SplitPattern::gpt2:
      return std::make_unique<Pretokenizer>(text);
    case SplitPattern::gpt2_digits:
      return std::make_unique<PatternCutter<digit_or_rest, gpt2>>(text);
    case SplitPattern::cl100k:
      return std::make_unique<PatternCutter<all, cl100k>>(text);
    case SplitPattern::llama3:
      return std::make_unique<PatternCutter<all, llama3<3>>>(text);
    case SplitPattern::qwen:
      return std::make_unique<PatternCutter<all, llama3<1>>>(text);
    case SplitPattern::o200k:
      return std::make_unique<PatternCutter<all, o200k<3, true>>>(text);
    case SplitPattern::tekken:
      return std::make_unique<PatternCutter<all, o200k<1, false>>>(text);
    case SplitPattern::deepseek3:
      return std::make_unique<PatternCutter<number_or_script, deepseek3>>(text);
  }
  CHECK(false, "a pattern without a cutter");
}

}  // namespace moe::text
