// SPDX-License-Identifier: MIT
// A template in Jinja's language, as far as templates of conversations use it, with the settings and
// functions that transformers gives them: trim_blocks, lstrip_blocks, break and continue, {% generation %},
// tojson without HTML, raise_exception, strftime_now. docs/decisions/0024-chat-templates.md has the reasons.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "jinja/value.h"

namespace moe::jinja {

struct Rendered {
  Text text;
  // What stands in {% generation %}, in bytes of the text; in order.
  std::vector<std::pair<size_t, size_t>> generated;
};

// Immutable: any number of threads may render one.
class Template {
 public:
  static constexpr size_t kLongest = size_t{1} << 20;

  // where: of the source. Throws UserError that names it and the line.
  Template(std::string where, std::string_view source);
  ~Template();
  Template(const Template&) = delete;
  Template& operator=(const Template&) = delete;

  // now: for strftime_now, in seconds since 1970, UTC; below 0: the clock's, in local time. Throws UserError
  // with the line for what the template raises, and for what it cannot do with these variables.
  Rendered render(const Dict& variables, int64_t now = -1) const;
  // Whether it has a {% generation %}.
  bool marks_generation() const { return marks_generation_; }

 private:
  struct Tree;
  std::string where_;
  std::unique_ptr<const Tree> tree_;
  bool marks_generation_ = false;
};

}  // namespace moe::jinja
