// SPDX-License-Identifier: MIT
// A file behind a URL as an Input: every read is one range request, on the caller's thread; any number of
// threads may read at once. Joining small reads into larger ones is the caller's business.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>

#include "base/input.h"
#include "net/http.h"

namespace moe::net {

// What the file is; every answer is held against it.
struct RemoteIdentity {
  int64_t size = -1;
  // Response::validator of the server that sends the bytes; "" when not known: then the first answer's
  // counts.
  std::string validator = {};
};

// Where its bytes are at the moment.
struct RemoteAddress {
  Url url;
  std::string bearer = {};  // for the URL's own origin
};

class RemoteFile : public Input {
 public:
  // Gives a URL that is good for a while (a signed one). Called at the first read, and again when the server
  // refuses the one before (401, 403, 410) or its server is away: by one thread, once for each time it
  // expires.
  using Resolver = std::function<RemoteAddress()>;

  // name: for messages. The client must outlive it.
  RemoteFile(Client& client, std::string name, Resolver resolver, RemoteIdentity identity);
  RemoteFile(Client& client, RemoteAddress address, RemoteIdentity identity);

  int64_t size() const override { return identity_.size; }
  // As given, or as open_url found it; "" when not known.
  const std::string& validator() const { return identity_.validator; }
  // Bytes [begin, end) of the file, which must lie inside it, piece by piece: each byte once and in order.
  void stream(int64_t begin, int64_t end, const std::function<void(std::string_view)>& sink) const;

 private:
  // Shared by all readers; the one that finds it expired replaces it.
  struct Lease {
    RemoteAddress address;
    std::string validator;
    uint64_t generation = 0;  // 0: none yet
    bool served = false;      // an answer has come: a refusal then means that it expired
  };

  void read_exactly(int64_t begin, char* data, size_t count) const override;
  Lease lease() const;
  void remember(uint64_t generation, const std::string& validator) const;
  // After a refusal: true when another attempt is worth it.
  bool renew(uint64_t generation) const;
  bool replace(uint64_t generation) const;
  std::optional<double> patience_of_lease() const;
  void resolve() const;

  Client& client_;
  Resolver resolver_;
  RemoteIdentity identity_;
  mutable std::mutex mutex_;
  mutable Lease lease_;
  mutable int unserved_ = 0;  // leases in a row that were refused at once
};

// A plain URL: asks for size and validator (HEAD, else one byte). UserError when the server has no ranges or
// does not know the size.
std::shared_ptr<RemoteFile> open_url(Client& client, const std::string& url);

}  // namespace moe::net
