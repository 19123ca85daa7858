// SPDX-License-Identifier: MIT
#include "comm/rendezvous.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <filesystem>
#include <numeric>
#include <random>
#include <thread>
#include <vector>

#include "base/error.h"
#include "base/file.h"
#include "base/host.h"
#include "base/parse_number.h"

namespace moe::comm {
namespace {

using Clock = std::chrono::steady_clock;

constexpr const char* kAllHere = "all here";
constexpr const char* kTrouble = "trouble";
constexpr const char* kHeard = "heard";
constexpr auto kHearing = std::chrono::seconds(2);
constexpr auto kPause = std::chrono::milliseconds(20);

}  // namespace

std::string StorePlace::line() const {
  return fmt::format("{} {} {}\n", host, port, id);
}

std::optional<StorePlace> StorePlace::read(std::string_view text) {
  constexpr size_t kLongest = 1000;
  const size_t one = text.find(' '), two = text.rfind(' ');
  if (text.size() > kLongest || !text.ends_with('\n') || one == std::string_view::npos || one == two)
    return std::nullopt;
  text.remove_suffix(1);
  const auto port = parse_number<int>(text.substr(one + 1, two - one - 1));
  StorePlace place{std::string(text.substr(0, one)), port.value_or(0), std::string(text.substr(two + 1))};
  const bool good = place.port > 0 && place.port < 65536 && !place.host.empty() && !place.id.empty();
  return good ? std::optional(std::move(place)) : std::nullopt;
}

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

// Rank 0 writes where it listens. A file that an earlier run left names a port where nobody is, or somebody
// else's keys.
void Rendezvous::meet_in_file(const Launch& launch, std::chrono::milliseconds timeout) {
  if (launch.rank == 0) {
    server_ = std::make_unique<StoreServer>(0);
    const std::string id = fmt::format("moe.{:x}", std::random_device()());
    store_ = std::make_unique<Store>("127.0.0.1", server_->port(), id, timeout);
    write_file_atomically(launch.file, StorePlace{host_name(), server_->port(), id}.line());
    return;
  }
  for (const auto begin = Clock::now();;) {
    std::optional<StorePlace> place;
    if (std::filesystem::is_regular_file(launch.file)) place = StorePlace::read(read_file(launch.file));
    try {
      if (place) {
        if (place->host == host_name()) place->host = "127.0.0.1";  // a machine need not know its own name
        store_ = std::make_unique<Store>(place->host, place->port, place->id, std::chrono::milliseconds(500));
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

// Of what this process says of itself, before it says it; "" where nothing is wrong.
std::string Rendezvous::find_trouble(const Launch& launch) {
  const std::string place = process_name(), here = fmt::format("here {}", launch.rank);
  if (store_->add(fmt::format("count {}", launch.rank), 1) > 1)
    return fmt::format("rank {} twice: {} and {}", launch.rank, store_->get(here).value_or("another process"),
                       place);
  if (launch.rank == 0) return "";
  const std::string size = store_->get("size").value_or("");
  if (size == std::to_string(launch.size)) return "";
  return fmt::format("rank {} of {} ({}), where rank 0 is one of {}", launch.rank, launch.size, place, size);
}

// The store ends with rank 0: those who are here hear first why.
void Rendezvous::wait_until_heard(const Launch& launch) {
  int64_t others = 0;
  for (int r = 1; r < launch.size; ++r) others += store_->get(fmt::format("here {}", r)).has_value() ? 1 : 0;
  for (const auto begin = Clock::now(); store_->add(kHeard, 0) < others && Clock::now() - begin < kHearing;)
    std::this_thread::sleep_for(kPause);
}

// On rank 0; "" when all are here.
std::string Rendezvous::wait_for_ranks(const Launch& launch, std::chrono::milliseconds timeout) {
  std::vector<int> missing(static_cast<size_t>(launch.size));
  std::iota(missing.begin(), missing.end(), 0);
  for (const auto begin = Clock::now();; std::this_thread::sleep_for(kPause)) {
    if (const auto trouble = store_->get(kTrouble)) return *trouble;
    std::erase_if(missing, [&](int r) { return store_->get(fmt::format("here {}", r)).has_value(); });
    // What a second one of a rank that is here has to say it says before the last one comes, or too late for
    // all.
    if (missing.empty()) return store_->get(kTrouble).value_or("");
    if (Clock::now() - begin > timeout)
      return fmt::format("that these are missing: {}", fmt::join(missing, ", "));
  }
}

void Rendezvous::wait_for_all(const Launch& launch, std::chrono::milliseconds timeout) {
  const auto wrong = [&](const std::string& found) {
    return UserError(
        fmt::format("{} ranks, as {} says", launch.size, launch.by),
        fmt::format("all of them within {} s, each once", std::chrono::duration<double>(timeout).count()),
        found);
  };
  if (launch.rank == 0) {
    store_->set("size", std::to_string(launch.size));
    store_->set("open", "");
  } else if (!store_->wait("open", 2 * timeout)) {
    throw wrong("no word from rank 0");
  }
  if (const std::string trouble = find_trouble(launch); !trouble.empty()) {
    store_->set(kTrouble, trouble);
    store_->get(kTrouble);  // set() is not answered: only now has the store got it
    throw wrong(trouble);
  }
  store_->set(fmt::format("here {}", launch.rank), process_name());
  if (launch.rank == 0) store_->set(kAllHere, wait_for_ranks(launch, timeout));
  // The others wait longer: rank 0's answer says what is wrong.
  const auto answer = store_->wait(kAllHere, 2 * timeout);
  if (answer && answer->empty()) return;
  if (launch.rank != 0) store_->add(kHeard, 1);
  if (launch.rank == 0) wait_until_heard(launch);
  throw wrong(answer ? *answer : "no word from rank 0");
}

}  // namespace moe::comm
