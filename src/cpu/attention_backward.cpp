// SPDX-License-Identifier: MIT
// attention_backward: one task per sequence and kv head, which alone writes the gradients of its keys, values
// and queries: no two tasks add to one place, so the order of summation is fixed. With p = exp(s - lse):
//   dv = p^T do,  ds = p * (do v^T - delta) * scale,  dq = ds k,  dk = ds^T q     (Dao et al. 2022).
#include <algorithm>
#include <cmath>

#include "cpu/attention.h"
#include "cpu/cpu_ops.h"

namespace moe::cpu {
namespace {

// [keys, dim] += p [rows, keys]^T y [rows, dim].
template <class T>
Product transposed_sum(float* out, const T* p_rows, const T* y, int64_t rows, int64_t keys, int64_t dim) {
  Product p;
  p.m = keys, p.n = dim, p.k = rows;
  p.a = p_rows, p.b = y, p.c = out;
  p.a_stride = kBlockKeys, p.b_stride = dim, p.c_stride = dim;
  p.a_transposed = p.accumulate = true;
  p.in = dtype_of<T>;
  return p;
}

// The gradients of one sequence and kv head; dq and do are like q, dk like k, dv like v. lse and delta are
// [length, rows_stride].
template <class T>
struct HeadGradient {
  const T* output_gradient;
  const float *lse, *delta;
  T *dq, *dk, *dv;
  int64_t rows_stride;
};

template <class T>
class BackwardTask {
 public:
  BackwardTask(Gemm& gemm, Scratch& scratch, int64_t length, int64_t rows, int64_t dim)
      : gemm_(gemm), lease_(scratch.borrow(bytes(length, rows, dim))), length_(length) {
    dk_ = lease_.template take<float>(length * dim);
    dv_ = lease_.template take<float>(length * dim);
    dq_ = lease_.template take<float>(rows * dim);
    scores_ = lease_.template take<float>(rows * kBlockKeys);
    dp_ = lease_.template take<float>(rows * kBlockKeys);
    queries_ = lease_.template take<T>(rows * dim);
    do_ = lease_.template take<T>(rows * dim);
    p_ = lease_.template take<T>(rows * kBlockKeys);
    ds_ = lease_.template take<T>(rows * kBlockKeys);
  }

  // sequence: as one block of all its tokens.
  void run(const QueryBlock<T>& sequence, const HeadGradient<T>& head, int64_t step) {
    const int64_t dim = sequence.dim;
    std::fill_n(dk_, length_ * dim, 0.0F);
    std::fill_n(dv_, length_ * dim, 0.0F);
    for (int64_t start = 0; start < length_; start += step) {
      QueryBlock<T> block = sequence;
      block.tokens = std::min(step, length_ - start);
      block.position = start;
      block.first += start;
      block.q += start * block.q_stride;
      query_block(block, head, start);
    }
    for (int64_t i = 0; i < length_; ++i) {
      store_row(head.dk + i * sequence.k_stride, dk_ + i * dim, dim);
      store_row(head.dv + i * sequence.v_stride, dv_ + i * dim, dim);
    }
  }

 private:
  static int64_t bytes(int64_t length, int64_t rows, int64_t dim) {
    return 2 * Scratch::padded<float>(length * dim) + Scratch::padded<float>(rows * dim) +
           2 * Scratch::padded<float>(rows * kBlockKeys) + 2 * Scratch::padded<T>(rows * dim) +
           2 * Scratch::padded<T>(rows * kBlockKeys);
  }

  void query_block(const QueryBlock<T>& block, const HeadGradient<T>& head, int64_t start) {
    const int64_t rows = block.rows(), dim = block.dim, width = block.group * dim, end = block.end();
    gather_block(queries_, block.q, block.tokens, width, block.q_stride);
    gather_block(do_, head.output_gradient + start * block.q_stride, block.tokens, width, block.q_stride);
    std::fill_n(dq_, rows * dim, 0.0F);
    for (int64_t key = block.begin(); key < end; key += kBlockKeys) {
      const int64_t keys = std::min(kBlockKeys, end - key), at = key * block.k_stride;
      gemm_.multiply(scores(scores_, queries_, block.k + at, rows, keys, dim, block.k_stride));
      gemm_.multiply(scores(dp_, do_, block.v + key * block.v_stride, rows, keys, dim, block.v_stride));
      for (int64_t row = 0; row < rows; ++row) score_gradient(block, head, start, row, key, keys);
      gemm_.multiply(transposed_sum(dv_ + key * dim, p_, do_, rows, keys, dim));
      gemm_.multiply(transposed_sum(dk_ + key * dim, ds_, queries_, rows, keys, dim));
      gemm_.multiply(weighted_sum(dq_, ds_, block.k + at, rows, keys, dim, block.k_stride, true));
    }
    for (int64_t i = 0; i < block.tokens; ++i)
      store_row(head.dq + (start + i) * block.q_stride, dq_ + i * width, width);
  }

  // p_ and ds_ of one row from its scores; 0 where the key is not seen.
  void score_gradient(const QueryBlock<T>& block, const HeadGradient<T>& head, int64_t start, int64_t row,
                      int64_t key, int64_t keys) {
    const int64_t token = row / block.group, dim = block.dim;
    const auto [low, high] = block.visible(token, key, keys);
    T *p = p_ + row * kBlockKeys, *ds = ds_ + row * kBlockKeys;
    for (T* x : {p, ds}) {
      std::fill_n(x, low, T(0.0F));
      std::fill(x + high, x + keys, T(0.0F));
    }
    const int64_t at = (start + token) * head.rows_stride + row % block.group;
    const float lse = head.lse[at], delta = head.delta[at];
    const float scale = 1.0F / std::sqrt(static_cast<float>(dim));
    float *score = scores_ + row * kBlockKeys, *dp = dp_ + row * kBlockKeys;
    for (int64_t i = low; i < high; ++i) {
      score[i] = exp_flushed(scale * score[i] - lse);
      dp[i] = score[i] * (dp[i] - delta) * scale;
    }
    store_row(p + low, score + low, high - low);
    store_row(ds + low, dp + low, high - low);
  }

  Gemm& gemm_;
  Scratch::Lease lease_;
  int64_t length_;
  float *dk_, *dv_, *dq_, *scores_, *dp_;
  T *queries_, *do_, *p_, *ds_;
};

}  // namespace

void CpuOps::attention_backward(AttentionBackward op) {
  op.check();
  const Heads& layout = op.heads;
  const int64_t length = op.doc_start_BT.dim(1), heads = layout.query, kv_heads = layout.kv, dim = layout.dim;
  const int64_t group = heads / kv_heads, step = block_tokens(group);
  with_type(op.q_NHd.dtype(), [&](auto type) {
    using T = decltype(type);
    const int64_t q_stride = heads * dim, k_stride = kv_heads * dim, packed = layout.packed();
    pool_.parallel_for(op.doc_start_BT.dim(0) * kv_heads, 1, [&](int64_t task, int64_t) {
      const int64_t kv_head = task % kv_heads, row = task / kv_heads * length;
      const int64_t at = row * q_stride + kv_head * group * dim, k_at = row * k_stride + kv_head * dim;
      const int64_t v_at = row * packed + layout.values() + kv_head * dim,
                    rows_at = row * heads + kv_head * group;
      const QueryBlock<T> sequence{.tokens = length,
                                   .group = group,
                                   .dim = dim,
                                   .position = 0,
                                   .first = op.doc_start_BT.as<int32_t>() + row,
                                   .q = op.q_NHd.as<T>() + at,
                                   .k = op.k_NGd.as<T>() + k_at,
                                   .v = op.packed_NP.as<T>() + v_at,
                                   .q_stride = q_stride,
                                   .k_stride = k_stride,
                                   .v_stride = packed,
                                   .window = op.window};
      const HeadGradient<T> head{.output_gradient = op.do_NHd.as<T>() + at,
                                 .lse = op.lse_NH.as<float>() + rows_at,
                                 .delta = op.delta_NH.as<float>() + rows_at,
                                 .dq = op.dq_NHd.as<T>() + at,
                                 .dk = op.dk_NGd.as<T>() + k_at,
                                 .dv = op.dpacked_NP.as<T>() + v_at,
                                 .rows_stride = heads};
      BackwardTask<T>(gemm_, scratch_, length, step * group, dim).run(sequence, head, step);
    });
  });
}

}  // namespace moe::cpu
