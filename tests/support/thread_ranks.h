// SPDX-License-Identifier: MIT
// Runs a body as the ranks of a world of threads.
#pragma once

#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "comm/threads.h"

namespace moe::test {

// What each rank threw; "" where it returned.
inline std::vector<std::string> on_threads(int size, const std::function<void(comm::Communicator&)>& body,
                                           std::chrono::milliseconds timeout = comm::kRankTimeout) {
  auto ranks = comm::thread_ranks(size, timeout);
  std::vector<std::string> errors(ranks.size());
  std::vector<std::thread> threads;
  for (size_t r = 0; r < ranks.size(); ++r)
    threads.emplace_back([&, r] {
      try {
        body(*ranks[r]);
      } catch (const std::exception& error) {
        errors[r] = error.what();
        if (errors[r].empty()) errors[r] = "an error without words";
      }
      ranks[r].reset();  // as a process that ends
    });
  for (auto& thread : threads) thread.join();
  return errors;
}

}  // namespace moe::test
