// SPDX-License-Identifier: MIT
// Any bytes as the manifest of a checkpoint: a UserError, or names of files in this folder; written again it
// is the same.
#include <cstdint>
#include <string>
#include <string_view>

#include "base/error.h"
#include "checkpoint/manifest.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  try {
    const moe::checkpoint::Manifest manifest =
        moe::checkpoint::parse_manifest("fuzz", std::string_view(reinterpret_cast<const char*>(data), size));
    CHECK(manifest.step >= 0);
    for (const auto& [name, file] : manifest.files)
      CHECK(!name.empty() && name != ".." && name.find('/') == std::string::npos);
    const std::string written = moe::checkpoint::to_json(manifest);
    CHECK(moe::checkpoint::to_json(moe::checkpoint::parse_manifest("written", written)) == written);
  } catch (const moe::UserError&) {
  }
  return 0;
}
