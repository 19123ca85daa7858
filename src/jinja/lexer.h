// SPDX-License-Identifier: MIT
// The text of a template as tokens, with trim_blocks and lstrip_blocks as transformers sets them: the newline
// behind a block tag goes, and so do spaces in front of one that begins a line.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace moe::jinja {

struct Token {
  enum class Kind : uint8_t {
    text,            // outside of tags
    block_begin,     // {%
    block_end,       // %}
    variable_begin,  // {{
    variable_end,    // }}
    name,
    string,  // with its escapes read
    integer,
    real,
    sign,  // an operator or a bracket
    end
  };
  Kind kind;
  int line;
  std::string text;
  bool is(std::string_view sign) const { return kind == Kind::sign && text == sign; }
  bool is_name(std::string_view name) const { return kind == Kind::name && text == name; }
};

// The last token is `end`. Throws Failure.
std::vector<Token> tokens_of(std::string_view source);

}  // namespace moe::jinja
