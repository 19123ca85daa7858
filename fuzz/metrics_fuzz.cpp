// SPDX-License-Identifier: MIT
// Any bytes as the record of a run that goes on: a file of whole rows of earlier steps, to which rows are
// added and which is left as it is when opened again; what is no row lies beside it.
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <string>
#include <string_view>

#include "base/error.h"
#include "base/file.h"
#include "metrics/jsonl.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const std::filesystem::path path =
      std::filesystem::temp_directory_path() / ("moe_fuzz_" + std::to_string(::getpid()) + ".jsonl");
  static std::FILE* const nowhere = std::fopen("/dev/null", "w");
  static moe::Terminal terminal(nowhere);
  moe::write_file_atomically(path, std::string_view(reinterpret_cast<const char*>(data), size));
  constexpr int64_t kStep = 8;
  try {
    moe::metrics::Jsonl(path, kStep, terminal).write({.step = kStep, .values = {{"loss", 1.5}}});
  } catch (const moe::UserError&) {
    return 0;
  }
  std::filesystem::remove(path.string() + ".set-aside");
  const std::string written = moe::read_file(path);
  CHECK(written.ends_with("{\"step\":8,\"loss\":1.5}\n"));
  { const moe::metrics::Jsonl again(path, kStep + 1, terminal); }
  CHECK(moe::read_file(path) == written);
  CHECK(!std::filesystem::exists(path.string() + ".set-aside"));
  return 0;
}
