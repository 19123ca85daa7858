// SPDX-License-Identifier: MIT
// Any bytes as the hub's answers and as what Python's library keeps of them: a UserError, or what stays
// inside the repository.
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "hub/address.h"
#include "hub/answers.h"

namespace {

void require_inside(const std::vector<moe::hub::File>& files) {
  for (const auto& file : files)
    CHECK(moe::hub::is_inner_path(file.path) && moe::hub::is_oid(file.oid) && file.size >= 0);
}

template <class Body>
void attempt(Body&& body) {
  try {
    body();
  } catch (const moe::UserError& error) {
    CHECK(std::string_view(error.what()).size() < 2000);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace moe::hub;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  attempt([&] { CHECK(is_commit(read_commit("fuzz", text, ""))); });
  attempt([&] { require_inside(read_listing("fuzz", text, "")); });
  attempt([&] { require_inside(read_kept_tree(text).value_or(std::vector<File>())); });
  return 0;
}
