// SPDX-License-Identifier: MIT
#include "data/text_size.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/random.h"
#include "data/held_out.h"
#include "text/tokenizer.h"

namespace moe::data {
namespace {

constexpr int64_t kSampleBytes = int64_t{256} << 10;
constexpr int64_t kLargestUnit = int64_t{128} << 20;  // a second of reading

struct Counts {
  double tokens = 0, documents = 0;
};

// The beginnings of documents, at most so many bytes in all, stand for the unit.
Counts count(const Documents& documents, int64_t most, const text::Tokenizer& tokenizer) {
  const auto encoder = tokenizer.encoder();
  double all = 0, encoded = 0, tokens = 0, ids_of_file = 0;
  for (int64_t i = 0; i < documents.size(); ++i) {
    ids_of_file += static_cast<double>(documents.ids(i).size());
    all += static_cast<double>(documents.text(i).size());
    const int64_t room = most - static_cast<int64_t>(encoded);
    const std::string_view part =
        documents.text(i).substr(0, static_cast<size_t>(std::max<int64_t>(room, 0)));
    if (part.empty()) continue;
    std::vector<text::TokenId> ids;
    encoder->encode(part, ids);
    encoded += static_cast<double>(part.size());
    tokens += static_cast<double>(ids.size());
  }
  const auto ends = static_cast<double>(documents.size());
  return {.tokens = ends + ids_of_file + (encoded > 0 ? tokens * all / encoded : 0), .documents = ends};
}

}  // namespace

void sample_units(const Source& source, const Share& share, int64_t bytes, const TakeUnit& take) {
  const int64_t units = share.end - share.begin;
  CHECK(units >= 0 && units < (int64_t{1} << 32));
  int64_t taken = 0;
  for (const uint32_t number : Random(0, "data/inspect").permutation(static_cast<uint32_t>(units))) {
    if (taken >= bytes) break;
    const int64_t unit = share.begin + number;
    Documents documents;
    source.read(unit, documents);
    taken += source.unit_bytes(unit);
    take(unit, documents);
  }
}

std::optional<TextSize> training_text_size(const Source& source, const Share& share, const DataConfig& config,
                                           const text::Tokenizer& tokenizer) {
  double all = 0;
  for (int64_t unit = share.begin; unit < share.end; ++unit) {
    if (source.unit_bytes(unit) > kLargestUnit) return std::nullopt;
    all += static_cast<double>(source.unit_bytes(unit));
  }
  double looked_at = 0;
  int64_t left = kSampleBytes;
  Counts sum;
  sample_units(source, share, kSampleBytes, [&](int64_t unit, const Documents& documents) {
    const Counts counts = count(documents, left, tokenizer);
    left -= source.unit_bytes(unit);
    looked_at += static_cast<double>(source.unit_bytes(unit));
    sum.tokens += counts.tokens;
    sum.documents += counts.documents;
  });
  const double kept = all - held_out(source, share, config).bytes(source);
  const double scale = looked_at > 0 ? kept / looked_at : 0;
  return TextSize{
      .bytes = std::llround(kept), .tokens = sum.tokens * scale, .documents = sum.documents * scale};
}

}  // namespace moe::data
