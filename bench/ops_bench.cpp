// SPDX-License-Identifier: MIT
// Speed of the heavy operations on the CPU at the sizes of the quickstart: 2048 tokens, 50304 words, 8
// experts. gflops counts multiplications and additions that the result needs (a causal product is half of a
// full one); of_sgemm is its ratio to a 1024^3 f32 product on the same threads, measured in the same run.
//   ops_bench --benchmark_filter=Attention --benchmark_min_time=0.2
#include <benchmark/benchmark.h>

#include <algorithm>
#include <chrono>
#include <limits>
#include <vector>

#include "bench.h"

namespace moe {
namespace {

// Floating-point operations a second of a 1024^3 f32 product: the best of some, once a process.
double sgemm_rate() {
  static const double rate = [] {
    constexpr int64_t kSize = 1024;
    Bench bench;
    const Tensor a = bench.random(DType::f32, {kSize, kSize}), b = bench.random(DType::f32, {kSize, kSize});
    const Tensor c = bench.zeros(DType::f32, {kSize, kSize});
    double best = std::numeric_limits<double>::infinity();
    for (int i = 0; i < 20; ++i) {
      const auto start = std::chrono::steady_clock::now();
      bench.ops().matmul(c, a, b, MatmulLayout::NT, false);
      best = std::min(best, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
    }
    return 2.0 * kSize * kSize * kSize / best;
  }();
  return rate;
}

void report(benchmark::State& state, double operations) {
  const double total = operations * static_cast<double>(state.iterations());
  state.counters["gflops"] = benchmark::Counter(total * 1e-9, benchmark::Counter::kIsRate);
  state.counters["of_sgemm"] = benchmark::Counter(total / sgemm_rate(), benchmark::Counter::kIsRate);
}

DType type_of(int64_t argument) {
  return argument == 0 ? DType::f32 : DType::bf16;
}

// Arguments: layout, m, n, k, bf16.
void Matmul(benchmark::State& state) {
  Bench bench;
  const auto layout = static_cast<MatmulLayout>(state.range(0));
  const int64_t m = state.range(1), n = state.range(2), k = state.range(3);
  const DType dtype = type_of(state.range(4));
  const Tensor a = layout == MatmulLayout::TN ? bench.random(dtype, {k, m}) : bench.random(dtype, {m, k});
  const Tensor b = layout == MatmulLayout::NT ? bench.random(dtype, {n, k}) : bench.random(dtype, {k, n});
  const Tensor c = bench.zeros(layout == MatmulLayout::TN ? DType::f32 : dtype, {m, n});
  for (auto _ : state) bench.ops().matmul(c, a, b, layout, layout == MatmulLayout::TN);
  report(state, 2.0 * static_cast<double>(m * n * k));
}
void matmul_sizes(benchmark::internal::Benchmark* b) {
  b->ArgNames({"layout", "m", "n", "k", "bf16"});
  for (const int64_t dtype : {0, 1}) {
    b->Args({0, 2048, 768, 256, dtype})->Args({1, 2048, 256, 768, dtype})->Args({2, 768, 256, 2048, dtype});
    b->Args({0, 512, 50304, 128, dtype})
        ->Args({1, 512, 128, 50304, dtype})
        ->Args({2, 50304, 128, 512, dtype});
  }
}
BENCHMARK(Matmul)->Apply(matmul_sizes)->UseRealTime()->Unit(benchmark::kMicrosecond);

// Arguments: layout, experts, rows in all, out, in, bf16. Experts share the rows evenly.
void GroupedMatmul(benchmark::State& state) {
  Bench bench;
  const auto layout = static_cast<MatmulLayout>(state.range(0));
  const int64_t experts = state.range(1), rows = state.range(2), out = state.range(3), in = state.range(4);
  const DType dtype = type_of(state.range(5));
  Tensor offset = bench.zeros(DType::i32, {experts + 1});
  for (int64_t e = 0; e <= experts; ++e) offset.as<int32_t>()[e] = static_cast<int32_t>(e * rows / experts);
  const Tensor a = bench.random(dtype, {rows, layout == MatmulLayout::NT ? in : out});
  const Tensor b =
      layout == MatmulLayout::TN ? bench.random(dtype, {rows, in}) : bench.random(dtype, {experts, out, in});
  const Tensor c = layout == MatmulLayout::TN   ? bench.zeros(DType::f32, {experts, out, in})
                   : layout == MatmulLayout::NT ? bench.zeros(dtype, {rows, out})
                                                : bench.zeros(dtype, {rows, in});
  for (auto _ : state) bench.ops().grouped_matmul(c, a, b, offset, layout, layout == MatmulLayout::TN);
  report(state, 2.0 * static_cast<double>(rows * out * in));
}
void grouped_sizes(benchmark::internal::Benchmark* b) {
  b->ArgNames({"layout", "experts", "rows", "out", "in", "bf16"});
  for (const int64_t dtype : {0, 1})
    for (const int64_t layout : {0, 1, 2}) b->Args({layout, 8, 4096, 512, 128, dtype});
}
BENCHMARK(GroupedMatmul)->Apply(grouped_sizes)->UseRealTime()->Unit(benchmark::kMicrosecond);

struct AttentionInputs {
  Tensor q, k, packed, y, lse, first;
  Heads heads;
  double operations;  // of the two products of the forward pass, below the diagonal
};
AttentionInputs attention_inputs(Bench& bench, const benchmark::State& state) {
  const int64_t length = state.range(0);
  const Heads heads{4, 2, state.range(1)};
  const int64_t batch = 2048 / length, n = batch * length;
  const DType dtype = type_of(state.range(2));
  return {bench.random(dtype, {n, heads.query, heads.dim}),
          bench.random(dtype, {n, heads.kv, heads.dim}),
          bench.random(dtype, {n, heads.packed()}),
          bench.zeros(dtype, {n, heads.query, heads.dim}),
          bench.zeros(DType::f32, {n, heads.query}),
          bench.zeros(DType::i32, {batch, length}),
          heads,
          2.0 * static_cast<double>(n * heads.query * (length + 1) * heads.dim)};
}
// Arguments: length of a row, head width, bf16.
void AttentionForward(benchmark::State& state) {
  Bench bench;
  const AttentionInputs x = attention_inputs(bench, state);
  for (auto _ : state) bench.ops().attention_forward({x.y, x.lse, x.q, x.k, x.packed, x.first, x.heads});
  report(state, x.operations);
}
void AttentionBackward(benchmark::State& state) {
  Bench bench;
  const AttentionInputs x = attention_inputs(bench, state);
  const auto like = [&](const Tensor& t) { return bench.random(t.dtype(), {t.dim(0), t.dim(1), t.dim(2)}); };
  const Tensor d_o = like(x.q), dq = like(x.q), dk = like(x.k);
  const Tensor dpacked = bench.zeros(x.q.dtype(), {x.packed.dim(0), x.packed.dim(1)});
  const Tensor delta = bench.random(DType::f32, {x.lse.dim(0), x.lse.dim(1)});
  bench.ops().attention_forward({x.y, x.lse, x.q, x.k, x.packed, x.first, x.heads});
  for (auto _ : state)
    bench.ops().attention_backward(
        {dq, dk, dpacked, d_o, x.q, x.k, x.packed, x.lse, delta, x.first, x.heads});
  report(state, 2.5 * x.operations);
}
void attention_sizes(benchmark::internal::Benchmark* b) {
  b->ArgNames({"length", "dim", "bf16"});
  for (const int64_t dtype : {0, 1})
    for (const int64_t dim : {32, 64, 128})
      for (const int64_t length : {256, 1024}) b->Args({length, dim, dtype});
}
BENCHMARK(AttentionForward)->Apply(attention_sizes)->UseRealTime()->Unit(benchmark::kMicrosecond);
BENCHMARK(AttentionBackward)->Apply(attention_sizes)->UseRealTime()->Unit(benchmark::kMicrosecond);

// Loss and gradient in place of 512 rows. Each run starts from what the last one left: the time does not
// depend on the values.
void CrossEntropy(benchmark::State& state) {
  constexpr int64_t kRows = 512, kWidth = 50304, kVocabulary = 50257;
  Bench bench;
  const Tensor logits = bench.random(type_of(state.range(0)), {kRows, kWidth});
  const Tensor loss = bench.zeros(DType::f32, {kRows}), target = bench.zeros(DType::i32, {kRows});
  const Tensor scale = bench.random(DType::f32, {1});
  for (auto _ : state) bench.ops().cross_entropy({loss, logits, target, kVocabulary, scale});
  state.SetBytesProcessed(state.iterations() * logits.bytes());
}
BENCHMARK(CrossEntropy)->ArgName("bf16")->Arg(0)->Arg(1)->UseRealTime()->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace moe
