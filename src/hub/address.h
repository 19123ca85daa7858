// SPDX-License-Identifier: MIT
// Where something lies on the hub, in huggingface_hub's spelling: hf://datasets/USER/NAME[@REVISION][/PATH]
// and hf://[models/]USER/NAME[@REVISION][/PATH]. A '/' inside a revision is written %2F, except in
// refs/convert/NAME and refs/pr/NUMBER, which may stand as they are.
#pragma once

#include <string>
#include <string_view>

namespace moe::hub {

struct Address {
  std::string kind = "datasets";  // or models
  std::string repo;               // USER/NAME
  std::string revision;           // branch, tag or commit as it is called, not encoded; empty: the default
  std::string path;  // of a file or a folder, without a '/' at either end; empty: the whole repository

  // UserError naming what is wrong.
  static Address parse(std::string_view text);
  static bool is_hub(std::string_view text) { return text.starts_with("hf://"); }
  std::string text() const;  // parse(text()) gives the same back

  bool operator==(const Address&) const = default;
};

// Whether a path stays inside its folder and may be shown: no empty segment, no ".", no "..", no control
// character. Also for what a server names.
bool is_inner_path(std::string_view path);

}  // namespace moe::hub
