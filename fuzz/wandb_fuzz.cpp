// SPDX-License-Identifier: MIT
// Any bytes as a .wandb file: records or a UserError, and what was read can be gone on from.
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <string>

#include "base/error.h"
#include "base/file.h"
#include "wandb/lines.h"
#include "wandb/record_file.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const std::filesystem::path path =
      std::filesystem::temp_directory_path() / ("moe_fuzz_" + std::to_string(::getpid()) + ".wandb");
  moe::write_file_atomically(path, std::string_view(reinterpret_cast<const char*>(data), size));
  int64_t records = 0, end = 0;
  try {
    moe::wandb::RecordReader reader(path);
    while (reader.next()) ++records, end = reader.position();
    moe::wandb::LineReader lines(path, {});
    lines.read(1 << 20);
    static_cast<void>(lines.description());
  } catch (const moe::UserError&) {
    return 0;
  }
  if (records == 0) return 0;
  moe::wandb::RecordWriter(path, end).append("one more");
  moe::wandb::RecordReader reader(path);
  std::string last;
  for (; const auto record = reader.next(); --records) last = *record;
  if (records != -1 || last != "one more") std::abort();
  return 0;
}
