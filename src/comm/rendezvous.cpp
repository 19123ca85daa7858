// SPDX-License-Identifier: MIT
#include "comm/rendezvous.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <filesystem>
#include <random>
#include <sstream>
#include <thread>
#include <vector>

#include "base/error.h"
#include "base/file.h"
#include "base/host.h"

namespace moe {
namespace {

using Clock = std::chrono::steady_clock;

constexpr const char* kAllHere = "all here";

}  // namespace

Rendezvous::Rendezvous(const Launch& launch, std::chrono::milliseconds timeout) {
  if (!launch.file.empty()) {
    meet_in_file(launch, timeout);
  } else {
    if (launch.host.empty())
      throw UserError(
          launch.by, "a place where the ranks meet", "none",
          "give all ranks --rendezvous HOST:PORT (of rank 0's machine), or --rendezvous file:PATH on a "
          "disk that all see");
    if (launch.rank == 0 && !launch.agent_store) server_ = std::make_unique<StoreServer>(launch.port);
    store_ = std::make_unique<Store>(launch.host, launch.port, "moe." + launch.run_id, timeout);
  }
  wait_for_all(launch, timeout);
}

// Rank 0 writes where it listens. A file that an earlier run left names a port where nobody is, or somebody else's keys.
void Rendezvous::meet_in_file(const Launch& launch, std::chrono::milliseconds timeout) {
  if (launch.rank == 0) {
    server_ = std::make_unique<StoreServer>(0);
    const std::string id = fmt::format("moe.{:x}", std::random_device()());
    store_ = std::make_unique<Store>("127.0.0.1", server_->port(), id, timeout);
    write_file_atomically(launch.file, fmt::format("{} {} {}\n", host_name(), server_->port(), id));
    return;
  }
  for (const auto begin = Clock::now();;) {
    std::string host, id;
    int port = 0;
    if (std::filesystem::exists(launch.file)) {
      std::istringstream words(read_file(launch.file));
      words >> host >> port >> id;
    }
    try {
      if (host == host_name()) host = "127.0.0.1";  // a machine need not know its own name
      if (!id.empty()) {
        store_ = std::make_unique<Store>(host, port, id, std::chrono::milliseconds(500));
        // Only rank 0 of this start counts its ranks under this name.
        if (store_->wait("open", std::chrono::milliseconds(500))) return;
      }
    } catch (const UserError&) {
      // Nobody there: an old file, or one whose server is still coming.
    }
    if (Clock::now() - begin > timeout)
      throw UserError(launch.file, "rank 0 to write there where it listens",
                      fmt::format("no rank 0 for {} s", std::chrono::duration<double>(timeout).count()),
                      "is rank 0 running, and does it see that disk?");
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
}

void Rendezvous::wait_for_all(const Launch& launch, std::chrono::milliseconds timeout) {
  if (launch.rank == 0) store_->set("open", "");
  store_->set(fmt::format("here {}", launch.rank), process_name());
  if (launch.rank == 0) {
    std::vector<int> missing;
    const auto begin = Clock::now();
    for (int r = 0; r < launch.size; ++r) {
      const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(begin + timeout - Clock::now());
      if (!store_->wait(fmt::format("here {}", r), left)) missing.push_back(r);
    }
    store_->set(kAllHere, missing.empty() ? "" : fmt::format("{}", fmt::join(missing, ", ")));
  }
  // The others wait longer: rank 0's answer says who is missing.
  const auto answer = store_->wait(kAllHere, 2 * timeout);
  if (answer && answer->empty()) return;
  throw UserError(fmt::format("{} ranks, as {} says", launch.size, launch.by),
                  fmt::format("all of them within {} s", std::chrono::duration<double>(timeout).count()),
                  answer ? "that these are missing: " + *answer : "no word from rank 0");
}

}  // namespace moe
