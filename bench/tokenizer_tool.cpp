// SPDX-License-Identifier: MIT
// tokenizer_tool INPUT [OUTPUT [REPEATS [TOKENIZER [PATTERN]]]]: encodes a file on one thread, writes the ids
// as int32, and prints the speed of the best of REPEATS runs, each with an empty cache of pre-tokens.
// TOKENIZER is a tokenizer.json, or with PATTERN (cl100k, qwen, ...) a file of tiktoken's; GPT-2's without
// it. tools/check_tokenizer.py and tools/check_tokenizers.py drive it.
#include <fmt/core.h>

#include <algorithm>
#include <cstdlib>
#include <ctime>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <vector>

#include "base/error.h"
#include "text/open_tokenizer.h"
#include "text/tokenizer.h"

namespace {

// Processor time, so that a busy machine counts less.
double seconds() {
  return static_cast<double>(std::clock()) / CLOCKS_PER_SEC;
}

std::shared_ptr<const moe::text::Tokenizer> tokenizer_of(int argc, char** argv) {
  if (argc <= 4) return moe::text::open_tokenizer(moe::text::kBuiltInTokenizer);
  return moe::text::open_tokenizer(argc == 5 ? argv[4] : std::string(argv[4]) + '#' + argv[5]);
}

int run(int argc, char** argv) {
  if (argc < 2) {
    fmt::print(stderr, "usage: {} INPUT [OUTPUT [REPEATS [TOKENIZER [PATTERN]]]]\n", argv[0]);
    return 1;
  }
  std::ifstream input(argv[1], std::ios::binary);
  const std::string text{std::istreambuf_iterator<char>(input), {}};
  if (text.empty()) {
    fmt::print(stderr, "{}: cannot be read, or is empty\n", argv[1]);
    return 1;
  }
  const int repeats = argc > 3 ? std::atoi(argv[3]) : 1;

  const double start = seconds();
  const auto tokenizer = tokenizer_of(argc, argv);
  const double set_up = seconds() - start;

  std::vector<moe::text::TokenId> ids;
  uint64_t replaced = 0;
  double best = 0;
  for (int i = 0; i < std::max(repeats, 1); ++i) {
    ids.clear();
    const double begin = seconds();
    const auto encoder = tokenizer->encoder();
    encoder->encode(text, ids);
    const double taken = seconds() - begin;
    best = i == 0 ? taken : std::min(best, taken);
    replaced = encoder->replaced();
  }
  if (argc > 2) {
    std::ofstream output(argv[2], std::ios::binary);
    output.write(reinterpret_cast<const char*>(ids.data()),
                 static_cast<std::streamsize>(ids.size() * sizeof(ids[0])));
    if (!output.flush()) {
      fmt::print(stderr, "{}: cannot be written\n", argv[2]);
      return 1;
    }
  }
  fmt::print("{} bytes, {} ids, {} replaced, set-up {:.1f} ms, {:.1f} MB/s\n", text.size(), ids.size(),
             replaced, set_up * 1e3, static_cast<double>(text.size()) / 1e6 / best);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run(argc, argv);
  } catch (const moe::UserError& error) {
    fmt::print(stderr, "{}\n", error.what());
    return 1;
  }
}
