// SPDX-License-Identifier: MIT
// huggingface_hub's cache on the disk: FOLDER/datasets--USER--NAME/{blobs/OID, snapshots/COMMIT/PATH -> ../../blobs/OID,
// refs/REVISION (text: the commit), trees/COMMIT.json}, and FOLDER/.locks/. Reads what Python wrote and writes what it
// reads. Knows nothing of the network.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "base/input.h"
#include "hub/address.h"

namespace moe::hub {

struct File {
  std::string path;  // in the repository
  int64_t size = 0;
  std::string oid;  // of the content: SHA-256 of an LFS file, else git's SHA-1 of the blob; lower-case hex
  bool lfs = false;

  bool operator==(const File&) const = default;
};

class Cache {
 public:
  explicit Cache(std::filesystem::path folder) : folder_(std::move(folder)) {}

  std::filesystem::path repository(const Address& address) const;
  std::filesystem::path blob(const Address& address, const std::string& oid) const;
  std::filesystem::path snapshot(const Address& address, const std::string& commit,
                                 const std::string& path) const;
  std::filesystem::path lock(const Address& address, const std::string& oid) const;

  // The commit that refs/REVISION names; a revision that is a commit is itself.
  std::optional<std::string> commit(const Address& address, const std::string& revision) const;
  void write_ref(const Address& address, const std::string& revision, const std::string& commit);
  // The files of a snapshot that lie at or below the path and whose blobs are there, by path.
  std::vector<File> list(const Address& address, const std::string& commit) const;
  // The same from trees/COMMIT.json, which names all files of the commit; nothing when there is none.
  std::optional<std::vector<File>> tree(const Address& address, const std::string& commit) const;

  // The file, if its blob is there with the right size, by its oid or through the snapshot. Counts as a use for
  // prune(), and keeps the blob from it while the Input lives.
  std::shared_ptr<const Input> open(const Address& address, const std::string& commit, const File& file);
  // The relative link snapshots/COMMIT/PATH -> blobs/OID.
  std::filesystem::path link(const Address& address, const std::string& commit, const File& file);

  // Removes blobs, the least recently used first, and the links to them, until all blobs and begun downloads of the
  // folder together take at most `limit` bytes. Leaves alone what this object has open and what is being downloaded,
  // here or elsewhere (locked). Returns the bytes freed.
  int64_t prune(int64_t limit);

 private:
  bool in_use(const std::filesystem::path& blob);

  const std::filesystem::path folder_;
  std::mutex mutex_;
  std::map<std::filesystem::path, std::vector<std::weak_ptr<const Input>>> open_;
};

}  // namespace moe::hub
