// SPDX-License-Identifier: MIT
// Any bytes as metrics.jsonl, whole and in two pieces, and what is read as the report's data: it stays JSON
// without '<'. What the quick reader takes for a row, a JSON library takes for the same.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "metrics/jsonl.h"
#include "report/page.h"
#include "report/row_scan.h"
#include "report/rows.h"

namespace {

void compare_readers(std::string_view text) {
  moe::metrics::Row before;
  while (!text.empty()) {
    const std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(line.size() + 1, text.size()));
    if (!moe::report::scan_row(line, before)) {
      before.values.clear();
      continue;
    }
    const auto read = nlohmann::ordered_json::parse(line, nullptr, false);
    if (read.is_discarded() || read != nlohmann::ordered_json::parse(moe::metrics::to_json(before)))
      std::abort();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  compare_readers(text);
  moe::report::RunView run("fuzz", "");
  int64_t rows = 0, again = 0;
  moe::report::RowParser whole, parts;
  whole.parse(text, true, [&](const moe::metrics::Row& row) {
    run.add(row);
    ++rows;
  });
  const size_t done =
      parts.parse(text.substr(0, size / 2), false, [&](const moe::metrics::Row&) { ++again; });
  parts.parse(text.substr(done), true, [&](const moe::metrics::Row&) { ++again; });
  if (rows != again || whole.unreadable() != parts.unreadable()) std::abort();
  const std::string json = moe::report::data_json({run});
  if (json.find('<') != std::string::npos || !nlohmann::json::accept(json)) std::abort();
  return 0;
}
