// SPDX-License-Identifier: MIT
// huggingface_hub's cache on the disk: FOLDER/datasets--USER--NAME/{blobs/OID, snapshots/COMMIT/PATH ->
// ../../blobs/OID, refs/REVISION (text: the commit), trees/COMMIT.json}, and FOLDER/.locks/. Reads what
// Python wrote and writes what it reads. Ours alone: .moe/OID beside blobs/, an empty file for each blob that
// we fetched, dated by its last use. Knows nothing of the network.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/input.h"
#include "hub/address.h"

namespace moe::hub {

struct File {
  std::string path;  // in the repository
  int64_t size = 0;
  std::string
      oid;  // of the content: SHA-256 of an LFS file, else git's SHA-1 of the blob; lower-case hex. Empty when
            // the cache has a copy in place of a link
  bool lfs = false;

  bool operator==(const File&) const = default;
};

// 40 lower-case hex digits.
bool is_commit(std::string_view text);
// 40 or 64 lower-case hex digits.
bool is_oid(std::string_view text);
// The files at or below a path, sorted by path; an empty path is all of them.
std::vector<File> at_or_below(const std::string& path, std::vector<File> files);

class Cache {
 public:
  explicit Cache(std::filesystem::path folder) : folder_(std::move(folder)) {}

  const std::filesystem::path& folder() const { return folder_; }
  std::filesystem::path repository(const Address& address) const;
  std::filesystem::path blob(const Address& address, const std::string& oid) const;
  std::filesystem::path snapshot(const Address& address, const std::string& commit,
                                 const std::string& path) const;
  std::filesystem::path lock(const Address& address, const std::string& oid) const;

  // The commit that refs/REVISION names; a revision that is a commit is itself.
  std::optional<std::string> commit(const Address& address, const std::string& revision) const;
  void write_ref(const Address& address, const std::string& revision, const std::string& commit) const;
  // The files of a snapshot that are here.
  std::vector<File> list(const Address& address, const std::string& commit) const;
  // All files of the commit, from trees/COMMIT.json; nothing when there is none that can be read.
  std::optional<std::vector<File>> tree(const Address& address, const std::string& commit) const;

  // Where the file's content is, if it is here with the right size.
  std::optional<std::filesystem::path> find(const Address& address, const std::string& commit,
                                            const File& file) const;
  // The same, open; null when it is not here. Counts as a use; no prune(), also of another process, removes
  // the blob while the Input lives.
  std::shared_ptr<const Input> open(const Address& address, const std::string& commit,
                                    const File& file) const;
  // Makes the relative link snapshots/COMMIT/PATH -> blobs/OID, and returns its path.
  std::filesystem::path link(const Address& address, const std::string& commit, const File& file) const;
  // Notes that we fetched this blob, or used it now.
  void mark(const Address& address, const std::string& oid) const;

  // Removes blobs that we fetched, the least recently used first, with the links to them, until the rest of
  // them take at most `limit` bytes. Never touches what others put here, and what is open or being fetched,
  // here or in another process. Returns the bytes freed.
  int64_t prune(int64_t limit) const;
  // What those blobs take, half-fetched ones included.
  int64_t fetched_bytes() const;
  // How much of the file a fetch would still bring.
  int64_t missing_bytes(const Address& address, const File& file) const;

 private:
  const std::filesystem::path folder_;
};

}  // namespace moe::hub
