// SPDX-License-Identifier: MIT
// QK-norm and rotary positions, fused over the packed rows of the projection: [q_h | gate_h] per query head,
// then the keys (then the values, which have neither). Queries and keys are the same work with another
// weight, so one function serves both.
// By head is the default and has loops of its own, which work on one head at a time. Over the whole
// projection and without a norm, heads are read again once their common 1 / rms is known.
#include <cmath>
#include <string>

#include "cpu/cpu_ops.h"
#include "cpu/partial_sums.h"
#include "cpu/vector.h"

namespace moe::cpu {
namespace {

constexpr int64_t kTokens = 32;

// Where head j of H + G (queries, then keys) begins in a packed row.
int64_t head_offset(const Heads& heads, int64_t j) {
  return j < heads.query ? j * heads.query_stride() : heads.keys() + (j - heads.query) * heads.dim;
}

// The row of the table for a token.
const float* angles(const float* rope, int64_t rows, int32_t position, int64_t d) {
  CHECK(position >= 0 && position < rows,
        "position " + std::to_string(position) + " outside the table of " + std::to_string(rows));
  return rope + position * d;
}

// Heads are widened into local arrays, worked on there and rounded once: what the compiler vectorises best.
template <class T>
float head_forward(T* y, const T* x, const float* __restrict w, const float* __restrict angle, int64_t d,
                   float eps) {
  float in[kMaxHeadDim], out[kMaxHeadDim];
  load_row(in, x, d);
  const float rstd = 1.0F / std::sqrt(dot(in, in, d) / static_cast<float>(d) + eps);
  const int64_t half = d / 2;
  for (int64_t i = 0; i < d; ++i) in[i] = w[i] * (in[i] * rstd);
  for (int64_t i = 0; i < half; ++i) {
    const float a = in[i], b = in[half + i], cosine = angle[i], sine = angle[half + i];
    out[i] = a * cosine - b * sine;
    out[half + i] = b * cosine + a * sine;
  }
  store_row(y, out, d);
  return rstd;
}

// dy is turned back; then dx is the gradient through the norm, and dw += its share.
template <class T>
void head_backward(T* dx, float* __restrict dw, const T* dy, const T* x, const float* __restrict w,
                   const float* __restrict angle, float rstd, int64_t d) {
  // NOLINTBEGIN(clang-analyzer-core*): it does not see that loops over d / 2 and d fill what others over d read
  float normed[kMaxHeadDim], dout[kMaxHeadDim], g[kMaxHeadDim];
  load_row(normed, x, d);
  load_row(dout, dy, d);
  const int64_t half = d / 2;
  for (int64_t i = 0; i < d; ++i) normed[i] *= rstd;
  for (int64_t i = 0; i < half; ++i) {
    const float a = dout[i], b = dout[half + i], cosine = angle[i], sine = angle[half + i];
    g[i] = a * cosine + b * sine;
    g[half + i] = b * cosine - a * sine;
  }
  for (int64_t i = 0; i < d; ++i) dw[i] += g[i] * normed[i];
  for (int64_t i = 0; i < d; ++i) g[i] *= w[i];
  const float mean = dot(g, normed, d) / static_cast<float>(d);
  for (int64_t i = 0; i < d; ++i) g[i] = rstd * (g[i] - normed[i] * mean);
  store_row(dx, g, d);
  // NOLINTEND(clang-analyzer-core*)
}

// The queries or the keys of a token: `count` heads from head `first` of H + G on, and w [count d], or null
// where there is no norm.
struct Projection {
  const Heads& heads;
  int64_t first, count;
  const float* w;

  int64_t offset(int64_t j) const { return head_offset(heads, first + j); }
};
Projection queries_of(const Heads& heads, const float* w) {
  return {heads, 0, heads.query, w};
}
Projection keys_of(const Heads& heads, const float* w) {
  return {heads, heads.query, heads.kv, w};
}

// One head before its norm: normed = x rstd, g = dy turned back.
template <class T>
void turn_back(float* __restrict normed, float* __restrict g, const T* x, const T* dy,
               const float* __restrict angle, float rstd, int64_t d) {
  const int64_t half = d / 2;
  for (int64_t i = 0; i < d; ++i) normed[i] = to_float(x[i]) * rstd;
  for (int64_t i = 0; i < half; ++i) {
    const float a = to_float(dy[i]), b = to_float(dy[half + i]), cosine = angle[i], sine = angle[half + i];
    g[i] = a * cosine + b * sine;
    g[half + i] = b * cosine - a * sine;
  }
}

template <class T>
void projection_forward(T* y, float* rstd, const T* row, const Projection& part, const float* angle,
                        float eps) {
  const int64_t d = part.heads.dim, half = d / 2;
  float scale = 1;
  if (part.w != nullptr) {
    float squares = 0;
    for (int64_t j = 0; j < part.count; ++j) squares += dot(row + part.offset(j), row + part.offset(j), d);
    *rstd = scale = 1.0F / std::sqrt(squares / static_cast<float>(part.count * d) + eps);
  }
  float in[kMaxHeadDim], out[kMaxHeadDim];
  for (int64_t j = 0; j < part.count; ++j) {
    load_row(in, row + part.offset(j), d);
    for (int64_t i = 0; i < d && part.w != nullptr; ++i) in[i] = part.w[j * d + i] * (in[i] * scale);
    for (int64_t i = 0; i < half; ++i) {
      out[i] = in[i] * angle[i] - in[half + i] * angle[half + i];
      out[half + i] = in[half + i] * angle[i] + in[i] * angle[half + i];
    }
    store_row(y + j * d, out, d);
  }
}

// dw [count d] += the token's share.
template <class T>
void projection_backward(T* dx, float* __restrict dw, const T* dy, const T* row, const Projection& part,
                         const float* angle, const float* rstd) {
  // NOLINTBEGIN(clang-analyzer-core*): as above
  const int64_t d = part.heads.dim;
  const float scale = part.w == nullptr ? 1 : *rstd;
  float normed[kMaxHeadDim], g[kMaxHeadDim], mean = 0;
  const auto head = [&](int64_t j) {
    turn_back(normed, g, row + part.offset(j), dy + j * d, angle, scale, d);
  };
  for (int64_t j = 0; j < part.count && part.w != nullptr; ++j) {
    head(j);
    for (int64_t i = 0; i < d; ++i) dw[j * d + i] += g[i] * normed[i];
    for (int64_t i = 0; i < d; ++i) g[i] *= part.w[j * d + i];
    mean += dot(g, normed, d) / static_cast<float>(part.count * d);
  }
  for (int64_t j = 0; j < part.count; ++j) {
    head(j);
    for (int64_t i = 0; i < d && part.w != nullptr; ++i)
      g[i] = scale * (g[i] * part.w[j * d + i] - normed[i] * mean);
    store_row(dx + part.offset(j), g, d);
  }
  // NOLINTEND(clang-analyzer-core*)
}

float* floats_or_null(Tensor x) {
  return x.empty() ? nullptr : x.as<float>();
}

void forward_of_projections(QkNormRopeForward op, ThreadPool& pool) {
  const Heads& heads = op.heads;
  const Projection queries = queries_of(heads, floats_or_null(op.wq_d)),
                   keys = keys_of(heads, floats_or_null(op.wk_d));
  const float* rope = op.rope_Td.as<float>();
  const int32_t* position = op.position_N.as<int32_t>();
  float* const all_rstd = floats_or_null(op.rstd_NJ);
  with_type(op.packed_NP.dtype(), [&](auto zero) {
    using T = decltype(zero);
    pool.parallel_for(op.packed_NP.dim(0), kTokens, [&](int64_t begin, int64_t end) {
      for (int64_t t = begin; t < end; ++t) {
        const T* row = op.packed_NP.as<T>() + t * heads.packed();
        const float* angle = angles(rope, op.rope_Td.dim(0), position[t], heads.dim);
        float* rstd = all_rstd + t * heads.norms();
        projection_forward(op.q_NHd.as<T>() + t * heads.query * heads.dim, rstd, row, queries, angle, op.eps);
        projection_forward(op.k_NGd.as<T>() + t * heads.kv * heads.dim, rstd + heads.norms() / 2, row, keys,
                           angle, op.eps);
      }
    });
  });
}

void backward_of_projections(QkNormRopeBackward op, ThreadPool& pool, Scratch& scratch) {
  const Heads& heads = op.heads;
  const Projection queries = queries_of(heads, floats_or_null(op.wq_d)),
                   keys = keys_of(heads, floats_or_null(op.wk_d));
  const float* rope = op.rope_Td.as<float>();
  const int32_t* position = op.position_N.as<int32_t>();
  const float* const all_rstd = floats_or_null(op.rstd_NJ);
  PartialSums partial(pool, scratch, op.packed_NP.dim(0), kTokens, heads.query_norm() + heads.key_norm());
  with_type(op.packed_NP.dtype(), [&](auto zero) {
    using T = decltype(zero);
    partial.for_each_block([&](float* dw, int64_t begin, int64_t end) {
      for (int64_t t = begin; t < end; ++t) {
        const T* row = op.packed_NP.as<T>() + t * heads.packed();
        T* out = op.dpacked_NP.as<T>() + t * heads.packed();
        const float* angle = angles(rope, op.rope_Td.dim(0), position[t], heads.dim);
        const float* rstd = all_rstd + t * heads.norms();
        projection_backward(out, dw, op.dq_NHd.as<T>() + t * heads.query * heads.dim, row, queries, angle,
                            rstd);
        projection_backward(out, dw + heads.query_norm(), op.dk_NGd.as<T>() + t * heads.kv * heads.dim, row,
                            keys, angle, rstd + heads.norms() / 2);
      }
    });
  });
  if (heads.norms() == 0) return;
  partial.add_to(op.dwq_d.as<float>(), 0, heads.query_norm());
  partial.add_to(op.dwk_d.as<float>(), heads.query_norm(), heads.key_norm());
}

}  // namespace

void CpuOps::qk_norm_rope_forward(QkNormRopeForward op) {
  op.check();
  if (op.heads.norm != QkNorm::head) return forward_of_projections(op, pool_);
  const int64_t d = op.heads.dim, query = op.heads.query, normed = op.heads.query + op.heads.kv,
                width = op.heads.packed();
  const float *wq = op.wq_d.as<float>(), *wk = op.wk_d.as<float>(), *rope = op.rope_Td.as<float>();
  const int32_t* position = op.position_N.as<int32_t>();
  float* rstd = op.rstd_NJ.as<float>();
  with_type(op.packed_NP.dtype(), [&](auto zero) {
    using T = decltype(zero);
    T *q = op.q_NHd.as<T>(), *k = op.k_NGd.as<T>();
    const T* packed = op.packed_NP.as<T>();
    pool_.parallel_for(op.packed_NP.dim(0), kTokens, [&](int64_t begin, int64_t end) {
      for (int64_t t = begin; t < end; ++t) {
        const T* row = packed + t * width;
        const float* angle = angles(rope, op.rope_Td.dim(0), position[t], d);
        for (int64_t j = 0; j < normed; ++j) {
          T* y = j < query ? q + (t * query + j) * d : k + (t * op.heads.kv + j - query) * d;
          const float* w = j < query ? wq : wk;
          rstd[t * normed + j] = head_forward(y, row + head_offset(op.heads, j), w, angle, d, op.eps);
        }
      }
    });
  });
}

void CpuOps::qk_norm_rope_backward(QkNormRopeBackward op) {
  op.check();
  if (op.heads.norm != QkNorm::head) return backward_of_projections(op, pool_, scratch_);
  const int64_t d = op.heads.dim, query = op.heads.query, normed = op.heads.query + op.heads.kv,
                width = op.heads.packed();
  const float *wq = op.wq_d.as<float>(), *wk = op.wk_d.as<float>(), *rope = op.rope_Td.as<float>();
  const float* rstd = op.rstd_NJ.as<float>();
  const int32_t* position = op.position_N.as<int32_t>();
  PartialSums partial(pool_, scratch_, op.packed_NP.dim(0), kTokens, 2 * d);  // dwq, dwk
  with_type(op.packed_NP.dtype(), [&](auto zero) {
    using T = decltype(zero);
    T* dpacked = op.dpacked_NP.as<T>();
    const T *packed = op.packed_NP.as<T>(), *dq = op.dq_NHd.as<T>(), *dk = op.dk_NGd.as<T>();
    partial.for_each_block([&](float* dw, int64_t begin, int64_t end) {
      for (int64_t t = begin; t < end; ++t) {
        const T* row = packed + t * width;
        T* out = dpacked + t * width;
        const float* angle = angles(rope, op.rope_Td.dim(0), position[t], d);
        for (int64_t j = 0; j < normed; ++j) {
          const int64_t at = head_offset(op.heads, j);
          const T* dy = j < query ? dq + (t * query + j) * d : dk + (t * op.heads.kv + j - query) * d;
          head_backward(out + at, j < query ? dw : dw + d, dy, row + at, j < query ? wq : wk, angle,
                        rstd[t * normed + j], d);
        }
      }
    });
  });
  partial.add_to(op.dwq_d.as<float>(), 0, d);
  partial.add_to(op.dwk_d.as<float>(), d, d);
}

}  // namespace moe::cpu
