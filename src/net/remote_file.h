// SPDX-License-Identifier: MIT
// A file behind a URL as an Input: every read is one range request, on the caller's thread; any number of threads may
// read at once. Joining small reads into larger ones is the caller's business.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>

#include "base/input.h"
#include "net/http.h"

namespace moe::net {

// What the file is; every answer is held against it.
struct RemoteIdentity {
  int64_t size = -1;
  std::string
      etag;  // of the server that sends the bytes; "" when it has none (then the first answer's counts)
};

class RemoteFile : public Input {
 public:
  // Gives a URL that is good for a while (a signed one); called again when the server says it is not (401, 403, 410).
  using Resolver = std::function<Url()>;

  // name: for messages. The client must outlive it.
  RemoteFile(Client& client, std::string name, Url url, RemoteIdentity identity);
  RemoteFile(Client& client, std::string name, Resolver resolver, RemoteIdentity identity);

  int64_t size() const override { return identity_.size; }

 private:
  // A URL and what came of it. Readers share it; one replaces it when it has expired.
  struct Address {
    Url url;
    uint64_t generation = 0;
    bool served = false;  // at least one answer came: a refusal then means expiry, otherwise it is final
    std::string etag;
  };

  void read_exactly(int64_t begin, char* data, size_t count) const override;
  Address address() const;
  void remember(uint64_t generation, const std::string& etag) const;
  // After a refusal of `generation`: makes a new URL unless another thread has. False when it was refused while fresh.
  bool renew(uint64_t generation) const;

  Client& client_;
  Resolver resolver_;
  RemoteIdentity identity_;
  mutable std::mutex mutex_;
  mutable Address address_;
  mutable bool resolved_ = false;
};

// A plain URL: asks for size, ETag and whether ranges work (HEAD, else one byte). UserError when they do not, or the
// size is unknown.
std::shared_ptr<RemoteFile> open_url(Client& client, const std::string& url);

}  // namespace moe::net
