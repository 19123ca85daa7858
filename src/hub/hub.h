// SPDX-License-Identifier: MIT
// The Hugging Face hub: revisions, listings, files read in ranges or downloaded into huggingface_hub's cache, which is
// looked into first. The token goes to the endpoint and nowhere else. Sizes are bytes. Everything may be called from
// any thread; what fails is a UserError naming the file and what to do.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "base/input.h"
#include "hub/address.h"
#include "hub/cache.h"
#include "hub/settings.h"
#include "net/http.h"

namespace moe::hub {

class Hub {
 public:
  using Event = std::function<void(const std::string&)>;  // a line to print
  using Progress = std::function<void(uint64_t)>;         // so many bytes more are on the disk

  // The client must outlive it.
  Hub(Settings settings, net::Client& client, Event on_event = {});

  // The commit (40 hex digits) that the address's revision stands for: asked once, then kept, so that a run sees one
  // state of the repository. Offline: from the cache's refs. A missing revision is default_revision().
  std::string commit(const Address& address);
  // The files at or below the path, by path (bytewise). Offline: those that the cache holds. UserError when there are
  // none.
  std::vector<File> list(const Address& address);
  // The cache's file when it is there with the right size, else range reads through a signed URL.
  std::shared_ptr<const Input> open(const Address& address, const File& file);
  // Into the cache, continuing what an earlier attempt left, checked against the hash; the path below snapshots/.
  // Two processes, also Python's, do not fetch the same file twice at once.
  std::filesystem::path download(const Address& address, const File& file, const Progress& progress = {});

  const Cache& cache() const { return cache_; }
  Cache& cache() { return cache_; }
  const Settings& settings() const { return settings_; }

 private:
  net::Request api_request(const std::string& url) const;
  std::string ask_commit(const Address& address, const std::string& revision);
  std::vector<File> ask_list(const Address& address, const std::string& commit);
  net::Url resolve(const Address& address, const std::string& commit, const File& file);
  [[noreturn]] void explain(const net::HttpError& error, const Address& address) const;
  void check_online(const Address& address) const;

  const Settings settings_;
  net::Client& client_;
  const Event on_event_;
  Cache cache_;
  std::mutex mutex_;
  std::map<std::string, std::string> commits_;  // by Address::text() without its path
};

// The revision used where an address names none: FineWeb-Edu is pinned, so that a run means the same data next year;
// any other repository's is "main".
std::string default_revision(const Address& address);

}  // namespace moe::hub
