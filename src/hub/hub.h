// SPDX-License-Identifier: MIT
// The Hugging Face hub: revisions, listings, files read in ranges or downloaded into huggingface_hub's cache,
// which is looked into first. The token goes to the endpoint and nowhere else. Sizes are bytes. Everything
// may be called from any thread; what fails is a UserError naming the file and what to do.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "base/input.h"
#include "hub/address.h"
#include "hub/cache.h"
#include "hub/file_lock.h"
#include "hub/settings.h"
#include "net/http.h"
#include "net/remote_file.h"

namespace moe::hub {

class Hub {
 public:
  // Of one listing: what is longer has no end, or does not fit into memory.
  static constexpr size_t kMostPages = 2'000, kMostFiles = 1'000'000;
  // Seconds that the hub may be out of reach where the cache has an answer, too.
  static constexpr double kPatienceWithCache = 30;

  using Event = std::function<void(const std::string&)>;  // a line to print
  using Progress = std::function<void(uint64_t)>;         // so many bytes more are on the disk

  // The client must outlive it, and it the Inputs that open() returns.
  Hub(Settings settings, net::Client& client, Event on_event = {});

  // The commit (40 hex digits) that the address's revision stands for: asked once, then kept, so that a run
  // sees one state of the repository. Offline, or when the hub does not answer: from the cache's refs.
  std::string commit(const Address& address);
  // The files at or below the path, by path (bytewise). Offline: those that the cache holds. UserError when
  // there are none.
  std::vector<File> list(const Address& address);
  // The cache's file when it is there with the right size, else range reads through a signed URL.
  std::shared_ptr<const Input> open(const Address& address, const File& file);
  // Into the cache, continuing what an earlier attempt left, checked against the hash; the path below
  // snapshots/. Two processes, also Python's, do not fetch the same file at once: the second waits.
  std::filesystem::path download(const Address& address, const File& file, const Progress& progress = {});

  Cache& cache() { return cache_; }
  const Settings& settings() const { return settings_; }

 private:
  std::string api(const Address& address, const std::string& verb, const std::string& revision) const;
  net::Response ask(const net::Url& url, const Address& address, std::optional<double> patience = {}) const;
  std::string ask_commit(const Address& address, const std::string& revision,
                         std::optional<double> patience) const;
  std::vector<File> ask_tree(const Address& address, const std::string& commit, const std::string& path,
                             bool recursive) const;
  std::vector<File> ask_list(const Address& address, const std::string& commit) const;
  net::RemoteAddress resolve(const Address& address, const std::string& commit, const File& file) const;
  std::shared_ptr<net::RemoteFile> remote(const Address& address, const std::string& commit,
                                          const File& file) const;
  FileLock wait_for_lock(const Address& address, const File& file) const;
  void fetch(const Address& address, const std::string& commit, const File& file,
             const Progress& progress) const;
  void event(const std::string& line) const;

  const Settings settings_;
  const net::Url endpoint_;
  net::Client& client_;
  const Event on_event_;
  Cache cache_;
  std::mutex mutex_;
  std::map<std::string, std::string> commits_;  // by KIND/USER/NAME@REVISION
};

// The address's revision, or where it names none: FineWeb-Edu's is pinned, so that a run means the same data
// next year; any other repository's is "main".
std::string revision_or_default(const Address& address);

}  // namespace moe::hub
