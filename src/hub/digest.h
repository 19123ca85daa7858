// SPDX-License-Identifier: MIT
// The two hashes that name a file's content on the hub: SHA-256 of the bytes (LFS files), and git's SHA-1 of
// a blob, which has "blob SIZE\0" before the bytes (all others). Computed by OpenSSL.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace moe::hub {

class Digest {
 public:
  // size: of the whole content, which git's hash begins with.
  Digest(bool lfs, int64_t size);
  ~Digest();
  Digest(Digest&&) noexcept;
  Digest& operator=(Digest&&) noexcept;

  void add(std::string_view bytes);
  std::string hex();  // in lower case; nothing may be added after

 private:
  struct Context;
  std::unique_ptr<Context> context_;
};

}  // namespace moe::hub
