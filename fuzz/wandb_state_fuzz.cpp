// SPDX-License-Identifier: MIT
// Any bytes as the small file by which a resumed run finds its Weights & Biases folder: a UserError, or a
// folder whose last part is a name; a file that makes no sense leads to a new one.
#include <unistd.h>

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

#include "base/error.h"
#include "base/file.h"
#include "wandb/run_files.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  namespace fs = std::filesystem;
  static const fs::path root = fs::temp_directory_path() / ("moe_fuzz_wandb_" + std::to_string(::getpid()));
  fs::create_directories(root);
  moe::write_file_atomically(root / "wandb.json",
                             std::string_view(reinterpret_cast<const char*>(data), size));
  moe::wandb::Settings settings;
  settings.mode = moe::wandb::Mode::offline;
  settings.folder = root;
  try {
    const auto files = moe::wandb::RunFiles::open(settings, root / "wandb.json", true, 1e9);
    CHECK(!files.id.empty() && files.id.find('/') == std::string::npos && files.id != "..");
    CHECK(files.existed || files.folder.parent_path() == root / "wandb");
  } catch (const moe::UserError&) {
  }
  fs::remove_all(root);
  return 0;
}
