// SPDX-License-Identifier: MIT
#include "comm/communicator.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>
#include <optional>
#include <utility>

#include "base/shard.h"

namespace moe::comm {
namespace {

constexpr char kBetween = '\0';  // the four parts of an error on the way

std::string pack(const UserError& error) {
  std::string text;
  for (const std::string& part : {error.where, error.expected, error.found, error.hint})
    text += part + kBetween;
  return text;
}

SharedError unpack(const std::string& text, const std::string& prefix) {
  std::vector<std::string> parts;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = text.find(kBetween, begin);
    parts.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  CHECK(parts.size() == 4);
  return {prefix + parts[0], parts[1], parts[2], parts[3]};
}

}  // namespace

int64_t Communicator::sum(int64_t mine) {
  const auto all = gather(mine);
  return std::accumulate(all.begin(), all.end(), int64_t{0});
}

void Communicator::check_pieces(const Tensor& part, const Tensor& x, std::span<const int64_t> counts) const {
  CHECK(std::ssize(counts) == size_ && part.dtype() == x.dtype());
  CHECK(part.numel() == counts[static_cast<size_t>(rank_)] && x.numel() == elements_of(counts));
}

void Communicator::step_barrier() {
  const auto begin = std::chrono::steady_clock::now();
  barrier();
  waited_ = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

void Communicator::finish(int slot) {
  for (const auto& work : std::exchange(started_[slot], {})) work();
}

void Communicator::start_gather(int slot, const Tensor& mine) {
  std::vector<std::byte>& all = gathered_[slot];
  all.resize(static_cast<size_t>(mine.bytes() * size_));
  all_gather_bytes(all, {static_cast<const std::byte*>(mine.data()), static_cast<size_t>(mine.bytes())});
}

std::span<const std::byte> Communicator::finish_gather(int slot) {
  return gathered_.at(slot);
}

std::vector<std::string> Communicator::gather_text(const std::string& mine) {
  const auto lengths = gather(mine.size());
  const size_t longest = *std::max_element(lengths.begin(), lengths.end());
  std::string padded = mine, together(longest * lengths.size(), '\0');
  padded.resize(longest);
  all_gather_bytes(std::as_writable_bytes(std::span(together)), std::as_bytes(std::span(padded)));
  std::vector<std::string> all;
  for (size_t r = 0; r < lengths.size(); ++r) all.push_back(together.substr(r * longest, lengths[r]));
  return all;
}

void propagate_errors(Communicator& communicator, const std::function<void()>& body) {
  if (communicator.size() == 1) return body();
  std::string trouble;
  try {
    body();
  } catch (const UserError& error) {
    trouble = pack(error);
  }
  if (communicator.sum(trouble.empty() ? 0 : 1) == 0) return;
  const auto all = communicator.gather_text(trouble);
  const auto first = std::find_if(all.begin(), all.end(), [](const auto& text) { return !text.empty(); });
  const bool of_all =
      std::all_of(all.begin(), all.end(), [&](const auto& text) { return text == all.front(); });
  throw unpack(*first, of_all ? "" : fmt::format("rank {}: ", first - all.begin()));
}

}  // namespace moe::comm
