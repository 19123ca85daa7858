// SPDX-License-Identifier: MIT
// A regular expression of a tokenizer that has no scan by hand, run by Oniguruma: the engine of Hugging Face
// `tokenizers`, so that each sign means the same.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace moe::text {

class Regex {
 public:
  struct Match {
    size_t begin, end;  // bytes of the text
  };

  // where: of the pattern, for messages. Throws UserError where it is no regular expression.
  Regex(std::string where, const std::string& pattern);
  ~Regex();
  Regex(const Regex&) = delete;
  Regex& operator=(const Regex&) = delete;

  // Searches of one thread. Any number of them may share a regular expression, which outlives them.
  class Search {
   public:
    explicit Search(const Regex& regex);
    ~Search();
    Search(const Search&) = delete;
    Search& operator=(const Search&) = delete;

    // text: well-formed UTF-8 that outlives the search.
    void begin(std::string_view text);
    // The leftmost match from `at` on; it may be empty. Throws UserError where the match takes more steps
    // back than Oniguruma takes unasked, 10 million, where all places up to it take more than that and 16 for
    // each byte of the text, and where its stack takes more than 16 million entries.
    std::optional<Match> find(size_t at);

   private:
    struct Limits;

    const Regex& regex_;
    std::string_view text_;
    std::unique_ptr<Limits> limits_;
  };

  const std::string& where() const { return where_; }

 private:
  struct Program;

  std::string where_;
  std::unique_ptr<const Program> program_;
};

}  // namespace moe::text
