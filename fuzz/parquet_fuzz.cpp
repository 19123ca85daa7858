// SPDX-License-Identifier: MIT
// Any bytes as a Parquet file: documents, with and without filters, and whole rows; or a UserError.
#include <cstdint>
#include <string>
#include <string_view>

#include "base/error.h"
#include "data/parquet.h"
#include "data/parquet_rows.h"
#include "data/source.h"

namespace {

void read_all(std::string_view bytes, const moe::data::Filters& filters) {
  try {
    const moe::data::ParquetColumn column(moe::data::memory_file("fuzz", bytes), "text", filters, 1 << 20);
    moe::data::Documents documents;
    for (int64_t i = 0; i < column.row_groups(); ++i) {
      documents.clear();
      column.read(i, documents);
    }
  } catch (const moe::UserError&) {
  }
}

void read_rows(std::string_view bytes) {
  try {
    for (const std::string& row :
         moe::data::parquet_rows(moe::data::memory_file("fuzz", bytes), {}, 0,
                                 {.rows = 1 << 12, .values = 1 << 16, .bytes = 1 << 20}))
      CHECK(row.front() == '{' && row.back() == '}');
  } catch (const moe::UserError&) {
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  read_all(bytes, {});
  read_rows(bytes);
  read_all(bytes, moe::data::parse_filters({"id >= 3", "url == u"}));
  return 0;
}
