// SPDX-License-Identifier: MIT
// Where ranks meet before they have a communicator, and beside it: a store, which rank 0 serves unless
// torchrun's agent does.
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "comm/launch.h"
#include "comm/store.h"

namespace moe::comm {

// Where rank 0's store listens, as it writes it into the file of --rendezvous file:PATH.
struct StorePlace {
  std::string host;
  int port = 0;
  std::string id;  // of this start: in front of all keys

  std::string line() const;
  // None for what line() did not write.
  static std::optional<StorePlace> read(std::string_view text);
};

class Rendezvous {
 public:
  // Returns when all ranks are here, each once, and all say as many. Throws UserError where nobody said where
  // to meet, and on all ranks when some are missing, there twice, or of a world of another size, naming them.
  // A process that comes when all have met is refused alone.
  Rendezvous(const Launch& launch, std::chrono::milliseconds timeout);

  Store& store() { return *store_; }

 private:
  void meet_in_file(const Launch& launch, std::chrono::milliseconds timeout);
  void wait_for_all(const Launch& launch, std::chrono::milliseconds timeout);
  void wait_until_heard(const Launch& launch);
  std::string find_trouble(const Launch& launch);
  std::string wait_for_ranks(const Launch& launch, std::chrono::milliseconds timeout);

  std::unique_ptr<StoreServer> server_;  // of rank 0
  std::unique_ptr<Store> store_;
};

}  // namespace moe::comm
