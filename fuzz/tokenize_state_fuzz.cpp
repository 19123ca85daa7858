// SPDX-License-Identifier: MIT
// Any bytes as the state of `moe tokenize`: a UserError, or a record that is written and read to itself.
#include <cstdint>
#include <string>
#include <string_view>

#include "base/error.h"
#include "data/tokenize_state.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  try {
    const auto record =
        moe::data::read_tokenize_record("fuzz", std::string_view(reinterpret_cast<const char*>(data), size));
    CHECK(record.now.next_shard >= 1 && record.now.counts.shards >= std::ssize(record.begun));
    const std::string written = to_json(record);
    CHECK(to_json(moe::data::read_tokenize_record("fuzz", written)) == written);
  } catch (const moe::UserError& error) {
    CHECK(std::string_view(error.what()).size() < 2000);
  }
  return 0;
}
