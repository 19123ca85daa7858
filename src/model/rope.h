// SPDX-License-Identifier: MIT
// Rotary positions (Su et al. 2021): how fast each pair of a head turns, and the table of rotations that
// kernels read. All scalings are another table, so no kernel knows of them.
#pragma once

#include <cstdint>
#include <vector>

#include "base/choices.h"

namespace moe::model {

// How frequencies are stretched so that a model sees further than the L0 tokens that it was trained on:
//   linear  f / s                                            (Chen et al., arXiv 2306.15595)
//   llama3  by wavelength: long ones f / s, short ones f     (Llama 3.1's; transformers' rope_type "llama3")
//   yarn    by the number of turns in L0, and scores grow    (Peng et al., arXiv 2309.00071)
enum class RopeScaling : uint8_t { none, linear, llama3, yarn };
constexpr auto choices_of(RopeScaling) {
  return choices<RopeScaling>({{RopeScaling::none, "none"},
                               {RopeScaling::linear, "linear"},
                               {RopeScaling::llama3, "llama3"},
                               {RopeScaling::yarn, "yarn"}});
}

struct RopeSpec {
  int64_t head_dim = 0;    // d
  int64_t rotary_dim = 0;  // r <= d, even: pairs (i, i + d/2) with i < r/2 turn, the others stay as they are
  double theta = 1e4;      // f_i = theta^(-2i/r)
  RopeScaling scaling = RopeScaling::none;
  double factor = 1;        // s
  double original_len = 0;  // L0, in tokens; llama3 and yarn
  // llama3: the wavelengths L0 / low and longer ones become s times as long, L0 / high and shorter ones stay.
  double low_freq_factor = 1, high_freq_factor = 4;
  // yarn: pairs that turn beta_fast times in L0 tokens stay, those that turn beta_slow times are stretched.
  double beta_fast = 32, beta_slow = 1;
  double attention_factor = 0;  // yarn: cos and sin are multiplied by it; 0: 0.1 ln s + 1
  double score_scale =
      1;  // of all products of queries and keys: in the table, since q and k are turned by it

  bool operator==(const RopeSpec&) const = default;
};

// Radians a token of the pairs i < r/2.
std::vector<double> rope_frequencies(const RopeSpec& rope);
// What cos and sin of the turning pairs are multiplied by.
double rope_scale(const RopeSpec& rope);
// [rows, d] f32 in host memory: row t = [cos (d/2) | sin (d/2)] times sqrt(score_scale), computed in double.
std::vector<float> rope_table(int64_t rows, const RopeSpec& rope);

}  // namespace moe::model
