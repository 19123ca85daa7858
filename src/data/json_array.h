// SPDX-License-Identifier: MIT
// A file that is one JSON list, as JSON lines: each of its items on a line of its own.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

namespace moe::data {

// Whether a file that begins so is a list.
bool is_json_list(std::string_view head);

// Bytes go in by and by, lines come out. What is no list comes out as it went in.
class JsonListToLines {
 public:
  using Sink = std::function<void(std::string_view)>;
  // name: of the file, for messages.
  JsonListToLines(std::string name, Sink sink) : name_(std::move(name)), sink_(std::move(sink)) {}

  void write(std::string_view bytes);
  // Throws UserError for a list that has not ended.
  void finish();

 private:
  enum class State : uint8_t { before, inside, after, no_list };
  void take(char c);

  const std::string name_;
  const Sink sink_;
  State state_ = State::before;
  int64_t depth_ = 0, offset_ = 0;
  bool text_ = false, escape_ = false;  // inside quotes; after a backslash there
  std::string before_, out_;
};

}  // namespace moe::data
