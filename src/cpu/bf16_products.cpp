// SPDX-License-Identifier: MIT
#include "cpu/bf16_products.h"

#include <array>
#include <cstdint>
#include <dnnl.hpp>
#include <map>
#include <mutex>
#include <shared_mutex>

#include "base/error.h"
#include "cpu/scratch.h"

namespace moe::cpu {
namespace {

using dnnl::memory;

constexpr int64_t kRegular = 32;  // a size that is a multiple of it; AMX takes 32 values of bf16 at a time
constexpr size_t kMostRegular = 512;  // primitives of regular sizes; each has code of its own

memory::desc matrix(memory::dim rows, memory::dim columns, memory::dim stride, bool transposed, DType dtype) {
  const auto type = dtype == DType::bf16 ? memory::data_type::bf16 : memory::data_type::f32;
  return {{rows, columns}, type, transposed ? memory::dims{1, stride} : memory::dims{stride, 1}};
}

struct Matrices {
  explicit Matrices(const Product& p)
      : a(matrix(p.m, p.k, p.a_stride, p.a_transposed, p.in)),
        b(matrix(p.k, p.n, p.b_stride, p.b_transposed, p.in)),
        c(matrix(p.m, p.n, p.c_stride, false, p.out)) {}

  memory::desc a, b, c;
};

dnnl::matmul::primitive_desc describe(const dnnl::engine& engine, const Product& layout) {
  dnnl::primitive_attr attributes;
  // Primitives are run by any thread: oneDNN's own scratch memory belongs to the one that made them.
  attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  if (layout.accumulate) {
    dnnl::post_ops sum;
    sum.append_sum(1.0F);
    attributes.set_post_ops(sum);
  }
  const Matrices shapes(layout);
#if DNNL_VERSION_MAJOR < 3
  return {{shapes.a, shapes.b, shapes.c}, attributes, engine};
#else
  return {engine, shapes.a, shapes.b, shapes.c, attributes};
#endif
}

size_t form_index(const Product& p) {
  return size_t{p.a_transposed} | size_t{p.b_transposed} << 1 | size_t{p.accumulate} << 2 |
         size_t{p.out == DType::bf16} << 3;
}

using Key = std::array<int64_t, 7>;

Key key_of(const Product& p) {
  return {static_cast<int64_t>(form_index(p)), p.m, p.n, p.k, p.a_stride, p.b_stride, p.c_stride};
}

bool is_regular(const Product& p) {
  return p.m % kRegular == 0 && p.n % kRegular == 0 && p.k % kRegular == 0;
}

struct Primitive {
  dnnl::matmul matmul;
  memory::desc scratch;
};

}  // namespace

struct Bf16Products::Impl {
  explicit Impl(int threads) : scratch(threads) {}

  Primitive make(const Product& layout) const {
    const auto description = describe(engine, layout);
    return {dnnl::matmul(description), description.scratchpad_desc()};
  }

  // Of these sizes, which are regular.
  std::shared_ptr<const Primitive> regular_of(const Product& p) {
    const Key key = key_of(p);
    {
      const std::shared_lock lock(mutex);
      if (const auto found = regular.find(key); found != regular.end()) return found->second;
    }
    auto made = std::make_shared<const Primitive>(make(p));
    const std::unique_lock lock(mutex);
    if (regular.size() >= kMostRegular) regular.clear();  // sizes of a run that has many: they come again
    return regular.try_emplace(key, std::move(made)).first->second;
  }

  void run(const Primitive& primitive, const Product& p) {
    const Matrices shapes(p);
    auto lease = scratch.borrow(Scratch::padded<char>(static_cast<int64_t>(primitive.scratch.get_size())));
    const memory a(shapes.a, engine, const_cast<void*>(p.a)), b(shapes.b, engine, const_cast<void*>(p.b)),
        c(shapes.c, engine, p.c),
        own(primitive.scratch, engine, lease.take<char>(static_cast<int64_t>(primitive.scratch.get_size())));
    dnnl::stream stream(engine);  // a stream must not be shared by threads
    primitive.matmul.execute(
        stream, {{DNNL_ARG_SRC, a}, {DNNL_ARG_WEIGHTS, b}, {DNNL_ARG_DST, c}, {DNNL_ARG_SCRATCHPAD, own}});
  }

  dnnl::engine engine{dnnl::engine::kind::cpu, 0};
  std::array<Primitive, 16> forms;  // of any sizes
  Scratch scratch;
  std::shared_mutex mutex;  // of the next, which grows while a run meets new sizes
  std::map<Key, std::shared_ptr<const Primitive>> regular;
};

Bf16Products::Bf16Products(int threads) : impl_(std::make_unique<Impl>(threads)) {
  for (const bool a : {false, true})
    for (const bool b : {false, true})
      for (const bool accumulate : {false, true})
        for (const DType out : {DType::f32, DType::bf16}) {
          constexpr int64_t kAny = DNNL_RUNTIME_DIM_VAL;
          Product layout;
          layout.m = layout.n = layout.k = layout.a_stride = layout.b_stride = layout.c_stride = kAny;
          layout.a_transposed = a, layout.b_transposed = b, layout.accumulate = accumulate;
          layout.in = DType::bf16, layout.out = out;
          impl_->forms[form_index(layout)] = impl_->make(layout);
        }
}

Bf16Products::~Bf16Products() = default;

void Bf16Products::multiply(const Product& p) {
  if (is_regular(p)) return impl_->run(*impl_->regular_of(p), p);
  impl_->run(impl_->forms[form_index(p)], p);
}

}  // namespace moe::cpu
