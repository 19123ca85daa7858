// SPDX-License-Identifier: MIT
// f32: dnnl_sgemm. bf16: cpu/bf16_products.h. A processor without bf16 dot products converts blocks to f32
// and uses sgemm: oneDNN's emulation reaches 38 GFLOP/s where sgemm reaches 100, and below AVX-512 it has
// none. f16: always so, since oneDNN has products of f16 only from version 3 on and with AVX-512 FP16.
#include "cpu/gemm.h"

#include <fmt/format.h>

#include <algorithm>
#include <dnnl.hpp>
#include <string>

#include "base/error.h"
#include "base/shared_library.h"
#include "cpu/bf16_products.h"
#include "cpu/gemv.h"
#include "cpu/scratch.h"
#include "cpu/vector.h"

namespace moe::cpu {
namespace {

// oneDNN's OpenMP build starts a team of threads in every call unless the calling thread asks for one. The
// runtime is whichever libdnnl was linked with, so the function is looked up, not linked; a sequential build
// has none.
void use_one_thread() {
  if (auto* const set = find_loaded<void(int)>("omp_set_num_threads")) set(1);
}

void use_one_thread_once() {
  thread_local const bool done = (use_one_thread(), true);
  static_cast<void>(done);
}

const char* name_of(dnnl::cpu_isa isa) {
  switch (isa) {
    case dnnl::cpu_isa::sse41:
      return "SSE4.1";
    case dnnl::cpu_isa::avx:
      return "AVX";
    case dnnl::cpu_isa::avx2:
      return "AVX2";
    case dnnl::cpu_isa::avx512_core:
      return "AVX-512";
    case dnnl::cpu_isa::avx512_core_vnni:
      return "AVX-512 VNNI";
    case dnnl::cpu_isa::avx512_core_bf16:
      return "AVX-512 BF16";
    case dnnl::cpu_isa::avx512_core_amx:
      return "AMX";
    default:
      return "other instructions";
  }
}

// rows x columns of a matrix in memory, from [row, column] on, as f32 without gaps.
template <class T>
void load_block(float* out, const void* in, int64_t stride, int64_t row, int64_t column, int64_t rows,
                int64_t columns) {
  const T* source = static_cast<const T*>(in) + row * stride + column;
  for (int64_t i = 0; i < rows; ++i) load_row(out + i * columns, source + i * stride, columns);
}

}  // namespace

Instructions instructions() {
  const dnnl::cpu_isa isa = dnnl::get_effective_cpu_isa();
  const auto bits = static_cast<unsigned>(isa);
  const auto needed = static_cast<unsigned>(dnnl::cpu_isa::avx512_core_bf16);
  return {name_of(isa), (bits & needed) == needed};
}

struct Gemm::Impl {
  explicit Impl(int threads) : scratch(threads) {}

  std::unique_ptr<Bf16Products> bf16;  // null where the processor has no such instructions
  Scratch scratch;

  static void multiply_f32(const Product& p);
  template <class T>
  void multiply_converted(const Product& p);
};

Gemm::Gemm(int threads) : impl_(std::make_unique<Impl>(threads)) {
  const unsigned runtime = dnnl_version()->cpu_runtime;
  if (runtime != DNNL_RUNTIME_SEQ && runtime != DNNL_RUNTIME_OMP)
    throw UserError("oneDNN", "a build for OpenMP or without threads", fmt::format("CPU runtime {}", runtime),
                    "install your distribution's libdnnl-dev, or build oneDNN with DNNL_CPU_RUNTIME=SEQ");
  use_one_thread_once();
  if (instructions().bf16_products) impl_->bf16 = std::make_unique<Bf16Products>(threads);
}

Gemm::~Gemm() = default;

std::string Gemm::describe(DType type) const {
  const auto* version = dnnl_version();
  const bool converted = type == DType::f16 || (type == DType::bf16 && !impl_->bf16);
  return fmt::format("oneDNN {}.{}.{}, {}{}", version->major, version->minor, version->patch,
                     instructions().name, converted ? ", products in f32" : "");
}

void Gemm::multiply(const Product& p) {
  CHECK(p.out == DType::f32 || p.out == p.in);
  if (p.m == 0 || p.n == 0) return;
  if (p.k == 0) {
    const auto width = static_cast<size_t>(p.n) * size_of(p.out);
    for (int64_t i = 0; i < p.m && !p.accumulate; ++i)
      std::fill_n(static_cast<char*>(p.c) + static_cast<size_t>(i * p.c_stride) * size_of(p.out), width,
                  char{0});
    return;
  }
  if (has_few_rows(p)) return multiply_few_rows(p);
  use_one_thread_once();
  if (p.in == DType::f32) return Impl::multiply_f32(p);
  if (p.in == DType::f16) return impl_->multiply_converted<f16>(p);
  if (impl_->bf16) return impl_->bf16->multiply(p);
  impl_->multiply_converted<bf16>(p);
}

void Gemm::Impl::multiply_f32(const Product& p) {
  const auto status =
      dnnl_sgemm(p.a_transposed ? 'T' : 'N', p.b_transposed ? 'T' : 'N', p.m, p.n, p.k, 1.0F,
                 static_cast<const float*>(p.a), p.a_stride, static_cast<const float*>(p.b), p.b_stride,
                 p.accumulate ? 1.0F : 0.0F, static_cast<float*>(p.c), p.c_stride);
  CHECK(status == dnnl_success);
}

template <class T>
void Gemm::Impl::multiply_converted(const Product& p) {
  constexpr int64_t kDepth = 512;  // of k at a time: the converted blocks stay in the cache
  const int64_t depth = std::min(p.k, kDepth);
  auto lease = scratch.borrow(Scratch::padded<float>(p.m * depth) + Scratch::padded<float>(depth * p.n) +
                              Scratch::padded<float>(p.m * p.n));
  auto* a = lease.take<float>(p.m * depth);
  auto* b = lease.take<float>(depth * p.n);
  auto* sum = lease.take<float>(p.m * p.n);
  const bool direct = p.out == DType::f32;
  Product block = p;
  block.a = a, block.b = b, block.in = block.out = DType::f32;
  if (!direct) {
    block.c = sum, block.c_stride = p.n;
    for (int64_t i = 0; i < p.m && p.accumulate; ++i)
      load_row(sum + i * p.n, static_cast<const T*>(p.c) + i * p.c_stride, p.n);
  }
  for (int64_t k = 0; k < p.k; k += depth) {
    block.k = std::min(depth, p.k - k);
    block.a_stride = p.a_transposed ? p.m : block.k;
    block.b_stride = p.b_transposed ? block.k : p.n;
    if (p.a_transposed)
      load_block<T>(a, p.a, p.a_stride, k, 0, block.k, p.m);
    else
      load_block<T>(a, p.a, p.a_stride, 0, k, p.m, block.k);
    if (p.b_transposed)
      load_block<T>(b, p.b, p.b_stride, 0, k, p.n, block.k);
    else
      load_block<T>(b, p.b, p.b_stride, k, 0, block.k, p.n);
    multiply_f32(block);
    block.accumulate = true;
  }
  for (int64_t i = 0; i < p.m && !direct; ++i)
    store_row(static_cast<T*>(p.c) + i * p.c_stride, sum + i * p.n, p.n);
}

}  // namespace moe::cpu
