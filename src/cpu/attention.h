// SPDX-License-Identifier: MIT
// Attention of one block of queries, shared by training and generation: the forward half of FlashAttention
// (Dao et al. 2022), with small matrix products by the library. Internal to cpu/.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>

#include "cpu/gemm.h"
#include "cpu/scratch.h"
#include "cpu/vector.h"

namespace moe::cpu {

// The rows of a block are (token, query head of the group): all heads that share a kv head in one product.
// 128 rows against at most 256 keys: scores and probabilities stay in the second-level cache. Smaller blocks
// were slower (docs/decisions/0001-cpu-matrix-products.md).
inline constexpr int64_t kBlockRows = 128, kBlockKeys = 256;

inline int64_t block_tokens(int64_t group) {
  return std::max<int64_t>(1, kBlockRows / group);
}

// `tokens` successive tokens of one sequence, and the `group` query heads of one kv head. Token i stands at
// `position` + i and sees the keys [first[i], position + i]; none when first[i] is -1; all up to its own when
// `first` is null. A window hides the earlier ones. k and v point at key 0 of the sequence.
template <class T>
struct QueryBlock {
  int64_t tokens, group, dim, position;
  const int32_t* first;
  const T *q, *k, *v;
  int64_t q_stride, k_stride, v_stride;  // elements from a token to the next
  int64_t window;                        // keys that a token sees, its own included; 0: all

  int64_t rows() const { return tokens * group; }
  int64_t first_key(int64_t token) const {
    const int64_t begin = first == nullptr ? 0 : first[token];
    return window == 0 || begin < 0 ? begin : std::max(begin, position + token - window + 1);
  }
  bool sees_nothing(int64_t token) const { return first_key(token) < 0; }

  // Keys that some token of the block sees: [begin, end); empty when all are padding.
  int64_t begin() const {
    int64_t lowest = end();
    for (int64_t i = 0; i < tokens; ++i)
      if (!sees_nothing(i)) lowest = std::min(lowest, first_key(i));
    return lowest;
  }
  int64_t end() const {
    for (int64_t i = tokens; i > 0; --i)
      if (!sees_nothing(i - 1)) return position + i;
    return 0;
  }

  // Of the keys [begin, begin + count), those that a token sees, counted from begin.
  struct Range {
    int64_t begin, end;
  };
  Range visible(int64_t token, int64_t begin, int64_t count) const {
    if (sees_nothing(token)) return {0, 0};
    const int64_t low = std::clamp<int64_t>(first_key(token) - begin, 0, count);
    return {low, std::clamp<int64_t>(position + token + 1 - begin, low, count)};
  }
};

// Rows (token, head) of a packed [tokens, stride] matrix side by side, and back.
template <class T>
void gather_block(T* out, const T* in, int64_t tokens, int64_t width, int64_t stride) {
  for (int64_t i = 0; i < tokens; ++i) std::copy_n(in + i * stride, width, out + i * width);
}

// [rows, keys] = x [rows, dim] y [keys, dim]^T, in f32.
template <class T>
Product scores(float* out, const T* x, const T* y, int64_t rows, int64_t keys, int64_t dim,
               int64_t y_stride) {
  Product p;
  p.m = rows, p.n = keys, p.k = dim;
  p.a = x, p.b = y, p.c = out;
  p.a_stride = dim, p.b_stride = y_stride, p.c_stride = kBlockKeys;
  p.b_transposed = true;
  p.in = dtype_of<T>;
  return p;
}

// [rows, dim] (+)= p [rows, keys] y [keys, dim], in f32.
template <class T>
Product weighted_sum(float* out, const T* p_rows, const T* y, int64_t rows, int64_t keys, int64_t dim,
                     int64_t y_stride, bool accumulate) {
  Product p;
  p.m = rows, p.n = dim, p.k = keys;
  p.a = p_rows, p.b = y, p.c = out;
  p.a_stride = kBlockKeys, p.b_stride = y_stride, p.c_stride = dim;
  p.accumulate = accumulate;
  p.in = dtype_of<T>;
  return p;
}

template <class T>
class BlockAttention {
 public:
  BlockAttention(Gemm& gemm, Scratch& scratch, int64_t rows, int64_t dim)
      : gemm_(gemm), lease_(scratch.borrow(bytes(rows, dim))) {
    queries_ = lease_.template take<T>(rows * dim);
    sum_ = lease_.template take<float>(rows * dim);
    scores_ = lease_.template take<float>(rows * kBlockKeys);
    weights_ = lease_.template take<T>(rows * kBlockKeys);
    largest_ = lease_.template take<float>(rows);
    total_ = lease_.template take<float>(rows);
  }

  // o: first row of the block, o_stride from a token to the next. lse likewise, or null.
  void run(const QueryBlock<T>& block, T* o, int64_t o_stride, float* lse, int64_t lse_stride) {
    const int64_t rows = block.rows(), dim = block.dim, begin = block.begin(), end = block.end();
    gather_block(queries_, block.q, block.tokens, block.group * dim, block.q_stride);
    std::fill_n(largest_, rows, -std::numeric_limits<float>::infinity());
    std::fill_n(total_, rows, 0.0F);
    if (begin == end) std::fill_n(sum_, rows * dim, 0.0F);
    for (int64_t key = begin; key < end; key += kBlockKeys) {
      const int64_t keys = std::min(kBlockKeys, end - key);
      gemm_.multiply(
          scores(scores_, queries_, block.k + key * block.k_stride, rows, keys, dim, block.k_stride));
      for (int64_t row = 0; row < rows; ++row) {
        const auto [low, high] = block.visible(row / block.group, key, keys);
        update_row(row, low, high, keys, dim);
      }
      gemm_.multiply(weighted_sum(sum_, weights_, block.v + key * block.v_stride, rows, keys, dim,
                                  block.v_stride, key != begin));
    }
    for (int64_t row = 0; row < rows; ++row) {
      const int64_t token = row / block.group, head = row % block.group;
      finish_row(o + token * o_stride + head * dim, row, dim);
      if (lse != nullptr)
        lse[token * lse_stride + head] = total_[row] > 0 ? largest_[row] + std::log(total_[row]) : 0.0F;
    }
  }

 private:
  static int64_t bytes(int64_t rows, int64_t dim) {
    return Scratch::padded<T>(rows * dim) + Scratch::padded<float>(rows * dim) +
           Scratch::padded<float>(rows * kBlockKeys) + Scratch::padded<T>(rows * kBlockKeys) +
           2 * Scratch::padded<float>(rows);
  }

  // The running softmax: scores of the visible keys [low, high) become weights relative to the largest score
  // so far, 0 elsewhere, and what was summed before is scaled to the same reference.
  void update_row(int64_t row, int64_t low, int64_t high, int64_t keys, int64_t dim) {
    const float scale = 1.0F / std::sqrt(static_cast<float>(dim));
    float* score = scores_ + row * kBlockKeys;
    T* weight = weights_ + row * kBlockKeys;
    std::fill_n(weight, low, T(0.0F));
    std::fill(weight + high, weight + keys, T(0.0F));
    if (low == high) return;
    const float largest = std::max(largest_[row], scale * max_of(score + low, high - low));
    for (int64_t i = low; i < high; ++i) score[i] = exp_flushed(scale * score[i] - largest);
    store_row(weight + low, score + low, high - low);
    const float added = sum_of(high - low, [&](int64_t i) { return score[low + i]; });
    if (total_[row] > 0 && largest > largest_[row]) {
      const float keep = exp_approx(largest_[row] - largest);
      total_[row] *= keep;
      float* sum = sum_ + row * dim;
      for (int64_t i = 0; i < dim; ++i) sum[i] *= keep;
    }
    total_[row] += added;
    largest_[row] = largest;
  }

  void finish_row(T* o, int64_t row, int64_t dim) {
    const float inverse = total_[row] > 0 ? 1.0F / total_[row] : 0.0F;
    const float* sum = sum_ + row * dim;
    for (int64_t i = 0; i < dim; ++i) o[i] = from_float<T>(sum[i] * inverse);
  }

  Gemm& gemm_;
  Scratch::Lease lease_;
  T *queries_, *weights_;
  float *sum_, *scores_, *largest_, *total_;
};

}  // namespace moe::cpu
