// SPDX-License-Identifier: MIT
// Speed of the optimizer steps and of the row-wise operations on the CPU: parameters or elements a second,
// and the memory traffic that the op cannot avoid (GB/s), to hold against what copy reaches. Argument
// `threads`: 0 is all. On a machine with other work compare the column CPU of one thread, not Time.
//   optimizer_bench --benchmark_filter=AdamW --benchmark_min_time=0.2
#include <benchmark/benchmark.h>

#include <vector>

#include "bench.h"

namespace moe {
namespace {

constexpr int64_t kParameters = 8 << 20;  // beyond the caches
constexpr int64_t kTokens = 2048, kWidth = 256, kExperts = 8, kChoices = 2;

// items: parameters or elements of one call; bytes: what it must read and write.
void report(benchmark::State& state, int64_t items, int64_t bytes) {
  state.SetItemsProcessed(state.iterations() * items);
  state.SetBytesProcessed(state.iterations() * bytes);
}

DType type_of(int64_t argument) {
  return argument == 0 ? DType::f32 : DType::bf16;
}

// Arguments: threads, order.
void AdamW8(benchmark::State& state) {
  Bench bench(state.range(0));
  const Tensor weight = bench.random(DType::f32, {kParameters}),
               compute = bench.zeros(DType::bf16, {kParameters});
  const Tensor gradient = bench.random(DType::f32, {kParameters}, 1e-3F);
  const Tensor code_m = bench.zeros(DType::u8, {kParameters}), code_v = bench.zeros(DType::u8, {kParameters});
  const Tensor absmax_m = bench.zeros(DType::f32, {kParameters / 256});
  const Tensor absmax_v = bench.zeros(DType::f32, {kParameters / 256}), scale = bench.zeros(DType::f32, {1});
  bench.ops().fill(scale, 1);
  AdamW options{
      .learning_rate = 1e-3F, .weight_decay = 0.1F, .order = static_cast<AdamW::Order>(state.range(1))};
  for (auto _ : state) {
    bench.ops().adamw8({.weight = weight,
                        .compute = compute,
                        .code_m = code_m,
                        .code_v = code_v,
                        .absmax_m = absmax_m,
                        .absmax_v = absmax_v,
                        .gradient = gradient,
                        .scale_1 = scale,
                        .options = options});
    ++options.step;
  }
  report(state, kParameters, kParameters * (8 + 4 + 2 + 4));
}
BENCHMARK(AdamW8)
    ->ArgNames({"threads", "order"})
    ->ArgsProduct({{1, 0}, {0, 1}})
    ->UseRealTime()
    ->MeasureProcessCPUTime();

void AdamW32(benchmark::State& state) {
  Bench bench(state.range(0));
  const Tensor weight = bench.random(DType::f32, {kParameters}),
               compute = bench.zeros(DType::bf16, {kParameters});
  const Tensor gradient = bench.random(DType::f32, {kParameters}, 1e-3F);
  const Tensor m = bench.zeros(DType::f32, {kParameters}), v = bench.zeros(DType::f32, {kParameters});
  const Tensor scale = bench.zeros(DType::f32, {1});
  bench.ops().fill(scale, 1);
  AdamW options{.learning_rate = 1e-3F, .weight_decay = 0.1F};
  for (auto _ : state) {
    bench.ops().adamw32({.weight = weight,
                         .compute = compute,
                         .m = m,
                         .v = v,
                         .gradient = gradient,
                         .scale_1 = scale,
                         .options = options});
    ++options.step;
  }
  report(state, kParameters, kParameters * (8 + 4 + 2 + 16));
}
BENCHMARK(AdamW32)->ArgName("threads")->Arg(1)->Arg(0)->UseRealTime()->MeasureProcessCPUTime();

void Copy(benchmark::State& state) {
  Bench bench(state.range(0));
  const Tensor x = bench.random(DType::f32, {kParameters}), y = bench.zeros(DType::f32, {kParameters});
  for (auto _ : state) bench.ops().copy(y, x);
  report(state, kParameters, 2 * x.bytes());
}
BENCHMARK(Copy)->ArgName("threads")->Arg(1)->Arg(0)->UseRealTime()->MeasureProcessCPUTime();

// Arguments of the others: threads, bf16.
void row_sizes(benchmark::internal::Benchmark* b) {
  b->ArgNames({"threads", "bf16"})->ArgsProduct({{1, 0}, {0, 1}})->UseRealTime()->MeasureProcessCPUTime();
  b->Unit(benchmark::kMicrosecond);
}

void RmsNormForward(benchmark::State& state) {
  Bench bench(state.range(0));
  const DType dtype = type_of(state.range(1));
  const Tensor x = bench.random(dtype, {kTokens, kWidth}), y = bench.zeros(dtype, {kTokens, kWidth});
  const Tensor w = bench.random(DType::f32, {kWidth}), rstd = bench.zeros(DType::f32, {kTokens});
  for (auto _ : state) bench.ops().rms_norm_forward(y, rstd, x, w, 1e-5F);
  report(state, x.numel(), 2 * x.bytes());
}
BENCHMARK(RmsNormForward)->Apply(row_sizes);

void RmsNormBackward(benchmark::State& state) {
  Bench bench(state.range(0));
  const DType dtype = type_of(state.range(1));
  const Tensor x = bench.random(dtype, {kTokens, kWidth}), dx = bench.zeros(dtype, {kTokens, kWidth});
  const Tensor w = bench.random(DType::f32, {kWidth}), dw = bench.zeros(DType::f32, {kWidth});
  const Tensor rstd = bench.random(DType::f32, {kTokens}), none;
  for (auto _ : state) bench.ops().rms_norm_backward({dx, dw, x, none, x, w, rstd});
  report(state, x.numel(), 3 * x.bytes());
}
BENCHMARK(RmsNormBackward)->Apply(row_sizes);

void QkNormRope(benchmark::State& state) {
  Bench bench(state.range(0));
  const DType dtype = type_of(state.range(1));
  const Heads heads{4, 2, 64};
  const Tensor packed = bench.random(dtype, {kTokens, heads.packed()});
  const Tensor q = bench.zeros(dtype, {kTokens, 4, 64}), k = bench.zeros(dtype, {kTokens, 2, 64});
  const Tensor rstd = bench.zeros(DType::f32, {kTokens, 6});
  const Tensor w = bench.random(DType::f32, {64}), rope = bench.random(DType::f32, {kTokens, 64});
  const Tensor position = bench.zeros(DType::i32, {kTokens});
  for (auto _ : state)
    bench.ops().qk_norm_rope_forward({q, k, rstd, packed, w, w, rope, position, heads, 1e-5F});
  report(state, kTokens * 6 * 64, 2 * (q.bytes() + k.bytes()));
}
BENCHMARK(QkNormRope)->Apply(row_sizes);

// What a layer's router decides, and the rows in use for the experts' ops.
struct Routed {
  Tensor logits, probability, lse, expert, weight, first;
  RoutePlan plan;

  explicit Routed(Bench& bench) {
    logits = bench.random(DType::f32, {kTokens, kExperts});
    probability = bench.zeros(DType::f32, {kTokens, kExperts});
    lse = bench.zeros(DType::f32, {kTokens});
    expert = bench.zeros(DType::i32, {kTokens, kChoices});
    weight = bench.zeros(DType::f32, {kTokens, kChoices});
    first = bench.zeros(DType::i32, {kTokens});
    plan = {bench.zeros(DType::i32, {kExperts + 1}), bench.zeros(DType::i32, {kTokens * kChoices}),
            bench.zeros(DType::i32, {kTokens, kChoices}), bench.zeros(DType::i32, {kExperts}),
            bench.zeros(DType::i32, {kExperts})};
    route(bench);
  }
  void route(Bench& bench) {
    bench.ops().route({probability, lse, expert, weight, logits, first, RouterRule{}});
    bench.ops().route_plan(plan, expert, {});
  }
};

void RouteAndPlan(benchmark::State& state) {
  Bench bench(state.range(0));
  Routed routed(bench);
  for (auto _ : state) routed.route(bench);
  report(state, kTokens, 2 * routed.logits.bytes());
}
BENCHMARK(RouteAndPlan)->ArgName("threads")->Arg(1)->Arg(0)->UseRealTime()->MeasureProcessCPUTime();

void SwigluForward(benchmark::State& state) {
  Bench bench(state.range(0));
  const DType dtype = type_of(state.range(1));
  const Routed routed(bench);
  const Tensor h = bench.random(dtype, {kTokens * kChoices, 2 * kWidth});
  const Tensor a = bench.zeros(dtype, {kTokens * kChoices, kWidth});
  for (auto _ : state) bench.ops().swiglu_forward(a, h, routed.plan);
  report(state, a.numel(), h.bytes() + a.bytes());
}
BENCHMARK(SwigluForward)->Apply(row_sizes);

void SwigluBackward(benchmark::State& state) {
  Bench bench(state.range(0));
  const DType dtype = type_of(state.range(1));
  const Routed routed(bench);
  const Tensor h = bench.random(dtype, {kTokens * kChoices, 2 * kWidth}),
               dh = bench.zeros(dtype, {kTokens * kChoices, 2 * kWidth});
  const Tensor da = bench.random(dtype, {kTokens * kChoices, kWidth}),
               a = bench.zeros(dtype, {kTokens * kChoices, kWidth});
  const Tensor dweight = bench.zeros(DType::f32, {kTokens, kChoices});
  for (auto _ : state) bench.ops().swiglu_backward({dh, a, dweight, da, h, routed.weight, routed.plan});
  report(state, a.numel(), 2 * h.bytes() + 2 * a.bytes());
}
BENCHMARK(SwigluBackward)->Apply(row_sizes);

void CombineRows(benchmark::State& state) {
  Bench bench(state.range(0));
  const DType dtype = type_of(state.range(1));
  const Routed routed(bench);
  const Tensor x = bench.random(dtype, {kTokens * kChoices, kWidth}),
               y = bench.random(dtype, {kTokens, kWidth});
  for (auto _ : state) bench.ops().combine_rows({y, y, x, routed.weight, routed.plan});
  report(state, x.numel(), x.bytes() + 2 * y.bytes());
}
BENCHMARK(CombineRows)->Apply(row_sizes);

}  // namespace
}  // namespace moe
