// SPDX-License-Identifier: MIT
// What every communicator promises, as one list of checks that each rank runs. Numbers whose sum depends on
// the order show whether the order is that of the ranks.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <span>
#include <thread>
#include <vector>

#include "comm/contract_values.h"

namespace moe::comm {

// Pieces of n elements; or of n, none, 3 n, n, none, 3 n, ...
inline std::vector<int64_t> piece_counts(const Communicator& comm, int64_t n, bool equal) {
  std::vector<int64_t> counts(static_cast<size_t>(comm.size()), n);
  for (size_t r = 0; r < counts.size() && !equal; ++r)
    if (r % 3 != 0) counts[r] = r % 3 == 1 ? 0 : 3 * n;
  return counts;
}

template <class T, class A>
void check_pieces(Communicator& comm, const std::vector<int64_t>& counts) {
  const auto rank = static_cast<size_t>(comm.rank());
  const auto sum = [&](size_t count) {
    return std::accumulate(counts.data(), counts.data() + count, int64_t{0});
  };
  const int64_t n = sum(counts.size()), begin = sum(rank);
  auto y = of_rank<T>(comm.rank(), static_cast<size_t>(n));
  const Tensor mine = view(y).rows(begin, begin + counts[rank]);
  comm.reduce_scatter(mine, view(y), counts);
  const auto all = expected_sum<T, A>(comm.size(), static_cast<size_t>(n));
  const auto piece = [&](const std::vector<T>& values) {
    return std::vector<T>(values.begin() + begin, values.begin() + begin + counts[rank]);
  };
  EXPECT_TRUE(same(piece(y), piece(all))) << n;
  comm.all_gather(view(y), mine, counts);
  EXPECT_TRUE(same(y, all)) << n;

  // From and to memory of their own. One rank moves nothing: it only has what is in its place already.
  if (comm.size() == 1) return;
  auto z = of_rank<T>(comm.rank(), static_cast<size_t>(n));
  std::vector<T> part(static_cast<size_t>(counts[rank]));
  comm.reduce_scatter(view(part), view(z), counts);
  comm.all_gather(view(z), view(part), counts);
  EXPECT_TRUE(same(part, piece(all)) && same(z, all)) << n;
}

template <class T, class A>
void check_sums(Communicator& comm) {
  for (const size_t n : {size_t{0}, size_t{1}, size_t{5}, size_t{4099}}) {
    auto x = of_rank<T>(comm.rank(), n);
    comm.all_reduce(view(x));
    EXPECT_TRUE(same(x, expected_sum<T, A>(comm.size(), n))) << n;
    for (const bool equal : {true, false})
      check_pieces<T, A>(comm, piece_counts(comm, static_cast<int64_t>(n), equal));
  }
}

// Rank a sends rank b (a + 2 b) % 5 rows of 3 numbers that say whose they are.
inline void check_all_to_all(Communicator& comm) {
  if (comm.size() == 1) return;
  const auto rows = [](int a, int b) { return int64_t{(a + 2 * b) % 5}; };
  std::vector<int64_t> out, in;
  std::vector<int32_t> sent, expected;
  for (int r = 0; r < comm.size(); ++r) {
    out.push_back(rows(comm.rank(), r));
    in.push_back(rows(r, comm.rank()));
    for (int64_t i = 0; i < out.back(); ++i)
      sent.insert(sent.end(), {comm.rank(), r, static_cast<int32_t>(i)});
    for (int64_t i = 0; i < in.back(); ++i)
      expected.insert(expected.end(), {r, comm.rank(), static_cast<int32_t>(i)});
  }
  sent.insert(sent.end(), 6, -1);  // memory has room for more
  std::vector<int32_t> received(expected.size() + 6, 77);
  const auto matrix = [](std::vector<int32_t>& values) {
    return Tensor(values.data(), DType::i32, {std::ssize(values) / 3, 3});
  };
  comm.all_to_all(matrix(received), in, matrix(sent), out);
  expected.insert(expected.end(), 6, 77);
  EXPECT_EQ(received, expected);
}

// Started in slots, two of them in one, and finished in the same order; a slot without any is finished, too.
inline void check_lanes(Communicator& comm) {
  constexpr int64_t n = 300;
  const int64_t W = comm.size();
  const auto size = static_cast<size_t>(n * W);
  auto x = of_rank<float>(comm.rank(), size), y = x, z = x;
  const auto mine = [&](std::vector<float>& values) {
    return view(values).rows(comm.rank() * n, (comm.rank() + 1) * n);
  };
  const auto all = expected_sum<float, float>(comm.size(), size);
  const std::vector<int64_t> counts = piece_counts(comm, n, true);
  comm.start_reduce_scatter(3, mine(x), view(x), counts);
  comm.start_all_gather(3, view(x), mine(x), counts);
  comm.start_all_reduce(0, view(y));
  comm.finish(3);
  EXPECT_TRUE(same(x, all));
  comm.finish(0);
  EXPECT_TRUE(same(y, all));
  comm.finish(1);
  comm.start_all_gather(0, view(z), mine(z), counts);
  comm.finish(0);
  for (int r = 0; r < comm.size(); ++r) {
    const auto of_r = of_rank<float>(r, size);
    const auto begin = static_cast<size_t>(r * n);
    EXPECT_TRUE(std::equal(of_r.begin() + begin, of_r.begin() + begin + n, z.begin() + begin)) << r;
  }
}

// Odd and even ranks as worlds of their own, which talk while the other does, and then the whole again.
inline void check_split(Communicator& comm) {
  const int color = comm.rank() % 2, size = (comm.size() + 1 - color) / 2;
  {
    const auto half = comm.split(color, comm.rank() / 2, size);
    EXPECT_EQ(half->size(), size);
    EXPECT_EQ(half->rank(), comm.rank() / 2);
    const auto ranks = half->gather(comm.rank());
    for (int r = 0; r < size; ++r) EXPECT_EQ(ranks[static_cast<size_t>(r)], 2 * r + color);
    for (int turn = 0; turn <= color; ++turn) {  // one half more often than the other
      check_sums<float, float>(*half);
      check_all_to_all(*half);
    }
    const auto alone = half->split(half->rank(), 0, 1);
    EXPECT_EQ(alone->sum(7), 7);
  }
  EXPECT_EQ(comm.sum(1), comm.size());
}

// Who comes first waits for the last. Clocks of one machine's ranks agree.
inline void check_meeting(Communicator& comm) {
  const auto now = [] {
    return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
  };
  comm.barrier();
  if (comm.rank() == 0) std::this_thread::sleep_for(std::chrono::milliseconds(200));
  const double here = now();
  comm.step_barrier();
  const auto all = comm.gather(here);
  const double late = *std::max_element(all.begin(), all.end()) - here;
  EXPECT_GE(comm.waited(), 0.5 * late) << "of rank " << comm.rank();
}

inline void check_contract(Communicator& comm) {
  check_sums<float, float>(comm);
  check_sums<double, double>(comm);
  check_sums<int32_t, int32_t>(comm);
  check_sums<bf16, float>(comm);
  check_all_to_all(comm);
  check_lanes(comm);
  for (int root = 0; root < comm.size(); ++root) {
    auto x = of_rank<bf16>(comm.rank(), 1001);
    comm.broadcast(view(x), root);
    EXPECT_TRUE(same(x, of_rank<bf16>(root, 1001)));
  }
  const auto ranks = comm.gather(comm.rank());
  for (int r = 0; r < comm.size(); ++r) EXPECT_EQ(ranks[static_cast<size_t>(r)], r);
  EXPECT_EQ(comm.sum(int64_t{1} << 40), int64_t{comm.size()} << 40);
  const auto words = comm.gather_text(std::string(static_cast<size_t>(3 * comm.rank()), 'x'));
  for (int r = 0; r < comm.size(); ++r)
    EXPECT_EQ(words[static_cast<size_t>(r)].size(), 3U * static_cast<size_t>(r));
  check_meeting(comm);
  check_split(comm);
}

}  // namespace moe::comm
