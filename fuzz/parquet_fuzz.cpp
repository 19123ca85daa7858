// SPDX-License-Identifier: MIT
// Any bytes as a Parquet file, with and without filters: documents or a UserError.
#include <cstdint>
#include <string_view>

#include "base/error.h"
#include "data/parquet.h"
#include "data/source.h"

namespace {

void read_all(std::string_view bytes, const moe::Filters& filters) {
  try {
    const moe::ParquetColumn column(moe::memory_file("fuzz", bytes), "text", filters, 1 << 20);
    moe::Documents documents;
    for (int64_t i = 0; i < column.row_groups(); ++i) {
      documents.clear();
      column.read(i, documents);
    }
  } catch (const moe::UserError&) {
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  read_all(bytes, {});
  read_all(bytes, moe::parse_filters({"id >= 3", "url == u"}));
  return 0;
}
