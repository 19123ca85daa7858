// SPDX-License-Identifier: MIT
// One matrix product on one thread by each candidate of docs/decisions/0001-cpu-matrix-products.md: our Gemm
// (oneDNN: sgemm for f32, matmul with sizes given at run time for bf16), oneDNN's matmul made for the one
// shape, and OpenBLAS. Rates are per second of processor time, so other work on the machine disturbs them
// little.
#include <benchmark/benchmark.h>
#include <cblas.h>

#include <cstdint>
#include <dnnl.hpp>
#include <vector>

#include "base/shared_library.h"
#include "cpu/gemm.h"

namespace moe {
namespace {

using dnnl::memory;

// Memory for an m x n x k product in f32 or bf16, and its description. Values are zero bits: none of the
// candidates is faster for them.
struct Problem {
  explicit Problem(const benchmark::State& state, DType dtype)
      : product{.m = state.range(1), .n = state.range(2), .k = state.range(3), .in = dtype, .out = dtype},
        a(static_cast<size_t>(product.m * product.k)),
        b(static_cast<size_t>(product.k * product.n)),
        c(static_cast<size_t>(product.m * product.n)) {
    product.a_transposed = state.range(0) == 2;
    product.b_transposed = state.range(0) == 0;
    product.a = a.data(), product.b = b.data(), product.c = c.data();
    product.a_stride = product.a_transposed ? product.m : product.k;
    product.b_stride = product.b_transposed ? product.k : product.n;
    product.c_stride = product.n;
  }

  void report(benchmark::State& state) const {
    const double operations = 2.0 * static_cast<double>(product.m * product.n * product.k);
    state.counters["gflops"] = benchmark::Counter(operations * static_cast<double>(state.iterations()) * 1e-9,
                                                  benchmark::Counter::kIsRate);
  }

  cpu::Product product;
  std::vector<float> a, b, c;
};

void OurGemm(benchmark::State& state, DType dtype) {
  const Problem x(state, dtype);
  cpu::Gemm gemm(1);
  for (auto _ : state) gemm.multiply(x.product);
  x.report(state);
}

void OpenBlas(benchmark::State& state) {
  Problem x(state, DType::f32);
  openblas_set_num_threads(1);
  const auto& p = x.product;
  const auto size = [](int64_t n) { return static_cast<blasint>(n); };
  for (auto _ : state)
    cblas_sgemm(CblasRowMajor, p.a_transposed ? CblasTrans : CblasNoTrans,
                p.b_transposed ? CblasTrans : CblasNoTrans, size(p.m), size(p.n), size(p.k), 1, x.a.data(),
                size(p.a_stride), x.b.data(), size(p.b_stride), 0, x.c.data(), size(p.c_stride));
  x.report(state);
}

// oneDNN's matmul for this very shape.
void FixedMatmul(benchmark::State& state, DType dtype) {
  Problem x(state, dtype);
  if (auto* const set = find_loaded<void(int)>("omp_set_num_threads")) set(1);
  const dnnl::engine engine(dnnl::engine::kind::cpu, 0);
  const auto type = dtype == DType::bf16 ? memory::data_type::bf16 : memory::data_type::f32;
  const auto matrix = [&](int64_t rows, int64_t columns, int64_t stride, bool transposed) {
    return memory::desc({rows, columns}, type,
                        transposed ? memory::dims{1, stride} : memory::dims{stride, 1});
  };
  const auto& p = x.product;
  const memory a(matrix(p.m, p.k, p.a_stride, p.a_transposed), engine, x.a.data());
  const memory b(matrix(p.k, p.n, p.b_stride, p.b_transposed), engine, x.b.data());
  const memory c(matrix(p.m, p.n, p.c_stride, false), engine, x.c.data());
#if DNNL_VERSION_MAJOR < 3
  const dnnl::matmul matmul({dnnl::matmul::desc(a.get_desc(), b.get_desc(), c.get_desc()), engine});
#else
  const dnnl::matmul matmul({engine, a.get_desc(), b.get_desc(), c.get_desc()});
#endif
  dnnl::stream stream(engine);
  for (auto _ : state) matmul.execute(stream, {{DNNL_ARG_SRC, a}, {DNNL_ARG_WEIGHTS, b}, {DNNL_ARG_DST, c}});
  x.report(state);
}

// Projections, LM head and experts of the quickstart, and the blocks of attention.
void sizes(benchmark::internal::Benchmark* b) {
  b->ArgNames({"form", "m", "n", "k"})->Unit(benchmark::kMicrosecond);
  b->Args({0, 2048, 768, 256})->Args({1, 2048, 256, 768})->Args({2, 768, 256, 2048});
  b->Args({0, 512, 50304, 128})->Args({1, 512, 128, 50304})->Args({2, 50304, 128, 512});
  b->Args({0, 512, 512, 128})->Args({1, 512, 128, 512})->Args({2, 512, 128, 512});
  b->Args({0, 128, 256, 64})->Args({1, 128, 64, 256})->Args({0, 1024, 1024, 1024});
}
BENCHMARK_CAPTURE(OurGemm, f32, DType::f32)->Apply(sizes);
BENCHMARK_CAPTURE(FixedMatmul, f32, DType::f32)->Apply(sizes);
BENCHMARK(OpenBlas)->Apply(sizes);
BENCHMARK_CAPTURE(OurGemm, bf16, DType::bf16)->Apply(sizes);
BENCHMARK_CAPTURE(FixedMatmul, bf16, DType::bf16)->Apply(sizes);

}  // namespace
}  // namespace moe
