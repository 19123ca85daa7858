// SPDX-License-Identifier: MIT
// Which rank the others wait for. In each step the last one to come waits shortest
// (Communicator::step_barrier()); one that is last again and again, and late, is worth a word: a GPU that is
// hot, a slow disk, a neighbour on the same cores.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace moe::train {

class Stragglers {
 public:
  static constexpr int kWindow = 50;     // steps that are judged together
  static constexpr double kOften = 0.8;  // share of them in which one rank was the last
  static constexpr double kLate = 0.1;   // of a step's time, that others waited for it

  struct Step {
    int64_t slowest = 0;
    double lost = 0;  // seconds that the first rank waited longer than the last
  };
  struct Verdict {
    int64_t rank = 0;
    double lost = 0, step = 0;  // seconds, means over the window
  };

  // What each rank waited in a step (at least two of them), and what the step took.
  Step add(std::span<const double> waited, double seconds);
  // At the end of a window with such a rank, once.
  std::optional<Verdict> verdict();

 private:
  std::vector<int> times_last_;
  double lost_ = 0, seconds_ = 0;
  int steps_ = 0;
};

}  // namespace moe::train
