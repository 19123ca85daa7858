// SPDX-License-Identifier: MIT
// manifest.json of a checkpoint: what its files are and how to tell that they are whole. Written last, read
// first.
#pragma once

#include <xxhash.h>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <string_view>

namespace moe::checkpoint {

inline constexpr int64_t kCheckpointFormat = 1;
inline constexpr std::string_view kManifestName = "manifest.json", kStateName = "state.json";

struct Manifest {
  struct File {
    uint64_t bytes = 0;
    std::string hash;  // XXH3-128, canonical form, 32 hexadecimal digits
  };
  int64_t step = 0;
  std::string program;
  std::map<std::string, File> files;
};

std::string to_json(const Manifest& manifest);
// Throws UserError naming `where`: not JSON, another format version, a field missing, a file name with a path
// in it.
Manifest parse_manifest(const std::string& where, std::string_view text);

// XXH3-128 over bytes that come in pieces.
class Hash {
 public:
  Hash();
  void add(const void* data, size_t size);
  std::string hex() const;

 private:
  struct Free {
    void operator()(XXH3_state_t* state) const { XXH3_freeState(state); }
  };
  std::unique_ptr<XXH3_state_t, Free> state_;
};

}  // namespace moe::checkpoint
