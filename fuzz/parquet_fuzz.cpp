// SPDX-License-Identifier: MIT
// Any bytes as a Parquet file: documents or a UserError.
#include <cstdint>
#include <string_view>

#include "base/error.h"
#include "data/parquet.h"
#include "data/source.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  try {
    const moe::ParquetColumn column("fuzz", std::string_view(reinterpret_cast<const char*>(data), size),
                                    "text", 1 << 20);
    moe::Documents documents;
    for (int64_t i = 0; i < column.row_groups(); ++i) {
      documents.clear();
      column.read(i, documents);
    }
  } catch (const moe::UserError&) {
  }
  return 0;
}
